"""A tenant's CPU utilisation from a CSV file, at any spacing, as one value a minute."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from optimizer.errors import TraceError

MINUTE_S = 60
MOST_MINUTES = 366 * 1440
_GAP_FACTOR = 2.5
"""A value stands for up to so many times the usual spacing; after that nothing is known."""
_KNOWN_RATIO = 0.5
"""A minute of an export of which less than this is known is unknown, as for the planner."""
_TIMES = ("timestamp", "utc_s", "time")
_VALUES = ("value", "cpu_organic", "cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The tenant's ratio in each minute from `start_utc_s` on, 0 to 1; None where unknown."""

    start_utc_s: int
    minutes: tuple[float | None, ...]

    def repeated(self, days: float | None) -> Trace:
        """So many days of it, from the start again where it ends; None: once."""
        if days is None:
            return self
        count = min(MOST_MINUTES, max(1, round(days * 1440)))
        times = -(-count // len(self.minutes))
        return Trace(start_utc_s=self.start_utc_s, minutes=(self.minutes * times)[:count])


class _Sample(NamedTuple):
    """A row of an export: from when to when, and the tenant's ratio."""

    begin_s: float
    end_s: float
    value: float | None


def read(lines: Iterable[str], name: str) -> Trace:
    """The trace in the lines of a CSV file with a header; `name` is for messages.

    Columns are `timestamp` (ISO 8601, UTC unless it says otherwise, or seconds
    since the epoch) and `value` in percent; or, as the history is exported,
    `utc_s` and `cpu` with `cpu_own`, as ratios, of the `span_s` seconds that end
    at `utc_s`. An empty value is unknown. Where the clock was set back during an
    export, the later rows count. In other files that is a fault.
    Raises TraceError with line and value.
    """
    rows = csv.reader(lines)
    try:
        header = [cell.strip().lower() for cell in next(rows, [])]
        at = _column(header, _TIMES, name)
        column = _column(header, _VALUES, name)
        own = header.index("cpu_own") if header[column] == "cpu" and "cpu_own" in header else None
        scale = 100.0 if header[column] == "value" else 1.0
        span = header.index("span_s") if header[at] == "utc_s" and "span_s" in header else None
        points: list[tuple[float, float | None, int]] = []
        samples: list[_Sample] = []
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            point = _point(row, rows.line_num, at, column, own, scale, name)
            points.append(point)
            if span is not None:
                _append(samples, point, _span(row, span, rows.line_num, name))
    except csv.Error as exc:
        raise TraceError(f"{name}, line {rows.line_num}: {exc}; is it a CSV file?") from exc
    return _minutes(points, name) if span is None else _covered(samples, name)


def _column(header: Sequence[str], names: Sequence[str], name: str) -> int:
    for one in names:
        if one in header:
            return header.index(one)
    raise TraceError(
        f"{name}, line 1: no column {' or '.join(names)} in {','.join(header)[:80]!r}; "
        "the first line must be: timestamp,value"
    )


def _point(
    row: Sequence[str],
    line: int,
    at: int,
    column: int,
    own: int | None,
    scale: float,
    name: str,
) -> tuple[float, float | None, int]:
    needed = max(at, column, own or 0)
    if len(row) <= needed:
        raise TraceError(f"{name}, line {line}: {len(row)} columns, {needed + 1} are needed")
    utc_s = _time(row[at].strip(), line, name)
    value = _ratio(row[column], scale, line, name)
    if value is not None and own is not None:
        part = _ratio(row[own], scale, line, name)
        value = None if part is None else max(0.0, value - part)
    return utc_s, value, line


def _time(text: str, line: int, name: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as exc:
            raise TraceError(
                f"{name}, line {line}: timestamp {text[:40]!r} is no time; write for example "
                "2026-11-01 12:00:00"
            ) from exc
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0 <= seconds < 1e11:
        raise TraceError(f"{name}, line {line}: timestamp {text[:40]!r} is out of range")
    return seconds


def _ratio(text: str, scale: float, line: int, name: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value) or not 0 <= value <= scale * 1.001:
        raise TraceError(
            f"{name}, line {line}: value {text.strip()[:40]!r} must be a number from 0 to {scale:g}"
        )
    return min(1.0, value / scale)


def _span(row: Sequence[str], at: int, line: int, name: str) -> float:
    text = row[at].strip() if at < len(row) else ""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= MOST_MINUTES * MINUTE_S:
        raise TraceError(
            f"{name}, line {line}: span_s {text[:40]!r} must be a number of seconds above 0"
        )
    return seconds


def _append(samples: list[_Sample], point: tuple[float, float | None, int], span_s: float) -> None:
    """Take in a sample; of those that ended no sooner nothing stays, nor of an overlap."""
    end_s, value, _ = point
    while samples and samples[-1].end_s >= end_s:
        samples.pop()
    begin_s = max(0.0, end_s - span_s, samples[-1].end_s if samples else 0.0)
    if begin_s < end_s:
        samples.append(_Sample(begin_s, end_s, value))


def _covered(samples: Sequence[_Sample], name: str) -> Trace:
    """The mean of each minute of which at least half is known."""
    if not samples:
        raise TraceError(f"{name}: no row of values; at least one is needed")
    first = math.floor(samples[0].begin_s / MINUTE_S)
    count = math.ceil(samples[-1].end_s / MINUTE_S) - first
    _refuse_long(count, name)
    known_s, total_s = [0.0] * count, [0.0] * count
    for begin_s, end_s, value in samples:
        if value is None:
            continue
        for at in range(math.floor(begin_s / MINUTE_S), math.ceil(end_s / MINUTE_S)):
            part_s = min(end_s, (at + 1) * MINUTE_S) - max(begin_s, at * MINUTE_S)
            known_s[at - first] += part_s
            total_s[at - first] += value * part_s
    minutes = [
        total / known if known >= _KNOWN_RATIO * MINUTE_S else None
        for known, total in zip(known_s, total_s, strict=True)
    ]
    return Trace(start_utc_s=first * MINUTE_S, minutes=tuple(minutes))


def _refuse_long(count: int, name: str) -> None:
    if count > MOST_MINUTES:
        raise TraceError(f"{name}: {count / 1440:.0f} days; at most a year is taken")


def _minutes(points: Sequence[tuple[float, float | None, int]], name: str) -> Trace:
    if len(points) < 2:
        raise TraceError(f"{name}: {len(points)} row(s) of values; at least two are needed")
    for (before, _, _), (after, _, line) in pairwise(points):
        if after <= before:
            raise TraceError(
                f"{name}, line {line}: its time is not after that of the row before; "
                "sort the rows by time and leave out doubles"
            )
    steps = sorted(b[0] - a[0] for a, b in pairwise(points))
    spacing_s = steps[len(steps) // 2]
    first = math.floor(points[0][0] / MINUTE_S)
    count = math.ceil((points[-1][0] + spacing_s) / MINUTE_S) - first
    _refuse_long(count, name)
    lasting_s = max(MINUTE_S, _GAP_FACTOR * spacing_s)
    minutes: list[float | None] = []
    at, value, since_s = 0, None, -math.inf
    for minute in range(first, first + count):
        seen: list[float] = []
        while at < len(points) and points[at][0] < (minute + 1) * MINUTE_S:
            since_s, value, _ = points[at]
            if value is not None:
                seen.append(value)
            at += 1
        if seen:
            minutes.append(sum(seen) / len(seen))
        else:
            fresh = minute * MINUTE_S - since_s <= lasting_s
            minutes.append(value if fresh else None)
    return Trace(start_utc_s=first * MINUTE_S, minutes=tuple(minutes))
