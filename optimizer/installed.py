"""Where this program is installed, and the files that come with it beside the code."""

from __future__ import annotations

import sys
from pathlib import Path

PREFIX = Path("/opt/cloud-resource-optimizer")
"""Where an installation for the system lies; its `venv` is a link to the one in use."""
VENV = PREFIX / "venv"
_SHARE = "share/cloud-resource-optimizer"
_CHECKOUT = Path(__file__).resolve().parent.parent


def share() -> Path:
    """The directory with `systemd`, `config` and `windows`: of the checkout, or as installed."""
    if (_CHECKOUT / "start.sh").exists() and (_CHECKOUT / "systemd").is_dir():
        return _CHECKOUT
    return Path(sys.prefix) / _SHARE


def venv() -> Path:
    """The environment that this runs in, by the name that stays when a new one replaces it."""
    here = Path(sys.prefix)
    return VENV if VENV.exists() and VENV.resolve() == here.resolve() else here
