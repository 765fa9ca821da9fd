"""Fakes of the ports: a model host with a fake clock, and stores in memory.

The model host obeys leases the way the kernel does for us: the tenant comes
first, the CPU stressers take what is left of their duty, memory and disk are
taken in the instant the lease says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from optimizer.adapters.deadline import Deadlines
from optimizer.counters import (
    CpuCounters,
    DiskCounters,
    HostReading,
    MemoryCounters,
    OwnCounters,
    Place,
)
from optimizer.errors import HistoryError
from optimizer.model import Observation, PerResource, Plan, Resource, StresserExit
from optimizer.orders import Floor, Inhibit, MemoryMetric, Policy
from optimizer.outcome import (
    CycleReport,
    Event,
    EventKind,
    Past,
    PeriodMean,
    PeriodMeans,
    Record,
    StresserState,
)

GIB = 1 << 30


def policy(
    *,
    cpu: float = 0.4,
    memory: float = 0.4,
    disk: float = 0.4,
    hold_off_s: float = 300.0,
    memory_rise_bytes_per_s: float = 1024 * 2**20 / 60,
    metric: MemoryMetric = MemoryMetric.AVAILABLE,
) -> Policy:
    """The default policy with the targets given as ratios."""
    return Policy(
        target=PerResource(cpu=cpu, memory=memory, disk=disk),
        ceiling=PerResource(cpu=0.90, memory=0.85, disk=0.80),
        memory_floor=Floor(ratio=0.05, least_bytes=512 * 2**20),
        disk_floor=Floor(ratio=0.10, least_bytes=2 * GIB),
        cpu_rise_per_s=4.0,
        memory_rise_bytes_per_s=memory_rise_bytes_per_s,
        disk_rise_bytes_per_s=256 * 2**20,
        memory_metric=metric,
        lazy_memory=metric is not MemoryMetric.AVAILABLE,
        count_steal=False,
        hold_off_s=hold_off_s,
    )


@dataclass
class FakeHost:
    """A host with a fake clock: Clock, Sensors and Actuators in one model.

    `tenant_cpu`, `tenant_memory_bytes` and `tenant_disk_bytes` are functions
    of the monotonic time in seconds.
    """

    cpus: int = 2
    memory_bytes: int = 24 * GIB
    disk_bytes: int = 100 * GIB
    tenant_cpu: Callable[[float], float] = lambda _: 0.0
    tenant_memory_bytes: Callable[[float], int] = lambda _: 0
    tenant_disk_bytes: Callable[[float], int] = lambda _: 0
    has_disk: bool = True
    now_s: float = 1000.0
    utc_offset_s: float = 1_700_000_000.0
    slept_s: float = 0.0
    failing: frozenset[str] = frozenset()
    busy_s: float = 0.0
    own_cpu_s: float = 0.0
    duty: float = 0.0
    cpu_runs: bool = False
    held: dict[Resource, int] = field(default_factory=dict)
    exits: list[StresserExit] = field(default_factory=list)
    stalled_s: float | None = 0.0
    swapped_out_bytes: int | None = None
    taken_bytes: int = 0
    plans: list[Plan] = field(default_factory=list)
    closed: bool = False
    doubted: tuple[str, ...] = ()
    step_s: float = 0.01

    # Clock
    def monotonic(self) -> float:
        """Fake seconds."""
        return self.now_s

    def utc(self) -> float:
        """Fake seconds since the epoch."""
        return self.now_s + self.utc_offset_s

    def beat(self, period_s: float) -> float:
        """The next multiple of the period."""
        return (math.floor(self.now_s / period_s) + 1) * period_s

    def wait_until(self, monotonic_s: float) -> None:
        """Let the model host run until then."""
        while self.now_s < monotonic_s - 1e-9:
            step = min(self.step_s, monotonic_s - self.now_s)
            tenant = min(1.0, max(0.0, self.tenant_cpu(self.now_s)))
            own = min(self.duty, 1.0 - tenant)
            self.busy_s += (tenant + own) * step * self.cpus
            self.own_cpu_s += own * step * self.cpus
            self.now_s += step
        self.now_s = max(self.now_s, monotonic_s)

    def set_clock(self, seconds: float) -> None:
        """Somebody sets the UTC clock forwards, or back."""
        self.utc_offset_s += seconds

    def sleep(self, seconds: float) -> None:
        """The host is suspended: UTC and boot time go on, monotonic time and counters do not."""
        self.slept_s += seconds
        self.utc_offset_s += seconds

    # Sensors
    def read(self) -> HostReading:
        """Counters as the model host has them now."""
        cpu = memory = disks = None
        if "cpu" not in self.failing:
            total_s = self.now_s * self.cpus
            cpu = CpuCounters(
                total_s=total_s,
                idle_s=total_s - self.busy_s,
                steal_s=0.0,
                cpus=self.cpus,
            )
        if "memory" not in self.failing:
            used = self.tenant_memory_bytes(self.now_s) + self.held.get(Resource.MEMORY, 0)
            free = max(0, self.memory_bytes - used)
            memory = MemoryCounters(
                total_bytes=self.memory_bytes,
                available_bytes=free,
                free_bytes=free,
                cache_bytes=0,
                stalled_s=self.stalled_s,
                swapped_out_bytes=self.swapped_out_bytes,
            )
        if "disk" not in self.failing:
            used = self.tenant_disk_bytes(self.now_s) + self.held.get(Resource.DISK, 0)
            disk = DiskCounters(
                place=Place("/data", "/data"),
                used_bytes=used,
                available_bytes=max(0, self.disk_bytes - used),
            )
            disks = (disk,) if self.has_disk else ()
        return HostReading(
            monotonic_s=self.now_s,
            utc_s=self.utc(),
            cpu=cpu,
            memory=memory,
            disks=disks,
            failures=tuple((name, "fake failure") for name in sorted(self.failing)),
            slept_s=self.slept_s,
        )

    def read_cpu(self) -> tuple[float, CpuCounters | None]:
        """The CPU counters alone."""
        return self.now_s, self.read().cpu

    # Actuators
    def cpu_used_s(self) -> float:
        """CPU seconds of the model's stressers."""
        return self.own_cpu_s

    def renew_cpu(self, demand_ratio: float) -> bool:
        """Obey the CPU lease alone, where stressers run."""
        before = self.plans[-1].cpu
        if self.cpu_runs:
            self.duty = demand_ratio
        decision = replace(before, demand_ratio=demand_ratio, lease=demand_ratio, level_ratio=None)
        self.plans.append(replace(self.plans[-1], cpu=decision))
        return self.cpu_runs

    def observe(self) -> Observation:
        """Ledgers and the ends that a test has put into `exits`."""
        exits, self.exits = tuple(self.exits), []
        taken, self.taken_bytes = self.taken_bytes, 0
        if taken:
            self.held[Resource.MEMORY] = 0
        for event in exits:
            self._let_go(event.resource)
        return Observation(
            own=OwnCounters(
                cpu_s=self.own_cpu_s,
                memory_bytes=self.held.get(Resource.MEMORY, 0),
                disks=(("/data", self.held.get(Resource.DISK, 0)),),
            ),
            exits=exits,
            taken_bytes=taken,
        )

    def apply(self, plan: Plan) -> None:
        """Take and give back at once what the leases say."""
        self.plans.append(plan)
        self.cpu_runs = not plan.cpu.stop and (self.cpu_runs or plan.cpu.lease > 0)
        self.duty = plan.cpu.lease
        self.held = {
            Resource.MEMORY: int(plan.memory.lease),
            Resource.DISK: sum(part.lease_bytes for part in plan.disk.parts),
        }

    def doubts(self) -> tuple[str, ...]:
        """What a test has put into `doubted`."""
        return self.doubted

    def states(self) -> PerResource[StresserState]:
        """Nothing to tell of a model."""
        none = StresserState()
        return PerResource(cpu=none, memory=none, disk=none)

    def release(self) -> None:
        """Hold nothing."""
        for resource in Resource:
            self._let_go(resource)

    def close(self, deadline_s: float) -> tuple[int, ...]:
        """Hold nothing, for good."""
        assert deadline_s > 0
        self.release()
        self.closed = True
        return ()

    def _let_go(self, resource: Resource) -> None:
        if resource is Resource.CPU:
            self.duty, self.cpu_runs = 0.0, False
        else:
            self.held[resource] = 0

    def run_for(self, seconds: float, cycle: Callable[[], object]) -> None:
        """Run the model host and call the cycle ten times a second."""
        until_s = self.now_s + seconds
        while self.now_s < until_s - 1e-9:
            cycle()
            self.wait_until(self.now_s + 0.1)


@dataclass
class FakeHistory:
    """Keeps the records in a list; implements ports.History.

    `before` is what it knows from earlier daemons; `unreadable` lets each look at it fail.
    """

    records: list[Record] = field(default_factory=list)
    before: list[Past] = field(default_factory=list)
    unreadable: bool = False
    asked: list[tuple[float, float]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    closed: bool = False

    def append(self, record: Record) -> bool:
        """Keep the record."""
        self.records.append(record)
        return True

    def note(self, event: Event) -> bool:
        """Keep the event."""
        self.events.append(event)
        return True

    def last(self, kinds: Collection[EventKind]) -> Event | None:
        """The last one kept."""
        found = [event for event in self.events if event.kind in kinds]
        return found[-1] if found else None

    def means(self, now_utc_s: float, days: float) -> PeriodMeans:
        """Plain weighted means of what is kept."""
        start_s = now_utc_s - days * 86400

        def mean(resource: Resource) -> PeriodMean:
            known = [
                (min(record.sample.span_s, int(record.sample.utc_s) - start_s), usage)
                for record in self.records
                if start_s < record.sample.utc_s <= now_utc_s
                and (usage := record.sample.usage.of(resource)) is not None
            ]
            span_s = sum(span for span, _ in known)
            if span_s <= 0:
                return PeriodMean(mean_ratio=None, own_mean_ratio=None, coverage_ratio=0.0)
            return PeriodMean(
                mean_ratio=sum(span * usage.total_ratio for span, usage in known) / span_s,
                own_mean_ratio=sum(span * usage.own_ratio for span, usage in known) / span_s,
                coverage_ratio=min(1.0, span_s / (days * 86400)),
            )

        return PeriodMeans(
            days=days,
            rows=len(self.records),
            of=PerResource(
                cpu=mean(Resource.CPU), memory=mean(Resource.MEMORY), disk=mean(Resource.DISK)
            ),
        )

    def past(self, from_utc_s: float, to_utc_s: float) -> list[Past]:
        """What is known and kept of that time."""
        if self.unreadable:
            raise HistoryError("cannot read the history: file is not a database")
        self.asked.append((from_utc_s, to_utc_s))
        known = [*self.before, *(Past.of(record.sample) for record in self.records)]
        return [one for one in known if from_utc_s < one.utc_s <= to_utc_s]

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


@dataclass
class FakeSwitch:
    """An operator in memory; implements ports.Switch.

    With `steady` an order ends when its time has passed by that, as in life.
    """

    order: Inhibit | None = None
    resume_pending: bool = False
    asked_for: frozenset[str] = frozenset()
    last_resume_utc_s: float | None = None
    steady: Callable[[], float] | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)

    def inhibit(self, now_utc_s: float) -> Inhibit | None:
        """The order, unless it has expired."""
        order = self.order
        if self.steady is not None:
            self.deadlines.look(now_utc_s, self.steady())
        if order is None or order.until_utc_s is None:
            return order
        end_utc_s = order.until_utc_s
        if self.steady is not None:
            end_utc_s = self.deadlines.end_utc_s(order, end_utc_s, order.since_utc_s or 0.0)
        return None if end_utc_s <= now_utc_s else order

    def released(self, now_utc_s: float) -> frozenset[str]:  # noqa: ARG002  # the port has it
        """What a test has asked for."""
        return self.asked_for

    def resumed(self) -> bool:
        """True once after `resume_pending` was set."""
        pending, self.resume_pending = self.resume_pending, False
        return pending

    def resumed_utc_s(self) -> float | None:
        """What a test says."""
        return self.last_resume_utc_s


@dataclass
class FakeNotifier:
    """Collects what is published; implements ports.Notifier."""

    published: list[CycleReport] = field(default_factory=list)
    records: list[CycleReport] = field(default_factory=list)

    def publish(self, report: CycleReport) -> None:
        """Keep it."""
        self.published.append(report)

    def recorded(self, report: CycleReport) -> None:
        """Keep it."""
        self.records.append(report)


@dataclass
class FakeLog:
    """Collects events; implements ports.Log."""

    events: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)

    def debug(self, event: str, **fields: object) -> None:
        """Keep it."""
        self.events.append(("debug", event, fields))

    def info(self, event: str, **fields: object) -> None:
        """Keep it."""
        self.events.append(("info", event, fields))

    def warning(self, event: str, **fields: object) -> None:
        """Keep it."""
        self.events.append(("warning", event, fields))

    def error(self, event: str, **fields: object) -> None:
        """Keep it."""
        self.events.append(("error", event, fields))

    def exception(self, event: str, **fields: object) -> None:
        """Keep it."""
        self.events.append(("exception", event, fields))

    def names(self) -> list[str]:
        """The event names in order."""
        return [name for _, name, _ in self.events]
