"""One cycle of thinking: reading and orders in, plan out; a chain of the pure rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from optimizer.control.brake import Brake, OwnHours, caps, charge, press
from optimizer.control.drain import Drain, ahead, watch
from optimizer.control.estimate import disk_utilisation, memory_utilisation
from optimizer.control.guard import Limited
from optimizer.control.pressure import Pressure
from optimizer.control.pressure import caps as memory_caps
from optimizer.control.pressure import press as press_memory
from optimizer.control.resource import ResourceState, Seen, decide_between, decide_one, lived
from optimizer.control.spread import Rest, Share, binding, rested, room_bytes, shares, spread
from optimizer.control.track import GAP_S, Point, Track, advance, busy_between, glance, settle
from optimizer.counters import CpuCounters, Reading
from optimizer.model import (
    Decision,
    Observation,
    Part,
    PerResource,
    Plan,
    Reason,
    Resource,
    Utilisation,
)
from optimizer.orders import Orders, Policy

TIGHT_RATIO = 0.10
"""With less room than this above the floor, memory and disk are looked at in every cycle.

A tenant that takes memory at 5 GB/s gets through a tenth of 16 GB in 0.3 s.
"""
TIGHT_AHEAD_S = 2.0
"""The same when it would come to that so soon at the pace of the last looks."""
GIVE_AHEAD_S = 0.5
"""What would be lacking so soon is given back now."""
GLANCE_S = 0.5
"""A tenant that was above so long ago may have left since."""
GLANCE_RATIO = 0.02
"""Nearer than this to the setpoint a glance, which does not tell our own use, is not enough."""
CALM_S = 3.0
"""How long the tenant's share must have been the same before the cycles come less often."""
CALM_DEBT_S = 0.02
"""With more than this to pay back (capacities times seconds) the cycles go on coming often."""


class ControlState(NamedTuple):
    """What control remembers from cycle to cycle; `last_s` is when it last read (monotonic).

    `gap` tells that the reading was the first one after the start or a gap.
    `glanced` is what was last seen, and nothing decided on, by still_above().
    """

    last_s: float | None = None
    gap: bool = False
    track: Track = Track()
    brake: Brake = Brake()
    hours: OwnHours = OwnHours()
    resources: PerResource[ResourceState] = PerResource(
        cpu=ResourceState(), memory=ResourceState(), disk=ResourceState()
    )
    glanced: Point | None = None
    pressure: Pressure = Pressure()
    memory_drain: Drain = Drain()
    disk_drain: Drain = Drain()
    rests: Mapping[str, Rest] = MappingProxyType({})
    parts: tuple[Part, ...] = ()


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
    track = advance(
        settle(state.track, state.glanced, now_s, reading.own.cpu_s),
        now_s,
        reading.host.cpu,
        reading.own.cpu_s,
        count_steal=count_steal,
        stirred=seen.stirred,
    )
    memory = disk = None
    among: tuple[Share, ...] = ()
    rests = state.rests
    if not measuring:
        memory, disk = _memory(reading, orders.policy), _disk(reading, orders.policy)
    if disk is not None and reading.host.disks:
        rests = rested(state.rests, reading.host.disks, seen, now_s, orders)
        among = shares(reading.host.disks, dict(reading.own.disks), rests, orders)
        disk = replace(disk, room_ratio=room_bytes(among) / disk.capacity)
    memory_drain = watch(state.memory_drain, memory, now_s)
    disk_drain = watch(state.disk_drain, disk, now_s)
    pressure = press_memory(
        state.pressure,
        reading.host.memory,
        memory,
        seen.taken_bytes,
        now_s,
        orders.policy.hold_off_s,
    )

    def one(resource: Resource, of: Seen) -> tuple[ResourceState, Decision]:
        before = lived(state.resources.of(resource), resource, seen.exits, now_s, orders)
        return decide_one(resource, before, of, orders)

    held = state.resources.cpu.governor.demand_ratio
    brake = press(state.brake, reading, held, orders.policy)
    hours = charge(state.hours, reading)
    limits = caps(brake, hours, orders.policy)
    cpu_state, cpu_decision = one(Resource.CPU, _cpu_seen(track, now_s, limits))
    memory_state, memory_decision = one(
        Resource.MEMORY,
        Seen(
            now_s=now_s,
            measuring=measuring,
            usage=None if memory is None else ahead(memory_drain, memory, GIVE_AHEAD_S),
            caps=memory_caps(pressure),
        ),
    )
    disk_state, disk_decision = one(
        Resource.DISK,
        Seen(
            now_s=now_s,
            measuring=measuring,
            usage=disk,
            caps=() if disk is None else _disk_caps(disk_drain, disk, among),
        ),
    )
    parts = spread(disk_decision.lease, among)
    if disk is None and disk_decision.lease > 0:
        parts = state.parts  # kept for a moment, as the lease is
    disk_decision = replace(
        disk_decision, parts=parts, lease=float(sum(part.lease_bytes for part in parts))
    )
    calm = _calm(track, cpu_state, cpu_decision) and _watchable(reading, cpu_decision, orders)
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
            pressure=pressure,
            memory_drain=memory_drain,
            disk_drain=disk_drain,
            rests=rests,
            parts=parts,
        ),
        plan=PerResource(cpu=cpu_decision, memory=memory_decision, disk=disk_decision),
        measuring=measuring,
        tight=_tight(memory_drain, memory) or _tight(disk_drain, disk),
        calm=calm,
    )


def let_go(state: ControlState) -> ControlState:
    """What is still true after all load was let go because of an error: what forbids load."""

    def kept(one: ResourceState) -> ResourceState:
        return ResourceState(
            life=one.life, hold_off_until_s=one.hold_off_until_s, throttle=one.throttle
        )

    cpu, memory, disk = state.resources
    resources = PerResource(cpu=kept(cpu), memory=kept(memory), disk=kept(disk))
    return ControlState(
        brake=state.brake,
        hours=state.hours,
        resources=resources,
        pressure=state.pressure,
        rests=state.rests,
    )


def still_above(
    state: ControlState, at_s: float, cpu: CpuCounters | None, orders: Orders
) -> ControlState | None:
    """The state when a tenant that reaches the setpoint alone still does; None: decide.

    So waiting for it to leave costs less than half of deciding ten times a second.
    """
    track, before = state.track, state.resources.cpu
    if before.governor.demand_ratio > 0 or cpu is None or not track.known:
        return None
    seen = state.glanced or track.points[-1]
    point = glance(track, at_s, cpu, count_steal=orders.policy.count_steal)
    if track.cpus != cpu.cpus or not 0 < at_s - seen.at_s <= GLANCE_S:
        return None
    if busy_between(seen, point, cpu.cpus) < before.goal_ratio + GLANCE_RATIO:
        return None
    return state._replace(glanced=point)


def decide_cpu(
    state: ControlState, at_s: float, cpu: CpuCounters | None, own_s: float, orders: Orders
) -> tuple[ControlState, float]:
    """The CPU alone, between two full cycles: the state, and the lease of its stressers.

    `own_s` is what we had used when the counters were read. Without counters
    nothing changes: the next full cycle sees to it.
    """
    resources = state.resources
    if cpu is None:
        return state, resources.cpu.lease
    gap = _begins(state, at_s)
    track = settle(state.track, state.glanced, at_s, own_s)
    track = advance(track, at_s, cpu, own_s, count_steal=orders.policy.count_steal)
    after = decide_between(resources.cpu, track, orders.policy)
    resources = PerResource(cpu=after, memory=resources.memory, disk=resources.disk)
    after_state = state._replace(
        last_s=at_s, gap=gap, track=track, resources=resources, glanced=None
    )
    return after_state, after.lease


def _calm(track: Track, state: ResourceState, decision: Decision) -> bool:
    if decision.stop or decision.reason is Reason.OWN_HOURS:
        return True
    settled = track.span_s >= CALM_S and abs(state.governor.debt_s) < CALM_DEBT_S
    return settled and decision.reason is Reason.HOLDING


def _watchable(reading: Reading, decision: Decision, orders: Orders) -> bool:
    """Whether the stressers can watch what we measure, or there is nothing to watch."""
    cpu = reading.host.cpu
    if decision.stop or cpu is None:
        return decision.stop
    # They count steal as idle.
    return cpu.watchable and not (orders.policy.count_steal and cpu.steal_s > 0)


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


def _disk_caps(drain: Drain, disk: Utilisation, among: tuple[Share, ...]) -> tuple[Limited, ...]:
    """What all filesystems together may hold, now and in a moment."""
    room_ratio = min(disk.room_ratio, ahead(drain, disk, GIVE_AHEAD_S).room_ratio)
    most = max(0.0, disk.own_ratio + room_ratio)
    return (Limited(demand_ratio=most, reason=binding(among)),)


def _tight(drain: Drain, usage: Utilisation | None) -> bool:
    if usage is None or usage.own_ratio <= 0:
        return False
    return ahead(drain, usage, TIGHT_AHEAD_S).room_ratio < TIGHT_RATIO
