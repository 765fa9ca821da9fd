"""Where disk space may be held, and why not elsewhere."""

from __future__ import annotations

import os
import sys

from stressers import free

_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"}
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "glusterfs", "virtiofs"}


_LAYERS = {"overlay", "aufs", "unionfs"}


class PlaceError(OSError):
    """A directory cannot be held on; the message names it and what to do."""


def check_place(path: str, allowed: frozenset[str] = frozenset()) -> str:
    """The directory without symbolic links. Raises PlaceError when nothing can be held there.

    `allowed` are types of filesystems that are not refused, as the kernel names them.
    """
    place = os.path.realpath(path)
    kind = free.filesystem(place)
    if kind not in allowed:
        why = _refusal(kind)
        if why:
            message = f"{path} is on {kind}, {why}, or allow it with --allow {kind}"
            raise PlaceError(message)
    if not os.path.isdir(place):
        message = f"no such directory: {path}; create it or give another one"
        raise PlaceError(message)
    if sys.platform != "win32" and os.statvfs(place).f_flag & os.ST_RDONLY:
        message = f"mounted read-only: {path}; remount it or give another directory"
        raise PlaceError(message)
    if not os.access(place, os.W_OK | os.X_OK):
        message = f"not writable for this user: {path}; give another directory or its owner"
        raise PlaceError(message)
    if sys.platform not in {"linux", "win32"}:
        message = f"{sys.platform} cannot reserve space without writing it; hold on another host"
        raise PlaceError(message)
    return place


def _refusal(kind: str) -> str:
    """What a type of filesystem is and what to do, when nothing is held on it unasked."""
    if kind in _IN_MEMORY:
        return "which is memory; give a directory on a disk"
    if kind in _REMOTE or kind.startswith("fuse"):
        return "a remote or user-space filesystem; give a local disk"
    if kind in _LAYERS:
        return "a container's own layer; give a mounted volume"
    return ""
