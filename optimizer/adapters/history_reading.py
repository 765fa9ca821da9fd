"""Reads the history beside a running daemon or without one; never writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

from optimizer.adapters import history_events, history_past
from optimizer.adapters.history_file import COLUMNS, DAY_S, FILE_ERRORS, refuse_newer, remedy
from optimizer.adapters.history_means import PeriodSums
from optimizer.adapters.history_sound import SAMPLE, ratio, reason
from optimizer.errors import HistoryError
from optimizer.outcome import Event, HistoryRow, Past, PeriodMeans

READ_TIMEOUT_S = 5.0
"""How long a reader waits for a lock."""
_NONE = "there is no history at {path}: the daemon writes it after its first interval"
_FACTS = ", ".join(reason(x) if x.endswith("_reason") else ratio(x) for x in COLUMNS[2:])
_ROWS = f"""
    SELECT rowid, utc_s, span_s, {_FACTS} FROM sample
    WHERE (utc_s, rowid) > (?, ?) AND utc_s <= ? AND {SAMPLE} ORDER BY utc_s, rowid LIMIT ?
"""  # noqa: S608 - constants only
_SPANS = f"""
    SELECT rowid, utc_s, span_s FROM sample
    WHERE (utc_s, rowid) > (?, ?) AND utc_s <= ? AND {SAMPLE} ORDER BY utc_s, rowid LIMIT ?
"""  # noqa: S608 - constants only
SLICE_ROWS = 20_000
"""So many rows are read at a time: about 10 MB."""
_LAST_NUMBER = 2**63 - 1
EVER_S = 1e12
"""Later than any row."""


def read_means(path: Path, now_utc_s: float, days: float) -> PeriodMeans:
    """Means as `SqliteHistory.means` gives them.

    Raises HistoryError, with what to do, when there is no file
    or it cannot be read.
    """
    with reading(path) as (db, _):
        return PeriodSums(db, now_utc_s - days * DAY_S, now_utc_s).means(days)


def read_events(path: Path, from_utc_s: float, to_utc_s: float) -> tuple[Event, ...]:
    """The events after the first time up to the second, in the order in which they were noted.

    A file of an older program, which noted none, has none. Raises HistoryError
    as `read_means` does.
    """
    with reading(path) as (db, version):
        if version < history_events.SINCE_VERSION:
            return ()
        return history_events.between(db, from_utc_s, to_utc_s)


def read_rows(path: Path, from_utc_s: float, to_utc_s: float) -> list[HistoryRow]:
    """The rows that ended after the first time and up to the second, by time.

    Raises HistoryError as `read_means` does.
    """
    return list(chain.from_iterable(row_slices(path, from_utc_s, to_utc_s)))


def row_slices(path: Path, from_utc_s: float, to_utc_s: float) -> Iterator[list[HistoryRow]]:
    """The same a slice at a time; of one second, in the order in which they were written.

    Raises HistoryError as `read_means` does, also in the midst.
    """
    for found in _slices(path, _ROWS, from_utc_s, to_utc_s):
        yield [HistoryRow._make(row[1:]) for row in found]


def read_spans(path: Path) -> Iterator[tuple[float, float]]:
    """End and length of all rows by time; raises HistoryError as `row_slices` does."""
    for found in _slices(path, _SPANS, -1.0, EVER_S):
        for _, end_s, span_s in found:
            yield end_s, span_s


def _slices(
    path: Path, query: str, from_utc_s: float, to_utc_s: float
) -> Iterator[list[tuple[Any, ...]]]:
    """Rows with their numbers, each slice of one moment.

    One who holds a reading transaction open makes the daemon's WAL grow.
    """
    after: tuple[float, int] = (from_utc_s, _LAST_NUMBER)
    while True:
        with reading(path) as (db, _):
            found = db.execute(query, (*after, to_utc_s, SLICE_ROWS)).fetchall()
        if found:
            yield found
        if len(found) < SLICE_ROWS:
            return
        number, end_s = found[-1][:2]
        after = (end_s, number)


def read_past(path: Path, from_utc_s: float, to_utc_s: float) -> list[Past]:
    """The rows as `SqliteHistory.past` gives them; raises HistoryError as `read_means` does."""
    with reading(path) as (db, _):
        return list(history_past.past(db, from_utc_s, to_utc_s))


@contextmanager
def reading(
    path: Path, timeout_s: float = READ_TIMEOUT_S
) -> Iterator[tuple[sqlite3.Connection, int]]:
    """A connection that only reads, and the schema version; raises HistoryError.

    Within, an error of the file becomes one, too, with what to do.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=timeout_s)) as db:
            version = refuse_newer(db, path)
            if version == 0:
                # Just made, or its maker was killed before the tables were there.
                raise HistoryError(_NONE.format(path=path))
            yield db, version
    except FILE_ERRORS as exc:
        with suppress(OSError):
            if not path.exists():
                raise HistoryError(_NONE.format(path=path)) from exc
        raise HistoryError(f"cannot read the history {path}: {exc}; {remedy(exc, path)}") from exc
