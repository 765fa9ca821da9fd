"""Which way the kernel can take our memory back by itself, when it runs short before we notice.

Without any, a kernel that is short of memory can only kill: us first, then
others. What is asked is read once; swap that is added later is noticed at the
next start.
"""

from __future__ import annotations

import os
import sys

from stressers import kernel

METRICS = ("available", "nocache", "free")
"""By which formula memory counts as used: total less MemAvailable, total less
free less caches, or total less free."""
_HUGE = "/sys/kernel/mm/transparent_hugepage"
_SWAPS = "/proc/swaps"
_FREE_SINCE = (4, 12)
"""MADV_FREE is of 4.5, and until 4.12 it gave pages back at once where there was no swap.

Source: madvise(2).
"""
_ZERO_SWAP_SINCE = (6, 12)
"""Pages of zeros are marked in a bitmap of the swap and not written. Source: mm/page_io.c."""
_SHRINKER_SINCE = (6, 12)
"""The kernel splits huge pages of mostly zeros and frees those. Source: mm/huge_memory.c."""
_MOST_NONE = 511
"""max_ptes_none from which on the shrinker looks at no page: that is the kernel's default."""


def release(text: str) -> tuple[int, int]:
    """Major and minor number of a kernel release such as `6.12.3-cloud`; (0, 0) if it has none."""
    major, _, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return (int(major), int(digits)) if major.isdigit() and digits else (0, 0)


def running() -> tuple[int, int]:
    """Release of the kernel that runs; (0, 0) where it is not Linux."""
    if sys.platform != "linux":
        return 0, 0
    return release(os.uname().release)


def swap_devices(text: str) -> list[str]:
    """The names in /proc/swaps, without their directories.

    Source: proc(5); the first line is a heading.
    """
    return [os.path.basename(line.split()[0]) for line in text.splitlines()[1:] if line.split()]


def chosen(text: str) -> str:
    """The word in brackets of a line such as `always [madvise] never`; empty without one."""
    return text.partition("[")[2].partition("]")[0]


def huge_pages(folder: str = _HUGE) -> bool:
    """Whether a program that asks for huge pages gets some.

    Since 6.8 each size has a switch of its own, which by default leaves it to the old one.

    Source: Linux Documentation/admin-guide/mm/transhuge.rst.
    """
    own = chosen(_text(f"{folder}/hugepages-2048kB/enabled"))
    word = chosen(_text(f"{folder}/enabled")) if own in {"", "inherit"} else own
    return word in {"always", "madvise"}


def shrinker(folder: str = _HUGE) -> bool:
    """Whether huge pages of zeros are split and freed under pressure."""
    limit = _text(f"{folder}/khugepaged/max_ptes_none").strip()
    on = _text(f"{folder}/shrink_underused").strip() == "1"
    return on and huge_pages(folder) and limit.isdigit() and int(limit) < _MOST_NONE


def works_lazily(metric: str) -> bool:
    """Whether memory for that metric is such as the kernel takes back at once (MADV_FREE).

    It does not count as used by the metric `available`. Source: proc(5), MemAvailable.
    """
    return metric != "available" and running() >= _FREE_SINCE


def ways(
    metric: str, *, version: tuple[int, int] | None = None, swaps: str = _SWAPS, huge: str = _HUGE
) -> tuple[kernel.Mean, ...]:
    """The ways in force, or what is missing and what to do.

    `version` is the kernel's, the running one by default; the others are the
    files to read.
    """
    version = running() if version is None else version
    if metric != "available":
        cost = "this kernel has none, so memory is held that only we give back"
        return (_mean("MADV_FREE", cost, in_force=version >= _FREE_SINCE),)
    found, devices = [], swap_devices(_text(swaps))
    if devices and version >= _ZERO_SWAP_SINCE:
        found.append(_mean("swap without writing (zero pages)"))
    elif devices and all(name.startswith("zram") for name in devices):
        found.append(_mean("swap to zram without storing (zero pages)"))
    if version >= _SHRINKER_SINCE and shrinker(huge):
        found.append(_mean("THP shrinker"))
    if found:
        return tuple(found)
    if devices:
        cost = "this kernel would write our zeros to the swap; use zram, or Linux 6.12 or newer"
        return (_mean("swap without writing", cost, in_force=False),)
    cost = "only this program gives memory back; add swap"
    if version >= _SHRINKER_SINCE and huge_pages(huge):
        cost += f", or write 409 to {huge}/khugepaged/max_ptes_none"
        if _text(f"{huge}/shrink_underused").strip() != "1":
            cost += f" and 1 to {huge}/shrink_underused"
    return (_mean("reclaim by the kernel", cost, in_force=False),)


def _mean(name: str, cost: str = "", *, in_force: bool = True) -> kernel.Mean:
    return kernel.Mean(name, cost, lambda _: in_force)


def _text(path: str) -> str:
    """What a file says; empty where it cannot be read: then that way is not relied on."""
    if sys.platform != "linux":
        return ""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
