"""The daemon's own memory and open files: beyond their limits it ends, and is started anew.

A leak of ours must not become the tenant's fault.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

MEMORY_BYTES = 150_000_000
"""Five times what it uses. Measured: benchmarks/daemon_cost.py."""
FILES = 128
"""Beside FILES_PER_DISK for each: it has 15, and three for each stresser (one a kind)."""
FILES_PER_DISK = 4
"""Two pipes and the life pipe of its stresser, and one to spare while another one ends."""
CHECK_S = 60.0


class Use(NamedTuple):
    """Resident memory in bytes and open files; None where this host does not tell."""

    memory_bytes: int
    files: int | None


class Excess(NamedTuple):
    """What is used beyond its limit."""

    what: str
    value: int
    limit: int


class SelfLimits:
    """Looks once a minute; `disks` tells on how many filesystems stressers may be."""

    def __init__(
        self,
        *,
        disks: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
        use: Callable[[], Use] | None = None,
    ) -> None:
        self._disks = disks
        self._monotonic = monotonic
        self._use = use or own_use
        self._due_s = monotonic() + CHECK_S
        self._raised = 0

    def excess(self) -> Excess | None:
        """What is beyond its limit now; None where nothing is, or it is not time to look yet."""
        now_s = self._monotonic()
        files_most = FILES + FILES_PER_DISK * self._disks()
        if files_most != self._raised:
            # The kernel's limit is twice ours: ours ends in good order, with a word why.
            self._raised = files_most
            limit_files(2 * files_most)
        if now_s < self._due_s:
            return None
        self._due_s = now_s + CHECK_S
        memory_bytes, files = self._use()
        if memory_bytes > MEMORY_BYTES:
            return Excess("resident memory in bytes", memory_bytes, MEMORY_BYTES)
        if files is not None and files > files_most:
            return Excess("open files", files, files_most)
        return None


def own_use() -> Use:
    """What this process uses. Source: proc(5), /proc/self/statm field 2, /proc/self/fd."""
    if sys.platform == "linux":
        with open("/proc/self/statm", "rb") as file:
            pages = int(file.read().split()[1])
        # The listing itself is one of them.
        return Use(pages * os.sysconf("SC_PAGESIZE"), len(os.listdir("/proc/self/fd")) - 1)
    import psutil  # noqa: PLC0415  # not needed on Linux

    process = psutil.Process()
    files = None
    if sys.platform != "win32":
        files = process.num_fds()
    return Use(process.memory_info().rss, files)


def no_core_dumps() -> None:
    """A dump of the daemon would be as large as it, on the tenant's disk."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415  # does not exist on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_files(most: int) -> None:
    """No more descriptors than that for this process; programs that it starts may raise it."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415  # does not exist on Windows

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
