"""Calls to the Linux kernel that Python 3.7 does not have; each says how it is without them."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import sys
from typing import NamedTuple

_PIDFD_SEND_SIGNAL, _PIDFD_OPEN, _OPENAT2 = 424, 434, 437
"""Numbers of system calls, the same on all architectures. Source: asm-generic/unistd.h."""
_PIDFD_GET_INFO = (3 << 30) | (64 << 16) | (0xFF << 8) | 11
_INFO = struct.Struct("QQ12I")
"""ioctl and struct pidfd_info, Linux 6.13 and later. Source: linux/pidfd.h."""
_INFO_UIDS = (5, 7, 9)
"""Where real, effective and saved user stand in it."""
_BENEATH, _NO_SYMLINKS, _NO_MAGICLINKS = 0x08, 0x04, 0x02
"""Source: linux/openat2.h."""
DIRECTORY_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_DIRECTORY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
_openat2_missing: list[int] = []
"""The error by which this host denies openat2, once it has."""


class Handle(NamedTuple):
    """What a descriptor of a process tells by itself, without /proc.

    `pidfs` is its inode, which no other process of this boot has; None before
    Linux 6.9. `uids` are the real, effective and saved user; None before 6.13.
    """

    descriptor: int
    pidfs: int | None
    uids: tuple[int, ...] | None


def open_process(pid: int) -> Handle:
    """A descriptor that means this very process for good. Raises OSError.

    ProcessLookupError: there is none of this pid. ENOSYS: before Linux 5.3.
    """
    descriptor = _call(_PIDFD_OPEN, pid, 0)
    return Handle(descriptor, _pidfs_inode(descriptor), _uids(descriptor))


def has_ended(descriptor: int, timeout_s: float = 0.0) -> bool:
    """Whether a process has ended, waiting up to `timeout_s` for that."""
    if sys.platform == "win32":
        raise NotImplementedError
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def send_signal(descriptor: int, number: int) -> None:
    """Signal the process that a descriptor means, and no other. Raises OSError."""
    _call(_PIDFD_SEND_SIGNAL, descriptor, number, None, 0)


def open_directory(path: str) -> int:
    """Open an absolute path on which no part is a symbolic link. Raises OSError.

    A link gives ELOOP or ENOTDIR. By openat2 where there is one (Linux 5.6),
    else part by part.
    """
    root = os.open("/", DIRECTORY_FLAGS)
    try:
        relative = path.strip("/")
        if not relative:
            return os.dup(root)
        if sys.platform == "linux" and not _openat2_missing:
            how = struct.pack("QQQ", DIRECTORY_FLAGS, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)
            try:
                return _call(_OPENAT2, root, os.fsencode(relative), how, len(how))
            except OSError as exc:
                # EPERM: the filter of an old container runtime, which does not know the call.
                if exc.errno not in {errno.ENOSYS, errno.EPERM}:
                    raise
                _openat2_missing.append(exc.errno)
        return _walk(root, relative)
    finally:
        os.close(root)


def _walk(root: int, relative: str) -> int:
    here = os.dup(root)
    try:
        for part in relative.split("/"):
            if part == "..":
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), relative)
            if part not in {"", "."}:
                below = os.open(part, DIRECTORY_FLAGS, dir_fd=here)
                os.close(here)
                here = below
        found, here = here, -1
        return found
    finally:
        if here >= 0:
            os.close(here)


def own_user() -> int:
    """Who we are; 0, as root, where there are no such numbers."""
    if sys.platform == "win32":
        return 0
    return os.geteuid()


def sync_filesystem(descriptor: int) -> None:
    """Write back a filesystem, so that btrfs tells what is free as it is. Raises OSError."""
    if _libc().syncfs(descriptor) != 0:
        raise _error()


def allow_files(count: int) -> None:
    """Let this process have that many files open, as far as it may."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        if wanted > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _pidfs_inode(descriptor: int) -> int | None:
    """None where pidfds share one inode with other descriptors of their kind."""
    if sys.platform != "linux":
        return None
    with select.epoll() as other:
        shared = os.fstat(other.fileno()).st_dev
    found = os.fstat(descriptor)
    return None if found.st_dev == shared else found.st_ino


def _uids(descriptor: int) -> tuple[int, ...] | None:
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        answer = fcntl.ioctl(descriptor, _PIDFD_GET_INFO, _INFO.pack(2, *(0,) * 13))
    except OSError:
        return None
    fields = _INFO.unpack(answer)
    return tuple(fields[index] for index in _INFO_UIDS) if fields[0] & 2 else None


def _call(number: int, *arguments: object) -> int:
    """A system call that retries when interrupted. Raises OSError, ENOSYS where it is unknown."""
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    while True:
        result = int(_libc().syscall(ctypes.c_long(number), *map(_long, arguments)))
        if result >= 0:
            return result
        fault = _error()
        if fault.errno != errno.EINTR:
            raise fault


def _long(argument: object) -> object:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _error() -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))
