"""The judged figure of a window: mean, percentile or peak, with coverage and bounds."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.control.budget import Budget
from optimizer.control.window import BLOCK, Window
from optimizer.orders import Gaps, Goal, Kind, Statistic

COVERAGE_ENOUGH = 0.95
"""With less of the window known, the bounds are shown beside the figure."""
FLOAT_STEP = 2.0**-23
"""Relative spacing of the stored four-byte values: a target stored so may come out this lower."""


def least(target: float) -> float:
    """The lowest ratio that reaches a target."""
    return target * (1.0 - FLOAT_STEP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A statistic of the known slots, and between what it lies whatever the unknown ones were.

    All are ratios 0 to 1. `ratio` is None when nothing is known. `low` counts
    each unknown slot as 0, `high` as 1.
    """

    ratio: float | None
    low: float
    high: float
    coverage: float

    def meets(self, target: float) -> bool | None:
        """Whether the figure reaches the target; None when nothing is known."""
        return None if self.ratio is None else self.ratio >= least(target)

    def settles(self, target: float) -> bool:
        """Whether it gives a verdict that stands: the unknown slots are few, or cannot turn it."""
        if self.ratio is None:
            return False
        least = target * (1.0 - FLOAT_STEP)
        return self.coverage >= COVERAGE_ENOUGH or self.low >= least or self.high < least


def rank(count: int, percent: float) -> int:
    """Position (from 0) of a percentile among `count` sorted values.

    The lower of the two values that it lies between, so that no usual way to
    interpolate (the nearest one, linear, inverted distribution) gives less.
    """
    return max(0, math.floor(percent / 100 * (count - 1) + 1e-9))


def ordered(values: Sequence[float], unknown: int, statistic: Statistic, gaps: Gaps) -> Figure:
    """The figure of sorted known values and a number of unknown ones."""
    known = len(values)
    count = known + unknown
    zeros = unknown if gaps is Gaps.ZERO else 0

    def at(position: int, below: int) -> float:
        return values[position - below] if below <= position < below + known else 0.0

    if count == 0:
        return Figure(ratio=None, low=0.0, high=1.0, coverage=0.0)
    percent = statistic.percent if statistic.kind is Kind.PERCENTILE else 100.0
    ratio = at(rank(known + zeros, percent), zeros) if known + zeros else None
    whole = rank(count, percent)
    return Figure(
        ratio=ratio,
        low=at(whole, unknown),
        high=at(whole, 0) if whole < known else 1.0,
        coverage=known / count,
    )


def mean(value_sum: float, known: int, slots: int, gaps: Gaps) -> Figure:
    """The figure of a mean."""
    divisor = slots if gaps is Gaps.ZERO else known
    return Figure(
        ratio=value_sum / divisor if divisor else None,
        low=value_sum / slots,
        high=(value_sum + slots - known) / slots,
        coverage=known / slots,
    )


class Ordered:
    """The known totals of a window in order, kept so with two moves a slot."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._values: array[float] = array("f")
        self._seen: int | None = None
        self._oldest = 0
        self._revision = -1

    def refresh(self) -> Sequence[float]:
        """The sorted totals of the window as it is now."""
        window = self._window
        if window.newest is None:
            return self._values
        fresh = 0 if self._seen is None else window.newest - self._seen
        # What has left the window must still be in the ring.
        if self._seen is None or self._revision != window.revision or fresh > BLOCK:
            kept = window.totals(window.oldest, window.slots)
            self._values = array("f", sorted(v for v in kept if v == v))  # noqa: PLR0124
        else:
            for gone in window.totals(self._oldest, window.oldest - self._oldest):
                if gone == gone:  # noqa: PLR0124
                    del self._values[bisect_left(self._values, gone)]
            for new in window.totals(self._seen + 1, fresh):
                if new == new:  # noqa: PLR0124
                    insort(self._values, new)
        self._seen, self._oldest = window.newest, window.oldest
        self._revision = window.revision
        return self._values


def figure(goal: Goal, budget: Budget, order: Ordered, window: Window, gaps: Gaps) -> Figure:
    """The judged figure of a window now."""
    if goal.statistic.kind is Kind.MEAN:
        value_sum, known = budget.sums()
        return mean(value_sum, known, window.slots, gaps)
    values = order.refresh()
    return ordered(values, window.slots - len(values), goal.statistic, gaps)
