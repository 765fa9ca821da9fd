"""What a tenant uses hour by hour: what has changed between two periods; pure.

Hours are numbered from the epoch on; all ratios are 0 to 1.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, stdev

HOUR_S = 3600
MONDAY_S = 4 * 86_400
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


class Change(enum.Enum):
    """What can be said about the difference of two periods."""

    MORE = "more"
    LESS = "less"
    WITHIN_NOISE = "within noise"
    UNKNOWN = "unknown"


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


def hour_of_week(hour: int) -> int:
    """0 to 167 from Monday 00:00 UTC on, of an hour since the epoch."""
    return (hour - MONDAY_S // HOUR_S) % HOURS_OF_WEEK


def _by_phase(hourly: Mapping[int, float], cycle: int) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for hour, value in hourly.items():
        found.setdefault(hour_of_week(hour) % cycle, []).append(value)
    return found


def changes(usual: Mapping[int, float], now: Mapping[int, float]) -> tuple[int, list[HourChange]]:
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


def difference(changes: Sequence[HourChange], cycle: int) -> tuple[float | None, float | None]:
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


def said(shift: float | None, noise: float | None) -> Change:
    """What such a difference means: one within the noise, or too small to matter, is none."""
    if shift is None or noise is None:
        return Change.UNKNOWN
    if abs(shift) <= max(noise, LEAST_CHANGE):
        return Change.WITHIN_NOISE
    return Change.MORE if shift > 0 else Change.LESS
