"""From the policy's goals and the history to the setpoints that the governor holds now.

Slow: works once a sample, in a few milliseconds. The judged statistic lags by
days, so it is never steered by directly; it is budgeted (see budget.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from optimizer.control.forecast import QUARTER_S, Forecast
from optimizer.control.goals import goal_of, terms_of
from optimizer.control.lane import Lane
from optimizer.control.strategy import BAR_ABOVE_RATIO, Setting, economy, hold
from optimizer.control.trend import days_until
from optimizer.model import Intent, PerResource, Plan, Reason, Resource, Sample
from optimizer.orders import Combination, Inhibit, Policy, Strategy
from optimizer.outcome import Outlook, Past

WITHDRAW_RATIO = 0.05
"""A foreseen rise of the tenant below this is no reason to withdraw."""
ENOUGH_RATIO = 0.5
"""The cheapest resource breaks a rule alone while this part of its margin above it is left."""
BREAK_MARGIN_RATIO = 0.02
"""So far above its target a level is held that alone breaks a rule."""
CHEAPEST = (Resource.MEMORY, Resource.DISK, Resource.CPU)
"""What is held costs nothing more; CPU time does."""
LIMITED_S = 900.0
"""So long after a limit was last seen no more than the target is asked for."""
_ETA_SLOTS = 15
"""For so long an estimate of when a window is met stands."""
_ASK_S = 60.0
"""Samples may come each second; the plan is made once a minute."""
LIMITS = frozenset(
    (
        *(Reason.INHIBITED, Reason.FLOOR, Reason.CPU_LIMITED, Reason.THROTTLED, Reason.STEAL),
        *(Reason.OWN_HOURS, Reason.HOLD_OFF, Reason.PRESSURE, Reason.REFUSED, Reason.RELEASED),
        *(Reason.NO_DATA_DISK, Reason.NO_DISK, Reason.STRESSER_DOWN, Reason.STRESSER_TRIPPED),
        *(Reason.NO_READING, Reason.TAKING_TURNS),
    )
)
"""What keeps a load below its setpoint: a higher setpoint would not help, so none is asked for.

The ceiling is none: a setpoint is never above it, only the governor's trim may touch it.
"""


def setpoint(
    resource: Resource,
    policy: Policy,
    inhibit: Inhibit | None,
    planned: PerResource[float] | None = None,
) -> float:
    """The level to hold now, as a ratio, within the ceiling; 0 while inhibited.

    That of the planner; the target as long as there is none.
    """
    if inhibit is not None:
        return 0.0
    wanted = policy.target.of(resource) if planned is None else planned.of(resource)
    return min(wanted, policy.ceiling.of(resource))


class Planner:
    """Remembers the judged windows; the same samples always give the same plan.

    `past` are samples from before, oldest first.
    """

    def __init__(self, policy: Policy, interval_s: float, past: Iterable[Past] = ()) -> None:
        self._policy, self._interval_s = policy, interval_s
        self._lanes = {resource: _lane(resource, policy, interval_s) for resource in Resource}
        self._limited: set[Resource] = set()
        self._limited_s: dict[Resource, float] = {}
        self._foreseen: dict[Resource, tuple[int, float]] = {}
        self._asked_s: float | None = None
        self._outlooks: PerResource[Outlook] | None = None
        self.feed(past)
        while self.foresee():
            pass

    def feed(self, past: Iterable[Past]) -> None:
        """Take in samples from before, oldest first."""
        for one in past:
            self._feed(one)

    def _feed(self, one: Past) -> int:
        """How many slots that has ended."""
        return sum(
            lane.take(one.utc_s, one.span_s, *one.usage.of(resource))
            for resource, lane in self._lanes.items()
        )

    def foresee(self) -> bool:
        """Do one piece of the work on the forecasts, of ten milliseconds or so; whether any was."""
        return any(lane.foresee() for lane in self._lanes.values())

    def resume(self, utc_s: float) -> None:
        """It is that time now; nothing is known of the time since the last sample."""
        for lane in self._lanes.values():
            lane.forward(utc_s)

    def fits(self, policy: Policy, interval_s: float) -> bool:
        """Whether the windows are those of the policy; if not, a new planner is needed."""
        return interval_s == self._interval_s and all(
            goal_of(resource, policy) == lane.goal for resource, lane in self._lanes.items()
        )

    def aim(self, policy: Policy) -> PerResource[Outlook]:
        """The setpoints under this policy, by what is known now; for the same windows."""
        self._turn(policy)
        self._outlooks = self._plan()
        return self._outlooks

    def take(self, sample: Sample, plan: Plan, policy: Policy) -> PerResource[Outlook]:
        """Take in a sample and what was decided at its end; the setpoints from now on."""
        if policy != self._policy:
            self._turn(policy)
        ended = self._feed(Past.of(sample))
        self._limited = self._see_limits(plan, sample.utc_s)
        since_s = None if self._asked_s is None else sample.utc_s - self._asked_s
        if ended or since_s is None or not 0 <= since_s < _ASK_S or self._outlooks is None:
            self._asked_s = sample.utc_s
            self._outlooks = self._plan()
        return self._outlooks

    def _turn(self, policy: Policy) -> None:
        self._policy, self._asked_s = policy, None
        for resource, lane in self._lanes.items():
            lane.aim(
                policy.target.of(resource), _most(resource, policy), terms_of(resource, policy)
            )

    def _see_limits(self, plan: Plan, utc_s: float) -> set[Resource]:
        """What is limited now, or was a short while ago.

        Else a load that is kept just above its target would be asked for more,
        be limited, be asked for the target only, and so on, minute by minute.
        """
        for one in plan:
            if one.reason in LIMITS:
                self._limited_s[one.resource] = utc_s
        return {
            resource
            for resource, seen_s in self._limited_s.items()
            if 0 <= utc_s - seen_s < LIMITED_S
        }

    def _plan(self) -> PerResource[Outlook]:
        for lane in self._lanes.values():
            lane.refresh()
        # One piece of work in each plan, so that none takes long.
        self.foresee()
        found = {resource: self._one(resource, lane) for resource, lane in self._lanes.items()}
        if self._policy.terms.combination is Combination.BREAK_ANY:
            found = self._cheapest(found)
        return PerResource(
            cpu=found[Resource.CPU], memory=found[Resource.MEMORY], disk=found[Resource.DISK]
        )

    def _one(self, resource: Resource, lane: Lane) -> Outlook:
        policy = self._policy
        target = policy.target.of(resource)
        judged = policy.terms.goals.of(resource) is not None
        if target <= 0 or not judged:
            setting = Setting(target, Intent.UNJUDGED)
        else:
            setting = self._setting(resource, lane)
        level = min(setting.ratio, policy.ceiling.of(resource))
        figure = lane.figure()
        met = figure.meets(target) if judged and target > 0 else None
        eta_s = None
        if met is not False:
            lane.eta_at = None
        else:
            eta_s = self._eta_s(resource, lane, level)
        return Outlook(
            setpoint_ratio=level,
            intent=setting.intent,
            statistic=str(lane.goal.statistic) if judged else None,
            window_days=lane.goal.window_days,
            ratio=figure.ratio,
            low=figure.low,
            high=figure.high,
            coverage=figure.coverage,
            met=met,
            eta_s=eta_s,
            limited=resource in self._limited,
            full_in_days=self._full_in_days(resource, lane),
            forecast=None if lane.forecast is None else lane.forecast.best.model.value,
            forecast_error=None if lane.forecast is None else lane.forecast.best.error,
            naive_error=None if lane.forecast is None else lane.forecast.naive_error,
        )

    def _setting(self, resource: Resource, lane: Lane) -> Setting:
        terms, target = self._policy.terms, lane.target
        is_cpu = resource is Resource.CPU
        if terms.combination is Combination.BREAK_ANY and not is_cpu:
            setting = hold(lane)
            level = min(lane.most, target + BREAK_MARGIN_RATIO)
            setting = setting._replace(ratio=max(level, setting.ratio))
        elif lane.terms.strategy is Strategy.ECONOMY:
            setting = economy(lane)
        else:
            setting = hold(lane)
        if resource in self._limited:
            # No windup: what the load was kept from, a higher setpoint would not bring.
            return Setting(min(setting.ratio, target), Intent.LIMITED)
        return self._withdrawn(resource, lane, setting)

    def _withdrawn(self, resource: Resource, lane: Lane, setting: Setting) -> Setting:
        """Lower by what the tenant is about to take, shortly before and after that begins.

        Only where the judged windows can afford it.
        """
        ahead_s, now = self._policy.terms.withdraw_s, lane.organic_now()
        if lane.forecast is None or now is None or ahead_s <= 0 or setting.ratio <= now:
            return setting
        rise = self._rise(resource, lane, lane.forecast, now)
        if rise < WITHDRAW_RATIO:
            return setting
        lowered = max(now, setting.ratio - rise)
        slots = (ahead_s + min(ahead_s, QUARTER_S)) / lane.slot_s
        if lane.affords(setting.ratio, lowered, slots):
            return Setting(lowered, Intent.WITHDRAWN)
        return setting

    def _rise(self, resource: Resource, lane: Lane, forecast: Forecast, now: float) -> float:
        """By how much the tenant is sure to need more soon, or since the quarter hour began."""
        present, ahead_s = lane.quarter(), self._policy.terms.withdraw_s
        usual = max(now, forecast.at(present))
        coming = range(present + 1, lane.quarter(ahead_s) + 1)
        rises = [forecast.band(quarter)[0] - usual for quarter in coming]
        rise = max(rises, default=0.0)
        if rise >= WITHDRAW_RATIO:
            begins = next(at for at, one in enumerate(rises) if one >= WITHDRAW_RATIO)
            self._foreseen[resource] = coming[begins], rise
            return rise
        first, rise = self._foreseen.get(resource, (-1, 0.0))
        # It has begun: the tenant may be a little late.
        return rise if first == present and lane.into_quarter_s() < ahead_s else 0.0

    def _cheapest(self, found: dict[Resource, Outlook]) -> dict[Resource, Outlook]:
        """Spare what costs more while a cheaper resource meets its goal with room to lose.

        What is cheaper than the one that meets it goes on: it is to take over again.
        """
        policy = self._policy
        for at, resource in enumerate(CHEAPEST):
            outlook = found[resource]
            target = policy.target.of(resource)
            if outlook.intent is Intent.UNJUDGED or outlook.ratio is None:
                continue
            room = BREAK_MARGIN_RATIO * ENOUGH_RATIO if resource is not Resource.CPU else 0.0
            if outlook.limited or outlook.ratio < target + room:
                continue
            for dearer in CHEAPEST[at + 1 :]:
                if found[dearer].intent is not Intent.UNJUDGED:
                    found[dearer] = found[dearer].resting(Intent.ELSEWHERE)
            break
        return found

    def _eta_s(self, resource: Resource, lane: Lane, level: float) -> float | None:
        """Seconds until the window is met at this level; None: not within a whole one."""
        if resource in self._limited:
            return None
        newest = lane.window.newest or 0
        if lane.eta_at is None or not 0 <= newest - lane.eta_at < _ETA_SLOTS:
            least = lane.target  # also where a ceiling keeps the load below
            if lane.budget.rule.threshold is not None:
                level, least = 1.0 if level >= lane.target else 0.0, lane.least
            lane.eta_slots = lane.budget.met_after(level, least)
            lane.eta_at = newest
        return None if lane.eta_slots is None else lane.eta_slots * lane.slot_s

    def _full_in_days(self, resource: Resource, lane: Lane) -> float | None:
        if resource is Resource.CPU:
            return None
        if lane.trend_due():
            lane.full_in_days = days_until(1.0, lane.quarters.series()[1])
        return lane.full_in_days


def _most(resource: Resource, policy: Policy) -> float:
    """The highest setpoint."""
    target = policy.target.of(resource)
    return min(
        policy.ceiling.of(resource), target + max(policy.terms.catch_up_ratio, BAR_ABOVE_RATIO)
    )


def _lane(resource: Resource, policy: Policy, interval_s: float) -> Lane:
    return Lane(
        goal_of(resource, policy),
        terms_of(resource, policy),
        policy.target.of(resource),
        _most(resource, policy),
        interval_s,
    )
