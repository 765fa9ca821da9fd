"""A memory control group that overflows, with a process of a tenant in it; Linux, version 1."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.hostile.observer import text

_MEMORY = Path("/sys/fs/cgroup/memory")
_FILL_S = 1.0
_FILL_BYTES = 64 << 20
_TENANT_BYTES = 96 << 20
_MISSING_BYTES = 48 << 20
"""So much of what the tenant takes does not fit."""
_PAGE_BYTES = 4096


def overflow(pids: list[int], wait: Callable[[float], object]) -> bool:
    """Move processes into a group, wait until they have grown there, and have a tenant take more.

    Whether the kernel has killed one for that. What was charged before stays
    with the old group, so they must be growing. Raises OSError where there
    can be no such group.
    """
    group = _MEMORY / f"optimizer-overflow-{os.getpid()}"
    group.mkdir()
    try:
        for pid in pids:
            (group / "cgroup.procs").write_text(str(pid), encoding="ascii")
        end_s = time.monotonic() + _FILL_S
        while _usage_bytes(group) < _FILL_BYTES and time.monotonic() < end_s:
            wait(0.005)
        limit = _usage_bytes(group) + _TENANT_BYTES - _MISSING_BYTES
        (group / "memory.limit_in_bytes").write_text(str(limit), encoding="ascii")
        _tenant(group)
        return _kills(group) > 0
    finally:
        _remove(group, wait)


def _usage_bytes(group: Path) -> int:
    return int(text(group / "memory.usage_in_bytes"))


def _kills(group: Path) -> int:
    found = dict(line.split() for line in text(group / "memory.oom_control").splitlines())
    return int(found.get("oom_kill", 0))


def _tenant(group: Path) -> None:
    """A process that takes memory in the group, and ends."""
    pid = os.fork()
    if pid == 0:
        try:
            (group / "cgroup.procs").write_text("0", encoding="ascii")
            taken = bytearray(_TENANT_BYTES)
            for place in range(0, len(taken), _PAGE_BYTES):
                taken[place] = 1
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def _remove(group: Path, wait: Callable[[float], object]) -> None:
    """Move whoever is left back to the top, and remove the group."""
    end_s = time.monotonic() + 5.0
    while group.exists():
        for pid in text(group / "cgroup.procs").split():
            try:
                (_MEMORY / "cgroup.procs").write_text(pid, encoding="ascii")
            except ProcessLookupError:
                continue
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > end_s:
                raise
            wait(0.01)
