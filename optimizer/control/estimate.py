"""Counters to ratios: what share of the host is in use, and how much of it is ours."""

from __future__ import annotations

from optimizer.control.spread import room_of
from optimizer.counters import CpuCounters, DiskCounters, MemoryCounters, Reading
from optimizer.model import RESUME_ROOM_RATIO, PerResource, Sample, Utilisation
from optimizer.orders import MemoryMetric, Policy

_BACKWARD_IDLE_TOLERANCE_S = 0.02
"""How far the idle counter may run back, per CPU, before the reading is discarded.

iowait is documented to decrease now and then; two ticks of 1/100 s cover it.

Source: proc(5), /proc/stat, field iowait.
"""


def estimate(earlier: Reading, later: Reading, policy: Policy) -> Sample:
    """The utilisation between two readings; None for each resource that cannot be known."""
    host = later.host
    memory = None
    if host.memory is not None and host.memory.total_bytes > 0:
        memory = memory_utilisation(host.memory, later.own.memory_bytes, policy)
    disk = None
    if host.disks:
        disk = disk_utilisation(host.disks, later.own.disk_bytes, policy)
    return Sample(
        utc_s=host.utc_s,
        span_s=host.monotonic_s - earlier.host.monotonic_s,
        usage=PerResource(
            cpu=cpu_utilisation(earlier, later, count_steal=policy.count_steal),
            memory=memory,
            disk=disk,
        ),
        steal_ratio=steal_ratio(earlier.host.cpu, host.cpu),
    )


def cpu_utilisation(earlier: Reading, later: Reading, *, count_steal: bool) -> Utilisation | None:
    """Busy share of all CPUs between two readings, our part told apart; None when unknown."""
    total_ratio = busy_ratio(earlier, later, count_steal=count_steal)
    if total_ratio is None or later.host.cpu is None:
        return None
    cpus = later.host.cpu.cpus
    wall_s = (later.host.monotonic_s - earlier.host.monotonic_s) * cpus
    own_s = later.own.cpu_s - earlier.own.cpu_s
    if wall_s <= 0 or own_s < 0:
        return None
    return Utilisation(
        total_ratio=total_ratio,
        own_ratio=min(1.0, own_s / wall_s),
        capacity=float(cpus),
        room_ratio=1.0 - total_ratio,
    )


def busy_ratio(earlier: Reading, later: Reading, *, count_steal: bool) -> float | None:
    """Busy share of all CPUs between two readings, 0 to 1.

    busy = elapsed - idle - iowait - steal (steal stays in when `count_steal`),
    divided by the elapsed CPU time. None when a counter is missing, when one
    ran backwards, when no time has passed, or when CPUs came or went between.
    """
    before, after = earlier.host.cpu, later.host.cpu
    if before is None or after is None or before.cpus != after.cpus:
        return None
    elapsed_s = after.total_s - before.total_s
    idle_s = after.idle_s - before.idle_s
    steal_s = after.steal_s - before.steal_s
    backwards = idle_s < -_BACKWARD_IDLE_TOLERANCE_S * after.cpus
    if elapsed_s <= 0 or steal_s < 0 or backwards:
        return None
    busy_s = elapsed_s - max(0.0, idle_s) - (0.0 if count_steal else steal_s)
    return min(1.0, max(0.0, busy_s / elapsed_s))


def steal_ratio(before: CpuCounters | None, after: CpuCounters | None) -> float | None:
    """Share of CPU time that the hypervisor gave to others; None when unknown."""
    if before is None or after is None:
        return None
    total_s = after.total_s - before.total_s
    steal_s = after.steal_s - before.steal_s
    if total_s <= 0 or steal_s < 0:
        return None
    return _clamp(steal_s / total_s)


def memory_utilisation(memory: MemoryCounters, own_bytes: int, policy: Policy) -> Utilisation:
    """Used share of physical memory by the policy's formula.

    The room is always counted in available memory, for that is what the
    kernel can give to the next process, whichever formula the judge uses. A
    limit on one of our groups leaves no more than what is free below it. What
    the kernel may take from us at any time is available too, but not to us.
    """
    total, floor = memory.total_bytes, policy.memory_floor
    room_bytes = memory.available_bytes - floor.bytes_of(total)
    for bound in memory.bounds:
        room_bytes = min(room_bytes, bound.available_bytes - floor.bytes_of(bound.limit_bytes))
    if policy.lazy_memory:
        room_bytes -= own_bytes
    smallest = min((total, *(bound.limit_bytes for bound in memory.bounds)))
    return Utilisation(
        total_ratio=_clamp(used_bytes(memory, policy.memory_metric) / total),
        own_ratio=_clamp(own_bytes / total),
        capacity=float(total),
        room_ratio=room_bytes / total,
        resume_ratio=RESUME_ROOM_RATIO * smallest / total,
    )


def used_bytes(memory: MemoryCounters, metric: MemoryMetric) -> int:
    """Memory in use by one of the three formulas of the monitoring agents."""
    if metric is MemoryMetric.AVAILABLE:
        return memory.total_bytes - memory.available_bytes
    not_free = memory.total_bytes - memory.free_bytes
    return not_free if metric is MemoryMetric.FREE else not_free - memory.cache_bytes


def disk_utilisation(
    disks: tuple[DiskCounters, ...], own_bytes: int, policy: Policy
) -> Utilisation | None:
    """sum(used) / sum(used + available) over the filesystems; None when that sum is 0.

    The room is that of all whose floor is not touched.
    """
    capacity = sum(disk.size_bytes for disk in disks)
    if capacity <= 0:
        return None
    rooms = [room_of(disk, policy) for disk in disks]
    return Utilisation(
        total_ratio=_clamp(sum(disk.used_bytes for disk in disks) / capacity),
        own_ratio=_clamp(own_bytes / capacity),
        capacity=float(capacity),
        room_ratio=(sum(max(0, room) for room in rooms) or max(rooms)) / capacity,
    )


def _clamp(ratio: float) -> float:
    return min(1.0, max(0.0, ratio))
