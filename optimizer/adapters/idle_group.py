"""The control group in which the CPU workers run: idle, and at the top of the hierarchy.

Priority counts only among siblings. SCHED_IDLE in a group that is not idle
itself costs programs in other groups milliseconds; an idle group below a
slice yields to that slice only, while the slice competes like any other.

Source: Linux Documentation/admin-guide/cgroup-v2.rst, cpu.idle.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from optimizer.adapters.cgroups import Hierarchy, hierarchy, text_of
from optimizer.adapters.mountinfo import parse_mounts
from optimizer.ports import Log

NAME = "optimizer-load"
"""Beginning of a group's name; the pid of its daemon follows, for two may run."""
_POLL_S = 0.01
_LOWEST = {True: ("cpu.weight", "1"), False: ("cpu.shares", "2")}
"""Where a kernel has no idle groups (before 5.15): the lowest weight, by version 2 or 1."""


class IdleGroup:
    """Makes the group, and removes it and those of daemons that were killed.

    `directory` is the group once `make` could make it, else None: the workers
    then stay in the daemon's own group, and say what that costs.
    """

    def __init__(
        self,
        *,
        log: Log,
        proc: Path = Path("/proc"),
        pid: int | None = None,
        linux: bool = sys.platform == "linux",
    ) -> None:
        self.directory: Path | None = None
        self._log = log
        self._proc = proc
        self._pid = os.getpid() if pid is None else pid
        self._linux = linux

    def make(self) -> None:
        """Make the group if this host lets us; never raises."""
        found = self._hierarchy() if self._linux else None
        if found is None:
            return
        for parent in dict.fromkeys((found.top, found.groups[-1])):
            if self._make_below(parent, unified=found.unified):
                return

    def remove(self, deadline_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Remove the group as soon as its processes are gone; never raises."""
        directory, self.directory = self.directory, None
        until_s = monotonic() + deadline_s
        while directory is not None:
            try:
                directory.rmdir()
            except FileNotFoundError:
                return
            except OSError as exc:
                if exc.errno == errno.EBUSY and monotonic() < until_s:
                    time.sleep(_POLL_S)
                    continue
                self._log.warning("cgroup.left_behind", path=str(directory), cause=str(exc))
            return

    def _hierarchy(self) -> Hierarchy | None:
        try:
            mounts = parse_mounts(text_of(self._proc / "self/mountinfo"))
            return hierarchy("cpu", mounts, text_of(self._proc / "self/cgroup"))
        except OSError as exc:
            self._log.warning("cgroup.denied", cause=str(exc))
            return None

    def _make_below(self, parent: Path, *, unified: bool) -> bool:
        """Whether there is a group for us below that one now."""
        directory = parent / f"{NAME}.{self._pid}"
        try:
            if unified:
                _hand_down(parent)
            self._remove_stale(parent)
            directory.mkdir(exist_ok=True)
        except OSError as exc:
            self._log.debug("cgroup.denied", path=str(parent), cause=str(exc))
            return False
        name, lowest = _LOWEST[unified]
        for file, value in (("cpu.idle", "1"), (name, lowest)):
            try:
                (directory / file).write_text(value, encoding="ascii")
            except OSError:
                continue
            self.directory = directory
            return True
        directory.rmdir()
        return False

    def _remove_stale(self, parent: Path) -> None:
        """Remove the groups of daemons that are gone; one that still has processes stays."""
        for old in parent.glob(f"{NAME}.*"):
            pid = old.name.removeprefix(f"{NAME}.")
            if pid.isdecimal() and not (self._proc / pid).exists():
                try:
                    old.rmdir()
                except OSError as exc:
                    self._log.warning("cgroup.left_behind", path=str(old), cause=str(exc))


def _hand_down(parent: Path) -> None:
    """Let the groups below have the CPU controller. Raises OSError when that is denied.

    It stays switched on: others may rely on it by the time we end.
    """
    control = parent / "cgroup.subtree_control"
    if "cpu" not in text_of(control).split():
        control.write_text("+cpu", encoding="ascii")
