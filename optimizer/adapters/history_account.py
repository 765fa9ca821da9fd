"""The rows that a report is made of, by columns: four scans, for whole rows take twice as long."""

from __future__ import annotations

import sqlite3
from array import array
from dataclasses import replace
from itertools import chain
from pathlib import Path

from optimizer.adapters.history_events import SINCE_VERSION, between
from optimizer.adapters.history_file import DAY_S
from optimizer.adapters.history_reading import reading
from optimizer.adapters.history_sound import SAMPLE, is_known, ratio
from optimizer.model import PerResource, Resource
from optimizer.outcome import Columns, Event, Past

QUICK_S = 0.3
"""How long the status waits for a lock on the history."""
_MINUTE = "(utc_s + 59) / 60"


def _minute_means(name: str) -> str:
    """Total and organic of the rows of a group, weighted by their spans; NULL where unknown."""
    known = f"FILTER (WHERE {is_known(name)})"
    spans = f"SUM(span_s) {known}"
    return (
        f"SUM({name} * span_s) {known} / {spans},"
        f" SUM(MAX(0, {name} - {name}_own) * span_s) {known} / {spans}"
    )


_MINUTE_MEANS = ", ".join(_minute_means(resource.value) for resource in Resource)


def read_account(
    path: Path, from_utc_s: float, to_utc_s: float, events_from_utc_s: float
) -> tuple[Columns, tuple[Event, ...]]:
    """The rows that ended in that time, and the events since the last time given; one snapshot.

    Raises HistoryError, with what to do, when there is no file or it cannot be read.
    """
    with reading(path) as (db, version):
        db.execute("BEGIN")
        found = columns(db, version, from_utc_s, to_utc_s)
        found = replace(found, disk_reason=newest_disk_reason(db, version, to_utc_s))
        if version < SINCE_VERSION:
            return found, ()
        return found, between(db, events_from_utc_s, to_utc_s)


def read_last_day(path: Path, now_utc_s: float) -> list[Past]:
    """The samples of the 24 hours before now, those of a minute as one, oldest first.

    A few milliseconds; raises HistoryError as `read_account` does.
    """
    with reading(path, QUICK_S) as (db, _):
        return [
            Past(
                end_s, span_s, PerResource(cpu=(x[0], x[1]), memory=(x[2], x[3]), disk=(x[4], x[5]))
            )
            for end_s, span_s, *x in db.execute(
                f"SELECT MAX(utc_s), SUM(span_s), {_MINUTE_MEANS} FROM sample"  # noqa: S608
                f" WHERE utc_s > ? AND utc_s <= ? AND {SAMPLE} GROUP BY {_MINUTE} ORDER BY 1",
                (now_utc_s - DAY_S, now_utc_s),
            )
        ]


def newest_disk_reason(db: sqlite3.Connection, version: int, to_utc_s: float) -> str | None:
    """Why the newest row until then holds the disk as it does; None where it does not tell."""
    number = "written" if version >= SINCE_VERSION else "utc_s"
    query = f"SELECT disk_reason FROM sample WHERE utc_s <= ? ORDER BY {number} DESC LIMIT 1"  # noqa: S608
    found = db.execute(query, (to_utc_s,)).fetchone()
    return found[0] if found is not None and isinstance(found[0], str) else None


def columns(db: sqlite3.Connection, version: int, from_utc_s: float, to_utc_s: float) -> Columns:
    """The rows of that time within a transaction; raises sqlite3.Error."""
    span = (from_utc_s, to_utc_s)
    times, cpu, memory, disk = (values(db, query, span) for query in queries(version))
    of = PerResource(cpu=cpu, memory=memory, disk=disk)
    return Columns(utc_s=times[::2], span_s=times[1::2], of=of)


def queries(version: int) -> list[str]:
    """The end and length of each row; then total, own and setpoint of each resource, or -1."""
    # Without `written`, files of version 1 have one row for each second.
    order = "written" if version >= SINCE_VERSION else "utc_s"
    chosen = ["utc_s, span_s"]
    for resource in Resource:
        names = (resource.value, f"{resource.value}_own", f"{resource.value}_setpoint")
        chosen.append(", ".join(f"IFNULL({ratio(name)}, -1)" for name in names))
    return [
        f"SELECT {what} FROM sample WHERE utc_s > ? AND utc_s <= ? AND {SAMPLE} ORDER BY {order}"  # noqa: S608
        for what in chosen
    ]


def values(db: sqlite3.Connection, query: str, span: tuple[float, float]) -> array[float]:
    """All values of all rows in turn."""
    return array("d", chain.from_iterable(db.execute(query, span)))
