"""Which hours stand out from what is usual at their time; pure.

Hours are numbered from the epoch on; all ratios are 0 to 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from optimizer.report.hours import HOUR_S, HOURS_OF_DAY, HOURS_OF_WEEK, hour_of_week

USUAL_DAYS = 91
"""So many days before a period tell what is usual in it: thirteen weeks."""
BAND_MADS = 3 * 1.4826
"""Three standard deviations of what is normally distributed."""
LEAST_BAND = 0.02
"""A host that is always the same would else stand out with every tenth of a percent."""
WEEKLY_VALUES, DAILY_VALUES = 3, 4
"""So many values of an hour of the week, or of the day, make a band."""
_SATURDAY = 5 * HOURS_OF_DAY
_LEAST_COMMON = HOURS_OF_DAY // 2
"""Two weeks that know fewer of the same hours cannot be held against each other."""
_STEADY_WEEKS = 3
"""A trend is what so many weeks in a row have shown (two, where no more are known)."""


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
class Unusual:
    """What stands out, furthest out first, and what was held against it.

    `days` is how far back the hours reach that tell what is usual. So many hours
    of the period were held against their hour of the week (`weekly`), of the
    day (`daily`; weekdays and weekends apart) and against nothing (`untold`).
    """

    anomalies: tuple[Anomaly, ...]
    days: float
    weekly: int
    daily: int
    untold: int

    @property
    def known(self) -> bool:
        """Whether anything could be told."""
        return self.weekly + self.daily > 0


@dataclass(frozen=True, slots=True)
class _Usual:
    """What an hour is usually like: the middle, and by how much a single one misses it."""

    middle: float
    spread: float


def unusual(before: Mapping[int, float], now: Mapping[int, float]) -> Unusual:
    """The hours outside of median +- 3 sigma of their time, by the hours known before them.

    Their time is the hour of the week where three of it are known, else the
    hour of the day where four weekdays or weekend days are. Weeks before are
    first brought to the level of the last one, and a trend that each of them
    shows goes on: a disk that fills steadily does not stand out. Sigma is the
    MAD of how far an hour lies from the median of the others of its time.
    """
    start = min(now, default=0)
    level, trend, ago = _levelled(before, start)
    weekly, daily = _weekly(level), _daily(level)
    found, by_week, by_day = [], 0, 0
    for hour, value in now.items():
        phase = hour_of_week(hour)
        usual = weekly.get(phase) or daily.get(_time_of_day(phase))
        if usual is None:
            continue
        by_week += phase in weekly
        by_day += phase not in weekly
        risen = trend * ((hour - start) // HOURS_OF_WEEK + 1 + ago)
        middle = min(1.0, max(0.0, usual.middle + risen))
        half = max(LEAST_BAND, BAND_MADS * usual.spread)
        low, high = max(0.0, middle - half), min(1.0, middle + half)
        if not low <= value <= high:
            found.append(
                Anomaly(
                    start_utc_s=float(hour * HOUR_S),
                    organic_ratio=value,
                    low_ratio=low,
                    high_ratio=high,
                )
            )
    return Unusual(
        anomalies=tuple(sorted(found, key=lambda one: (-abs(one.excess), one.start_utc_s))),
        days=(start - min(level, default=start)) / HOURS_OF_DAY,
        weekly=by_week,
        daily=by_day,
        untold=len(now) - by_week - by_day,
    )


def _weekly(level: Mapping[int, float]) -> dict[int, _Usual]:
    """By the hour of the week; so few values show no spread, so those of like days count, too."""
    misses: dict[int, list[float]] = {}
    kept = _grouped(level, hour_of_week, WEEKLY_VALUES)
    for phase, values in kept.items():
        misses.setdefault(_time_of_day(phase), []).extend(_misses(values))
    return {
        phase: _Usual(
            median(values), max(median(misses[_time_of_day(phase)]), median(_misses(values)))
        )
        for phase, values in kept.items()
    }


def _daily(level: Mapping[int, float]) -> dict[int, _Usual]:
    kept = _grouped(level, lambda hour: _time_of_day(hour_of_week(hour)), DAILY_VALUES)
    return {time: _Usual(median(values), median(_misses(values))) for time, values in kept.items()}


def _grouped(
    hourly: Mapping[int, float], key: Callable[[int], int], least: int
) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for hour, value in hourly.items():
        found.setdefault(key(hour), []).append(value)
    return {key: values for key, values in found.items() if len(values) >= least}


def _time_of_day(phase: int) -> int:
    """0 to 23 on weekdays, 24 to 47 at weekends, of an hour of the week."""
    return phase % HOURS_OF_DAY + HOURS_OF_DAY * (phase >= _SATURDAY)


def _misses(values: Sequence[float]) -> list[float]:
    """How far each lies from the median of the others: what the next one is expected to."""
    return [
        abs(value - median([*values[:place], *values[place + 1 :]]))
        for place, value in enumerate(values)
    ]


def _levelled(before: Mapping[int, float], start: int) -> tuple[dict[int, float], float, int]:
    """The hours before at the level of the last week, what a week adds, and how long ago that is.

    The level of a week is the median of the differences from the same hours of
    the last week of which enough is known; a week that shares too few is left out.
    """
    weeks: dict[int, dict[int, float]] = {}
    for hour, value in before.items():
        if hour < start:
            weeks.setdefault((start - 1 - hour) // HOURS_OF_WEEK, {})[hour] = value
    first = min((ago for ago, hours in weeks.items() if len(hours) >= _LEAST_COMMON), default=None)
    if first is None:
        return {}, 0.0, 0
    last = {hour_of_week(hour): value for hour, value in weeks[first].items()}
    level: dict[int, float] = {}
    offsets: list[tuple[int, float]] = []
    for ago, hours in sorted(weeks.items()):
        gaps = [v - last[hour_of_week(h)] for h, v in hours.items() if hour_of_week(h) in last]
        if len(gaps) >= _LEAST_COMMON:
            offset = median(gaps)
            level |= {hour: value - offset for hour, value in hours.items()}
            offsets.append((ago, offset))
    return level, _trend(offsets), first


def _trend(offsets: Sequence[tuple[int, float]]) -> float:
    """What each of the last weeks has added at least; 0 where one fell and one rose."""
    steps = [
        (newer - older) / (older_ago - newer_ago)
        for (newer_ago, newer), (older_ago, older) in itertools.pairwise(offsets)
    ][:_STEADY_WEEKS]
    if len(steps) < 2 or min(steps) * max(steps) <= 0:
        return 0.0
    return min(steps, key=abs)
