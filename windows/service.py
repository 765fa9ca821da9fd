"""What the Windows service manager starts: `python -I -S service.py SITE-PACKAGES PROGRAMDATA`.

The interpreter is the one that a venv was made of, because that of a venv only
starts another process, which the service manager would not know. So the
folder with our packages comes as an argument, and so does the one below which
the installation has made our directories, whatever a service's environment says.
"""

import os
import site
import sys

site.addsitedir(sys.argv[1])
os.environ["PROGRAMDATA"] = sys.argv[2]

from optimizer.cli.service_host import main

# What the daemon starts with its packages, the web page, needs the Python of that venv.
_VENV_PYTHON = os.path.join(sys.argv[1], "..", "..", "Scripts", "python.exe")
if os.path.isfile(_VENV_PYTHON):
    sys.executable = os.path.normpath(_VENV_PYTHON)

if __name__ == "__main__":
    sys.exit(main())
