"""Rows of the history from what sar has recorded, counted as the daemon counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from optimizer.adapters.foreign_row import foreign_row
from optimizer.adapters.history_text import shown
from optimizer.adapters.sysstat import Recording
from optimizer.errors import SourceError
from optimizer.orders import MemoryMetric
from optimizer.outcome import HistoryRow

_ROUNDED = 0.0051
"""Percentages have two decimals."""


def rows(
    recording: Recording, *, metric: MemoryMetric, count_steal: bool, places: Sequence[str]
) -> list[HistoryRow]:
    """The rows of a recording, by time; what it does not tell is unknown.

    `places` are the mount points or devices that count as the disk. Raises
    SourceError when the files are of several hosts.
    """
    if len(recording.hosts) > 1:
        (one, first), (other, second) = list(recording.hosts.items())[:2]
        raise SourceError(
            f"{first} is of host {shown(one)} and {second} of host {shown(other)}: a history is "
            "of one host; give only the files of this one"
        )
    total_kb = _total_kb([one.memory for one in recording.moments.values()])
    found = []
    for utc_s, moment in sorted(recording.moments.items()):
        cpu, steal = _cpu(moment.cpu, count_steal=count_steal)
        memory = _memory(moment.memory, total_kb, metric)
        disk = _disk([moment.disks[place] for place in places if place in moment.disks])
        row = foreign_row(utc_s, moment.span_s, cpu=cpu, steal=steal, memory=memory, disk=disk)
        if row is not None:
            found.append(row)
    return found


def _cpu(of: Mapping[str, float], *, count_steal: bool) -> tuple[float | None, float | None]:
    """Busy and stolen share; as in control.estimate, waiting for the disk is idle."""
    if "idle" not in of:
        return None, None
    steal = of.get("steal", 0.0)
    idle = of["idle"] + of.get("iowait", 0.0) + (0.0 if count_steal else steal)
    return 1 - idle / 100, steal / 100


def _total_kb(all_of: Iterable[Mapping[str, float]]) -> float | None:
    """Memory of the host, where the columns do not add up to it: from the share in use.

    The percentage is rounded; each row bounds the total, all of them closely.
    """
    low, high = 0.0, math.inf
    for of in all_of:
        used, percent = of.get("memused", 0.0), of.get("memused-percent", 0.0)
        if used > 0 and percent > _ROUNDED:
            low = max(low, 100 * used / (percent + _ROUNDED))
            high = min(high, 100 * used / (percent - _ROUNDED))
    # Memory was added or taken away where the bounds contradict each other.
    return (low + high) / 2 if 0 < low <= high < math.inf else None


def _memory(of: Mapping[str, float], total_kb: float | None, metric: MemoryMetric) -> float | None:
    """Used share by the metric: exactly where sar has its columns, else by what comes nearest.

    NOCACHE leaves out all of the slab, where that is told, instead of the
    reclaimable part, and does not count shared memory. AVAILABLE is that too
    where there is no kbavail (sysstat before 11.5.7).
    """
    free, used = of.get("memfree"), of.get("memused")
    if free is None or used is None:
        return None
    cache = sum(of.get(name, 0.0) for name in ("buffers", "cached", "slab"))
    total, percent = None, of.get("memused-percent", math.nan)
    # Since sysstat 11.7 what is in use leaves out the cache.
    for sum_kb in sorted((free + used, free + used + cache), reverse="slab" in of):
        if sum_kb > 0 and abs(100 * used / sum_kb - percent) <= _ROUNDED:
            total = sum_kb
            break
    if total is None:
        if total_kb is None:
            return None
        total, cache = total_kb, total_kb - used - free
    if metric is MemoryMetric.FREE:
        return 1 - free / total
    if metric is MemoryMetric.AVAILABLE and "avail" in of:
        return 1 - of["avail"] / total
    return 1 - (free + cache) / total


def _disk(disks: Sequence[Mapping[str, float]]) -> float | None:
    """sum(used) / sum(used + available) over the filesystems, as df(1) has it."""
    used = available = 0.0
    for of in disks:
        if not {"MBfsfree", "MBfsused", "%ufsused"} <= of.keys():
            return None
        used += of["MBfsused"]
        size = of["MBfsused"] + of["MBfsfree"]
        available += size * max(0.0, 1 - of["%ufsused"] / 100)
    return used / (used + available) if used + available > 0 else None
