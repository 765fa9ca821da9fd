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


class _Run(NamedTuple):
    """Slots in a row: the sum of v - most, the highest sum of its first slots, sum of v, known.

    An unknown slot counts with what makes v - least 0, or as 0 where gaps do.
    """

    whole: float = 0.0
    highest: float = -math.inf
    values: float = 0.0
    known: int = 0

    def then(self, after: _Run) -> _Run:
        """Both, one after the other."""
        whole, highest, values, known = after
        return _Run(
            self.whole + whole,
            max(self.highest, self.whole + highest),
            self.values + values,
            self.known + known,
        )


_NOTHING = _Run()


class Budget:
    """The surplus of a window's slots, by blocks, so that a look costs a thousandth of a pass.

    Kept beside the blocks: what follows in the window's first block on each of
    its slots, and runs of whole blocks up to the newest.
    """

    def __init__(self, window: Window, rule: Measure) -> None:
        self._window = window
        self.rule = rule
        self._blocks = [_NOTHING] * (window.size // BLOCK)
        self._done = -1
        self._revision = -1
        self._now = (0.0, 0)
        self._ends: tuple[int, list[_Run]] | None = None
        self._between: dict[tuple[int, int], _Run] = {}

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
            self._ends = None
        if self._revision != window.revision or newest // BLOCK != self._done // BLOCK:
            self._between.clear()
        self._revision, self._done = window.revision, newest
        while start <= newest:
            count = min(BLOCK - start % BLOCK, newest - start + 1)
            at = start // BLOCK % len(self._blocks)
            before = self._blocks[at] if start % BLOCK else _NOTHING
            self._blocks[at] = before.then(self._weigh(start, count))
            start += count
        self._now = self._sums_from(window.oldest)

    def _surplus(self, start: int, count: int) -> tuple[list[float], array[float]]:
        """V - most of each slot, and the totals; NaN for the unknown ones of these."""
        rule = self.rule
        least, most, threshold = rule.least, rule.most, rule.threshold
        unknown = least - most if rule.gaps is Gaps.UNKNOWN else -most
        totals = self._window.totals(start, count)
        if threshold is None:
            return [unknown if v != v else v - most for v in totals], totals  # noqa: PLR0124
        bar, high = threshold - _MATCH, 1.0 - most
        surplus = [
            unknown if v != v else high if v >= bar else -most  # noqa: PLR0124
            for v in totals
        ]
        return surplus, totals

    def _weigh(self, start: int, count: int) -> _Run:
        """The run of so many slots."""
        rule = self.rule
        surplus, totals = self._surplus(start, count)
        missing = sum(map(math.isnan, totals))
        unknown = rule.least - rule.most if rule.gaps is Gaps.UNKNOWN else -rule.most
        known = count - missing
        sums = list(accumulate(surplus))
        values = sums[-1] + known * rule.most - missing * unknown
        return _Run(sums[-1], max(sums), values, known)

    def _end(self, start: int) -> _Run:
        """What follows from `start` on in its block, which must be a whole one."""
        if start != self._window.oldest:
            return self._weigh(start, BLOCK - start % BLOCK)
        block = start // BLOCK
        if self._ends is None or self._ends[0] != block:
            self._ends = block, self._all_ends(block)
        return self._ends[1][start % BLOCK]

    def _all_ends(self, block: int) -> list[_Run]:
        most = self.rule.most
        run, ends = _NOTHING, []
        surplus, totals = self._surplus(block * BLOCK, BLOCK)
        for one, total in zip(reversed(surplus), reversed(totals), strict=True):
            known = total == total  # noqa: PLR0124
            run = _Run(one, one, one + most if known else 0.0, known).then(run)
            ends.append(run)
        ends.reverse()
        return ends

    def _run(self, start: int, last: int) -> _Run:
        """The slots from `start` up to `last`, in the window."""
        if last < start:
            return _NOTHING
        head, tail = start // BLOCK, last // BLOCK
        if head == tail:
            return self._weigh(start, last - start + 1)
        run = self._end(start).then(self._middle(head + 1, tail))
        if last == self._window.newest:
            return run.then(self._blocks[tail % len(self._blocks)])
        return run.then(self._weigh(tail * BLOCK, last - tail * BLOCK + 1))

    def _middle(self, first: int, end: int) -> _Run:
        """The blocks from `first` up to, but without, `end`."""
        known = self._between.get((first, end))
        if known is not None:
            return known
        run, count = _NOTHING, len(self._blocks)
        for block in range(first, end):
            run = run.then(self._blocks[block % count])
        if end == (self._window.newest or 0) // BLOCK:
            self._between[first, end] = run
        return run

    def _prefixes(self, first: int) -> tuple[float, float]:
        """Of the slots from the oldest on: their sum, and the highest sum of the first e >= first.

        Both of v - most.
        """
        window = self._window
        newest, oldest = window.newest or 0, window.oldest
        split = min(oldest + first - 1, newest)  # this one is the first that may be the last
        before = self._run(oldest, split - 1).whole
        after = self._run(split, newest)
        return before + after.whole, before + after.highest

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
        run = self._run(start, self._window.newest or 0)
        return run.values, run.known

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
