"""Reads the host's counters, cheaply enough to be called ten times a second."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import psutil

from optimizer.adapters.cpu_scope import CapacityWatch, ContainerCounters
from optimizer.adapters.disk_sensor import DiskSensor
from optimizer.adapters.kernel_file import KernelFile
from optimizer.adapters.memory_scope import MemoryScope
from optimizer.adapters.memory_sensor import MemorySensor
from optimizer.adapters.steady import instant
from optimizer.counters import CpuCounters, HostReading, Place

T = TypeVar("T")

_READ_ERRORS = (OSError, ValueError, RuntimeError, psutil.Error)
"""What a sensor that fails raises: the kernel, a parser here, or psutil."""

_STAT_BYTES = 1024
"""Room for the first line of /proc/stat: ten numbers of 20 digits."""

_FEWEST_STAT_FIELDS = 5
"""The name and user, nice, system, idle: what a kernel of 2.4 wrote."""
_STAT_FIELDS = 8
_IDLE, _IOWAIT, _STEAL = 3, 4, 7
_STAT_LINE_BYTES = 256
"""More than ten counters of 64 bits need."""


def parse_stat(text: bytes, *, ticks_per_s: int, cpus: float) -> CpuCounters:
    """CPU counters from the beginning of /proc/stat.

    total = user + nice + system + idle + iowait + irq + softirq + steal; guest
    time is left out because user and nice hold it already. Fields that an old
    kernel lacks count as 0. Raises ValueError when the first line is not whole.

    Source: proc(5), /proc/stat.
    """
    # Ten times a second: a regular expression alone would cost a third of the whole read.
    line, end, _ = text.partition(b"\n")
    fields = line.split()
    if not end or len(fields) < _FEWEST_STAT_FIELDS or fields[0] != b"cpu":
        raise ValueError(f"/proc/stat does not begin with a line of CPU counters: {text[:60]!r}")
    if len(line) > _STAT_LINE_BYTES or not b"".join(fields[1:]).isdigit():
        raise ValueError(f"/proc/stat has a counter that is no number: {line[:120]!r}")
    ticks = list(map(int, fields[1:9]))
    if len(ticks) < _STAT_FIELDS:
        ticks += [0] * (_STAT_FIELDS - len(ticks))
    return CpuCounters(
        sum(ticks) / ticks_per_s,
        (ticks[_IDLE] + ticks[_IOWAIT]) / ticks_per_s,
        ticks[_STEAL] / ticks_per_s,
        cpus,
    )


class HostSensors:
    """Implements ports.Sensors; a sensor that fails is None and is named in `failures`.

    `places` are the local filesystems to read. `capacity` knows what CPU a
    share is a share of, `scope` the same for the memory. `proc` and `sysfs` are
    where Linux shows its counters; other platforms ignore them. `host` is where
    the host's /proc is mounted, None where `proc` is the host's.
    """

    def __init__(
        self,
        places: Sequence[Place] = (),
        *,
        proc: Path = Path("/proc"),
        host: Path | None = None,
        sysfs: Path = Path("/sys"),
        capacity: CapacityWatch | None = None,
        scope: MemoryScope | None = None,
    ) -> None:
        watch = capacity or CapacityWatch(proc=proc, host=host, sysfs=sysfs)
        shown = host or proc
        self._linux = _LinuxCounters(shown, watch) if sys.platform == "linux" else None
        self._memory = MemorySensor(shown, scope or MemoryScope(proc=proc))
        self.disks = DiskSensor(proc, sysfs)
        self.disks.watch(places)

    def read(self) -> HostReading:
        """All counters now; never raises."""
        failures: list[tuple[str, str]] = []
        memory = _attempt("memory", self._memory.read, failures)
        if memory is not None and self._memory.fault is not None:
            failures.append(("memory", self._memory.fault))
        disks = _attempt("disk", self.disks.read, failures)
        if disks is not None:
            failures += [("disk", fault) for fault in self.disks.faults]
        # Last, for what our own processes used is asked for next.
        before_s = time.monotonic()
        cpu = _attempt("cpu", lambda: self._read_cpu(look=True), failures)
        # The kernel summed the counters up somewhere between the two.
        at = instant().at((before_s + time.monotonic()) / 2)
        return HostReading(
            monotonic_s=at.monotonic_s,
            utc_s=at.utc_s,
            slept_s=at.slept_s,
            cpu=cpu,
            memory=memory,
            disks=disks,
            failures=tuple(failures),
        )

    def read_cpu(self) -> tuple[float, CpuCounters | None]:
        """When (monotonic seconds), and the CPU counters alone, None if that fails; no raise."""
        before_s = time.monotonic()
        try:
            cpu = self._read_cpu(look=False)
        except _READ_ERRORS:
            cpu = None  # the next full reading says why
        return (before_s + time.monotonic()) / 2, cpu

    def close(self) -> None:
        """Close the files that are kept open; a later read opens them again."""
        self._memory.close()
        if self._linux is not None:
            self._linux.close()

    def _read_cpu(self, *, look: bool) -> CpuCounters:
        return portable_cpu() if self._linux is None else self._linux.cpu(look=look)


def portable_cpu() -> CpuCounters:
    """CPU counters from psutil, for platforms that have no steal time.

    interrupt and dpc are left out: Windows counts them within system.
    """
    times = psutil.cpu_times()
    total_s = times.user + times.system + times.idle
    if sys.platform != "win32":
        total_s += times.nice
    cpus = psutil.cpu_count()
    if not cpus:
        raise ValueError("the number of CPUs is not known")
    return CpuCounters(total_s=total_s, idle_s=times.idle, steal_s=0.0, cpus=cpus, watchable=False)


class _LinuxCounters:
    """The CPU from procfs; psutil costs twice as much, for it opens the file anew each time."""

    def __init__(self, proc: Path, capacity: CapacityWatch) -> None:
        self._stat = KernelFile(proc / "stat", _STAT_BYTES)
        self._capacity = capacity
        self._ticks_per_s = _ticks_per_s()
        self._container: ContainerCounters | None = None

    def cpu(self, *, look: bool) -> CpuCounters:
        """The counters; limits and the number of CPUs are looked at only when `look`."""
        view = self._capacity.view(look=look)
        if view.usage is not None:
            return self._in_container(view.usage, view.capacity.capacity_cpus).cpu(view)
        capacity = view.capacity
        cpus = capacity.online_cpus
        counted = parse_stat(self._stat.read(), ticks_per_s=self._ticks_per_s, cpus=cpus)
        if capacity.reach_cpus >= cpus and view.watchable:
            return counted
        reach_ratio = min(1.0, capacity.reach_cpus / cpus)
        return counted._replace(reach_ratio=reach_ratio, watchable=view.watchable)

    def close(self) -> None:
        self._stat.close()
        if self._container is not None:
            self._container.close()

    def _in_container(self, usage: Path, cpus: float) -> ContainerCounters:
        known = self._container
        if known is None or (known.usage, known.cpus) != (usage, cpus):
            if known is not None:
                known.close()
            self._container = known = ContainerCounters(usage, cpus)
        return known


def _ticks_per_s() -> int:
    """The unit of /proc/stat; only the tests come here on Windows, where nothing tells it."""
    if sys.platform == "win32":
        return 100
    return os.sysconf("SC_CLK_TCK")


def _attempt(sensor: str, read: Callable[[], T], failures: list[tuple[str, str]]) -> T | None:
    try:
        return read()
    except _READ_ERRORS as exc:
        failures.append((sensor, str(exc) or type(exc).__name__))
        return None
