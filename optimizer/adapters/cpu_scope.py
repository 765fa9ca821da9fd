"""What CPU a share is a share of, and how much of it we can get: containers, quotas, affinity."""

from __future__ import annotations

import math
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from optimizer.adapters.cgroups import (
    Hierarchy,
    cpuset_size,
    hierarchy,
    is_root,
    parse_cpu_list,
    parse_throttled,
    parse_usage,
    quotas,
    text_of,
    throttled_count,
    usage_file,
)
from optimizer.adapters.kernel_file import KernelFile
from optimizer.adapters.mountinfo import parse_mounts
from optimizer.counters import CapacityScope, CpuCapacity, CpuCounters

AGE_S = 0.75
"""CPUs and quotas change seldom; they are read again when they are older than this."""
PLACES_AGE_S = 60.0
"""Mounts, and the groups that we are in, change hardly ever; the table of mounts may be long."""
OWN_QUOTA_RATIO = 0.9
"""Share of a quota of our own groups that is used: the controller needs some of it too."""
_ROUNDING_CPUS = 1e-6
_USAGE_BYTES = 4096
_CPU_LINE = re.compile(rb"^cpu\d+ ", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuView:
    """The capacity, and which files count its use.

    `usage` holds the CPU time of all programs of the container, None in the
    host's scope. `throttled` is how many times the container has used up its
    quota. `watchable` is as in CpuCounters.
    """

    capacity: CpuCapacity
    usage: Path | None = None
    throttled: int = 0
    watchable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Where the figures are: groups in sight, the file of use, and whose /proc/stat is shown.

    `cpuset` is None where the topmost group in sight is the host's own root.
    `lines` is a file whose lines tell how many CPUs are online, where sysfs may
    not. `covered` tells that the workers see another /proc/stat than the host's.
    """

    cpu: Hierarchy | None
    cpuset: Path | None
    usage: Path | None
    lines: Path | None
    covered: bool


class CapacityWatch:
    """Knows the CPU capacity, and looks again about once a second.

    `scope` is what the configuration says; it may be set anew. Linux alone has
    containers and quotas here: elsewhere it is always the host, whole. `host` is
    where the host's /proc is mounted, None where `proc` is the host's.
    """

    def __init__(
        self,
        scope: CapacityScope = CapacityScope.AUTO,
        *,
        proc: Path = Path("/proc"),
        host: Path | None = None,
        sysfs: Path = Path("/sys"),
        affinity: Callable[[], frozenset[int]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scope = scope
        self._proc = proc
        self._host = host
        self._sysfs = sysfs
        self._affinity = affinity or _affinity
        self._monotonic = monotonic
        self._view: CpuView | None = None
        self._failed = False
        self._until_s = -math.inf
        self._found: _Places | None = None
        self._found_until_s = -math.inf

    @property
    def capacity(self) -> CpuCapacity:
        """The capacity as last read; of the whole host where it never could be."""
        if self._view is None:
            try:
                return self.view().capacity
            except (OSError, ValueError):
                return _whole(os.cpu_count() or 1, self._affinity()).capacity
        return self._view.capacity

    def view(self, *, look: bool = True) -> CpuView:
        """The view of now; with `look` false the last one, if there is one and it stands.

        Raises OSError or ValueError when something cannot be read that exists:
        a limit that is not known is not taken for none.
        """
        if look or self._view is None:
            now_s = self._monotonic()
            if self._view is None or self._failed or now_s >= self._until_s:
                self._failed = True
                self._view = self._look()
                self._failed = False
                self._until_s = now_s + AGE_S
        elif self._failed:
            raise ValueError("the CPU's limits could not be read")
        return self._view

    def _look(self) -> CpuView:
        if sys.platform != "linux":
            return _whole(os.cpu_count() or 1, self._affinity())
        places = self._places()
        online = self._online(places.lines)
        limits = quotas(places.cpu)
        within = min(online, cpuset_size(places.cpuset) or online)
        is_limited = limits[0] < online or within < online
        wanted = self.scope is CapacityScope.CONTAINER or (
            self.scope is CapacityScope.AUTO and is_limited
        )
        if wanted and places.usage is not None:
            capacity = container_capacity(online, within, limits, self._affinity())
            throttled = throttled_count(places.cpu) if math.isfinite(limits[0]) else 0
            return CpuView(
                capacity=capacity, usage=places.usage, throttled=throttled, watchable=False
            )
        capacity = host_capacity(online, min(limits), self._affinity())
        watchable = not places.covered and os.cpu_count() == online
        return CpuView(capacity=capacity, watchable=watchable)

    def _places(self) -> _Places:
        now_s = self._monotonic()
        if self._found is None or now_s >= self._found_until_s:
            self._found = self._find()
            self._found_until_s = now_s + PLACES_AGE_S
        return self._found

    def _find(self) -> _Places:
        mounts = parse_mounts(text_of(self._proc / "self/mountinfo"))
        own = text_of(self._proc / "self/cgroup")
        cpu, cpuset = hierarchy("cpu", mounts, own), hierarchy("cpuset", mounts, own)
        stat = self._proc / "stat"
        # lxcfs shows a container's own figures there, through a daemon.
        covered = any(m.point == str(stat) and m.kind.startswith("fuse") for m in mounts)
        lines = stat if covered else None
        return _Places(
            cpu=cpu,
            cpuset=None if cpuset is None or is_root(cpuset) else cpuset.top,
            usage=usage_file(cpu, hierarchy("cpuacct", mounts, own)),
            lines=lines if self._host is None else self._host / "stat",
            covered=covered,
        )

    def _online(self, lines: Path | None) -> int:
        if lines is not None:
            return max(1, len(_CPU_LINE.findall(lines.read_bytes())))
        # Not os.cpu_count() first: one libc release counts this process's affinity instead.
        try:
            return parse_cpu_list((self._sysfs / "devices/system/cpu/online").read_bytes())
        except OSError:
            count = os.cpu_count()
        if count is None:
            raise ValueError("the number of CPUs is not known")
        return count


def host_capacity(online: int, quota: float, usable: frozenset[int]) -> CpuCapacity:
    """All online CPUs; affinity, cpuset and a quota (infinite: none) limit our own use only."""
    cpus = min(online, max(1, len(usable)))
    reach = min(float(cpus), OWN_QUOTA_RATIO * quota)
    return CpuCapacity(
        scope=CapacityScope.HOST,
        online_cpus=online,
        usable=usable,
        quota_cpus=quota if math.isfinite(quota) else None,
        capacity_cpus=float(online),
        reach_cpus=reach,
        workers=_workers(reach, cpus),
    )


def container_capacity(
    online: int, within: int, quotas: tuple[float, ...], usable: frozenset[int]
) -> CpuCapacity:
    """The container's quota or its CPUs, whichever is less.

    `within` is how many CPUs its cpuset has. `quotas` are those of the groups
    from the container's own down to ours: what is below the first limits our
    own use only.
    """
    capacity = min(float(within), quotas[0])
    cpus = min(within, max(1, len(usable)))
    below = min(quotas[1:], default=math.inf)
    reach = min(capacity, float(cpus), OWN_QUOTA_RATIO * below)
    smallest = min(quotas)
    return CpuCapacity(
        scope=CapacityScope.CONTAINER,
        online_cpus=online,
        usable=usable,
        quota_cpus=smallest if math.isfinite(smallest) else None,
        capacity_cpus=capacity,
        reach_cpus=reach,
        workers=_workers(reach, cpus),
    )


def _workers(reach: float, cpus: int) -> int:
    """As few as can use that much.

    More would take from a quota at more places at once; how often it runs out
    was measured to be the same.
    """
    return max(1, min(cpus, math.ceil(reach - _ROUNDING_CPUS)))


class ContainerCounters:
    """A container's CPU time as counters of a host that has as many CPUs as it may use.

    idle = CPUs x time - used. A quota may be used up early in its period, and
    two such periods may meet: use is then ahead of time for a moment, and idle
    time stands still until it has been caught up with.
    """

    def __init__(self, usage: Path, cpus: float) -> None:
        self.usage = usage
        self.cpus = cpus
        self._file = KernelFile(usage, _USAGE_BYTES)
        self._idle_s = -math.inf
        self._last_s = 0.0
        self._base_s = 0.0

    def cpu(self, view: CpuView) -> CpuCounters:
        """The counters now. Raises OSError, and ValueError when they ran backwards."""
        before_s = time.monotonic()
        text = self._file.read()
        last_s, self._last_s = self._last_s, parse_usage(text)
        total_s = self.cpus * (before_s + time.monotonic()) / 2
        if self._last_s < last_s:
            self._base_s += last_s
            raise ValueError(f"{self.usage} ran backwards, from {last_s} to {self._last_s} s")
        used_s = self._base_s + self._last_s
        throttled = parse_throttled(text)  # in version 2 the same file tells it
        self._idle_s = max(self._idle_s, total_s - used_s)
        return CpuCounters(
            total_s=total_s,
            idle_s=self._idle_s,
            steal_s=0.0,
            cpus=self.cpus,
            reach_ratio=min(1.0, view.capacity.reach_cpus / self.cpus),
            throttled=view.throttled if throttled is None else throttled,
            watchable=view.watchable,
        )

    def close(self) -> None:
        """Close the file that is kept open."""
        self._file.close()


def _whole(online: int, usable: frozenset[int]) -> CpuView:
    return CpuView(capacity=host_capacity(online, math.inf, usable))


def _affinity() -> frozenset[int]:
    """CPUs that this process, and so a stresser, may run on."""
    if sys.platform == "linux":
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))
