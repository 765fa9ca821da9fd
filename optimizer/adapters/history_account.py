"""The rows that a report is made of, by columns: four scans, for whole rows take twice as long."""

from __future__ import annotations

import sqlite3
from array import array
from itertools import chain
from pathlib import Path

from optimizer.adapters.history_events import SINCE_VERSION, between
from optimizer.adapters.history_reading import reading
from optimizer.errors import HistoryError
from optimizer.model import PerResource, Resource
from optimizer.outcome import Columns, Event

_WHERE = "FROM sample WHERE utc_s > ? AND utc_s <= ? AND span_s > 0 ORDER BY {order}"


def read_account(
    path: Path, from_utc_s: float, to_utc_s: float, events_from_utc_s: float
) -> tuple[Columns, tuple[Event, ...]]:
    """The rows that ended in that time, and the events since the last time given; one snapshot.

    Raises HistoryError, with what to do, when there is no file or it cannot be read.
    """
    with reading(path) as (db, version):
        db.execute("BEGIN")
        found = columns(db, version, from_utc_s, to_utc_s)
        if version < SINCE_VERSION:
            return found, ()
        return found, between(db, events_from_utc_s, to_utc_s)


def columns(db: sqlite3.Connection, version: int, from_utc_s: float, to_utc_s: float) -> Columns:
    """The rows of that time within a transaction; raises sqlite3.Error or HistoryError."""
    span = (from_utc_s, to_utc_s)
    # Without `written`, files of version 1 have one row for each second.
    where = _WHERE.format(order="written" if version >= SINCE_VERSION else "utc_s")
    try:
        times = array("d", chain.from_iterable(db.execute(f"SELECT utc_s, span_s {where}", span)))
        cpu, memory, disk = (
            array("d", chain.from_iterable(db.execute(_of(resource, where), span)))
            for resource in Resource
        )
    except TypeError as exc:
        message = f"the history holds a value that is no number: {exc}; restore a backup"
        raise HistoryError(message) from exc
    of = PerResource(cpu=cpu, memory=memory, disk=disk)
    return Columns(utc_s=times[::2], span_s=times[1::2], of=of)


def _of(resource: Resource, where: str) -> str:
    name = resource.value
    known = f"{name} IS NOT NULL AND {name}_own IS NOT NULL"
    return (
        f"SELECT CASE WHEN {known} THEN {name} ELSE -1 END, IFNULL({name}_own, -1),"
        f" IFNULL({name}_setpoint, -1) {where}"
    )
