"""Puts the history of a backup in the place of the present one, which is kept aside.

At each moment one whole history is in place, the old one or the new one,
whatever ends this process.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from optimizer.adapters import history_events, history_snapshot
from optimizer.adapters.history_archive import (
    DATABASE_NAME,
    unpack,
)
from optimizer.adapters.history_file import (
    FILE_ERRORS,
    SIDE_FILES,
    begun,
    remedy,
    transaction,
)
from optimizer.adapters.history_kept import aside, copied, drop_old, present
from optimizer.adapters.history_manifest import Contents, Manifest
from optimizer.atomic import rename_over, sync_directory
from optimizer.errors import BackupError, HistoryError
from optimizer.outcome import Event, EventKind

NEW_MODE = 0o640
"""Of a history where there was none; otherwise the mode of the one before."""
_LEFTOVER = re.compile(r"\.optimizer-restore-[0-9a-f]{16}\.tmp")


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
    status = present(history)
    before = None if status is None else aside(history, now_utc_s)
    kept = () if status is None else copied(history, backup.folder)
    _migrate(new, backup, before, now_utc_s)
    os.chmod(new, NEW_MODE if status is None else stat.S_IMODE(status.st_mode))
    wanted = history_snapshot.contents(new, f"the history from {backup.name}")
    # The database last: what has its name is complete.
    for suffix in reversed(kept):
        os.rename(backup.folder / f"aside{suffix}", f"{before}{suffix}")
    sync_directory(history.parent)
    try:
        for suffix in SIDE_FILES[1:]:
            # They belong to the one before: with them, the new one would be read wrong.
            Path(f"{history}{suffix}").unlink(missing_ok=True)
        rename_over(new, history)
        sync_directory(history.parent)
        _compare(history, wanted)
    except (BackupError, HistoryError, OSError):
        _put_back(history, before, kept)
        raise
    drop_old(history)
    return before


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


def _migrate(new: Path, backup: Checked, before: Path | None, now_utc_s: float) -> None:
    """Bring the new history to this program's schema, and note in it where it comes from."""
    made = datetime.fromtimestamp(backup.manifest.created_utc_s, UTC)
    named = f"; the one before is {before.name}" if before else ""
    event = Event(
        utc_s=now_utc_s,
        kind=EventKind.RESTORED,
        detail=f"made on {backup.manifest.host} at {made:%Y-%m-%d %H:%M:%S} UTC{named}",
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


def _put_back(history: Path, before: Path | None, kept: tuple[str, ...]) -> None:
    if before is None:
        history.unlink(missing_ok=True)
        return
    for suffix in kept:
        rename_over(Path(f"{before}{suffix}"), Path(f"{history}{suffix}"))
    sync_directory(history.parent)
