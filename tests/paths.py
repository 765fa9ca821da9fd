"""Where what is tested is, and where the files beside it are.

`OPTIMIZER_TEST_WHEEL=1 ./test.sh` tests the installed wheel from a copy of the
checkout without the packages: CODE is site-packages then, the checkout otherwise.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import optimizer

ROOT = Path(__file__).resolve().parent.parent
"""The folder of tests, setup.cfg, config and docs."""
CODE = Path(optimizer.__file__).resolve().parent.parent
"""The folder of the packages optimizer, stressers and recover."""
CHECKOUT = Path(os.environ.get("OPTIMIZER_CHECKOUT", ROOT))
"""The folder that all was made of: for tests that build packages."""
WHEEL = os.environ.get("OPTIMIZER_TESTED_WHEEL")
"""The wheel that CODE was installed from; None when the checkout is tested."""


def checkout(folder: Path, *names: str) -> Path:
    """A folder like a checkout, with these packages and files; the folder."""
    folder.mkdir()
    for name in names:
        source = (CODE if (CODE / name).is_dir() else ROOT) / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    return folder
