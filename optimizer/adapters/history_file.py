"""The history's SQLite file: opened, checked, migrated, purged, and set aside when damaged."""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from optimizer.adapters.history_events import CREATE, INSERT
from optimizer.adapters.history_sound import SAMPLE, ratio
from optimizer.atomic import sync_directory
from optimizer.errors import HistoryError

DAMAGED_KEPT = 3
"""Damaged files that are kept; older ones are removed."""
BUSY_TIMEOUT_S = 0.2
"""How long an append waits for a lock; well below the time after which a lease runs out."""
DAY_S = 86_400
"""Seconds of a day."""
FILE_ERRORS = (sqlite3.Error, UnicodeDecodeError, OSError)
"""What a file that cannot be used may raise.

The second comes from messages that quote the damaged part of a file.
"""
_DAMAGE_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""The last is what a damaged schema gives; no statement of ours is wrong in itself."""
_COUNTED_S = f"COALESCE(MAX(0, MIN(span_s, {DAY_S})), 0)"
"""What a row counts as recorded time when others are purged."""
SIDE_FILES = ("", "-wal", "-shm", "-journal")
"""What follows the name of the database in the names of its files."""

_FACTS = """
    span_s REAL NOT NULL,
    cpu REAL, cpu_own REAL, cpu_steal REAL,
    memory REAL, memory_own REAL,
    disk REAL, disk_own REAL,
    cpu_setpoint REAL, memory_setpoint REAL, disk_setpoint REAL,
    cpu_reason TEXT, memory_reason TEXT, disk_reason TEXT
"""
_MIGRATIONS = (
    (f"CREATE TABLE sample(utc_s INTEGER PRIMARY KEY, {_FACTS})",),
    (
        "ALTER TABLE sample RENAME TO sample_1",
        f"CREATE TABLE sample(written INTEGER PRIMARY KEY, utc_s INTEGER NOT NULL, {_FACTS})",
        "INSERT INTO sample SELECT NULL, * FROM sample_1 ORDER BY utc_s",
        "DROP TABLE sample_1",
        CREATE,
    ),
)
"""The statements for each step from a version to the next; the ratios are 0 to 1, NULL unknown.

`written` counts the rows in the order in which they were written: a clock that
was set back may give two rows the same second, or the newer one the older time.
Imported rows are numbered before all that were there, below 1 too.
"""
SCHEMA_VERSION = len(_MIGRATIONS)
"""PRAGMA user_version of the files that this program writes."""

_BY_TIME = (
    "DROP INDEX IF EXISTS sample_by_time",
    "CREATE INDEX sample_by_time ON sample(utc_s)",
)
"""Lets a day be read of a history of any length; all programs work without it, more slowly.

Made anew at each start, for quick_check does not hold it against the rows: a
million rows take 0.4 s.
"""

COLUMNS = (
    *("utc_s", "span_s", "cpu", "cpu_own", "cpu_steal", "memory", "memory_own", "disk", "disk_own"),
    *("cpu_setpoint", "memory_setpoint", "disk_setpoint"),
    *("cpu_reason", "memory_reason", "disk_reason"),
)
"""What a row holds beside its number."""
INSERT_NUMBERED = f"""
    INSERT INTO sample(written, {", ".join(COLUMNS)})
    VALUES (?, {", ".join("?" for _ in COLUMNS)})
"""  # noqa: S608 - constants only
"""Stores one row under the number that is given first; replaces none."""
INSERT_ROW = INSERT_NUMBERED.replace("(?,", "(NULL,")
"""The same under the next number."""


OWN_CPU = f"""
    SELECT TOTAL({ratio("cpu_own")} * MIN(span_s, utc_s - :start)), EXISTS(SELECT 1 FROM sample)
    FROM sample WHERE utc_s > :start AND utc_s <= :end AND {SAMPLE}
"""  # noqa: S608 - constants only
"""Our share of the CPU times seconds, and whether there is any row at all.

Rows without a value do not count, and of a row that began earlier only what is inside.
"""


class DamagedError(HistoryError):
    """The file is not a history that can be used; the message says why."""


def begun(path: Path) -> sqlite3.Connection:
    """A checked connection that writes; raises DamagedError, HistoryError, sqlite3.Error."""
    with ExitStack() as undo:
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        undo.callback(db.close)
        try:
            _prepare(db, refuse_newer(db, path))
        except FILE_ERRORS as exc:
            if is_damage(exc):
                raise DamagedError(str(exc)) from exc
            raise
        undo.pop_all()
        return db


def _prepare(db: sqlite3.Connection, version: int) -> None:
    """Check and migrate the database; raises DamagedError or an error of the file."""
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise DamagedError(verdict)
    tables = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
    if version < 0 or (version == 0) != (tables == 0):
        raise DamagedError(f"schema version {version} with {tables} tables is not ours")
    with transaction(db):
        for step in range(version, SCHEMA_VERSION):
            for statement in _MIGRATIONS[step]:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {step + 1}")
    with suppress(sqlite3.OperationalError), transaction(db):
        # A full disk must not keep the history from being read.
        for statement in _BY_TIME:
            db.execute(statement)
    # Compiles it against the schema in the file, which quick_check does not read.
    for statement in (INSERT_ROW, INSERT):
        db.execute(f"EXPLAIN {statement}", [None] * statement.count("?"))


def refuse_newer(db: sqlite3.Connection, path: Path) -> int:
    """The file's schema version; raises HistoryError when this program is too old for it."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise HistoryError(
            f"the history {path} has schema version {version}, this program knows up to"
            f" {SCHEMA_VERSION}: install the newer program again, or move the file away"
        )
    return version


def purge(db: sqlite3.Connection, now_utc_s: int, period_s: int) -> None:
    """Delete rows that are older than the period and have a period written after them.

    The times alone do not tell what is old, because a clock may have been
    wrong when a row was written, or is wrong now. So rows go only when
    `period_s` seconds of recorded time were written later: a clock that jumps
    forwards deletes as much as is recorded after the jump, rows of a clock
    that was set back are as young as their number says, and a host that was
    off for a while keeps its last rows until new ones have replaced them.
    A row counts as one day at most, so that no single record can displace
    more. Events go with the rows of their time.
    """
    cutoff_utc_s = now_utc_s - period_s
    oldest_utc_s, later_s = db.execute(
        f"SELECT MIN(utc_s), TOTAL({_COUNTED_S}) FROM sample"  # noqa: S608
    ).fetchone()
    if oldest_utc_s > cutoff_utc_s:
        return
    replaced = None
    for number, span_s in db.execute(
        f"SELECT written, {_COUNTED_S} FROM sample ORDER BY written"  # noqa: S608
    ):
        later_s -= span_s
        if later_s < period_s:
            break
        replaced = number
    if replaced is not None:
        span = (replaced, cutoff_utc_s)
        db.execute("DELETE FROM sample WHERE written <= ? AND utc_s <= ?", span)
        db.execute("DELETE FROM event WHERE after_row < ? AND utc_s <= ?", span)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """The block is written as a whole, or not at all when it raises; raises sqlite3.Error."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")


def set_aside(path: Path) -> Path:
    """Rename the database and its side files so that `.recover` still finds them together."""
    stamp = f"{datetime.now(tz=UTC):%Y%m%dT%H%M%SZ}"
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in SIDE_FILES:
        # The database first: an orphaned WAL does no harm, a database without its WAL lost rows.
        with suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    sync_directory(path.parent)
    pattern = re.compile(re.escape(path.name) + r"\.damaged-\d{8}T\d{6}Z")
    earlier = sorted(p for p in path.parent.iterdir() if pattern.fullmatch(p.name) and p != aside)
    for old in earlier[: -(DAMAGED_KEPT - 1)]:
        for suffix in SIDE_FILES:
            Path(f"{old}{suffix}").unlink(missing_ok=True)
    return aside


def identity(path: Path) -> tuple[int, int]:
    """Device and inode of the file, zeros when it is gone; raises OSError."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 when the error is not SQLite's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_damage(error: Exception) -> bool:
    """Whether the error says that the content of the file is damaged."""
    return isinstance(error, UnicodeDecodeError) or _code(error) in _DAMAGE_CODES


def remedy(error: Exception, path: Path) -> str:
    """What the operator can do about an error of the file at `path`."""
    match _code(error):
        case sqlite3.SQLITE_FULL:
            return f"free space on the filesystem of {path.parent}"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return f"run as root or as the user of the daemon, with write access to {path.parent}"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "end the other program that writes to it, such as an sqlite3 shell"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return "the daemon sets it aside and begins a new one"
        case _:
            return _disk_remedy(path.parent)


def _disk_remedy(directory: Path) -> str:
    """The same for an error of the disk: SQLite calls much an "I/O error" that is none."""
    if sys.platform != "win32":
        with suppress(OSError):
            fs = os.statvfs(directory)
            if fs.f_flag & os.ST_RDONLY:
                return (
                    f"the filesystem of {directory} is read-only: look at the kernel log, "
                    "repair it, and mount it again"
                )
            if fs.f_bavail == 0 or (fs.f_files and fs.f_favail == 0):
                return f"free space on the filesystem of {directory}"
    return f"look at the kernel log and at the disk under {directory}"
