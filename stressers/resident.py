"""Whether the kernel has taken pages of a shard: what is resident against the ledger."""

from __future__ import annotations

import mmap
import os
import sys

_SLACK_BYTES = 4 << 20
"""What an idle interpreter may lose of its own pages without being noticed."""
_LEAST_BATCH, _BATCH_PER_CPU = 32, 2
"""A CPU may keep that many pages of a counter to itself, whichever is more.

Source: lib/percpu_counter.c, compute_batch_value().
"""
_STATM_BYTES = 128
_RESIDENT, _SHARED = 1, 2
"""Places in /proc/PID/statm. Source: proc(5)."""


def anonymous_pages(statm: bytes) -> int:
    """Resident pages of a process that belong to no file. Raises ValueError, IndexError."""
    fields = statm.split()
    return int(fields[_RESIDENT]) - int(fields[_SHARED])


def tolerance_bytes(cpus: int, page_bytes: int) -> int:
    """How far two readings may be apart with nothing taken.

    Since Linux 6.2 the counters are kept for each CPU, and shown without what
    each CPU has not handed in yet: both readings can be wrong by that.

    Source: include/linux/mm.h, get_mm_counter().
    """
    batch = max(_LEAST_BATCH, _BATCH_PER_CPU * cpus)
    return 2 * batch * cpus * page_bytes + _SLACK_BYTES


class Resident:
    """Watches the shards by /proc/PID/statm, some microseconds for each look."""

    __slots__ = ("_before", "_files", "_pids", "_tolerance_bytes")

    def __init__(self) -> None:
        self._tolerance_bytes = tolerance_bytes(os.cpu_count() or 1, mmap.PAGESIZE)
        self._files: dict[int, int] = {}
        self._pids: dict[int, int] = {}
        self._before: dict[int, int] = {}

    def begin(self, index: int, pid: int) -> None:
        """The shard of that place is this process and holds nothing: remember what it has."""
        if self._pids.get(index) != pid:
            self.forget(index)
        now = self._bytes(index, pid)
        if now is not None:
            self._before[index] = now

    def missing(self, index: int, held_bytes: int) -> int:
        """How much of what a shard holds has gone; 0 within the tolerance or where unknown."""
        before, pid = self._before.get(index), self._pids.get(index)
        now = None if pid is None else self._bytes(index, pid)
        if before is None or now is None:
            return 0
        gone = min(before + held_bytes - now, held_bytes)
        return gone if gone > self._tolerance_bytes else 0

    def forget(self, index: int) -> None:
        """The shard of that place has ended."""
        self._pids.pop(index, None)
        self._before.pop(index, None)
        descriptor = self._files.pop(index, None)
        if descriptor is not None:
            os.close(descriptor)

    def _bytes(self, index: int, pid: int) -> int | None:
        if sys.platform != "linux":
            return None
        try:
            if index not in self._files:
                self._files[index] = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
                self._pids[index] = pid
            return anonymous_pages(os.pread(self._files[index], _STATM_BYTES, 0)) * mmap.PAGESIZE
        except (OSError, ValueError, IndexError):
            return None  # it has just ended, which is heard elsewhere
