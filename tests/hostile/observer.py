"""Watches a daemon and all that it starts, as a process of its own; standard library only.

It is the daemon's parent and a child subreaper (prctl(2)): whoever loses his
parent becomes its child, also a process that was started an instant before
the kill and that no look at /proc has seen. So nobody is left exactly when it
has no child any more. Ends are timed by pidfd, memory is counted by the
kernel in a control group, and nothing relies on what the daemon says.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

KINDS = ("cpu", "memory", "disk")
LOOK_S = 0.002
"""How often it looks at /proc for new processes; a stresser needs ten times as long to arm."""
_SUBREAPER, _PDEATHSIG = 36, 1
"""PR_SET_CHILD_SUBREAPER and PR_SET_PDEATHSIG. Source: linux/prctl.h."""


class Seen:
    """One process below the daemon, from the first look at it on."""

    __slots__ = ("at_s", "born", "code", "crew", "died_s", "fd", "kind", "pid")

    def __init__(self, pid: int, fd: int, at_s: float) -> None:
        self.pid = pid
        self.fd = fd
        self.at_s = at_s
        self.died_s: float | None = None
        self.born = born(pid)
        self.code: int | None = None
        self.kind = ""
        self.crew = False

    @property
    def alive(self) -> bool:
        """Whether it has not ended; a zombie has."""
        return self.died_s is None

    def signal(self, number: int) -> None:
        """Send a signal to exactly this process; nothing happens when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.fd, number)

    def status(self, key: str) -> int:
        """A number of /proc/pid/status, in bytes where that has kB; 0 once it has ended."""
        found = re.search(rf"^{key}:\s+(\d+)( kB)?", text(f"/proc/{self.pid}/status"), re.MULTILINE)
        if not self.alive or found is None:
            return 0
        return int(found[1]) * (1024 if found[2] else 1)

    def cpu_s(self) -> float:
        """CPU seconds used until now; see clock_getcpuclockid(3). 0 once it has ended."""
        try:
            return time.clock_gettime((~self.pid << 3) | 2)
        except OSError:
            return 0.0


class Observer:
    """The parent of one daemon after another; see the module."""

    def __init__(self) -> None:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        if prctl(_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "cannot become a child subreaper")
        self.seen: dict[int, Seen] = {}
        self.daemon: Seen | None = None
        self._daemons: set[int] = set()
        self.late: list[float] = []
        """When processes ended that no look had seen before."""
        self._poll = select.poll()
        self._fds: dict[int, Seen] = {}

    def start(
        self, command: Sequence[str], errors: Path, group: Path | None = None, *, more: bool = False
    ) -> Seen:
        """Start a daemon and watch it; with `more` beside others, else those are forgotten."""
        if not more:
            assert not self.living(), "the one before has left somebody"
            self.forget()
        pid = os.fork()
        if pid == 0:
            try:
                _become(command, errors, group)
            finally:
                os._exit(127)
        started = self._watch(pid)
        assert started is not None  # it is reaped by us alone
        self.daemon = self.daemon or started
        self._daemons.add(pid)
        return started

    def forget(self) -> None:
        """Let go of all that was known."""
        for one in self.seen.values():
            with contextlib.suppress(KeyError):
                self._poll.unregister(one.fd)
            os.close(one.fd)
        self.seen, self._fds, self.late = {}, {}, []
        self.daemon = None
        self._daemons.clear()

    def look(self) -> None:
        """Find processes that are new, see who has ended, and reap."""
        for pid in [os.getpid(), *(one.pid for one in self.living())]:
            for child in children(pid):
                known = self.seen.get(child)
                if known is None or not (known.alive or known.born == born(child)):
                    self._watch(child)
        self._ends()
        self._reap()

    def wait(self, condition: Callable[[], object], deadline_s: float) -> bool:
        """Look again and again until a condition holds; whether it did before the deadline."""
        end_s = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > end_s:
                return False
            self.look()
            if self._poll.poll(LOOK_S * 1000):
                self._ends()
        return True

    def pause(self, seconds: float) -> None:
        """Look for so long."""
        self.wait(lambda: False, seconds)

    def living(self) -> list[Seen]:
        """All that are known and have not ended, the daemon included."""
        return [one for one in self.seen.values() if one.alive]

    def stressers(self, kind: str = "", *, crews: bool | None = None) -> list[Seen]:
        """Living stressers of that kind ("": any), crews or workers alone or both."""
        for one in self.living():
            if not one.kind:
                self._name(one)
        return [
            one
            for one in self.living()
            if (one.kind == kind or (not kind and one.kind)) and crews in {None, one.crew}
        ]

    def spawns(self, kind: str) -> list[float]:
        """When crews of that kind were first seen."""
        return [one.at_s for one in self.seen.values() if one.kind == kind and one.crew]

    def held_bytes(self) -> int:
        """Private and shared memory of all that live."""
        return sum(one.status("RssAnon") + one.status("RssShmem") for one in self.living())

    def alone(self) -> bool:
        """Whether there is no child left, and so nobody of all that the daemon has started."""
        self._reap()
        return not children(os.getpid())

    def kill_all(self) -> int:
        """End whoever is left, so that the next trial begins clean; how many there were."""
        self.look()
        left = self.living()
        while not self.alone():
            for one in self.living():
                one.signal(signal.SIGKILL)
            self.look()
            time.sleep(LOOK_S)
        return len(left)

    def _watch(self, pid: int) -> Seen | None:
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return None  # it has ended since, and is reaped and counted as late when it was ours
        one = Seen(pid, fd, time.monotonic())
        self._name(one)
        self.seen[pid] = self._fds[fd] = one
        self._poll.register(fd, select.POLLIN)
        return one

    def _name(self, one: Seen) -> None:
        """Tell crews and workers apart; a process between fork and exec has its parent's name."""
        words = text(f"/proc/{one.pid}/cmdline").split("\0")
        if "--leased" in words:
            one.kind = next((word for word in words if word in KINDS), "")
            one.crew = one.status("PPid") in self._daemons

    def _ends(self) -> None:
        for fd, _ in self._poll.poll(0):
            self._fds[fd].died_s = time.monotonic()
            self._poll.unregister(fd)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            one = self.seen.get(pid)
            if one is None:
                self.late.append(time.monotonic())
            elif one.alive:
                self._ends()
            if one is not None:
                one.code = os.waitstatus_to_exitcode(status)


def _become(command: Sequence[str], errors: Path, group: Path | None) -> None:
    """Turn a process that was just forked into the daemon. Raises OSError."""
    # The daemon of an observer that was itself killed must not go on for ever.
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if group is not None:
        (group / "cgroup.procs").write_text("0", encoding="ascii")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    os.dup2(2, 1)
    os.execv(command[0], command)  # noqa: S606 - a shell would be another process


def born(pid: int) -> str:
    """Its start in clock ticks; empty when it is gone. Source: proc(5), field 22."""
    return "".join(text(f"/proc/{pid}/stat").rpartition(") ")[2].split(" ")[19:20])


def children(pid: int) -> list[int]:
    """The children of all threads of a process; none once it is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, text(f"/proc/{pid}/task/{thread}/children").split())
    return found


def text(path: str | Path) -> str:
    """What a file of /proc says; nothing when it is gone."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
