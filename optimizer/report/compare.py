"""Two periods of one host side by side, and the hours of the second that stand out; pure.

All ratios are 0 to 1; None is unknown.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, stdev

from optimizer.model import PerResource, Resource
from optimizer.outcome import Past
from optimizer.report.periods import Period

HOUR_S = 3600
_MONDAY_S = 4 * 86_400
"""1970-01-05, a Monday."""
HOURS_OF_DAY, HOURS_OF_WEEK = 24, 168
COVERED_HOUR_S = HOUR_S / 2
"""An hour of which less is known tells nothing."""
_COMMON = 0.5
"""The share of the hours of a day or week that both periods must know."""
LEAST_CHANGE = 0.005
"""Half a percentage point: less is no change, however sure."""
_T_975 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45)
"""Quantiles of Student's t for 1 to 6 degrees of freedom; two-sided 95 %."""
_DAY_BLOCKS = 4
"""Where hours of one day are compared: in blocks of six hours, for neighbours are alike."""
BAND_MADS = 3 * 1.4826
"""Three standard deviations of what is normally distributed."""
LEAST_BAND = 0.02
"""A host that is always the same would else stand out with every tenth of a percent."""
_WEEKLY_VALUES, _DAILY_VALUES = 4, 5
"""So many values of an hour of the week, or of the day, make a band."""
_FLOAT_STEP = 1e-9
SHOWN_HOURS = 5
SHOWN_ANOMALIES = 10


class Change(enum.Enum):
    """What can be said about the difference of two periods."""

    MORE = "more"
    LESS = "less"
    WITHIN_NOISE = "within noise"
    UNKNOWN = "unknown"


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
class HourChange:
    """An hour of the week (0: Monday 00:00 UTC) or of the day, and its organic medians."""

    hour: int
    before_ratio: float
    after_ratio: float

    @property
    def difference(self) -> float:
        """How much more it is."""
        return self.after_ratio - self.before_ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """An hour that lies outside of what is usual at its time, and between what that lies."""

    start_utc_s: float
    organic_ratio: float
    low_ratio: float
    high_ratio: float

    @property
    def excess(self) -> float:
        """How far outside; negative when below."""
        if self.organic_ratio > self.high_ratio:
            return self.organic_ratio - self.high_ratio
        return self.organic_ratio - self.low_ratio


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
    cycle, changes = _changes(usual, now)
    difference, noise = _difference(changes, cycle)
    found = anomalies(usual, now)
    return ResourceComparison(
        resource=resource,
        before=_figures(*before, target),
        after=_figures(*after, target),
        change=_said(difference, noise),
        cycle=cycle,
        organic_difference=difference,
        noise=noise,
        hours=tuple(sorted(changes, key=lambda one: -abs(one.difference))[:SHOWN_HOURS]),
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


def hour_of_week(hour: int) -> int:
    """0 to 167 from Monday 00:00 UTC on, of an hour since the epoch."""
    return (hour - _MONDAY_S // HOUR_S) % HOURS_OF_WEEK


def _by_phase(hourly: Mapping[int, float], cycle: int) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for hour, value in hourly.items():
        found.setdefault(hour_of_week(hour) % cycle, []).append(value)
    return found


def _changes(usual: Mapping[int, float], now: Mapping[int, float]) -> tuple[int, list[HourChange]]:
    """Medians of the hours that both know: of the week, or else of the day."""
    for cycle in (HOURS_OF_WEEK, HOURS_OF_DAY):
        left, right = _by_phase(usual, cycle), _by_phase(now, cycle)
        common = sorted(left.keys() & right.keys())
        if len(common) >= _COMMON * cycle:
            return cycle, [
                HourChange(hour=h, before_ratio=median(left[h]), after_ratio=median(right[h]))
                for h in common
            ]
    return HOURS_OF_DAY, []


def _difference(changes: Sequence[HourChange], cycle: int) -> tuple[float | None, float | None]:
    """The mean difference, and the half width of its 95 % interval.

    From the means of days (or quarters of a day), as a paired t-test has it:
    hours are too like their neighbours to count each for itself.
    """
    blocks = cycle // HOURS_OF_DAY if cycle == HOURS_OF_WEEK else _DAY_BLOCKS
    by_block: dict[int, list[float]] = {}
    for one in changes:
        by_block.setdefault(one.hour * blocks // cycle, []).append(one.difference)
    means = [math.fsum(values) / len(values) for values in by_block.values()]
    if len(means) < 3:
        return None, None
    noise = _T_975[len(means) - 2] * stdev(means) / math.sqrt(len(means))
    return math.fsum(means) / len(means), noise


def _said(difference: float | None, noise: float | None) -> Change:
    if difference is None or noise is None:
        return Change.UNKNOWN
    if abs(difference) <= max(noise, LEAST_CHANGE):
        return Change.WITHIN_NOISE
    return Change.MORE if difference > 0 else Change.LESS


def anomalies(usual: Mapping[int, float], now: Mapping[int, float]) -> tuple[Anomaly, ...] | None:
    """The hours outside median +- 3 sigma (by the MAD) of their time, furthest out first.

    Their time is the hour of the week where four weeks of it are known, else
    the hour of the day from five days on; None where there is neither.
    """
    weekly, daily = _bands(usual, HOURS_OF_WEEK), _bands(usual, HOURS_OF_DAY)
    if not weekly and not daily:
        return None
    found = []
    for hour, value in now.items():
        phase = hour_of_week(hour)
        band = weekly.get(phase) or daily.get(phase % HOURS_OF_DAY)
        if band is not None and not band[0] <= value <= band[1]:
            found.append(
                Anomaly(
                    start_utc_s=float(hour * HOUR_S),
                    organic_ratio=value,
                    low_ratio=band[0],
                    high_ratio=band[1],
                )
            )
    return tuple(sorted(found, key=lambda one: (-abs(one.excess), one.start_utc_s)))


def _bands(usual: Mapping[int, float], cycle: int) -> dict[int, tuple[float, float]]:
    least = _WEEKLY_VALUES if cycle == HOURS_OF_WEEK else _DAILY_VALUES
    bands = {}
    for phase, values in _by_phase(usual, cycle).items():
        if len(values) >= least:
            middle = median(values)
            spread = median(abs(value - middle) for value in values)
            half = max(LEAST_BAND, BAND_MADS * spread)
            bands[phase] = (max(0.0, middle - half), min(1.0, middle + half))
    return bands
