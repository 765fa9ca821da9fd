"""The events in the history's file: what happened, so that a report can explain a dip."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable

from optimizer.outcome import Event, EventKind

SINCE_VERSION = 2
"""The first schema version that has events."""
MOST_EVENTS = 10_000
"""Older ones go: a daemon that is started anew each second must not fill the disk.

A hundred bytes each; a usual month has some dozens.
"""
_COLUMNS = ("utc_s", "kind", "reason", "by", "since_utc_s", "until_utc_s", "detail")
_NAMES = ", ".join(f'"{name}"' for name in _COLUMNS)
CREATE = """
    CREATE TABLE event(
        id INTEGER PRIMARY KEY,
        utc_s REAL NOT NULL,
        kind TEXT NOT NULL,
        reason TEXT, "by" TEXT, since_utc_s REAL, until_utc_s REAL, detail TEXT,
        after_row INTEGER NOT NULL DEFAULT 0)
"""
"""In the order of `id` they were told; a clock may have been put back between two of them.

`after_row` is the number of the sample that was written last before the event.
"""
INSERT = f"""
    INSERT INTO event({_NAMES}, after_row)
    VALUES ({", ".join("?" for _ in _COLUMNS)}, (SELECT COALESCE(MAX(written), 0) FROM sample))
"""  # noqa: S608 - constants only
_SPAN = f"SELECT {_NAMES} FROM event WHERE utc_s > ? AND utc_s <= ? ORDER BY id"  # noqa: S608 - constants only
_NEWEST = f"SELECT {_NAMES} FROM event ORDER BY id DESC"  # noqa: S608 - constants only


def insert(db: sqlite3.Connection, events: Iterable[Event]) -> None:
    """Add events, and drop the oldest beyond the most; raises sqlite3.Error."""
    if rows := [_row(event) for event in events]:
        db.executemany(INSERT, rows)
        db.execute("DELETE FROM event WHERE id <= (SELECT MAX(id) FROM event) - ?", (MOST_EVENTS,))


def between(db: sqlite3.Connection, from_utc_s: float, to_utc_s: float) -> tuple[Event, ...]:
    """The events after the first time up to the second, as they were told; raises sqlite3.Error."""
    return _known(db.execute(_SPAN, (from_utc_s, to_utc_s)))


def last(db: sqlite3.Connection, kinds: Collection[EventKind]) -> Event | None:
    """The event of one of these kinds that was told last; raises sqlite3.Error."""
    for row in db.execute(_NEWEST):
        for event in _known([row]):
            if event.kind in kinds:
                return event
    return None


def _row(event: Event) -> tuple[float | str | None, ...]:
    return (
        event.utc_s,
        event.kind.value,
        event.reason or None,
        event.by or None,
        event.since_utc_s,
        event.until_utc_s,
        event.detail or None,
    )


def _known(rows: Iterable[tuple[object, ...]]) -> tuple[Event, ...]:
    """The events of kinds that this program knows; what a damaged row lacks is left out."""
    names = {kind.value: kind for kind in EventKind}
    return tuple(
        Event(
            utc_s=utc_s,
            kind=names[kind],
            reason=_text(reason),
            by=_text(by),
            since_utc_s=_number(since_utc_s),
            until_utc_s=_number(until_utc_s),
            detail=_text(detail),
        )
        for utc_s, kind, reason, by, since_utc_s, until_utc_s, detail in rows
        if isinstance(utc_s, float) and isinstance(kind, str) and kind in names
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    return value if isinstance(value, float) else None
