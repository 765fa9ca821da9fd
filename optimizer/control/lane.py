"""What the planner remembers of one resource: its window, its budget, its forecast."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optimizer.control.budget import Budget, Measure, measure
from optimizer.control.forecast import (
    DAY,
    QUARTER_S,
    Forecast,
    Model,
    Quarters,
    Trial,
    forecast,
    models,
    trial,
)
from optimizer.control.share import Spans
from optimizer.control.statistic import Figure, Ordered, figure
from optimizer.control.window import DAY_S, Gatherer, Window, slot_length_s
from optimizer.orders import Goal, Kind, Strategy, Terms

HOLD_MARGIN_RATIO = 0.0005
"""Hold steers a mean this far above its target: what the governor is off by, on the safe side."""
CATCH_UP_WINDOW_RATIO = 0.1
"""A rolling window that has fallen behind is to be met again after this part of it."""
SHARE_MARGIN = 0.03
"""Economy aims at so much more of the slots that a percentile needs, as a part of them."""
_MARGIN_STEP_RATIO = 0.0001
"""A margin that has changed by less is not worth summing up the window anew."""
_TRIED_QUARTERS = DAY
"""How often the models are tried again."""


class Lane:
    """One resource under a goal; `target` and `most` are ratios, `most` the highest setpoint."""

    def __init__(
        self, goal: Goal, terms: Terms, target: float, most: float, interval_s: float
    ) -> None:
        self.goal, self.terms = goal, terms
        self.target, self.most = target, most
        self.slot_s = slot_length_s(goal.window_days, interval_s)
        self.window = Window(goal.window_days, self.slot_s)
        self._gatherer = Gatherer(self.slot_s)
        self._surplus = 0.0
        self._surplus_at: int | None = None
        self._order = Ordered(self.window)
        self.budget = Budget(self.window, self._measure())
        self.spans = Spans(self.window, self.budget.rule)
        self.quarters = Quarters()
        self.forecast: Forecast | None = None
        self._trials: dict[Model, Trial] = {}
        self._tried: int | None = None
        self._untried: list[Model] = []
        self._stale = False
        self.burst = 0
        self.price: float | None = None
        self.level: float | None = None
        self.usual = 0.0
        self.eta_slots: int | None = None
        self.eta_at: int | None = None
        self.full_in_days: float | None = None
        self._trend_quarter: int | None = None

    @property
    def is_mean(self) -> bool:
        """Whether a mean is judged."""
        return self.goal.statistic.kind is Kind.MEAN

    @property
    def margin(self) -> float:
        """How much more than the goal is aimed at, as measure() takes it.

        Economy aims no higher at a mean than hold would come: else it would cost
        more where the tenant never exceeds the target.
        """
        if self.terms.strategy is Strategy.HOLD:
            return HOLD_MARGIN_RATIO if self.is_mean else 0.0
        if not self.is_mean:
            return SHARE_MARGIN
        return min(self.terms.margin_ratio, max(HOLD_MARGIN_RATIO, self._surplus))

    @property
    def least(self) -> float:
        """What the mean of the values must be, without margin."""
        return self._measure(0.0).least

    def _measure(self, margin: float | None = None) -> Measure:
        return measure(
            self.goal,
            self.target,
            self.most,
            self.window.slots,
            self.terms.gaps,
            margin=self.margin if margin is None else margin,
        )

    def aim(self, target: float, most: float, terms: Terms) -> None:
        """Another target, cap or strategy for the same window."""
        if (target, most, terms) != (self.target, self.most, self.terms):
            self.target, self.most, self.terms = target, most, terms
            self._surplus_at = None
            self._renew()
            self.burst = 0

    def _renew(self) -> None:
        """Other numbers for the same window."""
        self.budget = Budget(self.window, self._measure())
        self.spans = Spans(self.window, self.budget.rule)
        self.price = self.level = None

    def take(
        self, end_utc_s: float, span_s: float, total: float | None, organic: float | None
    ) -> int:
        """Take in a sample; how many slots it has ended."""
        ended = self._gatherer.add(end_utc_s, span_s, total, organic)
        for slot, whole, others in ended:
            self.window.put(slot, whole, others)
            if self.quarters.add((slot + 0.5) * self.slot_s, self.slot_s, others):
                self._stale = True
        return len(ended)

    def forward(self, utc_s: float) -> None:
        """It is that time now: the slots since the newest one are unknown."""
        slot = math.floor(utc_s / self.slot_s) - 1
        self._gatherer.forward(slot)
        self.window.forward(slot)

    def slack(self) -> float:
        """How much more than the budget's allowance may be left out until the margin is gone."""
        _, known = self.budget.sums()
        return known * (self.budget.rule.least - self.least)

    def affords(self, level: float, lowered: float, slots: float) -> bool:
        """Whether the windows stay met when so many slots lie at `lowered` instead of `level`.

        Economy may count on what can be made up for later; hold has to have it
        now, and when a part of the window has gone.
        """
        if self.is_mean:
            spent = (level - lowered) * slots
        else:
            spent = slots if lowered < self.target <= level else 0.0
        if self.terms.strategy is Strategy.ECONOMY:
            return self.budget.allowance() >= self.budget.rule.most + spent
        later = round(self.window.slots * CATCH_UP_WINDOW_RATIO)
        return min(self.budget.kept(ahead, self.least) for ahead in (0, later)) >= spent

    def is_met(self) -> bool:
        """Whether the window that ends now is met, without a margin."""
        return self.budget.kept(0, self.least) >= 0

    def refresh(self) -> None:
        """Bring the sums up to date."""
        self._see_surplus()
        self.budget.refresh()

    def _see_surplus(self) -> None:
        """Once a day: how far above its target a mean would be if that were only held."""
        newest, day = self.window.newest, round(DAY_S / self.slot_s)
        if not (self.is_mean and self.terms.strategy is Strategy.ECONOMY) or newest is None:
            return
        if self._surplus_at is not None and 0 <= newest - self._surplus_at < day:
            return
        self._surplus_at = newest
        known = self.known_organics(self.window.slots)
        above = sum(v - self.target for v in known if v > self.target)
        surplus = above / len(known) if known else 0.0
        before, self._surplus = self.margin, surplus
        if abs(self.margin - before) > _MARGIN_STEP_RATIO:
            self._renew()

    def foresee(self) -> bool:
        """Do one piece of the work on the forecast, if any is due; whether one was done.

        A piece takes ten milliseconds at most.
        """
        if not (self._stale or self._untried):
            return False
        first, series = self.quarters.series()
        newest = self.quarters.newest or 0
        if self._stale and (self._tried is None or newest - self._tried >= _TRIED_QUARTERS):
            self._untried = list(models(series))
            self._tried = newest if self._untried else None
        if self._untried:
            model = self._untried.pop()
            self._trials[model] = trial(first, series, model)
        self._stale = bool(self._untried)
        if not self._untried and self._trials:
            trials = tuple(self._trials.values())
            self.forecast = forecast(first, series, trials, self.forecast)
        return True

    def trend_due(self) -> bool:
        """True once an hour: then the trend is to be worked out again."""
        newest = self.quarters.newest
        if newest is None or (self._trend_quarter is not None and newest < self._trend_quarter + 4):
            return False
        self._trend_quarter = newest
        return True

    def figure(self) -> Figure:
        """The judged figure now."""
        return figure(self.goal, self.budget, self._order, self.window, self.terms.gaps)

    def organic_now(self) -> float | None:
        """What others used in the newest slot."""
        newest = self.window.newest
        if newest is None:
            return None
        value = self.window.organics(newest, 1)[0]
        return None if math.isnan(value) else value

    def likely(self, quarters: int) -> Sequence[float]:
        """What others are likely to use in the quarter hours from now on; flat without a forecast.

        Nothing is known: 0.
        """
        if self.forecast is None:
            known = self.known_organics(DAY * QUARTER_S // self.slot_s)
            return [sum(known) / len(known) if known else 0.0] * quarters
        start = self.quarter()
        return [self.forecast.at(start + i) for i in range(quarters)]

    def quarter(self, ahead_s: float = 0.0) -> int:
        """Number of the quarter hour in which it is `ahead_s` seconds after the newest slot."""
        newest = self.window.newest or 0
        return math.floor(((newest + 1) * self.slot_s + ahead_s) / QUARTER_S)

    def into_quarter_s(self) -> float:
        """Seconds since the quarter hour began."""
        return ((self.window.newest or 0) + 1) * self.slot_s % QUARTER_S

    def known_organics(self, slots: int) -> list[float]:
        """What others used in the last slots, without the unknown ones."""
        newest = self.window.newest
        if newest is None:
            return []
        count = min(slots, self.window.slots)
        return [
            v
            for v in self.window.organics(newest - count + 1, count)
            if v == v  # noqa: PLR0124
        ]
