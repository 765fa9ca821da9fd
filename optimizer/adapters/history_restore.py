"""Puts the history of a backup in the place of the present one, which is kept aside.

At each moment one whole history is in place, the old one or the new one,
whatever ends this process.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from optimizer.adapters import history_events, history_snapshot
from optimizer.adapters.history_archive import (
    CREATE_FLAGS,
    DATABASE_NAME,
    Contents,
    Manifest,
    need_room,
    unpack,
)
from optimizer.adapters.history_file import (
    FILE_ERRORS,
    SIDE_FILES,
    begun,
    is_damage,
    remedy,
    transaction,
)
from optimizer.atomic import rename_over, sync_directory
from optimizer.errors import BackupError, HistoryError
from optimizer.outcome import Event, EventKind

KEPT = 3
"""Histories that are kept from before a restore; older ones go after the next one."""
NEW_MODE = 0o640
"""Of a history where there was none; otherwise the mode of the one before."""
BUSY_S = 5.0
"""How long a restore waits for a program that reads the present history."""
_LEFTOVER = re.compile(r"\.optimizer-restore-[0-9a-f]{16}\.tmp")
_ASIDE = ".before-restore-"
_ROOM = "free some space there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A backup that was found good: its history is in `folder`, its configuration here."""

    name: Path
    manifest: Manifest
    config: bytes | None
    folder: Path


@contextmanager
def checked(archive: BinaryIO, name: Path, directory: Path) -> Iterator[Checked]:
    """Unpack a backup into a folder of our own in the directory, and check all of it.

    Raises BackupError, with what is wrong, HistoryError when it was written by
    a newer program, and OSError.
    """
    folder = directory / f".optimizer-restore-{os.urandom(8).hex()}.tmp"
    folder.mkdir(mode=0o700)
    try:
        manifest, config = unpack(archive, name, folder)
        found = history_snapshot.contents(folder / DATABASE_NAME, f"the history in {name}")
        if found != manifest.contents:
            raise BackupError(
                f"{name} holds {_counted(found)}, and says {_counted(manifest.contents)}: "
                "use another backup"
            )
        yield Checked(name=name, manifest=manifest, config=config, folder=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(backup: Checked, history: Path, *, now_utc_s: float) -> Path | None:
    """Make the history of a checked backup the present one; where the one before is now.

    For the holder of the instance lock, with the folder of the backup in the
    directory of the history. On any error the one before is in its place.
    Raises BackupError, HistoryError and OSError.
    """
    new = backup.folder / DATABASE_NAME
    status = _present(history)
    aside = None if status is None else _aside(history, now_utc_s)
    kept = () if status is None else _copied(history, backup.folder)
    _migrate(new, backup, aside, now_utc_s)
    os.chmod(new, NEW_MODE if status is None else stat.S_IMODE(status.st_mode))
    wanted = history_snapshot.contents(new, f"the history from {backup.name}")
    # The database last: what has its name is complete.
    for suffix in reversed(kept):
        os.rename(backup.folder / f"aside{suffix}", f"{aside}{suffix}")
    sync_directory(history.parent)
    for suffix in SIDE_FILES[1:]:
        # They belong to the one before: with them, the new one would be read wrong.
        Path(f"{history}{suffix}").unlink(missing_ok=True)
    rename_over(new, history)
    sync_directory(history.parent)
    try:
        _compare(history, wanted)
    except (BackupError, HistoryError):
        _put_back(history, aside, kept)
        raise
    _drop_old(history)
    return aside


def _compare(history: Path, wanted: Contents) -> None:
    found = history_snapshot.contents(history, f"the restored history {history}")
    if found != wanted:
        raise BackupError(
            f"{history} has {_counted(found)}, not {_counted(wanted)}: look at the disk"
        )


def sweep(directory: Path) -> None:
    """Remove what restores that were killed have left; for the holder of the instance lock."""
    for name in os.listdir(directory):
        path = directory / name
        with suppress(OSError):
            if _LEFTOVER.fullmatch(name) and stat.S_ISDIR(path.lstat().st_mode):
                shutil.rmtree(path, ignore_errors=True)


def _counted(found: Contents) -> str:
    return f"{found.rows} rows and {found.events} events of version {found.schema_version}"


def _aside(history: Path, now_utc_s: float) -> Path:
    stamp = f"{datetime.fromtimestamp(now_utc_s, UTC):%Y%m%dT%H%M%SZ}"
    number = 1
    while True:
        again = f"-{number}" if number > 1 else ""
        path = history.with_name(f"{history.name}{_ASIDE}{stamp}{again}")
        if not os.path.lexists(path):
            return path
        number += 1


def _present(history: Path) -> os.stat_result | None:
    """The history that is there now; None where there is none."""
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


def _copied(history: Path, folder: Path) -> tuple[str, ...]:
    """Copy the present history into the folder; the suffixes of its files, the database first.

    Not a second name for it: until the new one is in place the old one may be
    written to again, which would damage one that is opened under another name.
    """
    sides = [suffix for suffix in ("-wal", "-journal") if _size(f"{history}{suffix}")]
    suffixes = ("", *sides)
    need_room(folder, 2 * sum(_size(f"{history}{suffix}") for suffix in suffixes) + 2**20, _ROOM)
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


def _migrate(new: Path, backup: Checked, aside: Path | None, now_utc_s: float) -> None:
    """Bring the new history to this program's schema, and note in it where it comes from."""
    made = datetime.fromtimestamp(backup.manifest.created_utc_s, UTC)
    before = f"; the one before is {aside.name}" if aside else ""
    event = Event(
        utc_s=now_utc_s,
        kind=EventKind.RESTORED,
        detail=f"made on {backup.manifest.host} at {made:%Y-%m-%d %H:%M:%S} UTC{before}",
    )
    try:
        with closing(begun(new)) as db:
            with transaction(db):
                history_events.insert(db, [event])
            db.execute("PRAGMA journal_mode = DELETE")
    except FILE_ERRORS as exc:
        raise BackupError(
            f"the history from {backup.name} cannot be prepared: {exc}; {remedy(exc, new)}"
        ) from exc
    descriptor = os.open(new, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(source: Path, target: Path) -> None:
    descriptor = os.open(target, CREATE_FLAGS, 0o600)
    with source.open("rb") as old, open(descriptor, "wb") as new:
        shutil.copyfileobj(old, new, 1 << 20)
        new.flush()
        os.fsync(descriptor)
    shutil.copymode(source, target)


def _put_back(history: Path, aside: Path | None, kept: tuple[str, ...]) -> None:
    if aside is None:
        history.unlink(missing_ok=True)
        return
    for suffix in kept:
        rename_over(Path(f"{aside}{suffix}"), Path(f"{history}{suffix}"))
    sync_directory(history.parent)


def _drop_old(history: Path) -> None:
    """Remove the oldest of those that were kept; never raises."""
    pattern = re.compile(re.escape(history.name + _ASIDE) + r"\d{8}T\d{6}Z(-\d+)?")
    with suppress(OSError):
        kept = sorted(name for name in os.listdir(history.parent) if pattern.fullmatch(name))
        for name in kept[:-KEPT]:
            for suffix in SIDE_FILES:
                (history.parent / f"{name}{suffix}").unlink(missing_ok=True)
