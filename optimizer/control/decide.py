"""One cycle of thinking: reading and orders in, plan out; a chain of the pure rooms."""

from __future__ import annotations

from dataclasses import dataclass, replace

from optimizer.control.brake import Brake, OwnHours, caps, charge, press
from optimizer.control.estimate import disk_utilisation, memory_utilisation
from optimizer.control.guard import Limited
from optimizer.control.resource import ResourceState, Seen, decide_one, lived
from optimizer.control.track import GAP_S, Track, advance
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
    Utilisation,
)

TIGHT_RATIO = 0.10
"""With less room than this above the floor, memory and disk are looked at in every cycle.

A tenant that takes memory at 5 GB/s gets through a tenth of 16 GB in 0.3 s.
"""
CALM_S = 3.0
"""How long the tenant's share must have been the same before the cycles come less often."""
CALM_DEBT_S = 0.02
"""With more than this to pay back (capacities times seconds) the cycles go on coming often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlState:
    """What control remembers from cycle to cycle; `last_s` is when it last read (monotonic).

    `gap` tells that the reading was the first one after the start or a gap.
    """

    last_s: float | None = None
    gap: bool = False
    track: Track = Track()
    brake: Brake = Brake()
    hours: OwnHours = OwnHours()
    resources: PerResource[ResourceState] = PerResource(
        cpu=ResourceState(), memory=ResourceState(), disk=ResourceState()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome of one full cycle.

    `measuring` is true for the first reading after the start or a gap.
    `tight` is true when so little is free beside what we hold that the next
    full cycle should come at once. `calm` is true when nothing has moved for
    long and the stressers watch, so that the next cycle may come later.
    """

    state: ControlState
    plan: Plan
    measuring: bool
    tight: bool
    calm: bool


def decide(state: ControlState, reading: Reading, seen: Observation, orders: Orders) -> Verdict:
    """Estimate, plan, govern and guard all three resources on one full reading."""
    now_s = reading.host.monotonic_s
    measuring = _begins(state, now_s)
    count_steal = orders.policy.count_steal
    track = advance(state.track, reading, count_steal=count_steal, stirred=seen.stirred)
    memory = disk = None
    if not measuring:
        memory, disk = _memory(reading, orders.policy), _disk(reading, orders.policy)

    def one(resource: Resource, of: Seen) -> tuple[ResourceState, Decision]:
        before = lived(state.resources.of(resource), resource, seen.exits, now_s, orders)
        return decide_one(resource, before, of, orders)

    held = state.resources.cpu.governor.demand_ratio
    brake = press(state.brake, reading, held, orders.policy)
    hours = charge(state.hours, reading)
    limits = caps(brake, hours, orders.policy)
    cpu_state, cpu_decision = one(Resource.CPU, _cpu_seen(track, now_s, limits))
    memory_state, memory_decision = one(
        Resource.MEMORY, Seen(now_s=now_s, measuring=measuring, usage=memory)
    )
    disk_state, disk_decision = one(
        Resource.DISK, Seen(now_s=now_s, measuring=measuring, usage=disk)
    )
    calm = _calm(track, cpu_state, cpu_decision) and _watchable(reading, cpu_decision)
    if calm and track.known:
        cpu_decision = replace(cpu_decision, level_ratio=track.total_ratio)
    return Verdict(
        state=ControlState(
            last_s=now_s,
            gap=measuring,
            track=track,
            brake=brake,
            hours=hours,
            resources=PerResource(cpu=cpu_state, memory=memory_state, disk=disk_state),
        ),
        plan=PerResource(cpu=cpu_decision, memory=memory_decision, disk=disk_decision),
        measuring=measuring,
        tight=_tight(memory) or _tight(disk),
        calm=calm,
    )


def decide_cpu(
    state: ControlState, reading: Reading, orders: Orders
) -> tuple[ControlState, Decision]:
    """The same for the CPU alone, on a reading without memory and disk; between full cycles."""
    now_s = reading.host.monotonic_s
    track = advance(state.track, reading, count_steal=orders.policy.count_steal)
    resources = state.resources
    limits = caps(state.brake, state.hours, orders.policy)
    seen = _cpu_seen(track, now_s, limits)
    cpu, decision = decide_one(Resource.CPU, resources.cpu, seen, orders)
    resources = PerResource(cpu=cpu, memory=resources.memory, disk=resources.disk)
    gap = _begins(state, now_s)
    after = ControlState(
        last_s=now_s,
        gap=gap,
        track=track,
        brake=state.brake,
        hours=state.hours,
        resources=resources,
    )
    return after, decision


def _calm(track: Track, state: ResourceState, decision: Decision) -> bool:
    if decision.stop or decision.reason is Reason.OWN_HOURS:
        return True
    settled = track.span_s >= CALM_S and abs(state.governor.debt_s) < CALM_DEBT_S
    return settled and decision.reason is Reason.HOLDING


def _watchable(reading: Reading, decision: Decision) -> bool:
    """Whether the stressers can watch what we measure, or there is nothing to watch."""
    return decision.stop or (reading.host.cpu is not None and reading.host.cpu.watchable)


def _begins(state: ControlState, now_s: float) -> bool:
    return state.last_s is None or not 0 < now_s - state.last_s <= GAP_S


def _cpu_seen(track: Track, now_s: float, limits: tuple[Limited, ...]) -> Seen:
    measuring = len(track.points) == 1
    usage = track.utilisation()
    return Seen(now_s=now_s, measuring=measuring, usage=usage, track=track, caps=limits)


def _memory(reading: Reading, policy: Policy) -> Utilisation | None:
    memory = reading.host.memory
    if memory is None or memory.total_bytes <= 0:
        return None
    return memory_utilisation(memory, reading.own.memory_bytes, policy)


def _disk(reading: Reading, policy: Policy) -> Utilisation | None:
    disks = reading.host.disks
    return disk_utilisation(disks, reading.own.disk_bytes, policy) if disks else None


def _tight(usage: Utilisation | None) -> bool:
    return usage is not None and usage.own_ratio > 0 and usage.room_ratio < TIGHT_RATIO
