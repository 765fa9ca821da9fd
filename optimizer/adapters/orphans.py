"""Reaps what nobody waits for, where this process is the first one of a container.

A crew that is killed leaves its workers behind; they die with it, and the
kernel gives them to the first process of the PID namespace. Each that is not
waited for keeps a pid, of which a pod has few.

Source: pid_namespaces(7), wait(2).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from optimizer.adapters import identity

LOOK_S = 10.0
"""Own children are waited for within a cycle, so that what is found dead twice has no other."""


class Orphans:
    """Looks now and then; does nothing unless `pid` is 1."""

    def __init__(
        self,
        *,
        pid: int | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pid = os.getpid()
        self._first = sys.platform == "linux" and (self._pid if pid is None else pid) == 1
        self._monotonic = monotonic
        self._due_s = monotonic() + LOOK_S
        self._dead: frozenset[int] = frozenset()

    def reap(self) -> int:
        """How many dead children were reaped that were dead at the last look too; never waits."""
        now_s = self._monotonic()
        if not self._first or now_s < self._due_s:
            return 0
        self._due_s = now_s + LOOK_S
        dead = frozenset(pid for pid in self._children() if identity.state(pid) == "Z")
        reaped = [pid for pid in dead & self._dead if _reaped(pid)]
        self._dead = dead.difference(reaped)
        return len(reaped)

    def _children(self) -> list[int]:
        """Source: proc(5), /proc/pid/task/tid/children; one thread starts all of ours."""
        try:
            with open(f"/proc/{self._pid}/task/{self._pid}/children", "rb") as file:
                return [int(word) for word in file.read().split()]
        except OSError:  # a kernel without CONFIG_PROC_CHILDREN
            return []


def _reaped(pid: int) -> bool:
    if sys.platform == "win32":
        return False
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False
