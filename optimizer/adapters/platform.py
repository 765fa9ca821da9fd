"""Reads what the host is: its platform, its memory as bought, its mount table."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from optimizer.orders import MemoryMetric

_OS_RELEASE_PATHS = (Path("/etc/os-release"), Path("/usr/lib/os-release"))
"""Source: os-release(5); the second is read only where the first is missing."""

_NAMES = {
    **{name: name for name in ("centos", "rhel", "rocky", "ubuntu", "debian", "kylin", "alma")},
    **{name: name for name in ("openeuler", "anolis", "alinux", "tencentos", "fedora", "suse")},
    "almalinux": "alma",
    "amzn": "amazon",
    "neokylin": "kylin",
    "ol": "rhel",
    "opensuse": "suse",
    "redhat": "rhel",
    "sled": "suse",
    "sles": "suse",
    "tlinux": "tencentos",
}
"""ID of os-release(5) in lower case -> the name that the configuration uses."""

LINUX_GENERIC = "linux_generic"
_LINKS_MOST = 40
"""Links followed in one path. Source: path_resolution(7)."""


def detect(os_release_text: str | None, system: str) -> str:
    """The canonical platform name, in lower case, from the text of os-release(5).

    ID is tried first, then the words of ID_LIKE in their order. A Linux that
    neither names is `linux_generic`; a system that is neither Linux, Windows
    nor macOS is `unknown`. `system` is what platform.system() returns; the
    text is None where there is no such file.
    """
    if system in {"Windows", "Darwin"}:
        return "windows" if system == "Windows" else "macos"
    if system != "Linux":
        return "unknown"
    fields = _os_release_fields(os_release_text or "")
    words = [*fields.get("ID", "").split(), *fields.get("ID_LIKE", "").split()]
    for word in map(str.lower, words):
        # openSUSE gives each of its editions an ID of its own: opensuse-leap, ...
        name = _NAMES.get("opensuse" if word.startswith("opensuse") else word)
        if name is not None:
            return name
    return LINUX_GENERIC


def platform_name(override: str) -> str:
    """The canonical name of this machine's platform; `override` wins unless it is `auto`."""
    chosen = override.strip().lower()
    if chosen not in {"", "auto"}:
        return chosen
    return detect(_os_release_text(), platform.system())


def visible_bytes() -> int:
    """Bytes of memory that the kernel shows."""
    total: int = psutil.virtual_memory().total
    return total


def memory_sizes(sysfs: Path = Path("/sys")) -> tuple[int, int | None]:
    """Bytes of memory that the kernel shows, and bytes installed (None where not known).

    Both are the host's; the limit of a container's group is not looked at.

    Source: Linux Documentation/ABI/testing/sysfs-devices-memory;
    GetPhysicallyInstalledSystemMemory, which reads the firmware's tables; on
    macOS both are sysctl hw.memsize.
    """
    visible = visible_bytes()
    if sys.platform == "win32":
        return visible, _installed_bytes()
    if sys.platform == "darwin":
        return visible, visible
    return visible, online_block_bytes(sysfs)


def online_block_bytes(sysfs: Path) -> int | None:
    """Online memory blocks times block size; None where the kernel does not show them."""
    directory = sysfs / "devices/system/memory"
    try:
        block_bytes = int((directory / "block_size_bytes").read_text(encoding="ascii"), 16)
        states = [path.read_text(encoding="ascii") for path in directory.glob("memory*/state")]
    except (OSError, ValueError):
        return None
    return block_bytes * sum(state.strip() == "online" for state in states) or None


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


def _os_release_text() -> str | None:
    for path in _OS_RELEASE_PATHS:
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
    return None


def _os_release_fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in text.removeprefix("\ufeff").splitlines():
        key, _, value = line.partition("=")
        try:
            words = shlex.split(value, comments=True)
        except ValueError:  # a quote that is not closed
            words = [value.replace('"', " ").replace("'", " ")]
        fields[key.strip()] = " ".join(words)
    return fields


def _entry(mount: str, device: str, fstype: str, opts: str, sysfs: Path) -> MountEntry:
    options = tuple(opts.split(","))
    if sys.platform == "win32":
        drive = os.environ.get("SYSTEMDRIVE", "C:").casefold()
        return MountEntry(
            mount=mount,
            device=mount,  # psutil gives the letter of the parent for a volume in a folder
            fstype=fstype,
            options=options,
            is_directory=True,
            removable="removable" in options or "cdrom" in options,
            network="remote" in options,
            system=mount.casefold().rstrip("\\") == drive,
        )
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


_MADV_FREE_SINCE = (4, 12)
"""The same as in stressers/reclaim.py."""


def holds_lazily(metric: MemoryMetric) -> bool:
    """Whether memory for a metric is such as the kernel takes back at any time (MADV_FREE)."""
    if sys.platform != "linux" or metric is MemoryMetric.AVAILABLE:
        return False
    numbers = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _MADV_FREE_SINCE


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


if sys.platform == "win32":
    import ctypes

    def _installed_bytes() -> int | None:
        kilobytes = ctypes.c_ulonglong()
        known = ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
        return kilobytes.value * 1024 if known else None


def wait_for_others() -> str | None:
    """Never again interrupt a program that runs when this process, or a child of it, wakes up.

    The batch class: full priority once it runs, no preemption to begin with.
    Without it one request in a thousand of a redis beside us waits half a
    millisecond longer. None, or why it is denied. Linux only; elsewhere there is
    no such class.

    Source: sched(7); measured with benchmarks/cpu_interference.py.
    """
    if sys.platform != "linux":
        return None
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError as exc:
        return exc.strerror or str(exc)
    return None
