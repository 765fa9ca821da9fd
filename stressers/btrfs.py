"""What btrfs does differently: it shows late what is taken, and gives back whole extents only.

Measured on Linux 6.18, 500 MiB taken by fallocate and then given back:
statvfs shows neither until the next commit, some 30 s later; a file cut inside
an extent keeps all of that extent, up to 256 MiB.
"""

from __future__ import annotations

import contextlib
import os
import sys

_START_SYNC = 0x80089418
"""BTRFS_IOC_START_SYNC, _IOR(0x94, 24, __u64). Source: linux/btrfs.h."""
_FS_INFO = 0x8400941F
"""BTRFS_IOC_FS_INFO, _IOR(0x94, 31, 1024 bytes): fsid in bytes 16 to 31. Source: linux/btrfs.h."""
_SYSFS = "/sys/fs/btrfs"
_UNCOMMITTED = ("bytes_may_use", "bytes_reserved")
"""Written by tenants and not on disk yet; allocated since the last commit.

Source: Linux fs/btrfs/space-info.h, and measured: each byte is in one of them
until statvfs shows it.
"""
_PIECES = 1024
_LEAST_PIECE, _LARGEST_PIECE = 1 << 20, 256 << 20
"""The kernel makes no larger extent. Source: fs/btrfs/inode.c, __btrfs_prealloc_file_range()."""
LATE_S = 30.0
"""Commit interval by default: how long a growth may stay unseen. Source: btrfs(5), commit."""


def piece_bytes(total_bytes: int) -> int:
    """Size of the extents to hold: about a thousandth of the filesystem, a power of two."""
    piece = _LEAST_PIECE
    while piece < _LARGEST_PIECE and piece * 2 * _PIECES <= total_bytes:
        piece *= 2
    return piece


class Btrfs:
    """One mounted btrfs. `folder` has its counters of data space; None where they are hidden."""

    __slots__ = ("_folder", "late_s", "piece_bytes")

    def __init__(self, folder: str | None, piece: int) -> None:
        self._folder = folder
        self.piece_bytes = piece
        self.late_s = LATE_S if folder is None else 0.0

    def uncommitted_bytes(self) -> int:
        """What is taken, by us and others, and not shown by statvfs yet; 0 where it is hidden.

        Raises OSError.
        """
        if self._folder is None:
            return 0
        return sum(_number(os.path.join(self._folder, name)) for name in _UNCOMMITTED)

    @staticmethod
    def start_sync(descriptor: int) -> None:
        """Ask for a commit, which shows and frees all at once; does not wait, needs no privilege.

        Flushes no tenant's data, as syncfs(2) would. What refuses it commits later by itself.
        """
        if sys.platform == "linux":
            import fcntl  # noqa: PLC0415  # does not exist on Windows

            with contextlib.suppress(OSError):
                fcntl.ioctl(descriptor, _START_SYNC, bytearray(8))


def mounted_at(directory: str, sysfs: str = _SYSFS) -> Btrfs:
    """The btrfs that a directory is on. Raises OSError."""
    if sys.platform == "win32":
        raise NotImplementedError
    fs = os.statvfs(directory)
    return Btrfs(_counters(directory, sysfs), piece_bytes(fs.f_blocks * fs.f_frsize))


def _counters(directory: str, sysfs: str) -> str | None:
    """Where the kernel shows the counters of a filesystem's data space, mixed or not."""
    if sys.platform != "linux":
        return None
    import fcntl  # noqa: PLC0415  # does not exist on Windows

    answer = bytearray(1024)
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, _FS_INFO, answer)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    digits = answer[16:32].hex()
    name = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    for kind in ("data", "mixed"):
        folder = os.path.join(sysfs, name, "allocation", kind)
        try:
            for counter in _UNCOMMITTED:
                _number(os.path.join(folder, counter))
        except (OSError, ValueError):
            continue
        return folder
    return None


def _number(path: str) -> int:
    with open(path, encoding="ascii") as file:
        return int(file.read())
