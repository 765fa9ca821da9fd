"""Adds rows from elsewhere to the history; only while no daemon runs, for there is one writer."""

from __future__ import annotations

import os
import sqlite3
import stat
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from optimizer.adapters import history_events
from optimizer.adapters.history_file import (
    DAY_S,
    FILE_ERRORS,
    INSERT_NUMBERED,
    DamagedError,
    begun,
    remedy,
    transaction,
)
from optimizer.adapters.history_sound import SAMPLE
from optimizer.errors import HistoryError
from optimizer.outcome import Event, EventKind, HistoryRow

_COVERED = f"SELECT utc_s, span_s FROM sample WHERE {SAMPLE} AND utc_s < 1e12 ORDER BY utc_s"  # noqa: S608
_CHUNK = 50_000
_SLACK_S = 1.0
"""Rows end on whole seconds, so the ends of neighbours may overlap by so much."""
NEW_MODE = 0o640
"""Of a history where there was none, less what the umask takes."""
AHEAD_S = 60.0
"""A row that ends later than this from now was written by a clock that was wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sifted:
    """What is to be stored, by time, and how many rows are left out for which reason."""

    rows: tuple[HistoryRow, ...]
    known: int
    too_old: int


def ahead(rows: Iterable[HistoryRow], now_utc_s: float) -> tuple[HistoryRow, ...]:
    """The rows that end in the future."""
    return tuple(row for row in rows if row.utc_s > now_utc_s + AHEAD_S)


def sift(
    sources: Iterable[Sequence[HistoryRow]],
    covered: Iterable[tuple[float, float]],
    *,
    after_utc_s: float,
) -> Sifted:
    """What of the sources is new: the history's own rows win, then the earlier source.

    `covered` are the (end, span) of the rows that are there. Within one source
    only a row that is there twice counts as known, for a clock that was set
    back gives two rows to the same time.
    """
    cover = Cover(covered)
    chosen: list[HistoryRow] = []
    known = too_old = 0
    for source in sources:
        seen: set[HistoryRow] = set()
        for row in source:
            if row.utc_s <= after_utc_s:
                too_old += 1
            elif row in seen or cover.touches(row.utc_s, row.span_s):
                known += 1
            else:
                seen.add(row)
                chosen.append(row)
        cover.add((row.utc_s, row.span_s) for row in seen)
    return Sifted(
        rows=tuple(sorted(chosen, key=lambda row: row.utc_s)), known=known, too_old=too_old
    )


class Cover:
    """The times that rows cover, as stretches that do not touch, in order."""

    def __init__(self, rows: Iterable[tuple[float, float]]) -> None:
        self._starts: list[float] = []
        self._ends: list[float] = []
        self.add(rows)

    def add(self, rows: Iterable[tuple[float, float]]) -> None:
        """Cover these as well; a few at a time are taken out of what may be millions."""
        left = iter(rows)
        while chunk := [(end - span, end) for end, span in islice(left, _CHUNK)]:
            chunk.sort()
            first = bisect_left(self._ends, chunk[0][0])
            chunk += zip(self._starts[first:], self._ends[first:], strict=True)
            del self._starts[first:], self._ends[first:]
            for start, end in sorted(chunk):
                if self._ends and start <= self._ends[-1]:
                    self._ends[-1] = max(self._ends[-1], end)
                else:
                    self._starts.append(start)
                    self._ends.append(end)

    def touches(self, end_s: float, span_s: float) -> bool:
        """Whether a row lies partly in a covered time, by more than the ends of neighbours do."""
        slack_s = min(_SLACK_S, span_s / 4)
        at = bisect_left(self._starts, end_s - slack_s) - 1
        return at >= 0 and self._ends[at] > end_s - span_s + slack_s


def store(
    path: Path,
    sources: Sequence[Sequence[HistoryRow]],
    *,
    now_utc_s: float,
    period_days: int,
    detail: str,
) -> Sifted:
    """Add what is new in one transaction, with an event; the caller holds the instance lock.

    The rows are numbered before those that are there, as if they had been
    written first: so a purge takes them first, and what the daemon has
    recorded stays until a period was recorded after it. Raises HistoryError,
    also for a link; nothing is stored then, nor after a kill.
    """
    try:
        _made_ready(path)
        with closing(begun(path)) as db:
            with transaction(db):
                sifted = sift(
                    sources,
                    db.execute(_COVERED),
                    after_utc_s=now_utc_s - period_days * DAY_S,
                )
                _insert(db, sifted.rows)
                if sifted.rows:
                    history_events.insert(db, [_event(sifted.rows, now_utc_s, detail)])
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return sifted
    except DamagedError as exc:
        raise HistoryError(
            f"the history {path} is damaged ({exc}); nothing was imported: start the daemon once, "
            "which sets it aside and begins a new one, stop it, and import again"
        ) from exc
    except FILE_ERRORS as exc:
        raise HistoryError(f"cannot write the history {path}: {exc}; {remedy(exc, path)}") from exc


def _made_ready(path: Path) -> None:
    """Make an empty file where there is none; raises HistoryError for what is no file.

    What else goes wrong SQLite tells when it opens the file.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, NEW_MODE))
    except FileExistsError:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise HistoryError(
                f"{path} is not a regular file, and an import does not write to what it leads "
                "to: set WORKSPACE_DIR to the directory where the history is"
            ) from None
    except OSError:
        return


def _insert(db: sqlite3.Connection, rows: Sequence[HistoryRow]) -> None:
    least = db.execute("SELECT MIN(written) FROM sample").fetchone()[0]
    first = 1 if least is None else least - len(rows)
    db.executemany(INSERT_NUMBERED, ((first + at, *row) for at, row in enumerate(rows)))


def _event(rows: Sequence[HistoryRow], now_utc_s: float, detail: str) -> Event:
    first, last = (datetime.fromtimestamp(row.utc_s, tz=UTC) for row in (rows[0], rows[-1]))
    said = f"{len(rows)} row{'s' * (len(rows) != 1)}, {first:%Y-%m-%d %H:%M} to "
    return Event(
        utc_s=now_utc_s,
        kind=EventKind.IMPORTED,
        detail=f"{said}{last:%Y-%m-%d %H:%M} UTC, from {detail}",
    )
