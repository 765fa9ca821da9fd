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

from optimizer.model import CpuCounters, DiskCounters, HostReading, MemoryCounters

T = TypeVar("T")

_READ_ERRORS = (OSError, ValueError, RuntimeError, psutil.Error)
"""What a sensor that fails raises: the kernel, a parser here, or psutil."""

_STAT_BYTES = 1024
"""Room for the first line of /proc/stat: ten numbers of 20 digits."""
_MEMINFO_BYTES = 8192
_CPU_LIST_BYTES = 4096

_FEWEST_STAT_FIELDS = 5
"""The name and user, nice, system, idle: what a kernel of 2.4 wrote."""
_STAT_LINE_BYTES = 256
"""More than ten counters of 64 bits need."""
_ONLINE_AGE_S = 1.0
"""CPUs come and go seldom; their number is read again when it is older than this."""
_CPU_RANGES = re.compile(rb"\d{1,6}(?:-\d{1,6})?(?:,\d{1,6}(?:-\d{1,6})?)*\n?")
_MEMINFO_LINE = re.compile(
    rb"^(MemTotal|MemFree|MemAvailable|Buffers|Cached|Shmem|SReclaimable): +(\d{1,18}) kB$",
    re.MULTILINE,
)


def parse_stat(text: bytes, *, ticks_per_s: int, online_cpus: int) -> CpuCounters:
    """CPU counters from the beginning of /proc/stat.

    total = user + nice + system + idle + iowait + irq + softirq + steal; guest
    time is left out because user and nice hold it already. Fields that an old
    kernel lacks count as 0. Raises ValueError when the first line is not whole.

    Source: proc(5), /proc/stat.
    """
    # Plain string methods: a regular expression costs a third of the whole read.
    line, end, _ = text.partition(b"\n")
    fields = line.split()
    if not end or len(fields) < _FEWEST_STAT_FIELDS or fields[0] != b"cpu":
        raise ValueError(f"/proc/stat does not begin with a line of CPU counters: {text[:60]!r}")
    if len(line) > _STAT_LINE_BYTES or not b"".join(fields[1:]).isdigit():
        raise ValueError(f"/proc/stat has a counter that is no number: {line[:120]!r}")
    ticks = [int(field) for field in fields[1:9]]
    ticks += [0] * (8 - len(ticks))
    _, _, _, idle, iowait, _, _, steal = ticks
    return CpuCounters(
        total_s=sum(ticks) / ticks_per_s,
        idle_s=(idle + iowait) / ticks_per_s,
        steal_s=steal / ticks_per_s,
        online_cpus=online_cpus,
    )


def parse_cpu_list(text: bytes) -> int:
    """How many CPUs a list such as `0-3,8` names. Raises ValueError when it is none.

    Source: Linux Documentation/admin-guide/cputopology.rst.
    """
    if _CPU_RANGES.fullmatch(text) is None:
        raise ValueError(f"not a list of CPUs: {text[:60]!r}")
    count = 0
    for part in text.split(b","):
        first, _, last = part.partition(b"-")
        count += int(last or first) - int(first) + 1
        if int(last or first) < int(first):
            raise ValueError(f"not a list of CPUs: {text[:60]!r}")
    return count


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

    `disk_mounts` are the mount points of local filesystems to read. `proc` and
    `sysfs` are where Linux shows its counters; other platforms ignore them.
    """

    def __init__(
        self,
        disk_mounts: Sequence[str],
        *,
        proc: Path = Path("/proc"),
        sysfs: Path = Path("/sys"),
    ) -> None:
        self._linux = _LinuxCounters(proc, sysfs) if sys.platform == "linux" else None
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
        return self._read(levels=True)

    def read_cpu(self) -> HostReading:
        """The CPU counters alone; memory and disks are None. Never raises."""
        return self._read(levels=False)

    def _read(self, *, levels: bool) -> HostReading:
        failures: list[tuple[str, str]] = []
        before_s = time.monotonic()
        cpu = _attempt("cpu", self._read_cpu, failures)
        after_s = time.monotonic()
        return HostReading(
            # The kernel summed the counters up somewhere between the two.
            monotonic_s=(before_s + after_s) / 2,
            utc_s=time.time(),
            cpu=cpu,
            memory=_attempt("memory", self._read_memory, failures) if levels else None,
            disks=_attempt("disk", self._read_disks, failures) if levels else None,
            failures=tuple(failures),
        )

    def close(self) -> None:
        """Close the files that are kept open; a later read opens them again."""
        if self._linux is not None:
            self._linux.close()

    def _read_cpu(self) -> CpuCounters:
        return portable_cpu() if self._linux is None else self._linux.cpu()

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
    online_cpus = psutil.cpu_count()
    if not online_cpus:
        raise ValueError("the number of CPUs is not known")
    return CpuCounters(total_s=total_s, idle_s=times.idle, steal_s=0.0, online_cpus=online_cpus)


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

    def __init__(self, proc: Path, sysfs: Path) -> None:
        self._stat = _KernelFile(proc / "stat", _STAT_BYTES)
        self._meminfo = _KernelFile(proc / "meminfo", _MEMINFO_BYTES)
        self._online = _KernelFile(sysfs / "devices/system/cpu/online", _CPU_LIST_BYTES)
        self._ticks_per_s = _ticks_per_s()
        self._online_count = 0
        self._online_until_s = float("-inf")

    def cpu(self) -> CpuCounters:
        online_cpus = self._online_cpus()
        return parse_stat(self._stat.read(), ticks_per_s=self._ticks_per_s, online_cpus=online_cpus)

    def memory(self) -> MemoryCounters:
        return parse_meminfo(self._meminfo.read())

    def close(self) -> None:
        for file in (self._stat, self._meminfo, self._online):
            file.close()

    def _online_cpus(self) -> int:
        now_s = time.monotonic()
        if now_s >= self._online_until_s:
            self._online_until_s = now_s + _ONLINE_AGE_S
            self._online_count = self._count_online()
        return self._online_count

    def _count_online(self) -> int:
        # Not os.cpu_count() first: one libc release counts this process's affinity instead.
        try:
            return parse_cpu_list(self._online.read())
        except OSError:
            count = os.cpu_count()
        if count is None:
            raise ValueError("the number of CPUs is not known")
        return count


def _ticks_per_s() -> int:
    """The unit of /proc/stat; only the tests come here on Windows, where nothing tells it."""
    if sys.platform == "win32":
        return 100
    return os.sysconf("SC_CLK_TCK")


class _KernelFile:
    """A file of procfs or sysfs, kept open and read from its start each time."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._descriptor = -1

    def read(self) -> bytes:
        """What it says now. Raises OSError."""
        if self._descriptor >= 0:
            # An open file can go stale, for example when lxcfs is restarted.
            try:
                if text := _pread(self._descriptor, self._most_bytes):
                    return text
            except OSError:
                pass
            self.close()
        self._descriptor = os.open(self._path, os.O_RDONLY)
        return _pread(self._descriptor, self._most_bytes)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _pread(descriptor: int, most_bytes: int) -> bytes:
    if sys.platform == "win32":  # there is no procfs there; only the tests come here
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.read(descriptor, most_bytes)
    return os.pread(descriptor, most_bytes, 0)


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
