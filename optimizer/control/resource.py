"""One resource, one cycle: from its utilisation to its decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from optimizer.control.governor import Governed, GovernorState, govern_level, govern_rate
from optimizer.control.guard import RESUME_S, Limited, floor_touched, limit, prolonged
from optimizer.control.lifecycle import Life, ended, obstacle, resumed
from optimizer.control.planner import setpoint
from optimizer.control.throttle import Throttle, press
from optimizer.control.track import Track
from optimizer.model import Decision, Reason, Resource, StresserExit, Utilisation
from optimizer.orders import Orders, Policy

MISSING_S = 3.0
"""How long a demand is kept, not raised, on a failing sensor before all is released."""
MEMORY_RISE_MOST_PER_S = 0.01
"""Memory never grows faster than this share of it in a second, whatever the configuration."""
RISING_BAND_RATIO = 0.005
"""Within this of what is wanted, a resource counts as held and not as rising."""


class ResourceState(NamedTuple):
    """What control remembers of one resource; times are monotonic seconds.

    `lease` is the last one given, kept for a moment when a sensor fails.
    `goal_ratio` and `most_ratio` are what the last full cycle allowed: the
    setpoint (0: nothing at all) and the lowest cap.
    """

    governor: GovernorState = GovernorState()
    life: Life = Life()
    lease: float = 0.0
    hold_off_until_s: float = 0.0
    last_known_s: float | None = None
    throttle: Throttle = Throttle()
    goal_ratio: float = 0.0
    most_ratio: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of one resource in this cycle.

    `usage` is None where it is not known; `measuring` tells that this is the
    first reading after the start or a gap. `track` is the CPU's alone. `caps`
    is what else it may not pass.
    """

    now_s: float
    measuring: bool
    usage: Utilisation | None
    track: Track | None = None
    caps: tuple[Limited, ...] = ()


def decide_one(
    resource: Resource, before: ResourceState, seen: Seen, orders: Orders
) -> tuple[ResourceState, Decision]:
    """The decision for one resource and what is remembered for the next cycle."""
    policy, now_s, usage = orders.policy, seen.now_s, seen.usage
    goal = setpoint(resource, policy, orders.inhibit, orders.setpoints)
    off = _off(resource, before, now_s, orders)
    if off is not None:
        return _resting(before, usage, now_s), _decision(resource, policy, goal, off, stop=True)
    if usage is None:
        caps = _caps(seen, before.throttle)
        after, limit_reason = _lowered(blind(before, now_s), caps)
        reason = limit_reason or (Reason.MEASURING if seen.measuring else Reason.NO_READING)
        demand = after.governor.demand_ratio
        decision = _decision(
            resource, policy, goal, reason, wanted=demand, demand=demand, lease=after.lease
        )
        return after._replace(goal_ratio=goal, most_ratio=_most(caps)), decision
    governed = _govern(resource, before, goal, usage, seen, policy)
    previous = before.governor.demand_ratio
    hold_off_until_s = before.hold_off_until_s
    has_floor = resource is Resource.MEMORY
    if has_floor and floor_touched(usage, previous_ratio=previous):
        hold_off_until_s = now_s + max(policy.hold_off_s, RESUME_S)
    elif has_floor:
        hold_off_until_s = prolonged(hold_off_until_s, usage, now_s)
    throttle = before.throttle
    if seen.track is not None:
        throttle = press(throttle, seen.track, policy.hold_off_s)
    caps = _caps(seen, throttle)
    limited = limit(
        governed.demand_ratio,
        usage=usage,
        ceiling_ratio=policy.ceiling.of(resource),
        previous_ratio=previous,
        holding_off=now_s < hold_off_until_s,
        has_floor=has_floor,
        caps=caps,
    )
    demand = limited.demand_ratio
    decision = _decision(
        resource,
        policy,
        goal,
        limited.reason
        or _reason(governed, spared=usage.organic_ratio < policy.target.of(resource)),
        wanted=governed.wanted_ratio,
        demand=demand,
        lease=demand if resource is Resource.CPU else float(int(demand * usage.capacity)),
    )
    after = ResourceState(
        governor=_kept(governed, demand),
        life=before.life,
        lease=decision.lease,
        hold_off_until_s=hold_off_until_s,
        last_known_s=now_s,
        throttle=throttle,
        goal_ratio=goal,
        most_ratio=_most(caps),
    )
    return after, decision


def decide_between(before: ResourceState, track: Track, policy: Policy) -> ResourceState:
    """The CPU between two full cycles, on the terms of the last one; `lease` is the demand.

    Runs ten times a second in cold caches: few objects, few calls.
    """
    at_s = track.points[-1].at_s
    if not track.known:
        return blind(before, at_s)
    organic = track.organic_ratio
    governed = _govern_cpu(before.governor, before.goal_ratio, organic, track, policy)
    most = min(before.most_ratio, policy.ceiling.cpu - organic)
    demand = max(0.0, min(governed.demand_ratio, most))
    return ResourceState(
        _kept(governed, demand),
        before.life,
        demand,
        before.hold_off_until_s,
        at_s,
        before.throttle,
        before.goal_ratio,
        before.most_ratio,
    )


def blind(before: ResourceState, now_s: float) -> ResourceState:
    """No utilisation: keep the lease for a moment, never raise it, then let go.

    That holds after a gap too: on a host so swamped that every cycle comes
    late there is never a value, and then there must be no load either.
    """
    known_s = before.last_known_s
    fresh = known_s is not None and now_s - known_s <= MISSING_S
    demand = before.governor.demand_ratio if fresh else 0.0
    lease = before.lease if fresh else 0.0
    return before._replace(governor=GovernorState(demand_ratio=demand), lease=lease)


def _lowered(
    state: ResourceState, caps: tuple[Limited, ...]
) -> tuple[ResourceState, Reason | None]:
    """What is kept without a value, but no more than the caps allow; and which cap that was."""
    demand = state.governor.demand_ratio
    lowest = min(caps, key=lambda cap: cap.demand_ratio, default=None)
    if lowest is None or demand <= max(0.0, lowest.demand_ratio):
        return state, None
    most = max(0.0, lowest.demand_ratio)
    governor = GovernorState(demand_ratio=most)
    return state._replace(governor=governor, lease=state.lease * most / demand), lowest.reason


def _kept(governed: Governed, demand: float) -> GovernorState:
    _, asked, debt_s, payback_s = governed
    if demand >= asked:
        return GovernorState(demand, debt_s, payback_s)
    # No windup while a limit holds the demand down.
    return GovernorState(demand, min(0.0, debt_s), payback_s, limited=True)


def _caps(seen: Seen, throttle: Throttle) -> tuple[Limited, ...]:
    if seen.track is None:
        return seen.caps
    return (
        *seen.caps,
        Limited(demand_ratio=seen.track.reach_ratio, reason=Reason.CPU_LIMITED),
        Limited(demand_ratio=throttle.most_ratio, reason=Reason.THROTTLED),
    )


def _most(caps: tuple[Limited, ...]) -> float:
    return min((cap.demand_ratio for cap in caps), default=1.0)


def _govern(
    resource: Resource,
    before: ResourceState,
    goal: float,
    usage: Utilisation,
    seen: Seen,
    policy: Policy,
) -> Governed:
    if seen.track is not None:
        return _govern_cpu(before.governor, goal, usage.organic_ratio, seen.track, policy)
    rise = policy.disk_rise_bytes_per_s
    if resource is Resource.MEMORY:
        rise = min(policy.memory_rise_bytes_per_s, MEMORY_RISE_MOST_PER_S * usage.capacity)
    known_s = seen.now_s if before.last_known_s is None else before.last_known_s
    return govern_level(
        before.governor,
        goal,
        usage=usage,
        step_s=seen.now_s - known_s,
        rise_per_s=rise / usage.capacity,
    )


def _govern_cpu(
    before: GovernorState, goal: float, organic_ratio: float, track: Track, policy: Policy
) -> Governed:
    step_ratio, step_s = track.step_ratio, track.step_s
    governed = govern_rate(
        before,
        goal,
        organic_ratio=organic_ratio,
        step_ratio=step_ratio,
        step_s=step_s,
        calm_s=track.span_s,
        changed=track.changed,
        rise_per_s=policy.cpu_rise_per_s,
    )
    if track.changed and organic_ratio >= track.whole_ratio:
        # A tenant that rises must not make us rise, also not by paying debts back faster.
        unmoved = govern_rate(
            before,
            goal,
            organic_ratio=track.whole_ratio,
            step_ratio=step_ratio,
            step_s=step_s,
            calm_s=track.whole_s,
            changed=False,
            rise_per_s=policy.cpu_rise_per_s,
        )
        if unmoved.demand_ratio < governed.demand_ratio:
            return governed._replace(demand_ratio=unmoved.demand_ratio)
    return governed


def lived(
    state: ResourceState,
    resource: Resource,
    exits: tuple[StresserExit, ...],
    now_s: float,
    orders: Orders,
) -> ResourceState:
    """The state after this cycle's unwanted ends and an operator's resume.

    What ended on one filesystem concerns that one alone: see spread.py.
    """
    life = resumed(state.life) if orders.resumed else state.life
    for event in exits:
        if event.resource is resource and event.path is None:
            life = ended(life, event, now_s, orders.policy.hold_off_s)
    return state if life is state.life else state._replace(life=life)


def _off(resource: Resource, state: ResourceState, now_s: float, orders: Orders) -> Reason | None:
    """Why there is nothing at all to do for a resource now."""
    if orders.policy.target.of(resource) <= 0:
        return Reason.NO_TARGET
    if orders.inhibit is not None:
        return Reason.INHIBITED
    if resource is Resource.DISK and orders.disk_reason is not None:
        return orders.disk_reason
    return obstacle(state.life, now_s)


def _resting(state: ResourceState, usage: Utilisation | None, now_s: float) -> ResourceState:
    known_s = now_s if usage is not None else state.last_known_s
    return state._replace(governor=GovernorState(), lease=0.0, last_known_s=known_s, goal_ratio=0.0)


def _decision(
    resource: Resource,
    policy: Policy,
    goal: float,
    reason: Reason,
    *,
    wanted: float = 0.0,
    demand: float = 0.0,
    lease: float = 0.0,
    stop: bool = False,
) -> Decision:
    return Decision(
        resource=resource,
        target_ratio=policy.target.of(resource),
        setpoint_ratio=goal,
        wanted_ratio=wanted,
        demand_ratio=demand,
        lease=lease,
        reason=reason,
        stop=stop,
    )


def _reason(governed: Governed, *, spared: bool) -> Reason:
    if governed.wanted_ratio <= 0:
        return Reason.SPARED if spared else Reason.TENANT_ABOVE
    rising = governed.demand_ratio < governed.wanted_ratio - RISING_BAND_RATIO
    return Reason.RISING if rising else Reason.HOLDING
