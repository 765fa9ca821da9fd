"""How much may still be taken before what must stay free is touched."""

from __future__ import annotations

import os
import sys

from stressers import group, windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MEMORY_FLOOR_RATIO, MEMORY_FLOOR_BYTES = 0.05, 512 << 20
"""Of memory stays available the larger of these: share of the total, and bytes."""
DISK_FLOOR_RATIO, DISK_FLOOR_BYTES = 0.10, 2 << 30
"""The same for the filesystem, of what an unprivileged writer can take."""
INODE_FLOOR_RATIO = 0.05
"""Share of a filesystem's inodes that stays free."""


class UnknownFreeError(OSError):
    """What is free cannot be read here; nothing is taken then."""


class InodesError(OSError):
    """Too few inodes are free on a filesystem; nothing is taken then."""


class MemoryRoom:
    """How much memory may still be taken, on this host and in our control groups.

    Which groups these are is found once, at the first call; what they say is
    read at each. `limits` are those of this process by default. `host` tells
    size and what is left of all that the host has a floor for.
    """

    __slots__ = ("_host", "_limits")

    def __init__(
        self,
        limits: group.Limits | None = None,
        host: Callable[[], Sequence[tuple[int, int]]] | None = None,
    ) -> None:
        self._limits = limits
        self._host = _host if host is None else host

    def __call__(self) -> int:
        """Bytes; negative when a floor is touched already.

        Linux: MemAvailable, see proc(5), and what each limit leaves; the same
        floor for all. Windows: ullAvailPhys, and ullAvailPageFile, for what is
        held counts against the commit limit, and who meets that limit fails
        although memory is free. Raises UnknownFreeError when anything cannot be
        read, and OSError.
        """
        (total, available), *others = self._host()
        room = available - _memory_floor(total)
        for size, left in others:
            room = min(room, left - _memory_floor(size))
        try:
            if self._limits is None:
                self._limits = group.own()
            for limit, left in self._limits.rooms(total):
                room = min(room, left - _memory_floor(limit))
        except (OSError, ValueError) as exc:
            message = f"what our control groups leave cannot be read: {exc}"
            raise UnknownFreeError(message) from exc
        return room


def memory_room() -> int:
    """Bytes of memory that may still be taken; see MemoryRoom."""
    return MemoryRoom()()


def _memory_floor(total: int) -> int:
    return int(max(MEMORY_FLOOR_RATIO * total, MEMORY_FLOOR_BYTES))


def _host() -> Sequence[tuple[int, int]]:
    if sys.platform == "win32":
        return windows_memory(windows.system())
    if sys.platform != "linux":
        message = "memory that is available cannot be read on this platform"
        raise UnknownFreeError(message)
    with open("/proc/meminfo", "rb") as table:
        text = table.read()
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(b":")
        if name in (b"MemTotal", b"MemAvailable"):
            found[name] = int(rest.split()[0]) * 1024
    try:
        return ((found[b"MemTotal"], found[b"MemAvailable"]),)
    except KeyError as exc:
        message = "/proc/meminfo has no MemAvailable"
        raise UnknownFreeError(message) from exc


def windows_memory(calls: windows.Windows) -> Sequence[tuple[int, int]]:
    """Size and what is left, in bytes, of memory and of the commit limit.

    Raises UnknownFreeError.
    """
    try:
        return calls.memory()
    except OSError as exc:
        message = f"what is left of memory and of the commit limit cannot be read: {exc}"
        raise UnknownFreeError(message) from exc


def disk_room(place: int | str) -> int:
    """Bytes that may still be taken of the filesystem of a path or descriptor.

    Counts what an unprivileged writer can take (f_bavail), so that the root
    reserve stays untouched. Negative when the floor is touched already.
    Raises InodesError when too few inodes are free, and OSError.
    """
    if sys.platform == "win32":
        return windows_disk_room(windows.system(), str(place))
    fs = os.statvfs(place)
    if fs.f_files and fs.f_favail < INODE_FLOOR_RATIO * fs.f_files:
        message = (
            f"only {fs.f_favail} of {fs.f_files} inodes are free on the filesystem; "
            f"{INODE_FLOOR_RATIO:.0%} always stay free: remove small files first"
        )
        raise InodesError(message)
    total, available = fs.f_blocks * fs.f_frsize, fs.f_bavail * fs.f_frsize
    return int(available - max(DISK_FLOOR_RATIO * total, DISK_FLOOR_BYTES))


def windows_disk_room(calls: windows.Windows, path: str) -> int:
    """The same of a volume; a quota on the caller counts. Raises OSError."""
    total, available = calls.disk(path)
    return int(available - max(DISK_FLOOR_RATIO * total, DISK_FLOOR_BYTES))


def filesystem(path: str) -> str:
    """Type of the filesystem that a path is on; "unknown" where that cannot be read.

    By the longest mount point that the path begins with, the last one mounted
    there: no file of that filesystem is touched. Source: proc(5), mountinfo.
    """
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            lines = table.read().splitlines()
    except OSError:
        return "unknown"
    path = os.path.realpath(path)
    longest, kind = "", "unknown"
    for line in lines:
        left, _, right = line.partition(" - ")
        mount = group.plain(left.split()[4])
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(longest):
            longest, kind = mount, right.split()[0]
    return kind
