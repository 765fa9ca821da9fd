"""The values that travel through one cycle: read, estimate, decide, apply, record.

Every utilisation in here is a ratio, 0 to 1; every size is in bytes; every
duration is in seconds. Percent exists only in configuration and on screens.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Resource(enum.Enum):
    """What is held at a level."""

    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class PerResource(Generic[T]):
    """One value for each resource."""

    cpu: T
    memory: T
    disk: T

    def of(self, resource: Resource) -> T:
        """The value of one resource."""
        if resource is Resource.CPU:
            return self.cpu
        return self.memory if resource is Resource.MEMORY else self.disk

    def __iter__(self) -> Iterator[T]:
        return iter((self.cpu, self.memory, self.disk))


class MemoryMetric(enum.Enum):
    """Which formula counts memory as used; pick the one the judge's agent computes."""

    AVAILABLE = "available"
    """total - MemAvailable (psutil, node_exporter idiom, Alibaba on new kernels)."""
    NOCACHE = "nocache"
    """total - free - buffers - cached - reclaimable slab + shared (Tencent, telegraf)."""
    FREE = "free"
    """total - free (plain SNMP agents)."""


class CapacityScope(enum.Enum):
    """What a share of the CPU or of the memory is a share of."""

    AUTO = "auto"
    """The container's where its group has a limit, the host's otherwise."""
    HOST = "host"
    """All CPUs that are online, all memory."""
    CONTAINER = "container"
    """What the limits of the topmost group in sight leave to the container."""


class Reason(enum.Enum):
    """Why a resource's demand is what it is: one word shared by status, log and history."""

    HOLDING = "holding"
    """Own load carries the difference between the tenant and the setpoint."""
    RISING = "rising"
    """Below the setpoint, and the slew-rate limit says how fast it may be closed."""
    TENANT_ABOVE = "tenant_above"
    """The tenant alone reaches the setpoint; nothing is added."""
    CEILING = "ceiling"
    """A ceiling keeps the demand below what the setpoint asks for."""
    FLOOR = "floor"
    """What must stay free keeps the demand below what the setpoint asks for."""
    CPU_LIMITED = "cpu_limited"
    """Affinity, a cpuset or a quota leaves us too little CPU for what the setpoint asks."""
    THROTTLED = "throttled"
    """The container's CPU quota ran out while we used some of it, so we use less for a while."""
    STEAL = "steal"
    """The hypervisor took more CPU time than CPU_STEAL_MAX allows; less is added for a while."""
    OWN_HOURS = "own_hours"
    """Our own CPU time of this UTC day has reached CPU_OWN_HOURS_MAX."""
    HOLD_OFF = "hold_off"
    """No growth for a while after a floor was touched or a stresser was killed."""
    PRESSURE = "pressure"
    """Memory ran short (stalls, swapping, pages taken back): all given back for a while."""
    RELEASED = "released"
    """An operator asked for the filesystem, to unmount it for example."""
    INHIBITED = "inhibited"
    """Paused by an operator or by the recovery tool."""
    MEASURING = "measuring"
    """First reading after the start or after a gap in time; nothing is raised on it."""
    NO_READING = "no_reading"
    """The sensor failed; nothing is raised, and after a while all is released."""
    NO_TARGET = "no_target"
    """The target is 0: this resource is only watched."""
    NO_DATA_DISK = "no_data_disk"
    """DATA_DISK_ONLY is on and the host has no data disk."""
    NO_DISK = "no_disk"
    """No filesystem is eligible to be held."""
    STRESSER_DOWN = "stresser_down"
    """The stresser ended and waits for its next start."""
    STRESSER_TRIPPED = "stresser_tripped"
    """The stresser ended too often; it stays off until resumed or restarted."""


# --- read ------------------------------------------------------------------


class CpuCounters(NamedTuple):
    """Cumulative seconds since boot, summed over the `cpus` that the share is of.

    `idle_s` includes iowait. `total_s` includes `steal_s` (0 where the
    platform or container has none) but counts guest time once. `cpus` is a
    fraction where a container's quota is.

    `reach_ratio` is the share that our own processes can get, `throttled` how
    many times the container has used up its quota. `watchable` tells that a
    stresser can see the same counters for itself.

    Source: proc(5), /proc/stat.
    """

    total_s: float
    idle_s: float
    steal_s: float
    cpus: float
    reach_ratio: float = 1.0
    throttled: int = 0
    watchable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuCapacity:
    """How many CPUs a share is a share of, and how much of them our own processes can get.

    `online_cpus` are the host's, `usable` the numbers of those that affinity
    and cpuset leave to us, `quota_cpus` the smallest quota on us, in CPUs,
    None without one. The share is of `capacity_cpus`; we get `reach_cpus` of
    them at most, with that many `workers`.
    """

    scope: CapacityScope
    online_cpus: int
    usable: frozenset[int]
    quota_cpus: float | None
    capacity_cpus: float
    reach_cpus: float
    workers: int


class MemoryBound(NamedTuple):
    """A limit on a control group that we are in, and what is left below it, in bytes.

    Files that the kernel can drop at once count as left.
    """

    limit_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCounters:
    """Physical memory at one instant, in bytes; a container's own where it has a limit.

    `cache_bytes` is what the kernel holds for files and can drop: buffers +
    cached + reclaimable slab - shared. Where a platform has no such figure it
    is available - free. `bounds` are the limits on groups inside of that.

    Two counters since boot tell of pressure: `stalled_s`, for how long some
    program has waited for memory, and `swapped_out_bytes`. None where the
    kernel does not count it; without any swap nothing can be swapped out.
    """

    total_bytes: int
    available_bytes: int
    free_bytes: int
    cache_bytes: int
    bounds: tuple[MemoryBound, ...] = ()
    stalled_s: float | None = None
    swapped_out_bytes: int | None = None


class Place(NamedTuple):
    """A filesystem on which space is held: its mount point, and in which directory of it."""

    mount: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskCounters:
    """One local filesystem at one instant, in bytes.

    `available_bytes` is what an unprivileged writer can still take (f_bavail),
    so used + available leaves out the root reserve, as df(1) does.
    `free_inodes_ratio` is the share of its inodes that is free, 1 where it
    makes them as they are needed.
    """

    place: Place
    used_bytes: int
    available_bytes: int
    free_inodes_ratio: float = 1.0

    @property
    def size_bytes(self) -> int:
        """Used and available together: what shares are shares of."""
        return self.used_bytes + self.available_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCounters:
    """What the stressers and the controller use themselves.

    `cpu_s` is cumulative and never falls, also not when a stresser ends.
    `memory_bytes` is the stressers' ledger; `disks` is that of the disk
    stressers, for each path.
    """

    cpu_s: float = 0.0
    memory_bytes: int = 0
    disks: tuple[tuple[str, int], ...] = ()

    @property
    def disk_bytes(self) -> int:
        """What is held on all filesystems."""
        return sum(held for _, held in self.disks)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReading:
    """All counters of the host at one instant; None where a sensor failed.

    `monotonic_s` is read together with the CPU counters. `disks` holds the
    eligible filesystems; empty means none. `failures` names the sensors that
    failed and why, for the log.
    """

    monotonic_s: float
    utc_s: float
    cpu: CpuCounters | None
    memory: MemoryCounters | None
    disks: tuple[DiskCounters, ...] | None
    failures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Host and own counters, the host's read first."""

    host: HostReading
    own: OwnCounters


# --- estimate --------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Utilisation:
    """Share of one resource in use, 0 to 1, with our part told apart.

    `capacity` is the number of CPUs, or bytes. `room_ratio` is how much more
    may be taken before what must stay free is touched, as a share of the
    capacity (for the disk: on all filesystems together); it is negative when
    that has been touched already.
    """

    total_ratio: float
    own_ratio: float
    capacity: float
    room_ratio: float

    @property
    def organic_ratio(self) -> float:
        """Share used by everybody but us; 0 at least, for the counters are read apart."""
        return max(0.0, self.total_ratio - self.own_ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Utilisation over `span_s` seconds that end at `utc_s`; None where unknown.

    CPU is the mean over the whole span; memory and disk are as at its end.
    `steal_ratio` is the share of CPU time that the hypervisor took, whether
    or not it counts as busy.
    """

    utc_s: float
    span_s: float
    usage: PerResource[Utilisation | None]
    steal_ratio: float | None


# --- decide ----------------------------------------------------------------


class Part(NamedTuple):
    """What one filesystem is to hold, in bytes, and what keeps it from more, if anything."""

    place: Place
    lease_bytes: int
    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one resource is to do until the next cycle, and why.

    All are ratios of the resource's capacity. `lease` is the demand in the
    unit of the stresser: duty 0 to 1 for the CPU, bytes for the others.
    `wanted_ratio` is what the setpoint alone would ask for, before limits.
    `stop` says that the stresser shall not even stay in wait. `level_ratio` is
    the host's utilisation that it shall watch, None: nothing to watch. `parts`
    is what becomes of a disk's lease: a filesystem that is not among them is
    not even to be touched.
    """

    resource: Resource
    target_ratio: float
    setpoint_ratio: float
    wanted_ratio: float
    demand_ratio: float
    lease: float
    reason: Reason
    stop: bool = False
    level_ratio: float | None = None
    parts: tuple[Part, ...] = ()


Plan = PerResource[Decision]
"""One decision for each resource."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inhibit:
    """An order not to load: from whom, why, and until when (None = until lifted)."""

    reason: str
    by: str
    until_utc_s: float | None
    since_utc_s: float | None = None


# --- apply -----------------------------------------------------------------


class ExitCause(enum.Enum):
    """Why a stresser ended without being told to."""

    KILLED = "killed"
    """By SIGKILL from outside; for the memory stresser most likely the OOM killer."""
    EXPIRED = "expired"
    """Its lease ran out: the controller was stopped or hung for too long."""
    FAILED = "failed"
    """It gave up: exit code and last message say why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StresserExit:
    """One unwanted end of a stresser, seen once; `path` is where it held, for a disk."""

    resource: Resource
    cause: ExitCause
    detail: str
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the stressers have used and held until now, and which have ended since last asked.

    `stirred` tells that they saw the host leave the level that they watch,
    `taken_bytes` how much of the memory held the kernel has taken back by
    itself since last asked.
    """

    own: OwnCounters
    exits: tuple[StresserExit, ...] = ()
    stirred: bool = False
    taken_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StresserState:
    """One stresser as the pool sees it, for people to read.

    `means` names the kernel means in force (SCHED_IDLE, oom_score_adj, ...)
    and `missing` those that this host denies, each with what that costs.
    `place` is where it holds (a mount or directory), if it holds anywhere.
    `faults` says for each path what keeps a disk stresser there from growing.
    """

    pids: tuple[int, ...] = ()
    means: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    place: str | None = None
    last_error: str | None = None
    faults: tuple[tuple[str, str], ...] = ()


# --- record ----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One row of the history: the sample of an interval and what was decided on it."""

    sample: Sample
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodMean:
    """Mean of one resource over the policy's window, weighted by the span of each sample.

    `coverage_ratio` is the share of the window for which a value is known;
    `mean_ratio` is None when that is 0.
    """

    mean_ratio: float | None
    own_mean_ratio: float | None
    coverage_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodMeans:
    """The means of the three resources over the same window of `days` days."""

    days: float
    rows: int
    of: PerResource[PeriodMean]


# --- what is wanted of the host --------------------------------------------


class HostClass(enum.Enum):
    """Size class of a host by nominal memory; decides the default target."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All numbers that control obeys, as ratios, bytes and seconds.

    The floors are what must stay free whatever the target. `rise_per_s` limits
    growth, in capacities per second; falling is never limited. `hold_off_s` is
    how long nothing grows after a floor was touched or the memory stresser was
    killed. `steal_max_ratio` is the share of steal above which CPU demand falls,
    `own_hours_max` our CPU time in core-hours on one UTC day, None: no limit.
    """

    target: PerResource[float]
    ceiling: PerResource[float]
    memory_floor: Floor
    disk_floor: Floor
    cpu_rise_per_s: float
    memory_rise_bytes_per_s: float
    disk_rise_bytes_per_s: float
    memory_metric: MemoryMetric
    count_steal: bool
    hold_off_s: float
    steal_max_ratio: float = 1.0
    own_hours_max: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What the configuration says, as far as the loop is concerned."""

    policy: Policy
    interval_s: float
    period_days: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """What stays free: the larger of a share of the capacity and a number of bytes."""

    ratio: float
    least_bytes: float

    def bytes_of(self, capacity_bytes: float) -> float:
        """The floor of a capacity, in bytes."""
        return max(self.ratio * capacity_bytes, self.least_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What holds for this cycle beside the reading: policy and the operator's will.

    `disk_reason` says why there is no disk to hold, None when there is one.
    `resumed` is true in the one cycle after an `optimizer resume`. `released`
    are the mount points that an operator asked for.
    """

    policy: Policy
    inhibit: Inhibit | None = None
    resumed: bool = False
    disk_reason: Reason | None = None
    released: frozenset[str] = frozenset()


# --- publish ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleReport:
    """All that can be said after a cycle; what status, metrics and log are made of.

    `recent` is the utilisation over the last ten seconds or so, `sample` the
    last one over a whole CHECK_INTERVAL_SECONDS; None while there is none yet.
    `reading` is what was last read. `own_day_s` is our own CPU time on this UTC
    day, None where nobody has counted it.
    """

    utc_s: float
    cycle_count: int
    recent: Sample | None
    sample: Sample | None
    plan: Plan
    orders: Orders
    stressers: PerResource[StresserState]
    means: PeriodMeans | None
    own_day_s: float | None = None
    acknowledged: bool = True
    sensor_failures: tuple[tuple[str, str], ...] = ()
    reading: Reading | None = None
