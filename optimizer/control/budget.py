"""What a window still allows: how much may be left out before a judged window fails.

Each slot has a value `v` between 0 and `most`; a window is met while the mean of
its known values is at least `least`. For a mean v is the utilisation itself,
`least` the target and `most` the highest level that the planner may set. For a
percentile v is 1 where the utilisation reaches the target, else 0: at least
the share 1 - p of the slots must. A peak is a percentile of which one slot of
the window is enough.

Filling up to `most` holds whatever the tenant does. So with K(e) the surplus
sum(v - least) of the known slots that a window shares which ends e slots from
now, all windows can still be met if K(e) + (most - least) e >= 0 for all e; and
the least of these, over e from h on, is what the sum(most - v) of the next h
slots may come to.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from itertools import accumulate
from operator import add
from typing import NamedTuple

from optimizer.control.window import BLOCK, Window
from optimizer.orders import Gaps, Goal, Kind

_MATCH = 1e-6
"""A value that was stored in four bytes reaches a target when it is so near."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How the value of a slot is made, and what its mean must be.

    `threshold` is None for a mean, where the value is the utilisation.
    """

    least: float
    most: float
    threshold: float | None = None
    gaps: Gaps = Gaps.UNKNOWN


def measure(
    goal: Goal, target: float, most: float, slots: int, gaps: Gaps, *, margin: float = 0.0
) -> Measure:
    """The measure of a goal; `margin` is added to a mean's target, and to a share as a part of it.

    `margin` is a ratio of utilisation for a mean and of the share for others.
    """
    if goal.statistic.kind is Kind.MEAN:
        least = min(target + margin, most)
        return Measure(least=least, most=max(most, target), gaps=gaps)
    share = 1.0 / slots
    if goal.statistic.kind is Kind.PERCENTILE:
        # One slot more than the share: so the p-th value reaches it, however it is interpolated.
        share = min(1.0, (1.0 - goal.statistic.percent / 100) + 1.0 / slots)
    return Measure(least=min(1.0, share * (1.0 + margin)), most=1.0, threshold=target, gaps=gaps)


def value_of(rule: Measure, total: float) -> float:
    """The value of a known slot."""
    if rule.threshold is None:
        return min(1.0, total)
    return 1.0 if total >= rule.threshold - _MATCH else 0.0


class _Weighed(NamedTuple):
    """Slots in a row: v - most of each (unknown: what makes v - least 0), sum of v, known."""

    surplus: list[float]
    values: float
    known: int


class _Tail(NamedTuple):
    """What follows in its block on each slot of a block, that slot included.

    `peaks` are the highest sums that begin there.
    """

    block: int
    sums: list[float]
    peaks: list[float]
    values: list[float]
    known: list[int]


class Budget:
    """The surplus of a window's slots, by blocks, so that a look costs a thousandth of a pass."""

    def __init__(self, window: Window, rule: Measure) -> None:
        self._window = window
        self.rule = rule
        count = window.size // BLOCK
        self._sums = array("d", bytes(8 * count))
        self._peaks = array("d", bytes(8 * count))
        self._values = array("d", bytes(8 * count))
        self._known = array("l", bytes(array("l").itemsize * count))
        self._done = -1
        self._revision = -1
        self._now = (0.0, 0)
        self._tail: _Tail | None = None

    def refresh(self) -> None:
        """Take in the slots that were put since the last time."""
        window = self._window
        newest = window.newest
        if newest is None:
            return
        start = window.oldest // BLOCK * BLOCK
        if self._revision == window.revision:
            start = max(start, self._done + 1)
        else:
            self._tail = None
        self._revision, self._done = window.revision, newest
        while start <= newest:
            count = min(BLOCK - start % BLOCK, newest - start + 1)
            self._add(start, count)
            start += count
        self._now = self._sums_from(window.oldest)

    def _add(self, start: int, count: int) -> None:
        """Take in slots that follow on those of the same block."""
        at = start // BLOCK % len(self._sums)
        if start % BLOCK == 0:
            self._sums[at] = self._values[at] = 0.0
            self._peaks[at], self._known[at] = -math.inf, 0
        surplus, values, known = self._weigh(start, count)
        sums = list(accumulate(surplus, initial=self._sums[at]))
        self._peaks[at] = max(self._peaks[at], *sums[1:])
        self._sums[at] = sums[-1]
        self._values[at] += values
        self._known[at] += known

    def _weigh(self, start: int, count: int) -> _Weighed:
        rule = self.rule
        least, most, threshold = rule.least, rule.most, rule.threshold
        unknown = least - most if rule.gaps is Gaps.UNKNOWN else -most
        totals = self._window.totals(start, count)
        if threshold is None:
            surplus = [unknown if v != v else v - most for v in totals]  # noqa: PLR0124
        else:
            bar, high = threshold - _MATCH, 1.0 - most
            surplus = [
                unknown if v != v else high if v >= bar else -most  # noqa: PLR0124
                for v in totals
            ]
        missing = sum(map(math.isnan, totals))
        known = count - missing
        return _Weighed(surplus, sum(surplus) + known * most - missing * unknown, known)

    def _tail_of(self, start: int) -> tuple[float, float, float, int]:
        """Of a whole block from `start` on: the sum, its highest beginning, the values, known."""
        if start != self._window.oldest:
            surplus, values, known = self._weigh(start, BLOCK - start % BLOCK)
            sums = list(accumulate(surplus))
            return sums[-1], max(sums), values, known
        tail = self._tail
        if tail is None or tail.block != start // BLOCK:
            # The window's first block changes no more, and is asked for each minute.
            self._tail = tail = self._tails(start // BLOCK)
        at = start % BLOCK
        return tail.sums[at], tail.peaks[at], tail.values[at], tail.known[at]

    def _tails(self, block: int) -> _Tail:
        surplus = self._weigh(block * BLOCK, BLOCK).surplus
        totals = self._window.totals(block * BLOCK, BLOCK)
        tail = _Tail(block, [0.0] * BLOCK, [0.0] * BLOCK, [0.0] * BLOCK, [0] * BLOCK)
        highest = whole = values = 0.0
        known = 0
        for at in range(BLOCK - 1, -1, -1):
            whole += surplus[at]
            highest = surplus[at] + max(0.0, highest) if at < BLOCK - 1 else surplus[at]
            if not math.isnan(totals[at]):
                known += 1
                values += surplus[at] + self.rule.most
            tail.sums[at], tail.peaks[at] = whole, highest
            tail.values[at], tail.known[at] = values, known
        return tail

    def _prefixes(self, first: int) -> tuple[float, float]:
        """Of the slots from the oldest on: their sum, and the highest sum of the first e >= first.

        Both of v - most.
        """
        window = self._window
        newest, oldest = window.newest or 0, window.oldest
        if first <= 1:
            return self._run(oldest, newest)
        split = min(oldest + first - 1, newest)  # this one is the first that may be the last
        before = self._sum(oldest, split)
        total, highest = self._run(split, newest)
        return before + total, before + highest

    def _sum(self, start: int, end: int) -> float:
        """Of v - most from the slot `start` up to, but without, `end`."""
        return self._run(start, end - 1)[0] if end > start else 0.0

    def _run(self, start: int, last: int) -> tuple[float, float]:
        """The sum from `start` to `last`, and the highest sum of its first slots."""
        head_block, tail_block = start // BLOCK, last // BLOCK
        if head_block == tail_block:
            sums = list(accumulate(self._weigh(start, last - start + 1)[0]))
            return sums[-1], max(sums)
        total, highest, _, _ = self._tail_of(start)
        blocks = _between(self._sums, head_block + 1, tail_block)
        if blocks:
            runs = list(accumulate(blocks, initial=total))
            peaks = _between(self._peaks, head_block + 1, tail_block)
            highest = max(highest, *map(add, runs, peaks))
            total = runs[-1]
        newest = self._window.newest or 0
        if last == newest:
            at = tail_block % len(self._sums)
            tail_sum, tail_peak = self._sums[at], self._peaks[at]
        else:
            sums = list(
                accumulate(self._weigh(tail_block * BLOCK, last - tail_block * BLOCK + 1)[0])
            )
            tail_sum, tail_peak = sums[-1], max(sums)
        return total + tail_sum, max(highest, total + tail_peak)

    def allowance(self, horizon: int = 1) -> float:
        """What sum(most - v) of the next `horizon` slots may come to; below 0: a window must fail.

        Over more slots it never falls.
        """
        window, rule = self._window, self.rule
        step = rule.most - rule.least
        if window.newest is None:
            return step * horizon
        beyond = max(0, horizon - window.slots)
        total, highest = self._prefixes(max(1, min(horizon, window.slots)))
        return total + window.slots * step - highest + beyond * step

    def kept(self, ahead: int, least: float | None = None) -> float:
        """K(e): surplus over `least` (else the rule's) of what is left in `ahead` slots."""
        window = self._window
        values, known = self.sums(ahead)
        bar = self.rule.least if least is None else least
        count = max(0, window.slots - ahead) if self.rule.gaps is Gaps.ZERO else known
        return values - bar * count

    def sums(self, ahead: int = 0) -> tuple[float, int]:
        """Sum of v, and number, of the known slots that are left e slots from now."""
        window = self._window
        if window.newest is None or ahead >= window.slots:
            return 0.0, 0
        return self._now if ahead == 0 else self._sums_from(window.oldest + ahead)

    def _sums_from(self, start: int) -> tuple[float, int]:
        last = self._window.newest or 0
        head_block, tail_block = start // BLOCK, last // BLOCK
        if tail_block == head_block:
            _, values, known = self._weigh(start, last - start + 1)
            return values, known
        _, _, values, known = self._tail_of(start)
        values += sum(_between(self._values, head_block + 1, tail_block + 1))
        known += int(sum(_between(self._known, head_block + 1, tail_block + 1)))
        return values, known

    def met_after(self, level: float, least: float) -> int | None:
        """Slots until the window that ends then is met, when each has the value `level`.

        Found to a tenth or so; None: not within a whole window.
        """
        slots, gain = self._window.slots, level - least

        def is_met(ahead: int) -> bool:
            return self.kept(ahead, least) + gain * ahead >= 0

        below, ahead = 0, 1
        while not is_met(ahead):
            if ahead >= slots:
                return None
            below, ahead = ahead, min(slots, ahead + max(1, ahead // 4))
        while ahead - below > max(1, ahead // 16):
            middle = (below + ahead) // 2
            below, ahead = (below, middle) if is_met(middle) else (middle, ahead)
        return ahead


def _between(ring: array[float] | array[int], start: int, end: int) -> list[float]:
    """The blocks from `start` up to, but without, `end`."""
    count = len(ring)
    if end <= start:
        return []
    first, last = start % count, end % count
    return list(ring[first:last]) if first < last else [*ring[first:], *ring[:last]]
