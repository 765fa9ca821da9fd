"""A memory control group of a test's own, version 1 or 2; needs root."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_LEGACY, _UNIFIED = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


class NoMemoryGroupError(OSError):
    """No memory control group can be made here."""


class MemoryGroup:
    """A group below the root of its hierarchy, with a limit in bytes that counts no swap."""

    def __init__(self, name: str, limit_bytes: int) -> None:
        self._unified = not (_LEGACY / "memory.limit_in_bytes").exists()
        if self._unified:
            _enable()
        self.folder = (_UNIFIED if self._unified else _LEGACY) / name
        try:
            self.folder.mkdir()
            self.limit(limit_bytes)
        except OSError as exc:
            self.remove()
            message = f"no memory control group can be made here: {exc}"
            raise NoMemoryGroupError(message) from exc

    def limit(self, limit_bytes: int) -> None:
        """Let the members have so much from now on."""
        name = "memory.max" if self._unified else "memory.limit_in_bytes"
        (self.folder / name).write_text(str(limit_bytes), encoding="ascii")

    def join(self, pid: int) -> None:
        """Move a process; what it has charged to its old group stays there."""
        (self.folder / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def usage_bytes(self) -> int:
        """What the members have charged."""
        name = "memory.current" if self._unified else "memory.usage_in_bytes"
        return int((self.folder / name).read_text(encoding="ascii"))

    def oom_kills(self) -> int:
        """How many members the kernel has killed for lack of memory."""
        name = "memory.events" if self._unified else "memory.oom_control"
        for line in (self.folder / name).read_text(encoding="ascii").splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
        raise AssertionError(name)

    def remove(self) -> None:
        """Remove it once all members have gone."""
        end_s = time.monotonic() + 5.0
        while self.folder.exists():
            try:
                self.folder.rmdir()
            except OSError:
                if time.monotonic() > end_s:
                    raise
                time.sleep(0.02)


def _enable() -> None:
    """Let groups below the root of version 2 have the memory controller."""
    try:
        have = (_UNIFIED / "cgroup.controllers").read_text(encoding="ascii").split()
        if "memory" in have:
            (_UNIFIED / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
            return
    except OSError as exc:
        message = f"the memory controller cannot be had: {exc}"
        raise NoMemoryGroupError(message) from exc
    message = "no hierarchy has the memory controller"
    raise NoMemoryGroupError(message)


@contextlib.contextmanager
def memory_group(limit_bytes: int, name: str) -> Iterator[MemoryGroup]:
    """A group that is gone in the end; skips the test where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("a memory control group needs root")
    try:
        group = MemoryGroup(f"{name}-{os.getpid()}", limit_bytes)
    except NoMemoryGroupError as exc:
        pytest.skip(str(exc))
    try:
        yield group
    finally:
        group.remove()
