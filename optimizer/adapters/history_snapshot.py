"""A consistent copy of the history beside its writer, and what a copy holds.

The writer goes on meanwhile: a reader of a WAL file sees one moment of it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import BinaryIO

from optimizer.adapters.history_archive import READ_FLAGS
from optimizer.adapters.history_events import SINCE_VERSION
from optimizer.adapters.history_file import FILE_ERRORS, is_damage, refuse_newer, remedy
from optimizer.adapters.history_manifest import Contents
from optimizer.errors import BackupError, HistoryError

READ_TIMEOUT_S = 5.0
"""How long a reader waits for a lock."""
_ODD = "SELECT type, name FROM sqlite_master WHERE type NOT IN ('table', 'index') LIMIT 1"
"""A trigger or a view would run when the daemon writes; no history of ours has one."""


def opened(history: Path) -> sqlite3.Connection:
    """A connection that only reads, with all its files open; raises HistoryError."""
    _refuse_odd(history)
    uri = f"{history.absolute().as_uri()}?mode=ro"
    try:
        with ExitStack() as undo:
            db = sqlite3.connect(uri, uri=True, timeout=READ_TIMEOUT_S)
            undo.callback(db.close)
            refuse_newer(db, history)
            undo.pop_all()
            return db
    except FILE_ERRORS as exc:
        raise _unread(history, exc) from exc


def _refuse_odd(history: Path) -> None:
    """Raise HistoryError unless it is a regular file, and not where a link leads."""
    try:
        kind = os.lstat(history).st_mode
    except FileNotFoundError as exc:
        raise HistoryError(
            f"there is no history at {history}: the daemon writes it after its first interval"
        ) from exc
    except OSError as exc:
        raise HistoryError(
            f"cannot read the history {history}: {exc.strerror}; run this as root or as the user "
            "of the daemon"
        ) from exc
    if not stat.S_ISREG(kind):
        raise HistoryError(
            f"the history {history} is not a regular file: move the file itself there, or set "
            "WORKSPACE_DIR to where it is"
        )


def still(history: Path) -> dict[str, BinaryIO]:
    """The files of a history that nobody can write to, by suffix, open; elsewhere none.

    On a filesystem that is read-only SQLite cannot open a WAL, although all
    rows are there. Raises HistoryError.
    """
    _refuse_odd(history)
    if sys.platform == "win32" or not _is_read_only(history.parent):
        return {}
    files: dict[str, BinaryIO] = {}
    try:
        with ExitStack() as undo:
            for suffix in ("", "-wal"):
                if not suffix or os.path.lexists(f"{history}{suffix}"):
                    descriptor = os.open(f"{history}{suffix}", READ_FLAGS | os.O_NOFOLLOW)
                    files[suffix] = undo.enter_context(open(descriptor, "rb"))
            undo.pop_all()
    except OSError as exc:
        raise _unread(history, exc) from exc
    return files


def thawed(files: dict[str, BinaryIO], history: Path, folder: Path) -> sqlite3.Connection:
    """A connection to a copy of such files in the folder; raises HistoryError, OSError."""
    copy = folder / "still"
    for suffix, source in files.items():
        with source, open(f"{copy}{suffix}", "xb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    if not _is_read_only(history.parent):
        raise HistoryError(f"the filesystem of {history} has just become writable: try again")
    return opened(copy)


def _is_read_only(directory: Path) -> bool:
    if sys.platform == "win32":
        return False
    with suppress(FileNotFoundError):
        return bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
    return False


def size_bytes(db: sqlite3.Connection, history: Path) -> int:
    """How large a copy becomes at most; raises HistoryError."""
    try:
        (pages,), (page_bytes,) = (
            db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
        )
    except FILE_ERRORS as exc:
        raise _unread(history, exc) from exc
    return int(pages) * int(page_bytes)


def _unread(history: Path, exc: Exception) -> HistoryError:
    return HistoryError(f"cannot read the history {history}: {exc}; {remedy(exc, history)}")


def copy(db: sqlite3.Connection, target: Path) -> None:
    """Write one moment of the database into a new file; raises BackupError.

    It takes all pages or fails, waits for no writer and holds up none.
    """
    try:
        db.execute("VACUUM INTO ?", (str(target),))
    except (*FILE_ERRORS, UnicodeError) as exc:
        with suppress(OSError):
            target.unlink()
        cure = "the daemon sets it aside when it writes next"
        if not is_damage(exc):
            cure = "free space there and look at the kernel log, or name another with --to"
        raise BackupError(
            f"cannot copy the history to {target.parent.parent}: {exc}; {cure}"
        ) from exc


def contents(database: Path, name: str) -> Contents:
    """What a file that nobody writes to holds, all of it checked; nothing is written.

    `name` is for messages. Raises BackupError.
    """
    uri = f"{database.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as db:
            # Nothing in the schema of a strange file is to run.
            db.execute("PRAGMA trusted_schema = OFF")
            version = refuse_newer(db, Path(name))
            odd = db.execute(_ODD).fetchone()
            if odd is not None:
                raise BackupError(f"{name} has a {odd[0]} {odd[1]!a}, which no history of ours has")
            verdict = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if verdict != "ok":
                raise BackupError(f"{name} is damaged ({verdict})")
            rows, first, last = db.execute(
                "SELECT COUNT(*), MIN(utc_s), MAX(utc_s) FROM sample"
            ).fetchone()
            events = 0
            if version >= SINCE_VERSION:
                (events,) = db.execute("SELECT COUNT(*) FROM event").fetchone()
            return Contents(
                schema_version=version,
                rows=rows,
                events=events,
                first_utc_s=None if first is None else float(first),
                last_utc_s=None if last is None else float(last),
            )
    except (*FILE_ERRORS, ValueError, TypeError) as exc:
        raise BackupError(f"{name} is damaged ({exc})") from exc
