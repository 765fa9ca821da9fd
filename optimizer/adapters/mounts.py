"""The mount table: which filesystems there are, and what has to be looked up about each."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

_LINKS_MOST = 40
"""Links followed in one path. Source: path_resolution(7)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountEntry:
    """One line of the mount table; see optimizer.control.disks.Mount for each field."""

    mount: str
    device: str
    fstype: str
    options: tuple[str, ...]
    is_directory: bool
    removable: bool
    network: bool
    system: bool
    thin: bool = False


def mounts(sysfs: Path = Path("/sys")) -> tuple[MountEntry, ...]:
    """All mounts, in the order of the mount table; on Windows the local drives only.

    Network and FUSE filesystems are listed but never touched, because asking
    one whose server is gone can hang for ever. Raises OSError where the mount
    table cannot be read.
    """
    # On Windows even listing a network drive asks its server.
    parts = psutil.disk_partitions(all=sys.platform != "win32")
    return tuple(
        _entry(part.mountpoint, part.device, part.fstype, part.opts, sysfs) for part in parts
    )


def available_bytes(mount_points: Iterable[str]) -> dict[str, int]:
    """What an unprivileged writer can take on each; one that cannot be read is left out.

    Only for local filesystems: on others this can hang.
    """
    available: dict[str, int] = {}
    for mount in mount_points:
        try:
            available[mount] = psutil.disk_usage(mount).free
        except OSError:
            continue
    return available


def resolved(path: Path, untouched: Collection[str] = ()) -> str:
    """The absolute path with all links resolved, so that its filesystem can be told by prefix.

    Nothing at or below a mount point in `untouched` is looked at, because a
    filesystem whose server is gone can hang whoever asks: what lies there is
    taken as it is written.
    """
    real = os.path.realpath(path) if not untouched else _walked(str(path), untouched)
    if sys.platform == "darwin":
        # Directories such as /Users live on the data volume but show below the read-only one.
        below_data = f"/System/Volumes/Data{real}"
        if os.path.exists(below_data) and os.path.samefile(real, below_data):
            return below_data
    return real


def _walked(path: str, untouched: Collection[str]) -> str:
    """As os.path.realpath(), but it stops before a mount point that must not be touched."""
    here, names, links = os.sep, path.split(os.sep)[::-1], 0
    while names:
        name = names.pop()
        if name in {"", "."}:
            continue
        if name == "..":
            here = os.path.dirname(here)
            continue
        below = os.path.join(here, name)
        if below in untouched:
            return os.path.normpath(os.path.join(below, *names[::-1]))
        try:
            target = os.readlink(below)
        except OSError:
            here = below  # no link, or nothing is there
            continue
        links += 1
        if links > _LINKS_MOST:
            return os.path.normpath(os.path.join(below, *names[::-1]))
        if target.startswith(os.sep):
            here = os.sep
        names += target.split(os.sep)[::-1]
    return here


def windows_entry(
    mount: str, fstype: str, options: tuple[str, ...], system_drive: str
) -> MountEntry:
    """A volume as psutil lists it, with the kind of its drive among the options."""
    return MountEntry(
        mount=mount,
        device=mount,  # psutil gives the letter of the parent for a volume in a folder
        fstype=fstype,
        options=options,
        is_directory=True,
        removable="removable" in options or "cdrom" in options,
        network="remote" in options,
        system=mount.casefold().rstrip("\\") == system_drive.casefold(),
    )


def _entry(mount: str, device: str, fstype: str, opts: str, sysfs: Path) -> MountEntry:
    options = tuple(opts.split(","))
    if sys.platform == "win32":
        return windows_entry(mount, fstype, options, os.environ.get("SYSTEMDRIVE", "C:"))
    local = device.startswith("/dev/") and not fstype.startswith("fuse")
    real_device = os.path.realpath(device) if local else device
    return MountEntry(
        mount=mount,
        device=real_device,
        fstype=fstype,
        options=options,
        is_directory=os.path.isdir(mount) if local else True,
        removable=local and is_removable(real_device, sysfs),
        network=sys.platform == "darwin" and "local" not in options,
        system=False,
        thin=local and is_thin(real_device, sysfs),
    )


def is_removable(device: str, sysfs: Path) -> bool:
    """Whether the kernel calls the disk of a block device removable; false where it is silent."""
    block = (sysfs / "class/block" / os.path.basename(device)).resolve()
    for disk in (block, block.parent):  # a partition's directory lies inside its disk's
        try:
            return (disk / "removable").read_text(encoding="ascii").strip() == "1"
        except OSError:
            continue
    return False


_THIN_POOL = re.compile(r"LVM-.*-tpool|VDO-.*")
"""Names that the device mapper has for thin pools of LVM and for VDO volumes."""
_DEEPEST = 8


def is_thin(device: str, sysfs: Path) -> bool:
    """Whether a block device is, or lies on, a thin pool; false where the kernel is silent.

    Source: LVM2 lib/activate, the suffix of a pool's uuid; dm-vdo.
    """
    layer = [sysfs / "class/block" / os.path.basename(device)]
    for _ in range(_DEEPEST):
        below: list[Path] = []
        for block in layer:
            try:
                if _THIN_POOL.fullmatch((block / "dm/uuid").read_text(encoding="ascii").strip()):
                    return True
                below += (block / "slaves").iterdir()
            except OSError:
                continue  # no device of the mapper
        if not below:
            break
        layer = below
    return False


def same_device(mount: str) -> tuple[str, ...]:
    """All mount points of the block device that is mounted there; subvolumes and binds included."""
    table = psutil.disk_partitions(all=True)
    devices = {part.device for part in table if part.mountpoint == mount}
    return tuple(
        part.mountpoint
        for part in table
        if part.device in devices and part.device.startswith("/dev/")
    )


def mount_point_of(path: str) -> str:
    """The mount point that a path is on, once its links are resolved.

    The longest mount point that the path begins with.
    """
    path = os.path.realpath(path)
    points = [part.mountpoint for part in psutil.disk_partitions(all=True)]
    covering = [p for p in points if path == p or path.startswith(p.rstrip("/\\") + os.sep)]
    return max(covering, key=len, default=os.path.abspath(os.sep))
