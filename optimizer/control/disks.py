"""Which filesystems count as the host's disk, and on which one space is held."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from optimizer.counters import Place
from optimizer.model import Reason

LOCAL_TYPES = frozenset(
    {
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "reiserfs", "ufs"),
        *("apfs", "hfs", "ntfs", "ntfs3", "refs"),
    }
)
"""Filesystems on a local block device on which reserved space is really taken.

Anything else is refused by name: whether space can be held there, and whom
that would hurt, is not known.
"""

_NETWORK_TYPES = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "9p", "afs", "afpfs", "lustre", "gpfs"),
        *("gfs2", "ocfs2", "beegfs", "orangefs", "virtiofs", "webdav", "coda", "ncpfs"),
    }
)
"""Only for a clear message; what is in neither list is refused as well."""

_SYSTEM_MOUNTS = frozenset(
    {
        *("/", "/boot", "/efi", "/etc", "/opt", "/sysroot", "/usr", "/var"),
        *("/tmp", "/var/tmp"),  # noqa: S108 - compared with mount points, never opened
        *("/var/cache", "/var/crash", "/var/log", "/var/spool"),
    }
)
_SYSTEM_TREES = (
    *("/boot", "/dev", "/efi", "/etc", "/proc", "/run", "/snap", "/sys", "/usr", "/var/log"),
    *("/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/kubelet"),
    *("/var/lib/rancher", "/var/snap", "/System", "/private/var"),
)
"""Nothing at or below these is a data disk: the system and container engines own them."""

_SYSTEM_DEVICE_MOUNTS = frozenset(
    {
        *("/", "/etc", "/sysroot", "/usr", "/var"),
        *("/etc/hosts", "/etc/hostname", "/etc/resolv.conf"),
    }
)
"""What is mounted here makes its device the system's, also where / itself is an overlay.

The files are mounted by container engines, from the filesystem that has their own.
"""


class Mount(Protocol):
    """One line of the mount table, with what had to be looked up about it.

    `is_directory` is false for a file that is mounted on a file. `removable`
    covers sticks and optical media, `network` what the platform itself calls
    remote, `system` the drive that the platform was started from, `thin` a
    device that promises more space than it has.
    """

    @property
    def mount(self) -> str:
        """Mount point."""

    @property
    def device(self) -> str:
        """Block device with links resolved, or whatever the filesystem has instead."""

    @property
    def fstype(self) -> str:
        """Type as the kernel names it."""

    @property
    def options(self) -> tuple[str, ...]:
        """Mount options, `ro` among them when read-only."""

    @property
    def is_directory(self) -> bool:
        """False for a file mounted on a file."""

    @property
    def removable(self) -> bool:
        """True for sticks and optical media."""

    @property
    def network(self) -> bool:
        """True when the platform says so; false may also mean unknown."""

    @property
    def system(self) -> bool:
        """True for the drive that the platform was started from, where it tells."""

    @property
    def thin(self) -> bool:
        """True for a volume in a thin pool, where the platform tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The filesystems whose utilisation counts and on which space is held.

    Where nothing can be held `places` is empty and `reason` says why. `note`
    is one sentence for people. `named` is the path that the configuration
    names and the mount point that it is on ("" if on none that may be used);
    None where no path is named.
    """

    places: tuple[Place, ...]
    reason: Reason | None
    note: str
    named: tuple[str, str] | None = None


_READ_ONLY = frozenset({"ro", "emergency_ro", "shutdown"})
"""The last two: ext4 after an error, since Linux 6.15, and any filesystem that was shut down."""
REMOVABLE, THIN = "removable", "thin"
"""Words that DISK_ALLOW takes beside the names of filesystem types."""


def refusal(mount: Mount, allowed: frozenset[str] = frozenset()) -> str | None:
    """Why no space is held on this filesystem, as the end of a sentence; None when it may be.

    `allowed` is what the operator allows all the same: types, in lower case,
    and the words above.
    """
    kind = mount.fstype.casefold()
    known = kind in allowed
    reasons = (
        (
            not known and (mount.network or kind in _NETWORK_TYPES),
            f"type {mount.fstype} is a network filesystem",
        ),
        (
            not known and kind.startswith("fuse"),
            f"type {mount.fstype} is served by a user process (FUSE)",
        ),
        (
            not known and kind not in LOCAL_TYPES,
            f"type {mount.fstype or 'unknown'} is not known as a local disk filesystem",
        ),
        (_is_memory(mount.device), f"device {mount.device} is memory, not a disk"),
        (
            mount.removable and REMOVABLE not in allowed,
            f"device {mount.device} is removable (DISK_ALLOW={REMOVABLE} allows it)",
        ),
        (
            mount.thin and THIN not in allowed,
            f"device {mount.device} is in a thin pool, which promises more space than it has "
            f"(DISK_ALLOW={THIN} allows it)",
        ),
        (bool(_READ_ONLY & set(mount.options)), "it is mounted read-only"),
        (not mount.is_directory, "it is mounted on a file, not on a directory"),
        (_is_macos_internal(mount.mount), "macOS keeps this volume for itself"),
    )
    return next((why for applies, why in reasons if applies), None)


def may_hang(mount: Mount) -> bool:
    """Whether asking this filesystem anything may wait for ever, for it is served by others."""
    kind = mount.fstype.casefold()
    return mount.network or kind in _NETWORK_TYPES or kind.startswith(("fuse", "autofs"))


def eligible(mounts: Iterable[Mount], allowed: frozenset[str] = frozenset()) -> tuple[Mount, ...]:
    """The filesystems on which space may be held, one mount for each device.

    Of several mounts of one device (bind mounts, btrfs subvolumes, volumes of
    one APFS container) the one with the shortest path stands for all. Of
    several on one mount point only the last is seen by anybody.
    """
    chosen: dict[str, Mount] = {}
    usable = (mount for mount in _visible(mounts) if refusal(mount, allowed) is None)
    for mount in sorted(usable, key=lambda one: (len(one.mount), one.mount)):
        chosen.setdefault(_disk_of(mount), mount)
    return tuple(chosen.values())


def data_disks(mounts: Sequence[Mount], allowed: frozenset[str] = frozenset()) -> tuple[Mount, ...]:
    """The eligible filesystems that hold neither the system nor a container engine's files.

    A filesystem of its own on /home is a data disk; one on /var or /opt is
    not, and neither is any mount of the device that / is on.
    """
    visible = _visible(mounts)
    systems = {
        _disk_of(mount) for mount in visible if mount.system or mount.mount in _SYSTEM_DEVICE_MOUNTS
    }
    # Filtered before one mount of each device is picked: a data disk that is also
    # bound to a container engine's directory is still one under its own name.
    others = [m for m in visible if not _is_system(m) and _disk_of(m) not in systems]
    return eligible(others, allowed)


def choose(
    mounts: Sequence[Mount],
    *,
    data_disk_only: bool,
    stress_path: str | None,
    usage: Mapping[str, int],
    allowed: frozenset[str] = frozenset(),
) -> Scope:
    """Which filesystems count, and where space is held.

    `stress_path` is absolute, with all links resolved; the filesystem that it
    is on is then the only one that counts, the root filesystem included.
    Without it, space is held on all that count. `usage` maps mount points to
    available bytes; one that is missing there could not be read and does not
    count. `allowed` is as in refusal().
    """
    if stress_path is not None:
        return _on_path(_visible(mounts), stress_path, allowed)
    candidates = data_disks(mounts, allowed) if data_disk_only else eligible(mounts, allowed)
    ranked = sorted(
        (mount.mount for mount in candidates if mount.mount in usage),
        key=lambda name: (-usage[name], name),
    )
    if ranked:
        first = ", most first where there is most headroom" if len(ranked) > 1 else ""
        return Scope(
            places=tuple(Place(mount, mount) for mount in ranked),
            reason=None,
            note=f"Space is held on {', '.join(ranked)}{first}.",
        )
    if candidates:
        names = ", ".join(sorted(mount.mount for mount in candidates))
        return _nothing(Reason.NO_DISK, f"The size of {names} cannot be read; check the disk.")
    if data_disk_only and eligible(mounts, allowed):
        return _nothing(
            Reason.NO_DATA_DISK,
            "This host has no data disk; set DATA_DISK_ONLY=false or name a directory in "
            "DISK_STRESS_PATH to use the system disk.",
        )
    return _nothing(
        Reason.NO_DISK,
        "No local, writable disk filesystem is mounted; mount one of type ext4 or xfs, for "
        f"example.{_refusals(mounts, allowed)}",
    )


def keep(chosen: Scope, previous: Scope) -> Scope:
    """The scope chosen now, unless a path that is named has lost its filesystem.

    When the disk below a named path is unmounted, the path is suddenly on the
    disk above it, most likely the system's: then nothing is held until the
    disk is back.
    """
    return chosen if chosen.named is None else _keep_named(chosen, chosen.named, previous)


def _keep_named(chosen: Scope, named: tuple[str, str], previous: Scope) -> Scope:
    path, mount = named
    if previous.named is None or previous.named[0] != path or previous.named[1] in {"", mount}:
        return chosen
    if chosen.reason is not None:
        return replace(chosen, named=previous.named)  # refused for now; still the same place
    note = (
        f"DISK_STRESS_PATH={path} was on {previous.named[1]}, which is not mounted now; mount it, "
        "or restart the daemon to use what is below."
    )
    return replace(_nothing(Reason.NO_DISK, note), named=previous.named)


def _on_path(mounts: Iterable[Mount], path: str, allowed: frozenset[str]) -> Scope:
    covering = [mount for mount in mounts if _covers(mount.mount, path)]
    if not covering:
        note = f"DISK_STRESS_PATH={path} is on no local filesystem; name a directory on one."
        return replace(_nothing(Reason.NO_DISK, note), named=(path, ""))
    mount = max(covering, key=lambda one: len(one.mount))
    why = refusal(mount, allowed)
    if why is not None:
        note = (
            f"DISK_STRESS_PATH={path} is on {mount.mount}, which cannot be used: {why}; "
            "name a directory on a local, writable disk (ext4 or xfs, for example)."
        )
        return replace(_nothing(Reason.NO_DISK, note), named=(path, ""))
    warning = ""
    if _is_system(mount):
        warning = " This is the system's filesystem; if a disk belongs there, mount it."
    note = f"Space is held in {path} on {mount.mount}, as DISK_STRESS_PATH says.{warning}"
    return Scope(
        places=(Place(mount.mount, path),),
        reason=None,
        note=note,
        named=(path, mount.mount),
    )


def _nothing(reason: Reason, note: str) -> Scope:
    return Scope(places=(), reason=reason, note=note)


def _refusals(mounts: Iterable[Mount], allowed: frozenset[str]) -> str:
    """Says why the mounts of real devices are refused; the rest is of no interest."""
    said = [
        f"{mount.mount}: {why}"
        for mount in _visible(mounts)
        if mount.device.startswith("/dev/") and (why := refusal(mount, allowed)) is not None
    ]
    return f" Refused: {'; '.join(said)}." if said else ""


def _visible(mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    return tuple({mount.mount: mount for mount in mounts}.values())


def _is_system(mount: Mount) -> bool:
    inside = any(_covers(tree, mount.mount) for tree in _SYSTEM_TREES)
    return mount.system or mount.mount in _SYSTEM_MOUNTS or inside


def _is_memory(device: str) -> bool:
    return re.match(r"/dev/(zram|ram)\d", device) is not None


def _is_macos_internal(mount: str) -> bool:
    return mount.startswith("/System/Volumes/") and mount != "/System/Volumes/Data"


def _disk_of(mount: Mount) -> str:
    """What the mount shares its free space with: its device, on APFS the whole container."""
    container = re.match(r"/dev/disk\d+", mount.device) if mount.fstype == "apfs" else None
    return container.group() if container else mount.device


def _covers(directory: str, path: str) -> bool:
    """Whether a path is this directory or below it; Windows ignores case and slash."""
    if re.match(r"[A-Za-z]:", directory):
        directory = directory.replace("/", "\\").casefold().rstrip("\\") + "\\"
        return (path.replace("/", "\\").casefold().rstrip("\\") + "\\").startswith(directory)
    return path == directory or path.startswith(directory.rstrip("/") + "/")
