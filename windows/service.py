"""What the Windows service manager starts: `python -I service.py SITE-PACKAGES`.

The interpreter is the one that a venv was made of, because that of a venv only
starts another process, which the service manager would not know. So the
folder with our packages comes as an argument.
"""

import site
import sys

for folder in sys.argv[1:]:
    site.addsitedir(folder)

from optimizer.cli.service_host import main  # noqa: E402 - found only now

if __name__ == "__main__":
    sys.exit(main())
