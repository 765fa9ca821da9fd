"""The values that travel through one cycle: read, estimate, decide, apply, record.

Every utilisation in here is a ratio, 0 to 1; every size is in bytes; every
duration is in seconds. Percent exists only in configuration and on screens.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from optimizer.counters import OwnCounters, Place

T = TypeVar("T")


RESUME_ROOM_RATIO = 0.05
"""To spare above the floor when a hold-off ends: share of the memory or of the least limit."""


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
    REFUSED = "refused"
    """The filesystem refuses to give more: a quota, for example; it is tried again."""
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
    SPARED = "spared"
    """The plan needs nothing more of this resource now: see its intent."""
    TAKING_TURNS = "taking_turns"
    """The host shows pressure, and another resource rises; this one waits for its turn."""
    STRESSER_DOWN = "stresser_down"
    """The stresser ended and waits for its next start."""
    STRESSER_TRIPPED = "stresser_tripped"
    """The stresser ended too often; it stays off until resumed or restarted."""


class Intent(enum.Enum):
    """What the planner's setpoint is for: one word shared by status, plan and simulator."""

    HELD = "held"
    """At the target, all the time."""
    CATCHING_UP = "catching_up"
    """The judged window is behind its target, and is brought back."""
    LIMITED = "limited"
    """Something keeps the load below its setpoint: no more than the target is asked for."""
    PLACED = "placed"
    """Economy: load now, for the forecast sees no better time for it."""
    DUE = "due"
    """Economy: needed now whatever the tenant does later; nothing is left to bet on."""
    SPARED = "spared"
    """Economy: all windows are met without any load now."""
    WITHDRAWN = "withdrawn"
    """Taken back, for the tenant has used much more at this time on other days."""
    ELSEWHERE = "elsewhere"
    """Another resource meets the policy, and one suffices."""
    UNJUDGED = "unjudged"
    """The policy does not judge this resource; it is held at its target all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Utilisation:
    """Share of one resource in use, 0 to 1, with our part told apart.

    `capacity` is the number of CPUs, or bytes. `room_ratio` is how much more
    may be taken before what must stay free is touched, as a share of the
    capacity (for the disk: on all filesystems together); it is negative when
    that has been touched already. A hold-off ends only with more room than
    `resume_ratio`.
    """

    total_ratio: float
    own_ratio: float
    capacity: float
    room_ratio: float
    resume_ratio: float = RESUME_ROOM_RATIO

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
    itself since last asked. `refused` are the paths on which a disk stresser
    could not grow, or does not answer.
    """

    own: OwnCounters
    exits: tuple[StresserExit, ...] = ()
    stirred: bool = False
    taken_bytes: int = 0
    refused: tuple[str, ...] = ()
