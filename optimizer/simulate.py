"""A model host with a fake clock, and the same planner and `decide` that run in the daemon.

What is idealised: of each minute the governor sees the first second only, in
which the tenant's new load meets our old lease; the rest of the minute goes as
decided then. So its clock runs a second a minute, and what is measured in
seconds for it (hold-offs, the rise of memory and disk) is scaled alike. The
kernel gives the tenant all it wants; there is no steal, no pressure and no limit
on own core-hours, and memory and disk have a tenant that never moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from optimizer.control.brake import OwnHours
from optimizer.control.decide import ControlState, decide
from optimizer.control.planner import Planner
from optimizer.counters import (
    CpuCounters,
    DiskCounters,
    HostReading,
    MemoryCounters,
    OwnCounters,
    Place,
    Reading,
)
from optimizer.model import Observation, PerResource, Plan, Sample, Utilisation
from optimizer.orders import Orders, Policy
from optimizer.outcome import Outlook, levels

MINUTE_S = 60
SEEN_S = 1.0
"""Of each minute the governor sees so much."""
GIB = 1 << 30
_DISK_BYTES = 100 * GIB
_TENANT_RATIO = 0.10
"""What the tenant of the model holds of memory and disk."""
_PLACE = Place("/data", "/data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """One simulated minute; CPU ratios, None while the trace has a gap: the host is off.

    `outlooks` are those at its end, also of a gap.
    """

    utc_s: float
    organic: float | None
    own: float | None
    outlooks: PerResource[Outlook]


@dataclass(slots=True)
class _Host:
    """Counters of the model host."""

    cpus: int
    memory_bytes: int
    now_s: float = 1000.0
    busy_s: float = 0.0
    own_s: float = 0.0
    duty: float = 0.0
    memory_held: int = 0
    disk_held: int = 0

    def run(self, seconds: float, tenant: float) -> float:
        """Let time pass; our share of the CPU in it."""
        own = min(self.duty, 1.0 - tenant)
        self.now_s += seconds
        self.busy_s += (tenant + own) * seconds * self.cpus
        self.own_s += own * seconds * self.cpus
        return own

    def reading(self, utc_s: float) -> Reading:
        """All counters now."""
        total_s = self.now_s * self.cpus
        used = int(_TENANT_RATIO * self.memory_bytes) + self.memory_held
        filled = int(_TENANT_RATIO * _DISK_BYTES) + self.disk_held
        free = max(0, self.memory_bytes - used)
        return Reading(
            host=HostReading(
                monotonic_s=self.now_s,
                utc_s=utc_s,
                cpu=CpuCounters(total_s, total_s - self.busy_s, 0.0, self.cpus),
                memory=MemoryCounters(
                    total_bytes=self.memory_bytes,
                    available_bytes=free,
                    free_bytes=free,
                    cache_bytes=0,
                    stalled_s=0.0,
                ),
                disks=(
                    DiskCounters(
                        place=_PLACE,
                        used_bytes=filled,
                        available_bytes=max(0, _DISK_BYTES - filled),
                    ),
                ),
            ),
            own=OwnCounters(
                cpu_s=self.own_s,
                memory_bytes=self.memory_held,
                disks=((_PLACE.path, self.disk_held),),
            ),
        )

    def apply(self, plan: Plan) -> None:
        """Take and give back at once what the leases say."""
        self.duty = plan.cpu.lease
        self.memory_held = int(plan.memory.lease)
        self.disk_held = sum(part.lease_bytes for part in plan.disk.parts)


def simulate(
    tenant: Iterator[float | None],
    *,
    start_utc_s: float,
    policy: Policy,
    cpus: int,
    memory_bytes: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[Minute]:
    """The minutes of a host with this tenant, one after the other.

    `progress` is told the number of each minute. While the tenant is None the
    host is off: nothing is measured and nothing held, and the judged windows move on.
    """
    scaled = _scaled(policy)
    host = _Host(cpus, memory_bytes)
    planner = Planner(policy, MINUTE_S)
    state = ControlState(hours=OwnHours())
    setpoints: PerResource[float] | None = None
    for number, organic in enumerate(tenant):
        progress(number)
        end_utc_s = start_utc_s + (number + 1) * MINUTE_S
        if organic is None:
            state, host.duty = ControlState(), 0.0
            host.memory_held = host.disk_held = 0
            host.now_s += SEEN_S
            planner.resume(end_utc_s)
            outlooks = planner.aim(policy)
            setpoints = levels(outlooks)
            yield Minute(utc_s=end_utc_s, organic=None, own=None, outlooks=outlooks)
            continue
        before = host.run(SEEN_S, organic)
        # The governor's clocks agree with one another; the planner's is the true one.
        reading = host.reading(start_utc_s + host.now_s)
        seen = Observation(own=reading.own)
        orders = Orders(policy=scaled, setpoints=setpoints)
        verdict = decide(state, reading, seen, orders)
        state = verdict.state
        host.apply(verdict.plan)
        after = min(host.duty, 1.0 - organic)
        own = (before * SEEN_S + after * (MINUTE_S - SEEN_S)) / MINUTE_S
        outlooks = planner.take(_sample(host, end_utc_s, organic, own), verdict.plan, policy)
        setpoints = levels(outlooks)
        yield Minute(utc_s=end_utc_s, organic=organic, own=own, outlooks=outlooks)


def _scaled(policy: Policy) -> Policy:
    """The policy for a governor whose clock runs a second a minute."""
    slow = MINUTE_S / SEEN_S
    return replace(
        policy,
        memory_rise_bytes_per_s=policy.memory_rise_bytes_per_s * slow,
        disk_rise_bytes_per_s=policy.disk_rise_bytes_per_s * slow,
        hold_off_s=policy.hold_off_s / slow,
        own_hours_max=None,
    )


def _sample(host: _Host, utc_s: float, organic: float, own: float) -> Sample:
    def level(held: int, capacity: int) -> Utilisation:
        total = _TENANT_RATIO + held / capacity
        return Utilisation(
            total_ratio=total,
            own_ratio=held / capacity,
            capacity=float(capacity),
            room_ratio=1.0 - total,
        )

    total = organic + own
    return Sample(
        utc_s=utc_s,
        span_s=MINUTE_S,
        usage=PerResource(
            cpu=Utilisation(
                total_ratio=total,
                own_ratio=own,
                capacity=float(host.cpus),
                room_ratio=1.0 - total,
            ),
            memory=level(host.memory_held, host.memory_bytes),
            disk=level(host.disk_held, _DISK_BYTES),
        ),
        steal_ratio=0.0,
    )


def fill_ratio(organic: float, target: float) -> float:
    """What an ideal fill to the target, which knows the tenant, would add in a minute."""
    return max(0.0, target - organic)
