"""What is read: the counters of the host and of our own processes, as they are.

Sizes are in bytes, durations in seconds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple


class CapacityScope(enum.Enum):
    """What a share of the CPU or of the memory is a share of."""

    AUTO = "auto"
    """The container's where its group has a limit, the host's otherwise."""
    HOST = "host"
    """All CPUs that are online, all memory."""
    CONTAINER = "container"
    """What the limits of the topmost group in sight leave to the container."""


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

    Files that the kernel can drop at once count as left. On Windows the commit
    limit is one.
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
    `low_memory` is what Windows says of itself; None where it is not told.
    """

    total_bytes: int
    available_bytes: int
    free_bytes: int
    cache_bytes: int
    bounds: tuple[MemoryBound, ...] = ()
    stalled_s: float | None = None
    swapped_out_bytes: int | None = None
    low_memory: bool | None = None


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

    `monotonic_s` is read together with the CPU counters; `utc_s` is UTC at
    that instant, `slept_s` how long the host has been suspended until then,
    beside the monotonic time (0 where that goes on meanwhile, or is not told).
    `disks` holds the eligible filesystems; empty means none. `failures` names
    the sensors that failed and why, for the log.
    """

    monotonic_s: float
    utc_s: float
    cpu: CpuCounters | None
    memory: MemoryCounters | None
    disks: tuple[DiskCounters, ...] | None
    failures: tuple[tuple[str, str], ...] = ()
    slept_s: float = 0.0

    @property
    def steady_s(self) -> float:
        """Seconds that no step of a clock moves and that go on in suspend."""
        return self.monotonic_s + self.slept_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Host and own counters, the host's read first."""

    host: HostReading
    own: OwnCounters
