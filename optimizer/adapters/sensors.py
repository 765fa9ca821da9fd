"""Reads the host's counters, cheaply enough to be called ten times a second."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import psutil

from optimizer.adapters.cpu_scope import CapacityWatch, ContainerCounters
from optimizer.adapters.kernel_file import KernelFile
from optimizer.model import CpuCounters, DiskCounters, HostReading, MemoryCounters

T = TypeVar("T")

_READ_ERRORS = (OSError, ValueError, RuntimeError, psutil.Error)
"""What a sensor that fails raises: the kernel, a parser here, or psutil."""

_STAT_BYTES = 1024
"""Room for the first line of /proc/stat: ten numbers of 20 digits."""
_MEMINFO_BYTES = 8192

_FEWEST_STAT_FIELDS = 5
"""The name and user, nice, system, idle: what a kernel of 2.4 wrote."""
_STAT_FIELDS = 8
_IDLE, _IOWAIT, _STEAL = 3, 4, 7
_STAT_LINE_BYTES = 256
"""More than ten counters of 64 bits need."""
_MEMINFO_LINE = re.compile(
    rb"^(MemTotal|MemFree|MemAvailable|Buffers|Cached|Shmem|SReclaimable): +(\d{1,18}) kB$",
    re.MULTILINE,
)


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


def parse_meminfo(text: bytes) -> MemoryCounters:
    """Memory counters from /proc/meminfo.

    cache = Buffers + Cached + SReclaimable - Shmem, within 0 and what is not
    free. Available memory is free + cache where the kernel does not tell it
    (before 3.14), or tells 0, which some kernels do by mistake. Where it
    exceeds the total, as inside some containers, it is the free memory. Raises
    ValueError when total, free, buffers or cached are missing, or when more
    than the total is free.

    Source: proc(5), /proc/meminfo; psutil's virtual_memory for the odd cases.
    """
    kib = {name: int(value) for name, value in _MEMINFO_LINE.findall(text)}
    try:
        total, free = kib[b"MemTotal"], kib[b"MemFree"]
        files = kib[b"Buffers"] + kib[b"Cached"]
    except KeyError as exc:
        raise ValueError(f"/proc/meminfo has no {exc.args[0].decode()}") from exc
    if total == 0 or free > total:
        raise ValueError(f"/proc/meminfo contradicts itself: total {total} kB, free {free} kB")
    cache = files + kib.get(b"SReclaimable", 0) - kib.get(b"Shmem", 0)
    cache = min(max(cache, 0), total - free)
    available = kib.get(b"MemAvailable", 0) or free + cache
    return MemoryCounters(
        total_bytes=total * 1024,
        available_bytes=(available if available <= total else free) * 1024,
        free_bytes=free * 1024,
        cache_bytes=cache * 1024,
    )


class HostSensors:
    """Implements ports.Sensors; a sensor that fails is None and is named in `failures`.

    `disk_mounts` are the mount points of local filesystems to read. `capacity`
    knows what CPU a share is a share of. `proc` and `sysfs` are where Linux
    shows its counters; other platforms ignore them.
    """

    def __init__(
        self,
        disk_mounts: Sequence[str],
        *,
        proc: Path = Path("/proc"),
        sysfs: Path = Path("/sys"),
        capacity: CapacityWatch | None = None,
    ) -> None:
        watch = capacity or CapacityWatch(proc=proc, sysfs=sysfs)
        self._linux = _LinuxCounters(proc, watch) if sys.platform == "linux" else None
        self._disks: tuple[tuple[str, int | None], ...] = ()
        self.watch_disks(disk_mounts)

    def watch_disks(self, mounts: Sequence[str]) -> None:
        """Read these mount points from now on, the one that is held on first.

        Remembers the device of each: should the path later lead to another
        one, because the filesystem was unmounted, the sensor fails instead of
        telling the figures of what is below. Call it again after a mount.
        """
        self._disks = tuple((mount, _device_of(mount)) for mount in mounts)

    def read(self) -> HostReading:
        """All counters now; never raises."""
        failures: list[tuple[str, str]] = []
        memory = _attempt("memory", self._read_memory, failures)
        disks = _attempt("disk", self._read_disks, failures)
        # Last, for what our own processes used is asked for next.
        before_s = time.monotonic()
        cpu = _attempt("cpu", lambda: self._read_cpu(look=True), failures)
        after_s = time.monotonic()
        return HostReading(
            # The kernel summed the counters up somewhere between the two.
            monotonic_s=(before_s + after_s) / 2,
            utc_s=time.time(),
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
        if self._linux is not None:
            self._linux.close()

    def _read_cpu(self, *, look: bool) -> CpuCounters:
        return portable_cpu() if self._linux is None else self._linux.cpu(look=look)

    def _read_memory(self) -> MemoryCounters:
        return portable_memory() if self._linux is None else self._linux.memory()

    def _read_disks(self) -> tuple[DiskCounters, ...]:
        return tuple(_read_disk(mount, device) for mount, device in self._disks)


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


def portable_memory() -> MemoryCounters:
    """Memory counters from psutil; the cache is taken to be available - free."""
    memory = psutil.virtual_memory()
    return MemoryCounters(
        total_bytes=memory.total,
        available_bytes=memory.available,
        free_bytes=memory.free,
        cache_bytes=max(0, memory.available - memory.free),
    )


class _LinuxCounters:
    """CPU and memory from procfs; psutil costs twice as much, for it opens each file anew."""

    def __init__(self, proc: Path, capacity: CapacityWatch) -> None:
        self._stat = KernelFile(proc / "stat", _STAT_BYTES)
        self._meminfo = KernelFile(proc / "meminfo", _MEMINFO_BYTES)
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

    def memory(self) -> MemoryCounters:
        return parse_meminfo(self._meminfo.read())

    def close(self) -> None:
        for file in (self._stat, self._meminfo):
            file.close()
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


def _device_of(mount: str) -> int | None:
    try:
        return os.stat(mount).st_dev
    except OSError:
        return None


def _read_disk(mount: str, device: int | None) -> DiskCounters:
    """One filesystem. Raises OSError or ValueError, also when it is no longer the same one."""
    if sys.platform == "win32":
        usage = psutil.disk_usage(mount)
        used_bytes, available_bytes = usage.used, usage.free
    else:
        blocks = os.statvfs(mount)
        used_bytes = (blocks.f_blocks - blocks.f_bfree) * blocks.f_frsize
        available_bytes = blocks.f_bavail * blocks.f_frsize
    # Asked after the figures: an unmount in between is then seen as well.
    if device is None or os.stat(mount).st_dev != device:
        raise ValueError(f"{mount} is not the filesystem that was chosen; has it been unmounted?")
    if used_bytes < 0 or available_bytes < 0 or used_bytes + available_bytes == 0:
        raise ValueError(f"{mount} tells no size")
    return DiskCounters(mount=mount, used_bytes=used_bytes, available_bytes=available_bytes)
