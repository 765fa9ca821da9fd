"""The control group in which the CPU workers run: idle, and at the top of the hierarchy.

Priority counts only among siblings. SCHED_IDLE in a group that is not idle
itself costs programs in other groups milliseconds; an idle group below a
slice yields to that slice only, while the slice competes like any other.

The user of a service may not make one there. Its unit names the socket of a
broker, whom each worker asks to be moved into the group that the service
manager made; see stressers/broker.py. That group is the service manager's to
empty and to remove.

Source: Linux Documentation/admin-guide/cgroup-v2.rst, cpu.idle.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from optimizer.adapters import identity, mark
from optimizer.adapters.cgroups import Hierarchy, hierarchy, text_of
from optimizer.adapters.mountinfo import parse_mounts
from optimizer.ports import Log

SOCKET_VARIABLE = "OPTIMIZER_LOAD_SOCKET"
"""Environment of a unit: where its broker listens."""
NAME = "optimizer-load"
"""Beginning of a group's name; the pid of its daemon follows, for two may run."""
_LACK = "idle cgroup: "
"""How a stresser's word on this begins."""
_AGAIN_S, _AGAIN_MOST_S = 60.0, 3600.0
"""After so long a broker that did not answer is asked again; each time twice as long, at most."""
_POLL_S = 0.01
_STALE_S = 0.5
"""How long to wait for a dead daemon's killed workers; they take milliseconds."""
_ROLES = frozenset({"stresser", "worker"})
_LOWEST = {True: ("cpu.weight", "1"), False: ("cpu.shares", "2")}
"""Where a kernel has no idle groups (before 5.15): the lowest weight, by version 2 or 1."""


class IdleGroup:
    """Makes the group, and removes it and those of daemons that were killed.

    `directory` is the group once `make` could make it, else None: the workers
    then have the broker of that `socket` move them, or stay in the daemon's
    own group, and say what that costs.
    """

    def __init__(
        self,
        *,
        log: Log,
        socket: str | None = None,
        proc: Path = Path("/proc"),
        pid: int | None = None,
        linux: bool = sys.platform == "linux",
    ) -> None:
        self.directory: Path | None = None
        self._log = log
        self._socket = socket or None
        self._proc = proc
        self._pid = os.getpid() if pid is None else pid
        self._linux = linux
        self.turn = 0
        """Another number when the workers are to be started anew, and so ask the broker again."""
        self._again_s, self._pause_s = float("-inf"), _AGAIN_S

    @property
    def arguments(self) -> tuple[str, ...]:
        """What a CPU stresser is told of the group."""
        if self.directory is not None:
            return ("--cgroup", str(self.directory))
        return () if self._socket is None or not self._linux else ("--cgroup-socket", self._socket)

    def reconsider(self, missing: tuple[str, ...], now_s: float) -> None:
        """Told what the CPU workers lack: a broker that was late once is asked again."""
        if "--cgroup-socket" not in self.arguments or now_s < self._again_s:
            return
        lacks = [text for text in missing if text.startswith(_LACK)]
        if not lacks:
            self._pause_s = _AGAIN_S
            return
        self.turn += 1
        self._log.warning("cgroup.denied", cause=lacks[0], next_try_s=self._pause_s)
        self._again_s = now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, _AGAIN_MOST_S)

    def make(self) -> None:
        """Make the group if this host lets us; never raises."""
        found = self._hierarchy() if self._linux else None
        if found is None:
            return
        # A group below our own yields to its siblings only: a broker's is better.
        parents = (found.top, found.groups[-1]) if self._socket is None else (found.top,)
        for parent in dict.fromkeys(parents):
            if self._make_below(parent, unified=found.unified):
                return

    def hurry(self) -> None:
        """Let what was killed in the group end now: beside a busy tenant it gets no CPU to die.

        For good, for nothing is started in it any more; never raises.
        """
        if self.directory is not None:
            for name, usual in (("cpu.idle", "0"), ("cpu.shares", "1024"), ("cpu.weight", "100")):
                with suppress(OSError), (self.directory / name).open("r+") as file:
                    file.write(usual)

    def kill(self) -> None:
        """End all stressers in the group, and nobody else; never raises, never waits."""
        if self.directory is not None:
            _end_members(self.directory, self._pid)

    def remove(self, deadline_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        """End what is left in the group and remove it as soon as that has gone; never raises."""
        directory, self.directory = self.directory, None
        if directory is not None:
            _end_members(directory, self._pid)
            cause = _remove(directory, deadline_s, monotonic)
            if cause is not None:
                self._log.warning("cgroup.left_behind", path=str(directory), cause=cause)

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
        """Remove the groups of daemons that are gone, with the stressers that are left in them.

        One in which somebody else's process is stays.
        """
        for old in parent.glob(f"{NAME}.*"):
            pid = old.name.removeprefix(f"{NAME}.")
            if not pid.isdecimal() or (self._proc / pid).exists():
                continue
            ended = _end_members(old, int(pid))
            cause = _remove(old, _STALE_S if ended else 0.0, time.monotonic)
            if ended:
                self._log.warning("cgroup.orphans_killed", path=str(old), pids=ended)
            if cause is not None:
                self._log.warning("cgroup.left_behind", path=str(old), cause=cause)


def _end_members(directory: Path, controller: int) -> list[int]:
    """Kill the stressers of that controller in a group: whom their marks prove to be that.

    By cgroup.kill (Linux 5.14, version 2) where nobody else is in it, so that
    none escapes by a fork; else each by its pidfd. Their pids.
    """
    try:
        members = [int(word) for word in text_of(directory / "cgroup.procs").split()]
    except (OSError, ValueError):
        return []
    living = {pid: who for pid in members if (who := identity.identify(pid)) is not None}
    own = [pid for pid in living if _is_of(mark.read_mark(pid), controller)]
    # Whoever cannot be identified is a stranger, and the kernel kills in groups below as well.
    alone = len(own) == len(members) and not _has_groups(directory)
    if own and alone:
        try:
            with (directory / "cgroup.kill").open("r+", encoding="ascii") as file:
                file.write("1")
        except OSError:
            pass  # version 1, or an older kernel
        else:
            return own
    return [pid for pid in own if identity.kill(living[pid])]


def _has_groups(directory: Path) -> bool:
    """Whether there are groups below it, in which others may be."""
    with os.scandir(directory) as entries:
        return any(entry.is_dir(follow_symlinks=False) for entry in entries)


def _is_of(found: dict[str, object] | None, controller: int) -> bool:
    return found is not None and (
        found.get("role") in _ROLES and found.get("controller") == controller
    )


def _remove(directory: Path, deadline_s: float, monotonic: Callable[[], float]) -> str | None:
    """Remove a group once its processes are gone; why it could not be, None if it was."""
    until_s = monotonic() + deadline_s
    while True:
        try:
            directory.rmdir()
        except FileNotFoundError:
            return None
        except OSError as exc:
            if exc.errno != errno.EBUSY or monotonic() >= until_s:
                return str(exc)
            time.sleep(_POLL_S)
        else:
            return None


def _hand_down(parent: Path) -> None:
    """Let the groups below have the CPU controller. Raises OSError when that is denied.

    It stays switched on: others may rely on it by the time we end.
    """
    control = parent / "cgroup.subtree_control"
    if "cpu" not in text_of(control).split():
        control.write_text("+cpu", encoding="ascii")
