"""What counts as used memory, by the formulas of the cloud agents, from the kernel's own text.

Shares no code with the daemon, which is checked with it. Source: proc(5),
/proc/meminfo and /proc/vmstat.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

METRICS = ("available", "nocache", "free")
PAGE_BYTES = 4096
"""Unit of pswpout: pages of the base size, also where huge pages are swapped."""


def parse(text: str) -> dict[str, int]:
    """Each line of /proc/meminfo in bytes; what has no unit (kB) is a count."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        found[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return found


def read() -> dict[str, int]:
    """The host's memory now. Raises OSError."""
    return parse(Path("/proc/meminfo").read_text(encoding="ascii"))


def used(memory: Mapping[str, int], metric: str) -> int:
    """Bytes that count as used by that metric.

    available: total - available (psutil, Alibaba). nocache: total - free - buffers -
    cached - reclaimable slab + shared (Tencent, htop). free: total - free. Raises
    KeyError for a line that is missing, and for a metric that is none.
    """
    total, free = memory["MemTotal"], memory["MemFree"]
    if metric == "available":
        return total - memory["MemAvailable"]
    if metric == "nocache":
        dropped = memory["Buffers"] + memory["Cached"] + memory["SReclaimable"]
        return total - free - dropped + memory["Shmem"]
    if metric == "free":
        return total - free
    raise KeyError(metric)


def percent(memory: Mapping[str, int], metric: str) -> float:
    """The same as a share of the total, 0 to 100. Raises KeyError."""
    return 100 * used(memory, metric) / memory["MemTotal"]


def counts(text: str) -> dict[str, int]:
    """A file of names and whole numbers, such as /proc/vmstat or memory.events."""
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


def swapped_out() -> dict[str, int]:
    """Bytes of the whole host, since boot, that were written to swap, and zeroes that were not.

    A kernel before 6.13 does not count the zeroes: 0. Raises OSError.
    """
    found = counts(Path("/proc/vmstat").read_text(encoding="ascii"))
    return {
        "written": found["pswpout"] * PAGE_BYTES,
        "zeroes": found.get("swpout_zero", 0) * PAGE_BYTES,
    }
