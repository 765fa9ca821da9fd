"""How busy the host is: CPU, memory and disks, before and after. Unknown is not zero."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from typing import NamedTuple

from recover.kernel import sync_filesystem

_MEMORY = ("available", "nocache", "free")
_PATH_CHARS = 32
_OCTAL = re.compile(r"\\([0-7]{3})")
_ON_DISK = {"btrfs", "zfs", "bcachefs", "f2fs"}
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "glusterfs", "virtiofs"}
_READ_ONLY_IMAGES = {"squashfs", "iso9660", "erofs", "udf"}


class Mount(NamedTuple):
    """One line of the mount table."""

    point: str
    kind: str
    source: str
    options: tuple[str, ...]


class Figures(NamedTuple):
    """Ratios 0 to 1, by name; None where this host does not tell."""

    cpu: float | None
    memory: dict[str, float | None]
    disks: dict[str, float | None]
    processes: int


def measure(disks: tuple[str, ...], processes: int, over_s: float) -> Figures:
    """Look at the host now; the CPU over the next `over_s` seconds."""
    memory = _memory()
    used = {path: disk_ratio(path) for path in disks}
    before = _cpu_times()
    time.sleep(over_s if before is not None else 0)
    return Figures(_busy_ratio(before, _cpu_times()), memory, used, processes)


def _cpu_times() -> tuple[int, int] | None:
    """Idle and all ticks until now. Source: proc(5), /proc/stat; iowait is idle."""
    if sys.platform == "win32":
        from recover.windows import cpu_times

        return cpu_times()
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    return (ticks[3] + ticks[4], sum(ticks)) if len(ticks) > 4 else None


def _busy_ratio(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    if before is None or after is None or after[1] <= before[1]:
        return None
    return min(1.0, max(0.0, 1 - (after[0] - before[0]) / (after[1] - before[1])))


def _memory() -> dict[str, float | None]:
    if sys.platform == "win32":
        from recover.windows import memory_ratio

        return {"available": memory_ratio()}
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return memory_ratios(file.read())
    except OSError:
        return dict.fromkeys(_MEMORY)


def memory_ratios(meminfo: str) -> dict[str, float | None]:
    """Share of the memory in use by the formulas of monitoring agents.

    available: total less MemAvailable. nocache: less free, buffers, cache and
    reclaimable slab. free: less free only. Source: proc(5), /proc/meminfo.
    """
    sizes = {
        words[0].rstrip(":"): int(words[1])
        for words in (line.split() for line in meminfo.splitlines())
        if len(words) > 1 and words[1].isdigit()
    }
    total, free = sizes.get("MemTotal"), sizes.get("MemFree")
    if not total or free is None:
        return dict.fromkeys(_MEMORY)
    cache = sum(sizes.get(name, 0) for name in ("Buffers", "Cached", "SReclaimable"))
    available = sizes.get("MemAvailable")
    return {
        "available": None if available is None else 1 - available / total,
        "nocache": 1 - (free + cache) / total,
        "free": 1 - free / total,
    }


def disk_ratio(path: str) -> float | None:
    """Share of a filesystem in use, as df(1) tells it; None when it cannot be looked at."""
    try:
        if sys.platform == "linux":
            _sync_btrfs(path)
        if sys.platform == "win32":
            usage = shutil.disk_usage(path)
            return usage.used / usage.total
        found = os.statvfs(path)
    except (OSError, ZeroDivisionError):
        return None
    used = found.f_blocks - found.f_bfree
    return used / (used + found.f_bavail) if used + found.f_bavail else None


def _sync_btrfs(path: str) -> None:
    """It tells what was taken or freed only after a commit."""
    if any(mount.point == path and mount.kind == "btrfs" for mount in mounts()):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            sync_filesystem(descriptor)
        finally:
            os.close(descriptor)


def mounts() -> list[Mount]:
    """The mount table; empty where it cannot be read. Source: proc(5), mountinfo."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            lines = file.read().decode("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, after = left.split(" "), right.split(" ")
        if len(fields) >= 6 and len(after) >= 3:
            point = _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), fields[4])
            found.append(Mount(point, after[0], after[1], tuple(after[2].split(","))))
    return found


def local_disks() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Mount points of local filesystems, each filesystem once, and remote ones.

    A remote one is never looked at: it may hang for ever when its server is gone.
    """
    if sys.platform == "win32":
        return (os.environ.get("SYSTEMDRIVE", "C:") + "\\",), ()
    by_source: dict[str, str] = {}
    remote = []
    table = mounts()
    for mount in table:
        if mount.kind in _REMOTE or mount.kind.startswith("fuse."):
            remote.append(mount.point)
        elif (
            mount.source.startswith("/dev/") or mount.kind in _ON_DISK or mount.point == "/"
        ) and mount.kind not in _READ_ONLY_IMAGES:
            known = by_source.get(mount.source)
            if os.path.isdir(mount.point) and (known is None or len(mount.point) < len(known)):
                by_source[mount.source] = mount.point
    return tuple(sorted(by_source.values())) if table else ("/",), tuple(remote)


def table(before: Figures, after: Figures | None) -> str:
    """The figures side by side."""
    rows = [("CPU", before.cpu, after and after.cpu)]
    for name, ratio in before.memory.items():
        rows.append((f"memory, {name}", ratio, after and after.memory.get(name)))
    for path, ratio in before.disks.items():
        rows.append((f"disk {_short(path)}", ratio, after and after.disks.get(path)))
    width = max(len("processes of ours"), *(len(row[0]) for row in rows))
    lines = [f"{'in use':<{width}}    before" + ("     after" if after else "")]
    for name, was, now in rows:
        lines.append(
            f"{name:<{width}}  {_percent(was):>8}" + (f"  {_percent(now):>8}" if after else "")
        )
    counts = f"  {after.processes:>8}" if after else ""
    lines.append(f"{'processes of ours':<{width}}  {before.processes:>8}{counts}")
    return "\n".join(lines)


def _short(path: str) -> str:
    """A path of any length, its end rather than its beginning."""
    return path if len(path) <= _PATH_CHARS else "..." + path[3 - _PATH_CHARS :]


def _percent(ratio: float | None) -> str:
    return "unknown" if ratio is None else f"{100 * ratio:.1f} %"
