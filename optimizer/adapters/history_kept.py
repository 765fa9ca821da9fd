"""Keeps the present history whole while another one takes its place."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from optimizer.adapters.history_archive import CREATE_FLAGS, need_room
from optimizer.adapters.history_file import FILE_ERRORS, SIDE_FILES, is_damage, remedy
from optimizer.errors import BackupError

KEPT = 3
"""Histories that are kept from before a restore; older ones go after the next one."""
BUSY_S = 5.0
"""How long a restore waits for a program that reads the present history."""
_ASIDE = ".before-restore-"
_ROOM = "free some space there"


def aside(history: Path, now_utc_s: float) -> Path:
    """A new name for the history from before."""
    stamp = f"{datetime.fromtimestamp(now_utc_s, UTC):%Y%m%dT%H%M%SZ}"
    number = 1
    while True:
        again = f"-{number}" if number > 1 else ""
        path = history.with_name(f"{history.name}{_ASIDE}{stamp}{again}")
        if not os.path.lexists(path):
            return path
        number += 1


def present(history: Path) -> os.stat_result | None:
    """The history that is there now; None where there is none. Raises BackupError for a link."""
    try:
        status = history.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise BackupError(
            f"{history} is not a regular file, and a restore would not replace what it leads to: "
            "set WORKSPACE_DIR to the directory where the history is"
        )
    return status


def copied(history: Path, folder: Path) -> tuple[str, ...]:
    """Copy the present history into the folder; the suffixes of its files, the database first.

    Not a second name for it: until the new one is in place the old one may be
    written to again, which would damage one that is opened under another name.
    They are named aside, aside-wal and aside-journal. Raises BackupError, OSError.
    """
    sides = [suffix for suffix in ("-wal", "-journal") if _size(f"{history}{suffix}")]
    suffixes = ("", *sides)
    need_room(
        history.parent, 2 * sum(_size(f"{history}{suffix}") for suffix in suffixes) + 2**20, _ROOM
    )
    if sides:
        # As they are: SQLite removes the WAL of a database that it does not recognise.
        for suffix in suffixes:
            _copy(Path(f"{history}{suffix}"), folder / f"aside{suffix}")
    whole = _fold(history)
    if sides and not whole:
        return suffixes
    for suffix in sides:
        (folder / f"aside{suffix}").unlink()
    (folder / "aside").unlink(missing_ok=True)
    _copy(history, folder / "aside")
    return ("",)


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0


def _fold(history: Path) -> bool:
    """Fold the WAL of the present history in, so that one file holds all of it.

    A change of the journal's mode needs the file for itself, so that a program
    that still reads it is found. False when it is damaged. Raises BackupError.
    """
    end_s = time.monotonic() + BUSY_S
    while True:
        try:
            with closing(sqlite3.connect(history, timeout=0.1, isolation_level=None)) as db:
                db.execute("PRAGMA synchronous = FULL")
                db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
                (mode,) = db.execute("PRAGMA journal_mode = DELETE").fetchone()
        except FILE_ERRORS as exc:
            if is_damage(exc):
                return False
            if _is_busy(exc) and time.monotonic() < end_s:
                time.sleep(0.1)
                continue
            raise BackupError(
                f"the present history {history} cannot be kept: {exc}; {remedy(exc, history)}"
            ) from exc
        if mode != "delete":
            raise BackupError(
                f"the present history {history} cannot be kept: its WAL stays; end the other "
                "programs that have it open"
            )
        return True


def _is_busy(error: Exception) -> bool:
    code = int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
    return code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _copy(source: Path, target: Path) -> None:
    descriptor = os.open(target, CREATE_FLAGS, 0o600)
    with source.open("rb") as old, open(descriptor, "wb") as new:
        shutil.copyfileobj(old, new, 1 << 20)
        new.flush()
        os.fsync(descriptor)
    shutil.copymode(source, target)


def drop_old(history: Path) -> None:
    """Remove the oldest of those that were kept; never raises."""
    pattern = re.compile(re.escape(history.name + _ASIDE) + r"\d{8}T\d{6}Z(-\d+)?")
    with suppress(OSError):
        kept = sorted(name for name in os.listdir(history.parent) if pattern.fullmatch(name))
        for name in kept[:-KEPT]:
            for suffix in SIDE_FILES:
                (history.parent / f"{name}{suffix}").unlink(missing_ok=True)
