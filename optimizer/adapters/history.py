"""The samples of the policy's window in an SQLite file with exactly one writer.

The daemon that holds the instance lock is that writer: SQLite before 3.51.3
can corrupt a WAL file when two connections write or checkpoint at the same
time. Everybody else reads through `read_means`. Within the daemon nobody may
open the file by other means, for closing it would drop SQLite's locks.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from optimizer.atomic import sync_directory
from optimizer.errors import HistoryError
from optimizer.model import PeriodMean, PeriodMeans, PerResource, Record, Resource
from optimizer.ports import Log

BACKLOG_ROWS = 1440
"""Records kept in memory while the file cannot be written: a day of minutes."""
DAMAGED_KEPT = 3
"""Damaged files that are kept; older ones are removed."""
BUSY_TIMEOUT_S = 0.2
"""How long an append waits for a lock; well below the time after which a lease runs out."""
READ_TIMEOUT_S = 5.0
"""How long a reader waits for a lock."""

_DAY_S = 86_400
_DAMAGE_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""The last is what a damaged schema gives; no statement in here is wrong in itself."""
_FILE_ERRORS = (sqlite3.Error, UnicodeDecodeError, OSError)
"""The second comes from messages that quote the damaged part of a file."""
_SIDE_FILES = ("", "-wal", "-shm")

_MIGRATIONS = (
    """
    CREATE TABLE sample(
        utc_s INTEGER PRIMARY KEY,
        span_s REAL NOT NULL,
        cpu REAL, cpu_own REAL, cpu_steal REAL,
        memory REAL, memory_own REAL,
        disk REAL, disk_own REAL,
        cpu_setpoint REAL, memory_setpoint REAL, disk_setpoint REAL,
        cpu_reason TEXT, memory_reason TEXT, disk_reason TEXT)
    """,
)
"""One statement for each step from a version to the next; the ratios are 0 to 1, NULL unknown."""
SCHEMA_VERSION = len(_MIGRATIONS)
"""PRAGMA user_version of the files that this program writes."""

_COLUMNS = (
    *("utc_s", "span_s", "cpu", "cpu_own", "cpu_steal", "memory", "memory_own", "disk", "disk_own"),
    *("cpu_setpoint", "memory_setpoint", "disk_setpoint"),
    *("cpu_reason", "memory_reason", "disk_reason"),
)
_UPSERT = f"""
    INSERT INTO sample({", ".join(_COLUMNS)}) VALUES ({", ".join("?" for _ in _COLUMNS)})
    ON CONFLICT(utc_s) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)}
    WHERE excluded.span_s >= sample.span_s
"""  # noqa: S608 - constants only
_WEIGHED = ("cpu", "cpu_own", "memory", "memory_own", "disk", "disk_own")
_TOTALS = ", ".join(
    f"TOTAL({x} * span_s), TOTAL(span_s) FILTER (WHERE {x} IS NULL)" for x in _WEIGHED
)
_SUMS = f"""
    SELECT COUNT(*), TOTAL(span_s), {_TOTALS} FROM sample WHERE utc_s > ? AND utc_s <= ?
"""  # noqa: S608 - constants only


class _DamagedError(HistoryError):
    """The file is not a history that can be used; the message says why."""


class SqliteHistory:
    """Keeps `period_days` days of records; implements ports.History.

    A row that was acknowledged survives a kill and a power cut. A damaged
    file is set aside and a new one begun; a file that cannot be opened or
    written for another reason (full or read-only disk, rights) is logged and
    tried again with each append, while the records wait in memory.

    The constructor raises HistoryError when the file was written by a newer
    version of this program; the file stays as it is.
    """

    def __init__(self, path: Path, *, period_days: int, log: Log) -> None:
        self._path = path
        self._period_days = period_days
        self._log = log
        self._backlog: deque[Record] = deque(maxlen=BACKLOG_ROWS)
        self._lost = 0
        self._fault: str | None = None
        self._db: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self._closed = False
        try:
            self._open()
        except (*_FILE_ERRORS, _DamagedError) as exc:
            self._write_failed(exc)

    def append(self, record: Record) -> bool:
        """Store one record; True once it is on stable storage, False while it waits in memory.

        Of two records of the same second the one with the longer span stays,
        the newer when they are equal. The transaction also purges; see
        `_purge`. Never raises; after `close` nothing is stored.
        """
        if self._closed:
            return False
        self._lost += len(self._backlog) == BACKLOG_ROWS
        self._backlog.append(record)
        return self._flush()

    def means(self, now_utc_s: float, days: float) -> PeriodMeans:
        """Means over the `days` > 0 days that end now; records that wait in memory count too.

        Rows from the future, left by a clock that was wrong, do not count.
        Raises HistoryError when the file is not open or cannot be read.
        """
        if self._db is None:
            raise HistoryError(f"the history {self._path} is not open: {self._fault or 'closed'}")
        start_utc_s = now_utc_s - days * _DAY_S
        try:
            rows, *sums = self._db.execute(_SUMS, (start_utc_s, now_utc_s)).fetchone()
        except _FILE_ERRORS as exc:
            if _is_damage(exc):
                self._write_failed(exc)
            raise HistoryError(f"cannot read the history {self._path}: {exc}") from exc
        for record in self._backlog:
            if start_utc_s < int(record.sample.utc_s) <= now_utc_s:
                rows += 1
                sums = [kept + new for kept, new in zip(sums, _weighted(record), strict=True)]
        return _period_means(rows, sums, days)

    def set_period(self, days: int) -> None:
        """Keep this many days from the next append on."""
        self._period_days = days

    def close(self) -> None:
        """Write what waits in memory if that is possible now, fold the WAL in, and close."""
        if self._closed:
            return
        if self._backlog and not self._flush():
            self._log.error("history.rows_lost", path=str(self._path), rows=len(self._backlog))
        self._closed = True
        if self._db is not None:
            with suppress(sqlite3.Error):
                # A reader that is still there must not hold up the end of the daemon.
                self._db.execute("PRAGMA busy_timeout = 0")
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._drop()

    def _flush(self) -> bool:
        try:
            db = self._connection()
            with _transaction(db):
                db.executemany(_UPSERT, [_row(record) for record in self._backlog])
                _purge(db, int(self._backlog[-1].sample.utc_s), self._period_days * _DAY_S)
        except (*_FILE_ERRORS, HistoryError) as exc:
            self._write_failed(exc)
            return False
        if self._fault is not None:
            self._log.info(
                "history.write_recovered",
                path=str(self._path),
                rows=len(self._backlog),
                rows_lost=self._lost,
            )
        self._backlog.clear()
        self._fault, self._lost = None, 0
        return True

    def _connection(self) -> sqlite3.Connection:
        """The open database, opened again when the file is not the one that was opened."""
        if self._db is not None and _identity(self._path) != self._identity:
            self._log.warning(
                "history.replaced", path=str(self._path), remedy="stop the daemon before a restore"
            )
            self._drop()
        return self._db or self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            db = _begun(self._path)
        except _DamagedError as exc:
            aside = _set_aside(self._path)
            self._log.error(
                "history.set_aside", path=str(aside), cause=str(exc), remedy="sqlite3 .recover"
            )
            db = _begun(self._path)
        self._db, self._identity = db, _identity(self._path)
        return db

    def _drop(self) -> None:
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _write_failed(self, error: Exception) -> None:
        """Log a failure, once for each cause; a damaged file is looked at with the next append."""
        if _is_damage(error):
            self._drop()
        if str(error) != self._fault:
            self._fault = str(error)
            self._log.error(
                "history.write_failed",
                path=str(self._path),
                cause=self._fault,
                remedy=_remedy(error, self._path),
                rows_waiting=len(self._backlog),
            )


def read_means(path: Path, now_utc_s: float, days: float) -> PeriodMeans:
    """Means as `SqliteHistory.means` gives them, read beside a running daemon or without one.

    Never writes. Raises HistoryError, with what to do, when there is no file
    or it cannot be read.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=READ_TIMEOUT_S)) as db:
            _refuse_newer(db, path)
            rows, *sums = db.execute(_SUMS, (now_utc_s - days * _DAY_S, now_utc_s)).fetchone()
    except _FILE_ERRORS as exc:
        with suppress(OSError):
            if not path.exists():
                raise HistoryError(
                    f"there is no history at {path}: the daemon writes it after its first interval"
                ) from exc
        raise HistoryError(f"cannot read the history {path}: {exc}; {_remedy(exc, path)}") from exc
    return _period_means(rows, sums, days)


def _begun(path: Path) -> sqlite3.Connection:
    """A checked connection that writes; raises _DamagedError, HistoryError, sqlite3.Error."""
    with ExitStack() as undo:
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        undo.callback(db.close)
        try:
            _prepare(db, _refuse_newer(db, path))
        except _FILE_ERRORS as exc:
            if _is_damage(exc):
                raise _DamagedError(str(exc)) from exc
            raise
        undo.pop_all()
        return db


def _prepare(db: sqlite3.Connection, version: int) -> None:
    """Check and migrate the database; raises _DamagedError or an error of the file."""
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise _DamagedError(verdict)
    tables = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
    if version < 0 or (version == 0) != (tables == 0):
        raise _DamagedError(f"schema version {version} with {tables} tables is not ours")
    with _transaction(db):
        for step in range(version, SCHEMA_VERSION):
            db.execute(_MIGRATIONS[step])
            db.execute(f"PRAGMA user_version = {step + 1}")
    # Compiles it against the schema in the file, which quick_check does not read.
    db.execute(f"EXPLAIN {_UPSERT}", [None] * len(_COLUMNS))


def _refuse_newer(db: sqlite3.Connection, path: Path) -> int:
    """The file's schema version; raises HistoryError when this program is too old for it."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise HistoryError(
            f"the history {path} has schema version {version}, this program knows up to"
            f" {SCHEMA_VERSION}: install the newer program again, or move the file away"
        )
    return version


def _purge(db: sqlite3.Connection, now_utc_s: int, period_s: int) -> None:
    """Delete rows that are older than the period, as far as a wrong clock can be trusted.

    The oldest expired rows go, but never so many that less than `period_s`
    seconds of recorded time are left. So a clock that jumps forwards deletes
    only as much as is recorded after the jump, and a host that was off for a
    while keeps its last rows until new ones have replaced them. A row counts
    as one day at most, so that no single record can displace more.
    """
    cutoff_utc_s = now_utc_s - period_s
    oldest_utc_s = db.execute("SELECT MIN(utc_s) FROM sample").fetchone()[0]
    if oldest_utc_s > cutoff_utc_s:
        return
    kept_s = db.execute("SELECT TOTAL(MIN(span_s, ?)) FROM sample", (_DAY_S,)).fetchone()[0]
    last_utc_s = None
    for utc_s, span_s in db.execute(
        "SELECT utc_s, COALESCE(CAST(span_s AS REAL), 0) FROM sample WHERE utc_s <= ? ORDER BY 1",
        (cutoff_utc_s,),
    ):
        kept_s -= min(span_s, _DAY_S)
        if kept_s < period_s:
            break
        last_utc_s = utc_s
    if last_utc_s is not None:
        db.execute("DELETE FROM sample WHERE utc_s <= ?", (last_utc_s,))


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")


def _set_aside(path: Path) -> Path:
    """Rename the database and its side files so that `.recover` still finds them together."""
    stamp = f"{datetime.now(tz=UTC):%Y%m%dT%H%M%SZ}"
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in _SIDE_FILES:
        # The database first: an orphaned WAL does no harm, a database without its WAL lost rows.
        with suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    sync_directory(path.parent)
    pattern = re.compile(re.escape(path.name) + r"\.damaged-\d{8}T\d{6}Z")
    earlier = sorted(p for p in path.parent.iterdir() if pattern.fullmatch(p.name) and p != aside)
    for old in earlier[: -(DAMAGED_KEPT - 1)]:
        for suffix in _SIDE_FILES:
            Path(f"{old}{suffix}").unlink(missing_ok=True)
    return aside


def _row(record: Record) -> tuple[float | str | None, ...]:
    sample, plan = record.sample, record.plan
    ratios: dict[Resource, tuple[float | None, float | None]] = {}
    for resource in Resource:
        used = sample.usage.of(resource)
        ratios[resource] = (used.total_ratio, used.own_ratio) if used else (None, None)
    return (
        int(sample.utc_s),
        sample.span_s,
        *ratios[Resource.CPU],
        sample.steal_ratio,
        *ratios[Resource.MEMORY],
        *ratios[Resource.DISK],
        *(decision.setpoint_ratio for decision in plan),
        *(decision.reason.value for decision in plan),
    )


def _weighted(record: Record) -> list[float]:
    """What one record adds to the sums of `_SUMS`, in their order."""
    span_s = record.sample.span_s
    sums = [span_s]
    for used in record.sample.usage:
        if used is None:
            sums += (0.0, span_s, 0.0, span_s)
        else:
            sums += (used.total_ratio * span_s, 0.0, used.own_ratio * span_s, 0.0)
    return sums


def _period_means(rows: int, sums: list[float], days: float) -> PeriodMeans:
    span_s, *weighted = sums

    def mean(first: int) -> PeriodMean:
        total, unknown_s, own, own_unknown_s = weighted[first : first + 4]
        known_s, own_known_s = span_s - unknown_s, span_s - own_unknown_s
        return PeriodMean(
            mean_ratio=total / known_s if known_s else None,
            own_mean_ratio=own / own_known_s if own_known_s else None,
            coverage_ratio=min(1.0, known_s / (days * _DAY_S)),
        )

    return PeriodMeans(
        days=days, rows=rows, of=PerResource(cpu=mean(0), memory=mean(4), disk=mean(8))
    )


def _identity(path: Path) -> tuple[int, int]:
    """Device and inode of the file, zeros when it is gone; raises OSError."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 when the error is not SQLite's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_damage(error: Exception) -> bool:
    return isinstance(error, UnicodeDecodeError) or _code(error) in _DAMAGE_CODES


def _remedy(error: Exception, path: Path) -> str:
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
            return f"look at the kernel log and at the disk under {path.parent}"
