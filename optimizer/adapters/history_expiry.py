"""The names of backups, and which of them are too old to keep."""

from __future__ import annotations

import os
import re
import stat
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from optimizer.adapters.history_archive import READ_FLAGS, read_manifest
from optimizer.adapters.history_manifest import Manifest
from optimizer.errors import BackupError

DAY_S = 86_400
_NAME = re.compile(r"optimizer-[A-Za-z0-9._-]{1,64}-\d{8}_\d{6}(-\d+)?\.backup\.tar\.gz")
_ODD = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Names of backups that were removed, how many are left, and what could not be dealt with."""

    removed: tuple[str, ...]
    left: int
    faults: tuple[str, ...]


def name_of(host: str, utc_s: float, number: int = 1) -> str:
    """The name of a backup of that second (UTC); `number` counts those of the same one."""
    again = f"-{number}" if number > 1 else ""
    stamp = f"{datetime.fromtimestamp(utc_s, UTC):%Y%m%d_%H%M%S}"
    return f"optimizer-{_ODD.sub('_', host)[:64] or '_'}-{stamp}{again}.backup.tar.gz"


def expire(directory: Path, host: str, keep_days: float, now_utc_s: float) -> Expired:
    """Remove the backups of that host made more than `keep_days` > 0 days ago.

    Only regular files of our own with such a name and a manifest that says
    so: who renames one keeps it. The one just made is never that old. Raises OSError.
    """
    removed, faults, left = [], [], 0
    for name in sorted(os.listdir(directory)):
        if not _NAME.fullmatch(name):
            continue
        try:
            found = _manifest(directory / name)
            if found is None or found.host != host:
                continue
            if now_utc_s - found.created_utc_s > keep_days * DAY_S:
                os.unlink(directory / name)
                removed.append(name)
            else:
                left += 1
        except BackupError as exc:
            faults.append(f"{exc}; it stays")
        except OSError as exc:
            faults.append(f"cannot remove {directory / name}: {exc.strerror or exc}")
    return Expired(removed=tuple(removed), left=left, faults=tuple(faults))


def _manifest(file: Path) -> Manifest | None:
    """What a backup says of itself; None for a link, or what belongs to another user."""
    flags = READ_FLAGS
    if sys.platform != "win32":
        flags |= os.O_NOFOLLOW
    if not stat.S_ISREG(os.lstat(file).st_mode):
        return None
    with open(os.open(file, flags), "rb") as stream:
        status = os.fstat(stream.fileno())
        ours = sys.platform == "win32" or status.st_uid == os.geteuid()
        return read_manifest(stream, file) if ours and stat.S_ISREG(status.st_mode) else None
