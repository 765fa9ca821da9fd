"""The mark by which a recovery tool knows a process of ours: a sealed file in memory.

Names and command lines can be anybody's; a process that holds a memfd of this
name, which tells its own pid and start time, can only be ours. See memfd_create(2).
"""

from __future__ import annotations

import json
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


def open_mark() -> int:
    """An empty mark, -1 where that is denied; opened before the fork of whom it shall mark."""
    if sys.platform != "linux" or not hasattr(os, "memfd_create"):
        return -1
    for extra in (_NOEXEC_SEAL, 0):  # the first is not known to older kernels
        try:
            return os.memfd_create(NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | extra)
        except OSError:
            continue
    return -1


def write_mark(
    descriptor: int, pid: int, role: str, kind: str, controller: int | None, boot: str
) -> bool:
    """Make it the mark of that process, for good; whether it is.

    A forked worker's is written by its crew: each worker that writes its own
    uses 80 kB more that it does not share.
    """
    if sys.platform != "linux" or descriptor < 0:
        return False
    import fcntl  # noqa: PLC0415  # does not exist on Windows

    try:
        start = int(_read(f"/proc/{pid}/stat").rpartition(b") ")[2].split()[_START])
        content = {"role": role, "pid": pid, "start": start, "boot_id": boot}
        content |= {"kind": kind, "controller": controller}
        os.write(descriptor, json.dumps(content).encode() + b"\n")
        fcntl.fcntl(descriptor, _ADD_SEALS, _ALL_SEALS)
    except OSError:
        return False
    return True


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, _STAT_LIMIT_BYTES)
    finally:
        os.close(descriptor)
