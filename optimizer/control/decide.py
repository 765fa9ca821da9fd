"""One cycle of thinking: reading and orders in, plan out; a chain of the pure rooms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from optimizer.control.estimate import CpuClock, busy_ratio, cpu_utilisation, estimate
from optimizer.control.governor import Governed, GovernorState, govern_level, govern_rate
from optimizer.control.guard import floor_touched, limit
from optimizer.control.lifecycle import Life, ended, obstacle, resumed
from optimizer.control.planner import setpoint
from optimizer.model import (
    Decision,
    Observation,
    Orders,
    PerResource,
    Plan,
    Policy,
    Reading,
    Reason,
    Resource,
    StresserExit,
    Utilisation,
)

WINDOW_S = 0.45
"""Over at least how long the tenant's CPU share is averaged: a few slices of the workers.

Shorter sees the slices themselves, longer answers later to the tenant.
Measured with benchmarks/recorder.py.
"""
GAP_S = 2.0
"""A pause between readings beyond this is a gap (suspend, stop): measure anew."""
MISSING_S = 3.0
"""How long a demand is kept, not raised, on a failing sensor before all is released."""
RISING_BAND_RATIO = 0.005
"""Within this of what is wanted, a resource counts as held and not as rising."""

TIGHT_RATIO = 0.10
"""With less room than this above the floor, memory and disk are looked at in every cycle.

A tenant that takes memory at 5 GB/s gets through a tenth of 16 GB in 0.3 s.
"""

T = TypeVar("T")
_UNKNOWN: PerResource[Utilisation | None] = PerResource(cpu=None, memory=None, disk=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceState:
    """What control remembers of one resource; times are monotonic seconds.

    `lease` is the last one given, kept for a moment when a sensor fails.
    """

    governor: GovernorState = GovernorState()
    life: Life = Life()
    lease: float = 0.0
    hold_off_until_s: float = 0.0
    last_known_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlState:
    """What control remembers from cycle to cycle: the window of readings and each resource."""

    readings: tuple[Reading, ...] = ()
    resources: PerResource[ResourceState] = PerResource(
        cpu=ResourceState(), memory=ResourceState(), disk=ResourceState()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome of one full cycle.

    `measuring` is true for the first reading after the start or a gap.
    `tight` is true when so little is free beside what we hold that the next
    full cycle should come at once.
    """

    state: ControlState
    plan: Plan
    measuring: bool
    tight: bool


def decide(state: ControlState, reading: Reading, seen: Observation, orders: Orders) -> Verdict:
    """Estimate, plan, govern and guard all three resources on one full reading."""
    readings = advance(state.readings, reading)
    measuring = len(readings) < 2
    usages: PerResource[Utilisation | None] = _UNKNOWN
    if not measuring:
        usages = estimate(readings[0], reading, orders.policy, CpuClock.WALL).usage
    states, decisions = [], []
    for resource in Resource:
        before = _lived(state.resources.of(resource), resource, seen.exits, reading, orders)
        after, decision = _decide_one(resource, before, readings, usages.of(resource), orders)
        states.append(after)
        decisions.append(decision)
    return Verdict(
        state=ControlState(readings=readings, resources=_per_resource(states)),
        plan=_per_resource(decisions),
        measuring=measuring,
        tight=_tight(usages.memory) or _tight(usages.disk),
    )


def decide_cpu(
    state: ControlState, reading: Reading, orders: Orders
) -> tuple[ControlState, Decision]:
    """The same for the CPU alone, on a reading without memory and disk; between full cycles."""
    readings = advance(state.readings, reading)
    usage = None
    if len(readings) > 1:
        count_steal = orders.policy.count_steal
        usage = cpu_utilisation(readings[0], reading, CpuClock.WALL, count_steal=count_steal)
    resources = state.resources
    cpu, decision = _decide_one(Resource.CPU, resources.cpu, readings, usage, orders)
    resources = PerResource(cpu=cpu, memory=resources.memory, disk=resources.disk)
    return ControlState(readings=readings, resources=resources), decision


def _tight(usage: Utilisation | None) -> bool:
    return usage is not None and usage.own_ratio > 0 and usage.room_ratio < TIGHT_RATIO


def advance(readings: tuple[Reading, ...], reading: Reading) -> tuple[Reading, ...]:
    """The readings of the window up to and with this one; begun anew after a gap in time."""
    now_s = reading.host.monotonic_s
    if readings and not 0 < now_s - readings[-1].host.monotonic_s <= GAP_S:
        return (reading,)
    extended = (*readings, reading)
    start = 0
    while start + 2 < len(extended) and now_s - extended[start + 1].host.monotonic_s >= WINDOW_S:
        start += 1
    return extended[start:]


def _decide_one(
    resource: Resource,
    before: ResourceState,
    readings: tuple[Reading, ...],
    usage: Utilisation | None,
    orders: Orders,
) -> tuple[ResourceState, Decision]:
    policy = orders.policy
    now_s = readings[-1].host.monotonic_s
    goal = setpoint(resource, policy, orders.inhibit)
    off = _off(resource, before, now_s, orders)
    if off is not None:
        return _resting(before, usage, now_s), _decision(resource, policy, goal, off, stop=True)
    if usage is None:
        reason = Reason.MEASURING if len(readings) < 2 else Reason.NO_READING
        return _blind(resource, before, now_s, goal, reason, policy)
    governed = _govern(resource, before, goal, usage, readings, policy)
    previous = before.governor.demand_ratio
    hold_off_until_s = before.hold_off_until_s
    has_floor = resource is not Resource.CPU
    if has_floor and floor_touched(usage, previous_ratio=previous):
        hold_off_until_s = now_s + policy.hold_off_s
    limited = limit(
        governed.demand_ratio,
        usage=usage,
        ceiling_ratio=policy.ceiling.of(resource),
        previous_ratio=previous,
        holding_off=now_s < hold_off_until_s,
        has_floor=has_floor,
    )
    free = limited.reason is None
    kept = GovernorState(
        demand_ratio=limited.demand_ratio,
        # No windup while a limit holds the demand down.
        debt_s=governed.debt_s if free else min(0.0, governed.debt_s),
        judged_debt_s=governed.judged_debt_s if free else before.governor.judged_debt_s,
    )
    demand = limited.demand_ratio
    decision = _decision(
        resource,
        policy,
        goal,
        limited.reason or _reason(governed),
        wanted=governed.wanted_ratio,
        demand=demand,
        lease=demand if resource is Resource.CPU else float(int(demand * usage.capacity)),
    )
    after = ResourceState(
        governor=kept,
        life=before.life,
        lease=decision.lease,
        hold_off_until_s=hold_off_until_s,
        last_known_s=now_s,
    )
    return after, decision


def _govern(
    resource: Resource,
    before: ResourceState,
    goal: float,
    usage: Utilisation,
    readings: tuple[Reading, ...],
    policy: Policy,
) -> Governed:
    last, reading = readings[-2], readings[-1]
    now_s = reading.host.monotonic_s
    if resource is Resource.CPU:
        steal = policy.count_steal
        return govern_rate(
            before.governor,
            goal,
            window=usage,
            step_ratio=busy_ratio(last, reading, CpuClock.WALL, count_steal=steal),
            judged_ratio=busy_ratio(last, reading, CpuClock.STAT, count_steal=steal),
            step_s=now_s - last.host.monotonic_s,
            rise_per_s=policy.cpu_rise_per_s,
        )
    is_memory = resource is Resource.MEMORY
    rise = policy.memory_rise_bytes_per_s if is_memory else policy.disk_rise_bytes_per_s
    known_s = now_s if before.last_known_s is None else before.last_known_s
    return govern_level(
        before.governor,
        goal,
        usage=usage,
        step_s=now_s - known_s,
        rise_per_s=rise / usage.capacity,
    )


def _lived(
    state: ResourceState,
    resource: Resource,
    exits: tuple[StresserExit, ...],
    reading: Reading,
    orders: Orders,
) -> ResourceState:
    """The state after this cycle's unwanted ends and an operator's resume."""
    life = resumed(state.life) if orders.resumed else state.life
    for event in exits:
        if event.resource is resource:
            life = ended(life, event, reading.host.monotonic_s, orders.policy.hold_off_s)
    return state if life is state.life else replace(state, life=life)


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
    return replace(state, governor=GovernorState(), lease=0.0, last_known_s=known_s)


def _blind(
    resource: Resource,
    state: ResourceState,
    now_s: float,
    goal: float,
    reason: Reason,
    policy: Policy,
) -> tuple[ResourceState, Decision]:
    """No utilisation: keep the lease for a moment, never raise it, then let go.

    That holds after a gap too: on a host so swamped that every cycle comes
    late there is never a value, and then there must be no load either.
    """
    known_s = state.last_known_s
    fresh = known_s is not None and now_s - known_s <= MISSING_S
    demand = state.governor.demand_ratio if fresh else 0.0
    lease = state.lease if fresh else 0.0
    after = replace(state, governor=GovernorState(demand_ratio=demand), lease=lease)
    return after, _decision(
        resource, policy, goal, reason, wanted=demand, demand=demand, lease=lease
    )


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


def _reason(governed: Governed) -> Reason:
    if governed.wanted_ratio <= 0:
        return Reason.TENANT_ABOVE
    rising = governed.demand_ratio < governed.wanted_ratio - RISING_BAND_RATIO
    return Reason.RISING if rising else Reason.HOLDING


def _per_resource(values: list[T]) -> PerResource[T]:
    cpu, memory, disk = values
    return PerResource(cpu=cpu, memory=memory, disk=disk)
