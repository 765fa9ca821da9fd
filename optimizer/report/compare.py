"""Two periods of one host side by side; pure.

All ratios are 0 to 1; None is unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from optimizer.control.statistic import least
from optimizer.model import PerResource, Resource
from optimizer.outcome import Columns
from optimizer.report.grid import Grid, Rows, rows
from optimizer.report.hours import (
    COVERED_HOUR_S,
    HOUR_S,
    Change,
    HourChange,
    changes,
    difference,
    said,
)
from optimizer.report.percentile import P95, weighted_percentile
from optimizer.report.periods import DAY_S, Period
from optimizer.report.unusual import USUAL_DAYS, Unusual, unusual

SHOWN_HOURS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One resource in one period, over its known time.

    `p95_ratio` is what the total does not exceed for 95 % of the known time;
    `below_hours` how long it was below the target and `below_ratio` which share
    of the known time that is, None without a target or a known time.
    """

    organic_ratio: float | None
    own_ratio: float | None
    total_ratio: float | None
    p95_ratio: float | None
    peak_ratio: float | None
    organic_p95_ratio: float | None
    organic_peak_ratio: float | None
    coverage: float
    below_hours: float | None
    below_ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceComparison:
    """One resource in both periods.

    `change` and `organic_difference` are of the organic medians of the same
    hours: of the week where both periods have enough of them (`cycle` 168),
    else of the day (24); `noise` is the half width of the difference's 95 %
    interval. `unusual` is what stands out in the second period from all that
    was before it, the first period or not.
    """

    resource: Resource
    before: Figures
    after: Figures
    change: Change
    cycle: int
    organic_difference: float | None
    noise: float | None
    hours: tuple[HourChange, ...]
    unusual: Unusual


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two periods, the first of which is what the second is held against."""

    before: Period
    after: Period
    of: PerResource[ResourceComparison]


def reading_from(before: Period, after: Period) -> float:
    """From when on rows are needed, UTC seconds: what is usual shows before the second one."""
    return min(before.from_utc_s, after.from_utc_s - USUAL_DAYS * DAY_S)


def compare(
    columns: Columns, before: Period, after: Period, target: PerResource[float]
) -> Comparison:
    """Hold one period against another; the columns begin where `reading_from` says."""
    found = rows(columns)

    def one(resource: Resource) -> ResourceComparison:
        return _resource(resource, found, before, after, target.of(resource))

    return Comparison(
        before=before,
        after=after,
        of=PerResource(cpu=one(Resource.CPU), memory=one(Resource.MEMORY), disk=one(Resource.DISK)),
    )


def _resource(
    resource: Resource, found: Rows, before: Period, after: Period, target: float
) -> ResourceComparison:
    now = _hourly(found, resource, after.from_utc_s, after.to_utc_s)
    cycle, changed = changes(
        _hourly(found, resource, before.from_utc_s, before.to_utc_s),
        now,
    )
    shift, noise = difference(changed, cycle)
    usual_s = after.from_utc_s - USUAL_DAYS * DAY_S
    return ResourceComparison(
        resource=resource,
        before=_figures(found, resource, before, target),
        after=_figures(found, resource, after, target),
        change=said(shift, noise),
        cycle=cycle,
        organic_difference=shift,
        noise=noise,
        hours=tuple(sorted(changed, key=lambda one: -abs(one.difference))[:SHOWN_HOURS]),
        unusual=unusual(_hourly(found, resource, usual_s, after.from_utc_s), now),
    )


def _hourly(found: Rows, resource: Resource, from_s: float, to_s: float) -> dict[int, float]:
    """The organic mean of each hour of which enough is known, by hours since the epoch."""
    first = math.floor(from_s / HOUR_S)
    cells = math.ceil(to_s / HOUR_S) - first
    of = found.within(from_s, to_s)
    sums = Grid(of, first * HOUR_S, HOUR_S, cells).sums(of.of.of(resource))
    known = zip(sums.known_s.tolist(), sums.organic.tolist(), strict=True)
    return {
        first + place: organic / seconds
        for place, (seconds, organic) in enumerate(known)
        if seconds >= COVERED_HOUR_S
    }


def _figures(found: Rows, resource: Resource, of: Period, target: float) -> Figures:
    inside = found.within(of.from_utc_s, of.to_utc_s)
    used = inside.of.of(resource)
    seconds = (inside.end_s - inside.start_s)[used.known]
    total, own, organic = (x[used.known] for x in (used.total, used.own, used.organic))
    known_s = float(seconds.sum())
    if not known_s:
        return Figures(
            organic_ratio=None,
            own_ratio=None,
            total_ratio=None,
            p95_ratio=None,
            peak_ratio=None,
            organic_p95_ratio=None,
            organic_peak_ratio=None,
            coverage=0.0,
            below_hours=None,
            below_ratio=None,
        )
    below_s = float(seconds[total < least(target)].sum()) if target > 0 else None
    return Figures(
        organic_ratio=float((organic * seconds).sum()) / known_s,
        own_ratio=float((own * seconds).sum()) / known_s,
        total_ratio=float((total * seconds).sum()) / known_s,
        p95_ratio=weighted_percentile(total, seconds, P95),
        peak_ratio=float(total.max()),
        organic_p95_ratio=weighted_percentile(organic, seconds, P95),
        organic_peak_ratio=float(organic.max()),
        coverage=min(1.0, known_s / (of.to_utc_s - of.from_utc_s)),
        below_hours=None if below_s is None else below_s / HOUR_S,
        below_ratio=None if below_s is None else below_s / known_s,
    )
