"""Two periods of one host side by side; pure.

All ratios are 0 to 1; None is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from optimizer.model import PerResource, Resource
from optimizer.outcome import Past
from optimizer.report.hours import (
    COVERED_HOUR_S,
    HOUR_S,
    Anomaly,
    Change,
    HourChange,
    anomalies,
    changes,
    difference,
    said,
)
from optimizer.report.periods import Period

_FLOAT_STEP = 1e-9
SHOWN_HOURS = 5
SHOWN_ANOMALIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One resource in one period, over its known time.

    `p95_ratio` is what the total does not exceed for 95 % of the known time;
    `below_hours` how long it was below the target, None without a target
    or a known time.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceComparison:
    """One resource in both periods.

    `change` and `organic_difference` are of the organic medians of the same
    hours: of the week where both periods have enough of them (`cycle` 168),
    else of the day (24); `noise` is the half width of the difference's 95 %
    interval. `anomalies` are the furthest out, `anomalous_hours` all;
    None where the first period is too short to tell what is usual.
    """

    resource: Resource
    before: Figures
    after: Figures
    change: Change
    cycle: int
    organic_difference: float | None
    noise: float | None
    hours: tuple[HourChange, ...]
    anomalous_hours: int | None
    anomalies: tuple[Anomaly, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two periods, the first of which is what the second is held against."""

    before: Period
    after: Period
    of: PerResource[ResourceComparison]


class _Part:
    """What is known of one resource in one period."""

    def __init__(self) -> None:
        self.weights: list[float] = []
        self.totals: list[float] = []
        self.organics: list[float] = []
        self.hours: dict[int, list[float]] = {}

    def add(self, end_s: float, seconds: float, total: float, organic: float) -> None:
        self.weights.append(seconds)
        self.totals.append(total)
        self.organics.append(organic)
        at_s, left_s = end_s - seconds, seconds
        while left_s > 1e-9:
            hour = int(at_s // HOUR_S)
            here_s = min(left_s, (hour + 1) * HOUR_S - at_s)
            sums = self.hours.setdefault(hour, [0.0, 0.0])
            sums[0] += here_s
            sums[1] += here_s * organic
            at_s, left_s = (hour + 1) * HOUR_S, left_s - here_s

    def hourly(self) -> dict[int, float]:
        """The organic mean of each hour of which enough is known, by hours since the epoch."""
        return {
            hour: value / seconds
            for hour, (seconds, value) in self.hours.items()
            if seconds >= COVERED_HOUR_S
        }


def compare(
    before: Period,
    after: Period,
    rows_before: Iterable[Past],
    rows_after: Iterable[Past],
    target: PerResource[float],
) -> Comparison:
    """Hold one period against another; the rows are those that ended in each of them."""
    parts_before, parts_after = _parts(before, rows_before), _parts(after, rows_after)

    def one(resource: Resource) -> ResourceComparison:
        return _resource(
            resource,
            (before, parts_before.of(resource)),
            (after, parts_after.of(resource)),
            target.of(resource),
        )

    return Comparison(
        before=before,
        after=after,
        of=PerResource(cpu=one(Resource.CPU), memory=one(Resource.MEMORY), disk=one(Resource.DISK)),
    )


def _parts(of: Period, rows: Iterable[Past]) -> PerResource[_Part]:
    parts = PerResource(cpu=_Part(), memory=_Part(), disk=_Part())
    for utc_s, span_s, usage in rows:
        # Of a row that began earlier only what is inside counts.
        seconds = min(span_s, utc_s - of.from_utc_s)
        if seconds > 0:
            for part, (total, organic) in zip(parts, usage, strict=True):
                if total is not None and organic is not None:
                    part.add(utc_s, seconds, total, organic)
    return parts


def _resource(
    resource: Resource,
    before: tuple[Period, _Part],
    after: tuple[Period, _Part],
    target: float,
) -> ResourceComparison:
    usual, now = before[1].hourly(), after[1].hourly()
    cycle, changed = changes(usual, now)
    shift, noise = difference(changed, cycle)
    found = anomalies(usual, now)
    return ResourceComparison(
        resource=resource,
        before=_figures(*before, target),
        after=_figures(*after, target),
        change=said(shift, noise),
        cycle=cycle,
        organic_difference=shift,
        noise=noise,
        hours=tuple(sorted(changed, key=lambda one: -abs(one.difference))[:SHOWN_HOURS]),
        anomalous_hours=None if found is None else len(found),
        anomalies=() if found is None else found[:SHOWN_ANOMALIES],
    )


def _figures(of: Period, part: _Part, target: float) -> Figures:
    known_s = math.fsum(part.weights)
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
        )
    total = weighted_mean(part.totals, part.weights)
    organic = weighted_mean(part.organics, part.weights)
    least = target * (1 - _FLOAT_STEP)
    below_s = math.fsum(w for w, x in zip(part.weights, part.totals, strict=True) if x < least)
    return Figures(
        organic_ratio=organic,
        own_ratio=max(0.0, total - organic),
        total_ratio=total,
        p95_ratio=weighted_percentile(part.totals, part.weights, 0.95),
        peak_ratio=max(part.totals),
        organic_p95_ratio=weighted_percentile(part.organics, part.weights, 0.95),
        organic_peak_ratio=max(part.organics),
        coverage=min(1.0, known_s / (of.to_utc_s - of.from_utc_s)),
        below_hours=below_s / HOUR_S if target > 0 else None,
    )


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """The mean of at least one value, each for as long as it lasted."""
    return math.fsum(v * w for v, w in zip(values, weights, strict=True)) / math.fsum(weights)


def weighted_percentile(values: Sequence[float], weights: Sequence[float], share: float) -> float:
    """The least of at least one value that is not exceeded for this share of the time."""
    needed, so_far = share * math.fsum(weights), 0.0
    ordered = sorted(zip(values, weights, strict=True))
    for value, weight in ordered:
        so_far += weight
        if so_far >= needed * (1 - 1e-12):
            return value
    return ordered[-1][0]
