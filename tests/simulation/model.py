"""A model host that can go wrong in many ways: clock, sensors and stressers in one, and its truth.

The tenant's use is constant from one event to the next, so any wait is one
step. While nothing has moved for a while and no event is near, the host lets
a minute pass in one step and the loop takes it for an ordinary pause: see
`lapse`. All else is the loop's own rhythm.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from optimizer.control import decide as decide_room
from optimizer.control import track as track_room
from optimizer.counters import (
    CpuCounters,
    DiskCounters,
    HostReading,
    MemoryBound,
    MemoryCounters,
    OwnCounters,
    Place,
)
from optimizer.model import (
    ExitCause,
    Observation,
    PerResource,
    Plan,
    Reason,
    Resource,
    StresserExit,
)
from optimizer.orders import Goal, Terms
from optimizer.outcome import StresserState
from stressers.lease import TTL_S
from tests.fakes import GIB, policy
from tests.simulation.invariants import CPU, MEMORY, Invariants

GAP_S = track_room.GAP_S
LAPSE_S = 60.0
LAPSE_AFTER_S = 4.0
ABOVE_RATIO = 0.02
"""A tenant that is less above the setpoint may be made up to it, by rounding."""
FROZEN_S = 1.9
"""Two readings in a calm time."""
SET_S = 0.5
"""A step of the clock, or a sleep, that counts."""
STALE_S = 5.0
"""Counters that are further apart tell nothing of the present."""
_GOAL = Goal(window_days=1.0)
RULES = replace(
    policy(memory_rise_bytes_per_s=100.0 * GIB),
    disk_rise_bytes_per_s=float(GIB),
    terms=Terms(goals=PerResource(cpu=_GOAL, memory=_GOAL, disk=_GOAL)),
)
"""Fast growth (memory by 1 % a second at most, whatever it says): what is lost soon comes back.

The windows are short, so that each fault leaves them behind and is caught up,
and a forecast, which may set less than the target, never knows enough.
"""
STEADY_REASONS = frozenset(Reason) - {Reason.RISING, Reason.MEASURING, Reason.NO_READING}
BLIND_REASONS = frozenset(
    (
        *(Reason.MEASURING, Reason.NO_READING, Reason.INHIBITED, Reason.NO_TARGET),
        *(Reason.STRESSER_DOWN, Reason.STRESSER_TRIPPED),
    )
)
"""With these nothing is concluded from what is free."""


class KilledError(BaseException):
    """The daemon was killed: nothing of it runs on, not even an `except Exception`."""


@dataclass
class Disk:
    """One filesystem: what the tenant has on it, and what we hold."""

    size_bytes: int = 40 * GIB
    tenant_bytes: int = 4 * GIB
    lease_bytes: int = 0
    runs: bool = False
    mounted: bool = True

    @property
    def held_bytes(self) -> int:
        """What is really held."""
        return min(self.lease_bytes, max(0, self.size_bytes - self.tenant_bytes))


@dataclass
class ModelHost:
    """Implements ports.Clock, Sensors and Actuators."""

    cpus: int = 2
    memory_bytes: int = 24 * GIB
    now_s: float = 1000.0
    slept_s: float = 0.0
    utc_offset_s: float = 1_700_000_000.0
    lapses: bool = False
    tenant_cpu: float = 0.1
    tenant_memory_bytes: int = 2 * GIB
    disks: dict[str, Disk] = field(default_factory=lambda: {"/data": Disk(), "/srv": Disk()})
    failing: set[str] = field(default_factory=set)
    frozen: CpuCounters | None = None
    raising: int = 0
    unstartable: set[Resource] = field(default_factory=set)
    duty: float = 0.0
    cpu_runs: bool = False
    memory_lease: int = 0
    memory_runs: bool = False
    limit_bytes: int | None = None
    hold_off_s: float = RULES.hold_off_s

    def __post_init__(self) -> None:
        self.truth = Invariants(now=lambda: self.now_s, steady=lambda: self.now_s + self.slept_s)
        self.busy_s = self.own_cpu_s = self.stalled_s = self.reset_s = 0.0
        self.taken_bytes = 0
        self.exits: list[StresserExit] = []
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.settled_since_s = math.inf
        self.plan: Plan | None = None
        self.reasons: tuple[Reason, ...] = ()
        self.read_ok: dict[str, bool] = {}
        self.most: dict[str, float] = {}
        self.renewed_s = self.now_s
        self.killed = self.raised = False
        self.memory_floor = RULES.memory_floor.bytes_of(self.memory_bytes)
        self.touched: list[str] = []
        self.cycles = self.lapsed = self.numbers = self.raises = 0
        self.above_since_s: float | None = None
        self.tenant_since_s = self.now_s
        self.frozen_s = self.now_s
        self.told = (0.0, -math.inf)
        self.clocks = (self.utc_offset_s, self.slept_s)
        self.policy = RULES
        self.error_s = self.feasible_s = 0.0
        self.at_end: Callable[[], None] = lambda: None

    # Events
    def at(self, time_s: float, event: Callable[[], None]) -> None:
        """Let that happen at that time."""
        self.numbers += 1
        heapq.heappush(self.events, (max(time_s, self.now_s), self.numbers, event))

    # Clock
    def monotonic(self) -> float:
        """Model seconds."""
        return self.now_s

    def utc(self) -> float:
        """Model seconds since the epoch, as the clock is set."""
        return self.now_s + self.slept_s + self.utc_offset_s

    def beat(self, period_s: float) -> float:
        """The next multiple of the period."""
        return (math.floor(self.now_s / period_s) + 1) * period_s

    def wait_until(self, monotonic_s: float) -> None:
        """Let the model run until then."""
        self.cycles += 1
        if self.raised:
            self.raised = False
            self.truth.let_go(self.duty + self.memory_lease + self._disk_bytes())
        _allow_gaps(GAP_S)
        if self._may_lapse():
            # A moment that differs from time to time before the next event all is as in life.
            next_s = self.events[0][0] - 1.0 - 0.1 * (self.events[0][1] % 17)
            due_s = self.truth.sampled_until_s + LAPSE_S
            most_s = due_s if due_s > monotonic_s else self.now_s + LAPSE_S
            until_s = min(self.now_s + LAPSE_S, most_s, next_s)
            if until_s > monotonic_s:
                self.lapsed += 1
                self.renewed_s = until_s
                self.run_until(until_s)
                _allow_gaps(LAPSE_S + 1.0)
                return
        self.run_until(monotonic_s)

    def run_until(self, until_s: float) -> None:
        """Let time pass, with all events that are due."""
        while True:
            next_s = min(until_s, self.events[0][0] if self.events else math.inf)
            self._pass(next_s - self.now_s)
            if not self.events or self.events[0][0] > self.now_s + 1e-9:
                break
            heapq.heappop(self.events)[2]()
            self.settled_since_s = math.inf
            if self.killed:
                self.killed = False
                raise KilledError
        self._expire()
        self._look()

    def _pass(self, seconds: float) -> None:
        if seconds <= 0:
            return
        own = min(self.duty, 1.0 - self.tenant_cpu)
        self.busy_s += (self.tenant_cpu + own) * seconds * self.cpus
        self.own_cpu_s += own * seconds * self.cpus
        self.now_s += seconds
        reasons = self.reasons
        if reasons and reasons[0] is Reason.HOLDING and self.now_s - self.settled_since_s > 2.0:
            self.error_s += (self.tenant_cpu + own - self._setpoint) * seconds
            self.feasible_s += seconds

    @property
    def _setpoint(self) -> float:
        """Of the CPU, as the daemon holds it now."""
        return RULES.target.cpu if self.plan is None else self.plan.cpu.setpoint_ratio

    def _disk_bytes(self) -> int:
        return sum(disk.lease_bytes for disk in self.disks.values())

    def _may_lapse(self) -> bool:
        quiet = not self.failing and self.frozen is None
        return (
            bool(self.lapses and self.events)
            and quiet
            and self.now_s - self.settled_since_s >= LAPSE_AFTER_S
        )

    def _expire(self) -> None:
        """A lease that nobody renews ends its stresser."""
        if self.now_s - self.renewed_s <= TTL_S:
            return
        for resource in Resource:
            self.end(resource, ExitCause.EXPIRED)

    def _look(self) -> None:
        """Compare with the truth what the daemon has made of it until now."""
        for name, (room, held) in self._rooms().items():
            kind = "memory" if name == MEMORY else "disk"
            self.truth.short(name, room, held, seen=kind not in self.failing)
        if (
            self.tenant_cpu <= self._setpoint + ABOVE_RATIO
            or self.failing
            or self.frozen is not None
        ):
            self.above_since_s = None
        elif self.above_since_s is None:
            self.above_since_s = self.now_s
        self.truth.tenant_above(self.above_since_s, self.duty)

    def _tell_stalls(self) -> None:
        """A sign of pressure counts from the reading that shows it, unless that comes too late."""
        told_s, told_at_s = self.told
        if self.stalled_s > told_s and self.now_s - told_at_s <= STALE_S:
            self.truth.pressed(MEMORY, self.hold_off_s, none=True)
        self.told = (self.stalled_s, self.now_s)

    def _bounds(self) -> tuple[MemoryBound, ...]:
        if self.limit_bytes is None:
            return ()
        return (MemoryBound(self.limit_bytes, max(0, self.limit_bytes - self.memory_lease)),)

    def _rooms(self) -> dict[str, tuple[float, int]]:
        """For the memory and each filesystem: what is free above its floor, and what we hold."""
        free = self.memory_bytes - self.tenant_memory_bytes - self.memory_lease
        room = free - self.memory_floor
        for bound in self._bounds():
            floor = RULES.memory_floor.bytes_of(bound.limit_bytes)
            room = min(room, bound.available_bytes - floor)
        rooms = {MEMORY: (room, self.memory_lease)}
        for path, disk in self.disks.items():
            if disk.mounted:
                free = disk.size_bytes - disk.tenant_bytes - disk.held_bytes
                floor = RULES.disk_floor.bytes_of(disk.size_bytes)
                rooms[path] = (free - floor, disk.held_bytes)
        return rooms

    # Sensors
    def read(self) -> HostReading:
        """Counters as the model host has them now, or as its broken sensors show them."""
        if self.raising > 0:
            self.raising -= 1
            self.raised = True
            self.raises += 1
            raise RuntimeError("a bug in an adapter")
        memory = disks = None
        set_by_s, slept_s = self.utc_offset_s - self.clocks[0], self.slept_s - self.clocks[1]
        if abs(set_by_s) > SET_S or slept_s > SET_S:
            self.truth.broken()
        self.clocks = (self.utc_offset_s, self.slept_s)
        self.touched = [
            name
            for name, (room, held) in self._rooms().items()
            if room < 0 < held and ("memory" if name == MEMORY else "disk") not in self.failing
        ]
        if "memory" not in self.failing:
            used = self.tenant_memory_bytes + self.memory_lease
            free = max(0, self.memory_bytes - used)
            memory = MemoryCounters(
                total_bytes=self.memory_bytes,
                available_bytes=free,
                free_bytes=free,
                cache_bytes=0,
                stalled_s=self.stalled_s,
                bounds=self._bounds(),
            )
        if "disk" not in self.failing:
            disks = tuple(
                DiskCounters(
                    place=Place(path, path),
                    used_bytes=disk.tenant_bytes + disk.held_bytes,
                    available_bytes=max(0, disk.size_bytes - disk.tenant_bytes - disk.held_bytes),
                )
                for path, disk in self.disks.items()
                if disk.mounted
            )
        cpu = self._cpu()
        self._note(MEMORY, memory is not None)
        if memory is not None:
            self._tell_stalls()
        for path, disk in self.disks.items():
            self._note(path, disks is not None)
            if disks is not None:
                self.truth.mounted(path, mounted=disk.mounted)
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
        return self.now_s, self._cpu()

    def _cpu(self) -> CpuCounters | None:
        counters = None
        if "cpu" not in self.failing:
            counters = self.frozen
            if counters is None:
                total_s = self.now_s * self.cpus - self.reset_s
                counters = CpuCounters(total_s, total_s - self.busy_s, 0.0, self.cpus)
        # What stands still shows only in the second reading after it stopped.
        stale = self.frozen is not None and self.now_s - self.frozen_s > FROZEN_S
        self._note(CPU, counters is not None and not stale)
        return counters

    def freeze(self) -> None:
        """The CPU counters stand still from now on."""
        if self.frozen is None:
            self.frozen, self.frozen_s = self._cpu(), self.now_s

    def _note(self, resource: str, known: bool) -> None:
        """What the daemon may know of a resource in this cycle, and how much it may then hold."""
        self.truth.known(resource, known=known)
        ceiling = RULES.ceiling
        if resource == CPU:
            # The tenant's share is a mean over a moment, so its newest one does not count at once.
            settled = self.now_s - self.tenant_since_s > 2.0
            room = max(0.0, ceiling.cpu - self.tenant_cpu) + ABOVE_RATIO
            self.most[CPU] = min(ceiling.cpu, room) if settled else ceiling.cpu
        elif resource == MEMORY:
            most = ceiling.memory * self.memory_bytes - self.tenant_memory_bytes
            self.most[MEMORY] = max(0.0, most)
        else:
            disk = self.disks[resource]
            most = ceiling.disk * disk.size_bytes - disk.tenant_bytes
            self.most[resource] = max(0.0, most) if disk.mounted else 0.0

    # Actuators
    def observe(self) -> Observation:
        """Ledgers, and what has ended."""
        exits, self.exits = tuple(self.exits), []
        for event in exits:
            if event.path is None:
                self.truth.exited(event.resource.value)
        taken, self.taken_bytes = self.taken_bytes, 0
        if taken:
            self.truth.pressed(MEMORY, self.hold_off_s, none=True)
        return Observation(
            own=OwnCounters(
                cpu_s=self.own_cpu_s,
                memory_bytes=self.memory_lease,
                disks=tuple((path, disk.held_bytes) for path, disk in self.disks.items()),
            ),
            exits=exits,
            taken_bytes=taken,
        )

    def cpu_used_s(self) -> float:
        """CPU seconds of the model's stressers."""
        return self.own_cpu_s

    def apply(self, plan: Plan) -> None:
        """Take and give back at once what the leases say."""
        reasons = tuple(decision.reason for decision in plan)
        if reasons != self.reasons or not STEADY_REASONS.issuperset(reasons):
            self.settled_since_s = self.now_s
            if not STEADY_REASONS.issuperset(reasons):
                self.settled_since_s = math.inf
        elif self.settled_since_s == math.inf:
            self.settled_since_s = self.now_s
        for name in self.touched:
            reason = plan.memory.reason if name == MEMORY else plan.disk.reason
            if reason not in BLIND_REASONS:
                self.truth.pressed(name, self.hold_off_s, none=False)
        self.truth.planned(plan, self.policy)
        self.plan, self.reasons, self.renewed_s = plan, reasons, self.now_s
        duty, memory_lease = self.duty, self.memory_lease
        if plan.cpu.stop:
            self._off(Resource.CPU)
        elif plan.cpu.lease > 0 and not self.cpu_runs:
            self.cpu_runs = self._start(Resource.CPU, CPU)
        self._lease_cpu(plan.cpu.lease, duty)
        if plan.memory.stop:
            self._off(Resource.MEMORY)
        elif plan.memory.lease > 0 and not self.memory_runs:
            self.memory_runs = self._start(Resource.MEMORY, MEMORY)
        wanted = int(plan.memory.lease) if self.memory_runs else 0
        self.truth.leased(MEMORY, memory_lease, wanted, most=self.most.get(MEMORY, 0.0))
        self.memory_lease = wanted
        parts = {part.place.path: part.lease_bytes for part in plan.disk.parts}
        for path, disk in self.disks.items():
            before = disk.lease_bytes
            if plan.disk.stop or path not in parts:
                self._off_disk(path)
            elif parts[path] > 0 and not disk.runs:
                disk.runs = self._start(Resource.DISK, path)
            lease = parts.get(path, 0) if disk.runs else 0
            self.truth.leased(path, before, lease, most=self.most.get(path, 0.0))
            disk.lease_bytes = lease
        self._look()

    def renew_cpu(self, demand_ratio: float) -> bool:
        """Obey the CPU lease alone, where stressers run."""
        if self.cpu_runs:
            self._lease_cpu(demand_ratio, self.duty)
        return self.cpu_runs

    def _lease_cpu(self, demand_ratio: float, before: float) -> None:
        duty = demand_ratio if self.cpu_runs else 0.0
        self.truth.leased(CPU, before, duty, most=self.most.get(CPU, 0.0))
        self.duty = duty

    def doubts(self) -> tuple[str, ...]:
        """A model's stressers obey."""
        return ()

    def states(self) -> PerResource[StresserState]:
        """Nothing to tell of a model."""
        none = StresserState()
        return PerResource(cpu=none, memory=none, disk=none)

    def release(self) -> None:
        """Hold nothing."""
        self._off(Resource.CPU)
        self._off(Resource.MEMORY)
        for path in self.disks:
            self._off_disk(path)
        self.settled_since_s = math.inf

    def close(self, deadline_s: float) -> tuple[int, ...]:
        """Hold nothing, for good."""
        assert deadline_s > 0
        self.release()
        self.exits.clear()
        self.told, self.taken_bytes = (self.stalled_s, -math.inf), 0
        return ()

    # Stressers
    def end(self, resource: Resource, cause: ExitCause) -> None:
        """The stressers of a resource end without being told to."""
        if resource is Resource.DISK:
            for path, disk in self.disks.items():
                if disk.runs:
                    self._off_disk(path)
                    self.exits.append(
                        StresserExit(resource=resource, cause=cause, detail="fault", path=path)
                    )
            return
        if self.cpu_runs if resource is Resource.CPU else self.memory_runs:
            self._off(resource)
            self.exits.append(StresserExit(resource=resource, cause=cause, detail="fault"))
            if resource is Resource.MEMORY and cause is ExitCause.KILLED:
                self.truth.pressed(MEMORY, self.hold_off_s, none=True)

    def _start(self, resource: Resource, name: str) -> bool:
        self.truth.began(name)
        if resource not in self.unstartable:
            return True
        self.truth.gone(name)
        path = None if resource is not Resource.DISK else name
        self.exits.append(
            StresserExit(resource=resource, cause=ExitCause.FAILED, detail="no start", path=path)
        )
        return False

    def _off(self, resource: Resource) -> None:
        if resource is Resource.CPU:
            if self.cpu_runs:
                self.truth.gone(CPU)
            self.duty, self.cpu_runs = 0.0, False
        else:
            if self.memory_runs:
                self.truth.gone(MEMORY)
            self.memory_lease, self.memory_runs = 0, False

    def _off_disk(self, path: str) -> None:
        disk = self.disks[path]
        if disk.runs:
            self.truth.gone(path)
        disk.lease_bytes, disk.runs = 0, False


def _allow_gaps(seconds: float) -> None:
    """How long a pause the loop takes for an ordinary one."""
    if seconds != track_room.GAP_S:
        track_room.GAP_S = seconds
        decide_room.GAP_S = seconds  # type: ignore[attr-defined]
