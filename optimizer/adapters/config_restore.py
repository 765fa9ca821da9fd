"""Puts a configuration file in the place of the present one, which is kept aside."""

from __future__ import annotations

import os
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path

from optimizer.atomic import replace_file
from optimizer.errors import BackupError

NEW_MODE = 0o600
"""Of a file where there was none, for it may hold a password; otherwise as the one before."""


def refuse_link(config: Path) -> None:
    """Raise BackupError for what a restore would not replace: a link, a device, a directory."""
    _present(config)


def put_config(content: bytes, config: Path, *, now_utc_s: float) -> Path | None:
    """Make it the configuration; where the one before is now, None where there was none.

    The old one or the new one is there at each moment, with the same owner
    and mode. Raises BackupError and OSError.
    """
    status = _present(config)
    if status is None:
        config.parent.mkdir(parents=True, exist_ok=True)
        replace_file(config, content, durable=True, mode=NEW_MODE)
        return None
    aside = config.with_name(
        f"{config.name}.before-restore-{datetime.fromtimestamp(now_utc_s, UTC):%Y%m%dT%H%M%SZ}"
    )
    mode = stat.S_IMODE(status.st_mode)
    for path, text in ((aside, config.read_bytes()), (config, content)):
        replace_file(path, text, durable=True, mode=mode)
        if sys.platform != "win32" and os.geteuid() == 0:
            os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
    return aside


def _present(config: Path) -> os.stat_result | None:
    try:
        status = config.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise BackupError(
            f"the configuration {config} is not a regular file, and a restore would not replace "
            "what it leads to: name that file with --config"
        )
    return status
