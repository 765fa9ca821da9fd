"""One cycle of thinking: reading and orders in, plan out; a chain of the pure rooms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from optimizer.control.brake import Brake, OwnHours, caps, charge, press
from optimizer.control.drain import GIVE_AHEAD_S, Drain, watch
from optimizer.control.estimate import disk_utilisation, memory_utilisation
from optimizer.control.governor import ANTI_WINDUP_S
from optimizer.control.guard import Limited
from optimizer.control.lifecycle import rested
from optimizer.control.passage import Clocks, Passage, clocks_of, passed
from optimizer.control.pressure import Pressure
from optimizer.control.pressure import caps as memory_caps
from optimizer.control.pressure import press as press_memory
from optimizer.control.resource import ResourceState, Seen, decide_between, decide_one, lived
from optimizer.control.spread import Share, Spread, binding, kept, spread, survey, tight
from optimizer.control.track import GAP_S, Point, Track, advance, busy_between, glance, settle
from optimizer.control.turns import has_risen, is_short, waiting
from optimizer.counters import CpuCounters, Reading
from optimizer.model import (
    Decision,
    Observation,
    PerResource,
    Plan,
    Reason,
    Resource,
    Utilisation,
)
from optimizer.orders import Orders, Policy

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

    `gap` tells that the reading was the first one after the start or a gap,
    `clocks` what the clocks said at the last full one. `glanced` is what was last
    seen, and nothing decided on, by still_above().
    """

    last_s: float | None = None
    gap: bool = False
    clocks: Clocks | None = None
    track: Track = Track()
    brake: Brake = Brake()
    hours: OwnHours = OwnHours()
    resources: PerResource[ResourceState] = PerResource(
        cpu=ResourceState(), memory=ResourceState(), disk=ResourceState()
    )
    glanced: Point | None = None
    pressure: Pressure = Pressure()
    drain: Drain = Drain()
    spread: Spread = Spread()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome of one full cycle.

    `measuring` is true for the first reading after the start or a gap, and
    `passage` tells of sleep and steps of the clock since the full cycle before.
    `tight` is true when so little is free beside what we hold that the next
    full cycle should come at once. `calm` is true when nothing has moved for
    long and the stressers watch, so that the next cycle may come later.
    """

    state: ControlState
    plan: Plan
    measuring: bool
    tight: bool
    calm: bool
    passage: Passage = Passage()


def decide(state: ControlState, reading: Reading, seen: Observation, orders: Orders) -> Verdict:
    """Estimate, plan, govern and guard all three resources on one full reading."""
    now_s = reading.host.monotonic_s
    clocks = clocks_of(reading.host)
    passage = passed(state.clocks, clocks)
    measuring = passage.moved or _begins(state, now_s)
    count_steal = orders.policy.count_steal
    track = advance(
        settle(state.track, state.glanced, now_s, reading.own.cpu_s),
        now_s,
        reading.host.cpu,
        reading.own.cpu_s,
        count_steal=count_steal,
        stirred=seen.stirred or passage.moved,
    )
    memory = disk = None
    if not measuring:
        memory, disk = _memory(reading, orders.policy), _disk(reading, orders.policy)
    known = () if disk is None else reading.host.disks or ()
    laid, among = survey(state.spread, known, seen, now_s, orders)
    drain = state.drain
    if memory is not None:
        left_ratio = memory.room_ratio + memory.own_ratio
        drain = watch(drain, left_ratio * memory.capacity, now_s)
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
    before = state.resources
    short = is_short(before, pressure, brake, now_s)
    memory_state, memory_decision = one(
        Resource.MEMORY,
        Seen(
            now_s=now_s,
            measuring=measuring,
            usage=None if memory is None else _ahead(memory, drain),
            caps=memory_caps(pressure),
        ),
    )
    risen = has_risen(before.memory, memory_state)
    turn = waiting(before.disk, short=short, others=risen)
    disk_state, disk_decision = one(
        Resource.DISK,
        Seen(now_s=now_s, measuring=measuring, usage=disk, caps=_disk_caps(disk, among) + turn),
    )
    cpu_state, cpu_decision = one(Resource.CPU, _cpu_seen(track, now_s, limits))
    if disk is not None:
        ahead_bytes = orders.policy.disk_rise_bytes_per_s * ANTI_WINDUP_S
        parts = spread(disk_decision.lease, among, ahead_bytes)
    else:  # kept for a moment, as the lease is
        parts = kept(laid, orders) if disk_decision.lease > 0 else ()
    laid = laid._replace(parts=parts)
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
            clocks=clocks,
            track=track,
            brake=brake,
            hours=hours,
            resources=PerResource(cpu=cpu_state, memory=memory_state, disk=disk_state),
            pressure=pressure,
            drain=drain,
            spread=laid,
        ),
        plan=PerResource(cpu=cpu_decision, memory=memory_decision, disk=disk_decision),
        measuring=measuring,
        tight=_tight(drain, memory) or tight(laid, among, orders.policy),
        calm=calm,
        passage=passage,
    )


def let_go(state: ControlState, now_s: float) -> ControlState:
    """What is still true after all load was let go because of an error: what forbids load.

    No stresser is started again within a second of that.
    """

    def kept(one: ResourceState) -> ResourceState:
        return ResourceState(
            life=rested(one.life, now_s),
            hold_off_until_s=one.hold_off_until_s,
            throttle=one.throttle,
        )

    cpu, memory, disk = state.resources
    resources = PerResource(cpu=kept(cpu), memory=kept(memory), disk=kept(disk))
    return ControlState(
        clocks=state.clocks,
        brake=state.brake,
        hours=state.hours,
        resources=resources,
        pressure=state.pressure,
        spread=Spread(rests=state.spread.rests),
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


def _disk_caps(disk: Utilisation | None, among: tuple[Share, ...]) -> tuple[Limited, ...]:
    """What all filesystems together may hold."""
    if disk is None:
        return ()
    most = sum(share.most_bytes for share in among) / disk.capacity
    return (Limited(demand_ratio=most, reason=binding(among)),)


def _ahead(memory: Utilisation, drain: Drain) -> Utilisation:
    """The same with the room that will be left in a moment."""
    lost_ratio = drain.lost_bytes(GIVE_AHEAD_S) / memory.capacity
    return replace(memory, room_ratio=memory.room_ratio - lost_ratio)


def _tight(drain: Drain, memory: Utilisation | None) -> bool:
    if memory is None or memory.own_ratio <= 0:
        return False
    return drain.is_tight(memory.room_ratio * memory.capacity, memory.capacity)
