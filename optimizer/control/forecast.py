"""What the tenant is likely to use: a profile of the week or the day, with its present offset.

Made of the means of quarter hours. Three models are tried on the last days of
this very host, each told only what came before the day that it has to foresee:
the median of the same quarter hour of the week (from two weeks on), the median
of the same quarter hour of the day, and seasonal-naive (what was a week ago, or
a day ago). The one with the least mean error is used. Pure Python: a forecast
of 30 days takes a few milliseconds.
"""

from __future__ import annotations

import enum
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

QUARTER_S = 900
DAY = 96
"""Quarter hours of a day."""
WEEK = 7 * DAY
KEPT_DAYS = 35
"""Five weeks tell the rhythm of a week."""
LEAST_DAYS = 2
"""With fewer days known there is no rhythm to speak of."""
_WEEKLY_DAYS = 14
_TRIAL_DAYS = 7
_OFFSET_QUARTERS = 12
"""The present offset from the profile is the median of so many quarter hours..."""
_DECAY_QUARTERS = 24.0
"""...and falls to a third in so many: what is odd now is mostly over in a few hours."""
_BAND = 0.1
"""The share of residuals below the lower, and above the upper band."""
_NAN = float("nan")


class Model(enum.Enum):
    """How a forecast is made."""

    WEEKLY = "hour of week"
    DAILY = "hour of day"
    LAST_WEEK = "as a week ago"
    LAST_DAY = "as a day ago"


class Quarters:
    """The means of the last quarter hours, by number since the epoch; NaN where unknown."""

    def __init__(self) -> None:
        self._size = KEPT_DAYS * DAY
        self._ring = array("f", [_NAN]) * self._size
        self.newest: int | None = None
        self._first = 0
        self._open: int | None = None
        self._sum, self._count = 0.0, 0

    def add(self, middle_utc_s: float, length_s: float, ratio: float | None) -> bool:
        """Take in a slot; whether that has closed a quarter hour.

        A slot that is longer than a quarter hour counts for each that it covers.
        """
        quarter = math.floor(middle_utc_s / QUARTER_S)
        for one in range(quarter - int(length_s / QUARTER_S / 2), quarter):
            if self._open is not None and one > self._open:
                self._feed(one, ratio)
        return self._feed(quarter, ratio)

    def _feed(self, quarter: int, ratio: float | None) -> bool:
        closed = False
        if self._open is not None and quarter != self._open:
            if quarter > self._open:
                self._close(self._open)
            closed = True
        if self._open != quarter:
            self._open, self._sum, self._count = quarter, 0.0, 0
        if ratio is not None:
            self._sum += ratio
            self._count += 1
        return closed

    def _close(self, quarter: int) -> None:
        newest = self.newest
        if newest is None or abs(quarter - newest) >= self._size:
            self._ring = array("f", [_NAN]) * self._size
            self._first = quarter
        else:
            for missing in range(min(newest, quarter) + 1, max(newest, quarter)):
                self._ring[missing % self._size] = _NAN
        self.newest = quarter
        self._ring[quarter % self._size] = self._sum / self._count if self._count else _NAN

    def series(self) -> tuple[int, list[float]]:
        """Number of the first quarter hour that was taken in, and all from there to the newest."""
        newest = self.newest
        if newest is None:
            return 0, []
        cut = (newest + 1) % self._size
        values = [*self._ring[cut:], *self._ring[:cut]]
        skip = max(0, self._first - (newest - len(values) + 1))
        return newest - len(values) + 1 + skip, values[skip:]


_NAIVE = frozenset({Model.LAST_WEEK, Model.LAST_DAY})
_WEEKLY = frozenset({Model.WEEKLY, Model.LAST_WEEK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A model's mean absolute error on the last days, infinite when it could not be tried.

    `low` and `high` are what one tenth of the residuals lies below and above,
    by hour of the day.
    """

    model: Model
    error: float
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The likely organic ratio of quarter hours from `origin` on (number since the epoch).

    `profile` repeats after its length and begins with quarter hour 0.
    `offset` is added, decaying. `medians` is the profile with NaN where nothing
    is known. `best` is the model used, `naive_error` the mean absolute error of
    seasonal-naive on the same days.
    """

    origin: int
    profile: tuple[float, ...]
    medians: tuple[float, ...]
    offset: float
    best: Trial
    naive_error: float

    def at(self, quarter: int) -> float:
        """The likely value of one quarter hour, 0 to 1."""
        ahead = max(0, quarter - self.origin)
        value = self.profile[quarter % len(self.profile)]
        return min(1.0, max(0.0, value + self.offset * math.exp(-ahead / _DECAY_QUARTERS)))

    def band(self, quarter: int) -> tuple[float, float]:
        """Between what eight of ten values lie."""
        value, hour = self.at(quarter), quarter % DAY // 4
        return max(0.0, value + self.best.low[hour]), min(1.0, value + self.best.high[hour])


def models(values: Sequence[float]) -> tuple[Model, ...]:
    """The models that so much history allows; none with fewer than two days of it."""
    known = sum(1 for v in values if v == v)  # noqa: PLR0124
    if known < LEAST_DAYS * DAY:
        return ()
    if len(values) < _WEEKLY_DAYS * DAY:
        return (Model.DAILY, Model.LAST_DAY)
    return (Model.WEEKLY, Model.DAILY, Model.LAST_WEEK, Model.LAST_DAY)


def trial(first: int, values: Sequence[float], model: Model) -> Trial:
    """How a model would have done on the last days; `first` is the number of the first quarter."""
    days = len(values) // DAY - (7 if model in _WEEKLY else 1)
    residuals = _residuals(first, values, model, min(_TRIAL_DAYS, days))
    low, high = _bands(residuals)
    return Trial(model=model, error=_mean_error(residuals), low=low, high=high)


def forecast(
    first: int,
    values: Sequence[float],
    trials: Sequence[Trial],
    before: Forecast | None = None,
) -> Forecast:
    """What follows the known quarter hours (NaN: unknown), by the best of at least one trial.

    `before` is the forecast made of the same quarter hours but the last few, if
    there is one: so less is to be worked out. What has left a full ring since
    then was of the same hours of the week as what came in.
    """
    best = min(trials, key=lambda one: one.error)
    end = first + len(values)
    if before is None or before.best.model is not best.model or not 0 <= end - before.origin < DAY:
        medians = _medians(first, values, best.model)
    else:
        medians = list(before.medians)
        _renew(medians, first, values, before.origin, best.model)
    profile = _filled(medians)
    return Forecast(
        origin=end,
        profile=tuple(profile),
        medians=tuple(medians),
        offset=_offset(first, values, profile, best.model),
        best=best,
        naive_error=min((one.error for one in trials if one.model in _NAIVE), default=math.inf),
    )


def median(values: Sequence[float]) -> float:
    """The middle one, or the upper of the two: a quarter of the time of the library's."""
    return sorted(values)[len(values) // 2]


def _medians(first: int, values: Sequence[float], model: Model) -> list[float]:
    """The value of each quarter hour of a day or week; NaN where none is known."""
    medians = [_NAN] * (WEEK if model in _WEEKLY else DAY)
    _renew(medians, first, values, first, model)
    return medians


def _renew(
    medians: list[float], first: int, values: Sequence[float], since: int, model: Model
) -> None:
    """Work out again those of which a value came in at the quarter hour `since` or later."""
    period, naive = len(medians), model in _NAIVE
    end = first + len(values)
    for quarter in range(max(since, end - period), end):
        known = [v for v in values[(quarter - first) % period :: period] if v == v]  # noqa: PLR0124
        if known:
            medians[quarter % period] = known[-1] if naive else median(known)
        else:
            medians[quarter % period] = _NAN


def _filled(profile: list[float]) -> list[float]:
    """Gaps take the value before them."""
    if not any(map(math.isnan, profile)):
        return profile
    before = next((v for v in reversed(profile) if v == v), 0.0)  # noqa: PLR0124
    filled = []
    for value in profile:
        before = value if value == value else before  # noqa: PLR0124
        filled.append(before)
    return filled


def _offset(first: int, values: Sequence[float], profile: Sequence[float], model: Model) -> float:
    if model in _NAIVE:
        return 0.0
    end, period = first + len(values), len(profile)
    recent = [
        value - profile[quarter % period]
        for quarter, value in zip(
            range(end - _OFFSET_QUARTERS, end), values[-_OFFSET_QUARTERS:], strict=False
        )
        if value == value  # noqa: PLR0124
    ]
    return median(recent) if recent else 0.0


def _residuals(
    first: int, values: Sequence[float], model: Model, days: int
) -> list[tuple[int, float]]:
    """What a model misses on each of the last days: (quarter hour, actual - foreseen)."""
    found: list[tuple[int, float]] = []
    count = len(values)
    medians: list[float] = []
    for day in range(days, 0, -1):
        start = count - day * DAY
        if start < DAY:
            continue
        before = values[:start]
        if medians:
            _renew(medians, first, before, first + start - DAY, model)
        else:
            medians = _medians(first, before, model)
        profile = _filled(medians)
        offset = _offset(first, before, profile, model)
        for i in range(start, start + DAY):
            actual = values[i]
            if actual == actual:  # noqa: PLR0124
                quarter = first + i
                likely = profile[quarter % len(profile)]
                if offset:
                    likely += offset * math.exp(-(i - start) / _DECAY_QUARTERS)
                found.append((quarter, actual - min(1.0, max(0.0, likely))))
    return found


def _mean_error(residuals: Sequence[tuple[int, float]]) -> float:
    if not residuals:
        return math.inf
    return sum(abs(error) for _, error in residuals) / len(residuals)


def _bands(residuals: Sequence[tuple[int, float]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    hours: list[list[float]] = [[] for _ in range(24)]
    for quarter, error in residuals:
        hours[quarter % DAY // 4].append(error)
    low, high = [], []
    for errors in hours:
        errors.sort()
        at = int(_BAND * len(errors))
        low.append(errors[at] if errors else 0.0)
        high.append(errors[-1 - at] if errors else 0.0)
    return tuple(low), tuple(high)
