"""The means of a period, as sums over rows and as one record adds to them."""

from __future__ import annotations

import sqlite3

from optimizer.adapters.history_file import DAY_S
from optimizer.adapters.history_sound import SAMPLE, is_known
from optimizer.model import PerResource, Resource
from optimizer.outcome import MOST_RATIO, PeriodMean, PeriodMeans, Record

_MINUTE_S = 60
_SLACK_S = 1.0
"""Ends are stored in whole seconds, so neighbours may overlap by less than this."""


def _sums(counted_s: str) -> str:
    """For each resource: total and own share times the seconds known, and these seconds."""
    chosen = []
    for resource in Resource:
        name, known = f"s.{resource.value}", f"FILTER (WHERE {is_known(f's.{resource.value}')})"
        weighed = (f"{name} * {counted_s}", f"{name}_own * {counted_s}", counted_s)
        chosen += [f"TOTAL({one}) {known}" for one in weighed]
    return ", ".join(chosen)


_WITHIN = f"utc_s > :start AND utc_s <= :end AND {SAMPLE}"
_BEFORE = f"(p.utc_s - p.utc_s % {_MINUTE_S})"
_USED = ", ".join(f"{x.value}, {x.value}_own" for x in Resource)
_RESOLVED = f"""
    WITH told AS (
        SELECT rowid AS number, utc_s, span_s, {_USED},
            LEAD(utc_s) OVER (ORDER BY utc_s, rowid) AS next_s
        FROM sample WHERE {_WITHIN}
    ), counted AS (
        SELECT {_USED}, MIN(span_s, utc_s - :start, MAX(0, utc_s - IFNULL(
            LAG(utc_s - utc_s % {_MINUTE_S}) OVER (ORDER BY utc_s, number), utc_s - span_s
        ))) AS counted_s
        FROM told WHERE next_s IS NOT utc_s OR utc_s % {_MINUTE_S}
    )
    SELECT {_sums("s.counted_s")} FROM counted s
"""  # noqa: S608 - constants only
"""The sums where rows tell of the same time: each counts as in a report, see report/grid.py."""


_ODD = " OR ".join(
    f"s.{name} NOT BETWEEN 0 AND {MOST_RATIO} OR s.{name}_own NOT BETWEEN 0 AND {MOST_RATIO}"
    f" OR (s.{name} IS NULL) <> (s.{name}_own IS NULL)"
    for name in (resource.value for resource in Resource)
)
_NEEDS_CARE = f"""
    SELECT EXISTS(
        SELECT 1 FROM sample s LEFT JOIN sample p ON p.rowid = s.rowid - 1
        WHERE {_WITHIN.replace("utc_s", "s.utc_s").replace("span_s", "s.span_s")}
        AND (s.utc_s - s.span_s <= {_BEFORE} - {_SLACK_S} OR {_ODD})
    )
"""  # noqa: S608 - constants only
"""Whether any row tells of the same time as the one before it, or has a value that is no ratio."""
_QUICK = f"""
    SELECT MAX(utc_s), COUNT(*), {
    ", ".join(
        f"TOTAL({x.value} * span_s), TOTAL({x.value}_own * span_s), "
        f"TOTAL(span_s) FILTER (WHERE {x.value} IS NOT NULL)"
        for x in Resource
    )
} FROM sample WHERE {_WITHIN}
"""  # noqa: S608 - constants only
"""The sums where no row needs care, at half the time; the first row counts whole."""
_FIRST = f"SELECT utc_s, span_s, {_USED} FROM sample WHERE {_WITHIN} ORDER BY utc_s LIMIT 1"  # noqa: S608


class PeriodSums:
    """Sums over the rows that ended in a time; raises sqlite3.Error."""

    def __init__(self, db: sqlite3.Connection, start_utc_s: float, end_utc_s: float) -> None:
        self._start_s, self._end_s = start_utc_s, end_utc_s
        span = {"start": start_utc_s, "end": end_utc_s}
        self._last_s, self._rows, *self._sums = db.execute(_QUICK, span).fetchone()
        if db.execute(_NEEDS_CARE, span).fetchone()[0]:
            self._sums = list(db.execute(_RESOLVED, span).fetchone())
        else:
            self._cut_first(db.execute(_FIRST, span).fetchone())

    def _cut_first(self, row: tuple[float | None, ...] | None) -> None:
        """Of the row that began before the time, only what lies in it counts."""
        if row is None:
            return
        end_s, span_s, *used = row
        before_s = self._start_s - ((end_s or 0.0) - (span_s or 0.0))
        if before_s <= 0:
            return
        for number, (total, own) in enumerate(zip(used[::2], used[1::2], strict=True)):
            if total is not None and own is not None:
                self._sums[3 * number] -= total * before_s
                self._sums[3 * number + 1] -= own * before_s
                self._sums[3 * number + 2] -= before_s

    def add(self, record: Record) -> None:
        """Count a record that is not yet in the file; what the rows tell of counts once."""
        sample, end_s = record.sample, int(record.sample.utc_s)
        if not self._start_s < end_s <= self._end_s:
            return
        self._rows += 1
        before_s = self._start_s
        if self._last_s is not None:
            before_s = max(before_s, self._last_s - self._last_s % _MINUTE_S)
        span_s = max(0.0, min(sample.span_s, end_s - before_s))
        self._last_s = end_s if self._last_s is None else max(self._last_s, end_s)
        for number, used in enumerate(sample.usage):
            if used is not None:
                self._sums[3 * number] += used.total_ratio * span_s
                self._sums[3 * number + 1] += used.own_ratio * span_s
                self._sums[3 * number + 2] += span_s

    def means(self, days: float) -> PeriodMeans:
        """The means of these `days` days."""

        def mean(first: int) -> PeriodMean:
            total, own, known_s = self._sums[first : first + 3]
            return PeriodMean(
                mean_ratio=total / known_s if known_s else None,
                own_mean_ratio=own / known_s if known_s else None,
                coverage_ratio=min(1.0, known_s / (days * DAY_S)),
            )

        of = PerResource(cpu=mean(0), memory=mean(3), disk=mean(6))
        return PeriodMeans(days=days, rows=self._rows, of=of)
