"""The mark by which a recovery tool knows a process of ours: a sealed file in memory.

Names and command lines can be anybody's; a process that holds a memfd of this
name, which tells its own pid and start time, can only be ours. See memfd_create(2).
"""

from __future__ import annotations

import os
import sys

NAME = "CloudResourceOptimizer"
COST = "a recovery tool knows it only by the daemon's roster"
_ADD_SEALS, _ALL_SEALS = 1033, 0xF
"""F_ADD_SEALS, and those of it: no seal more, no shrinking, growing, writing. Source: fcntl(2)."""
_NOEXEC_SEAL = 0x8
"""MFD_NOEXEC_SEAL: some hosts refuse what lacks it. Source: linux/memfd.h, since 6.3."""
_STAT_LIMIT_BYTES = 4096
_START = 19
"""Field 22 of /proc/PID/stat, counted from the state. Source: proc(5)."""


def boot_id() -> str:
    """Linux's name for this boot. Raises OSError elsewhere. Source: random(4)."""
    return _read("/proc/sys/kernel/random/boot_id").decode("ascii").strip()


def set_mark(role: str, kind: str, controller: int | None, boot: str) -> int:
    """Mark this process until its end; the descriptor, -1 where that is denied.

    To be called before anything is held, and again after a fork.
    """
    if sys.platform != "linux" or not hasattr(os, "memfd_create"):
        return -1
    try:
        content = _content(role, kind, controller, boot)
        return _sealed(content)
    except OSError:
        return -1


def _content(role: str, kind: str, controller: int | None, boot: str) -> bytes:
    start = _read("/proc/self/stat").rpartition(b") ")[2].split()[_START]
    # By format: in a forked worker json would cost memory of its own.
    return (
        b'{"role": "%b", "pid": %d, "start": %b, "boot_id": "%b", "kind": "%b", "controller": %b}\n'
        % (
            role.encode(),
            os.getpid(),
            start,
            boot.encode(),
            kind.encode(),
            b"null" if controller is None else b"%d" % controller,
        )
    )


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, _STAT_LIMIT_BYTES)
    finally:
        os.close(descriptor)


if sys.platform == "linux":
    # Loaded before any fork: each worker that loads it itself has its own copy.
    import fcntl

    def _sealed(content: bytes) -> int:
        """A memfd with that content, which nobody can change any more. Raises OSError."""
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        try:
            descriptor = os.memfd_create(NAME, flags | _NOEXEC_SEAL)
        except OSError:
            descriptor = os.memfd_create(NAME, flags)
        try:
            os.write(descriptor, content)
            fcntl.fcntl(descriptor, _ADD_SEALS, _ALL_SEALS)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

else:

    def _sealed(content: bytes) -> int:
        raise OSError(content)
