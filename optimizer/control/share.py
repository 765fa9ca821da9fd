"""Where to raise a level that a share of the time must reach: cheapest first, each in time.

A percentile or a peak asks for so many slots at the target in every window. The
slots of the present window leave it one after the other, and each moment until
a window's length from now says how many must have come anew by then. The time
ahead is taken to be like the last week (or day), moved by how much the last
hours were off it; where the tenant is at the target by itself costs nothing,
elsewhere the gap does. Then the cheapest stretches are taken, deadline by
deadline, which is the least cost for such demands (a matroid of deadlines); only
whether the present stretch is among them is used. What is foreseen wrongly costs
own load and no more: what is due is raised by force (strategy.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from optimizer.control.budget import Measure, value_of
from optimizer.control.window import DAY_S, Window
from optimizer.orders import Gaps

BURST_S = 900.0
"""Once raised, a level stays so long: the minute of the judge begins elsewhere."""
_MOST_SPANS = 720
"""Longer windows are planned in longer stretches."""
_OFFSET_S = 3 * 3600.0
"""The time ahead is moved by the mean difference of so many seconds..."""
_DECAY_S = 12 * 3600.0
"""...which falls to a third in so many."""


class Span(NamedTuple):
    """One stretch of slots: those known, those that count, those of the tenant alone, and costs.

    `organic` is the tenant's mean and `gap` the mean that lacks to the target
    where it is below; both NaN when nothing is known.
    """

    known: int
    counted: float
    natural: int
    organic: float
    gap: float


_UNKNOWN = Span(0, 0.0, 0, math.nan, math.nan)


class Spans:
    """The stretches of a window, oldest first; only whole ones."""

    def __init__(self, window: Window, rule: Measure) -> None:
        self._window, self._rule = window, rule
        burst = max(1, round(BURST_S / window.slot_s))
        self.length = burst * math.ceil(window.slots / burst / _MOST_SPANS)
        self.count = max(1, window.slots // self.length)
        self._spans: list[Span] = []
        self._end = -1
        self._revision = -1

    def begins(self) -> bool:
        """Whether the next slot is the first of a stretch."""
        return ((self._window.newest or 0) + 1) % self.length == 0

    def refresh(self) -> Sequence[Span]:
        """The stretches that have ended by now."""
        window = self._window
        end = ((window.newest or 0) + 1) // self.length
        fresh = end - self._end
        if self._revision != window.revision or not 0 <= fresh < self.count:
            self._spans, fresh = [], self.count
        self._spans += [self._span(number) for number in range(end - fresh, end)]
        del self._spans[: -self.count]
        self._end, self._revision = end, window.revision
        return self._spans

    def _span(self, number: int) -> Span:
        start, rule = number * self.length, self._rule
        totals = [v for v in self._window.totals(start, self.length) if v == v]  # noqa: PLR0124
        if not totals:
            return _UNKNOWN
        organics = [v for v in self._window.organics(start, self.length) if v == v]  # noqa: PLR0124
        bar = rule.threshold or 0.0
        gaps = [bar - v for v in organics if not value_of(rule, v)]
        return Span(
            len(totals),
            sum(value_of(rule, v) for v in totals),
            len(organics) - len(gaps),
            sum(organics) / len(organics),
            sum(gaps) / len(gaps) if gaps else 0.0,
        )


class Choice(NamedTuple):
    """Whether to raise now, and what a slot at the target costs at the margin, as a ratio."""

    raise_now: bool
    price: float


def choose(
    spans: Sequence[Span],
    rule: Measure,
    length: int,
    likely: Sequence[Span],
    price: float,
) -> Choice:
    """Whether the stretch that begins now is one of the cheapest that are enough.

    `likely` are this stretch and those that follow it, as many as the window
    has. `price` is that of the last choice: what comes later serves for longer,
    and is cheaper by that much.
    """
    count = len(spans)
    rent = price / count
    least = rule.least
    zeros = rule.gaps is Gaps.ZERO
    needed = -sum(s.counted - least * (length if zeros else s.known) for s in spans)
    heap: list[tuple[float, int]] = []
    got, paid, taken = 0.0, 0.0, 0
    raise_now = False
    for at, ahead in enumerate(likely):
        gone = spans[at]
        needed += gone.counted - least * (length if zeros else gone.known) + least * length
        got += ahead.natural
        if ahead.natural < length:
            heappush(heap, (ahead.gap - rent * at, -at))
        while got < needed and heap:
            _, back = heappop(heap)
            one = likely[-back]
            raise_now = raise_now or back == 0
            got += length - one.natural
            paid += one.gap
            taken += 1
    return Choice(raise_now, paid / taken if taken else 0.0)


def foreseen(
    spans: Sequence[Span],
    now: Sequence[float],
    slot_s: float,
    length: int,
    rule: Measure,
    *,
    weekly: bool,
) -> list[Span]:
    """What the stretches ahead are likely to be.

    The first is as the known of the last slots are, `now`: of a stretch that
    has begun so, the tenant does as large a part alone.
    """
    count, span_s, target = len(spans), slot_s * length, rule.threshold or 0.0
    period = round((7 if weekly and count * span_s >= 6.9 * DAY_S else 1) * DAY_S / span_s)
    period = max(1, min(period, count))
    known = [one for one in spans if one.known]
    if not known:
        return [Span(0, 0.0, 0, 0.0, target)] * count
    usual = sum(one.gap for one in known) / len(known)
    unknown = Span(0, 0.0, 0, target - usual, usual)
    day = max(1, min(count, round(DAY_S / span_s)))

    def before(at: int) -> Span:
        """What was a period, or else a day, before the stretch `at` from now."""
        for step in (period, day):
            one = spans[count - step + at % step]
            if one.known:
                return one
        return unknown

    recent = max(1, round(_OFFSET_S / span_s))
    differences = [
        spans[count - back].organic - spans[count - period - back].organic
        for back in range(1, min(recent, count - period) + 1)
        if spans[count - back].known and spans[count - period - back].known
    ]
    offset = sum(differences) / len(differences) if differences else 0.0
    decay = math.exp(-span_s / _DECAY_S)
    ahead: list[Span] = []
    for at in range(count):
        one = before(at)
        offset *= decay
        if abs(offset) > 1e-4:
            one = one._replace(gap=max(0.0, one.gap - offset))
        ahead.append(one)
    if now:
        gaps = [target - one for one in now if not value_of(rule, one)]
        natural = length * (len(now) - len(gaps)) // len(now)
        gap = sum(gaps) / len(gaps) if gaps else 0.0
        ahead[0] = Span(length, 0.0, natural, sum(now) / len(now), gap)
    return ahead
