"""The samples of the policy's window, and events, in an SQLite file with exactly one writer.

The daemon that holds the instance lock is that writer: SQLite before 3.51.3
can corrupt a WAL file when two connections write or checkpoint at the same
time. Everybody else reads through `history_reading.py`. Within the daemon nobody
may open the file by other means, for closing it would drop SQLite's locks.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from optimizer.adapters import history_events, history_past
from optimizer.adapters.history_file import (
    DAY_S,
    FILE_ERRORS,
    INSERT_ROW,
    OWN_CPU,
    DamagedError,
    begun,
    identity,
    is_damage,
    purge,
    remedy,
    set_aside,
    transaction,
)
from optimizer.adapters.history_means import PeriodSums
from optimizer.errors import HistoryError
from optimizer.model import Resource
from optimizer.outcome import Event, EventKind, Past, PeriodMeans, Record
from optimizer.ports import Log

BACKLOG_ROWS = 1440
"""Records, and events, kept in memory while the file cannot be written: a day of minutes."""
PURGE_EVERY_S = 55
"""How often old rows are looked for: with each sample at the usual interval, not at short ones."""


class SqliteHistory:
    """Keeps `period_days` days of records and events; implements ports.History.

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
        self._events: deque[Event] = deque(maxlen=BACKLOG_ROWS)
        self._lost = 0
        self._fault: str | None = None
        self._purged_utc_s = 0
        self._db: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self._closed = False
        try:
            self._open()
        except (*FILE_ERRORS, DamagedError) as exc:
            self._write_failed(exc)

    def append(self, record: Record) -> bool:
        """Store one record; True once it is on stable storage, False while it waits in memory.

        It replaces no other, also not one of the same second. The transaction
        also purges; see `history_file.purge`. Never raises; after `close`
        nothing is stored.
        """
        if self._closed:
            return False
        self._lost += len(self._backlog) == BACKLOG_ROWS
        self._backlog.append(record)
        return self._flush()

    def note(self, event: Event) -> bool:
        """Store one event, with the promises of `append`; never raises."""
        if self._closed:
            return False
        self._lost += len(self._events) == BACKLOG_ROWS
        self._events.append(event)
        return self._flush()

    def last(self, kinds: Collection[EventKind]) -> Event | None:
        """The event of one of these kinds that was noted last, None when there is none.

        Raises HistoryError when the file is not open or cannot be read.
        """
        waiting = [event for event in self._events if event.kind in kinds]
        if waiting:
            return waiting[-1]
        try:
            return history_events.last(self._opened(), kinds)
        except FILE_ERRORS as exc:
            raise HistoryError(f"cannot read the history {self._path}: {exc}") from exc

    def means(self, now_utc_s: float, days: float) -> PeriodMeans:
        """Means over the `days` > 0 days that end now; records that wait in memory count too.

        Rows from the future, left by a clock that was wrong, do not count.
        Raises HistoryError when the file is not open or cannot be read.
        """
        db = self._opened()
        try:
            sums = PeriodSums(db, now_utc_s - days * DAY_S, now_utc_s)
        except FILE_ERRORS as exc:
            if is_damage(exc):
                self._write_failed(exc)
            raise HistoryError(f"cannot read the history {self._path}: {exc}") from exc
        for record in self._backlog:
            sums.add(record)
        return sums.means(days)

    def past(self, from_utc_s: float, to_utc_s: float) -> Iterator[Past]:
        """The samples that ended in that time, oldest first; then those that wait in memory.

        Raises HistoryError, also in the midst, when it is not open or cannot be read.
        """
        if self._db is None:
            raise HistoryError(f"the history {self._path} is not open: {self._fault or 'closed'}")
        try:
            yield from history_past.past(self._db, from_utc_s, to_utc_s)
        except FILE_ERRORS as exc:
            raise HistoryError(f"cannot read the history {self._path}: {exc}") from exc
        for record in list(self._backlog):
            if from_utc_s < int(record.sample.utc_s) <= to_utc_s:
                yield Past.of(record.sample)

    def own_cpu_ratio_s(self, from_utc_s: float, to_utc_s: float) -> float | None:
        """Our share of the CPU times seconds, over the rows of that time.

        None when the history has no row of any time, for then it is new and
        knows nothing. Raises HistoryError when it is not open or cannot be read.
        """
        db = self._opened()
        try:
            span = {"start": from_utc_s, "end": to_utc_s}
            ratio_s, any_rows = db.execute(OWN_CPU, span).fetchone()
        except FILE_ERRORS as exc:
            raise HistoryError(f"cannot read the history {self._path}: {exc}") from exc
        return float(ratio_s) if any_rows else None

    def set_period(self, days: int) -> None:
        """Keep this many days from the next append on."""
        self._period_days = days

    def close(self) -> None:
        """Write what waits in memory if that is possible now, fold the WAL in, and close."""
        if self._closed:
            return
        waiting = len(self._backlog) + len(self._events)
        if waiting and not self._flush():
            self._log.error("history.rows_lost", path=str(self._path), rows=waiting)
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
            with transaction(db):
                db.executemany(INSERT_ROW, map(_row, self._backlog))
                history_events.insert(db, self._events)
                if self._backlog:
                    self._purge_seldom(db, int(self._backlog[-1].sample.utc_s))
        except (*FILE_ERRORS, HistoryError) as exc:
            self._write_failed(exc)
            return False
        if self._fault is not None:
            self._log.info(
                "history.write_recovered",
                path=str(self._path),
                rows=len(self._backlog) + len(self._events),
                rows_lost=self._lost,
            )
        self._backlog.clear()
        self._events.clear()
        self._fault, self._lost = None, 0
        return True

    def _purge_seldom(self, db: sqlite3.Connection, now_utc_s: int) -> None:
        """Purge once a minute at most, for it looks at every row."""
        if abs(now_utc_s - self._purged_utc_s) >= PURGE_EVERY_S:
            purge(db, now_utc_s, self._period_days * DAY_S)
            self._purged_utc_s = now_utc_s

    def _opened(self) -> sqlite3.Connection:
        """The database to read from; raises HistoryError when it is not open."""
        if self._db is None:
            raise HistoryError(f"the history {self._path} is not open: {self._fault or 'closed'}")
        return self._db

    def _connection(self) -> sqlite3.Connection:
        """The open database, opened again when the file is not the one that was opened."""
        if self._db is not None and identity(self._path) != self._identity:
            self._log.warning(
                "history.replaced", path=str(self._path), remedy="stop the daemon before a restore"
            )
            self._drop()
        return self._db or self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            db = begun(self._path)
        except DamagedError as exc:
            aside = set_aside(self._path)
            self._log.error(
                "history.set_aside", path=str(aside), cause=str(exc), remedy="sqlite3 .recover"
            )
            db = begun(self._path)
        self._db, self._identity = db, identity(self._path)
        return db

    def _drop(self) -> None:
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _write_failed(self, error: Exception) -> None:
        """Log a failure, once for each cause; a damaged file is looked at with the next append."""
        if is_damage(error):
            self._drop()
        if str(error) != self._fault:
            self._fault = str(error)
            self._log.error(
                "history.write_failed",
                path=str(self._path),
                cause=self._fault,
                remedy=remedy(error, self._path),
                rows_waiting=len(self._backlog) + len(self._events),
            )


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
