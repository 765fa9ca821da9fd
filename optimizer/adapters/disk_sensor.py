"""Reads the filesystems on which space is held, and only those."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from optimizer.adapters.mountinfo import Mount, parse_mounts
from optimizer.counters import DiskCounters, Place

_PENDING = ("bytes_may_use", "bytes_reserved")
"""What is promised to writers, and what is allocated but not committed yet.

Measured on Linux 6.18: each byte is in one of them until statvfs(2) shows it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watched:
    """One filesystem: its device when it was chosen, and where btrfs tells what is pending."""

    place: Place
    device: int | None
    pending: Path | None


class DiskSensor:
    """Space and inodes of the watched filesystems; raises when one is no longer the same."""

    def __init__(self, proc: Path = Path("/proc"), sysfs: Path = Path("/sys")) -> None:
        self._proc = proc
        self._sysfs = sysfs
        self._watched: tuple[_Watched, ...] = ()
        self.moved = False
        """Whether one of them could not be read, or is not what was chosen, since watch()."""
        self.faults: tuple[str, ...] = ()

    def watch(self, places: Sequence[Place]) -> None:
        """Read these from now on.

        Remembers the device of each: should the path later lead to another
        one, because the filesystem was unmounted, the sensor fails instead of
        telling the figures of what is below. Call it again after a mount.
        """
        self.moved = False
        table = mounted(self._proc)
        self._watched = tuple(
            _Watched(
                place=place,
                device=_device_of(place.mount),
                pending=btrfs_allocation(place.mount, table, self._sysfs),
            )
            for place in places
        )

    def read(self) -> tuple[DiskCounters, ...]:
        """Those that can be read now; `faults` says why others cannot.

        Raises the last fault where none can be read but one should be.
        """
        found, faults = [], []
        fault: OSError | ValueError | None = None
        for one in self._watched:
            try:
                found.append(self._read(one))
            except (OSError, ValueError) as exc:
                fault = exc
                faults.append(str(exc))
        self.moved = self.moved or bool(faults)
        self.faults = tuple(faults)
        if fault is not None and not found:
            raise fault
        return tuple(found)

    def _read(self, one: _Watched) -> DiskCounters:
        mount, inodes_ratio = one.place.mount, 1.0
        if sys.platform == "win32":
            usage = psutil.disk_usage(mount)
            used_bytes, available_bytes = usage.used, usage.free
        else:
            blocks = os.statvfs(mount)
            used_bytes = (blocks.f_blocks - blocks.f_bfree) * blocks.f_frsize
            available_bytes = blocks.f_bavail * blocks.f_frsize
            if blocks.f_flag & os.ST_RDONLY:
                raise ValueError(f"{mount} has become read-only")
            if blocks.f_files > 0:
                inodes_ratio = blocks.f_favail / blocks.f_files
        # Asked after the figures: an unmount in between is then seen as well.
        if one.device is None or os.stat(mount).st_dev != one.device:
            raise ValueError(
                f"{mount} is not the filesystem that was chosen; has it been unmounted?"
            )
        if used_bytes < 0 or available_bytes < 0 or used_bytes + available_bytes == 0:
            raise ValueError(f"{mount} tells no size")
        if one.pending is not None:
            late = min(available_bytes, pending_bytes(one.pending))
            used_bytes, available_bytes = used_bytes + late, available_bytes - late
        return DiskCounters(
            place=one.place,
            used_bytes=used_bytes,
            available_bytes=available_bytes,
            free_inodes_ratio=inodes_ratio,
        )


def mounted(proc: Path) -> tuple[Mount, ...]:
    """The mount table; empty where there is none to be read."""
    try:
        return parse_mounts((proc / "self/mountinfo").read_text(errors="surrogateescape"))
    except OSError:
        return ()


def btrfs_allocation(mount: str, table: tuple[Mount, ...], sysfs: Path) -> Path | None:
    """Where btrfs tells what statvfs(2) does not count yet; None for other filesystems.

    Source: Linux fs/btrfs/sysfs.c, the directory allocation.
    """
    found = [one for one in table if one.point == mount]
    if not found or found[-1].kind != "btrfs":
        return None
    name = os.path.basename(os.path.realpath(found[-1].source))
    for device in (sysfs / "fs/btrfs").glob(f"*/devices/{name}"):
        for kind in ("data", "mixed"):
            allocation = device.parent.parent / "allocation" / kind
            if (allocation / _PENDING[0]).exists():
                return allocation
    return None


def pending_bytes(allocation: Path) -> int:
    """Bytes that are spoken for but not in statvfs(2) yet. Raises OSError or ValueError."""
    return sum(int((allocation / name).read_bytes()) for name in _PENDING)


def _device_of(mount: str) -> int | None:
    try:
        return os.stat(mount).st_dev
    except OSError:
        return None
