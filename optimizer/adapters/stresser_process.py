"""One stresser process: its start, its pipes, its reports, its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from optimizer.adapters import identity
from optimizer.adapters.identity import Identity, identify
from optimizer.adapters.pulse import Pulse
from optimizer.adapters.stresser_reports import reports_of
from optimizer.adapters.stresser_windows import creation_flags, python, windows_end
from optimizer.model import ExitCause, Resource, StresserExit
from stressers import lease

TTL_S = lease.TTL_S
_PROGRAM = Path(lease.__file__).with_name("__main__.py")
_REPORT_LIMIT_BYTES = 1 << 20
"""A report without an end beyond this is thrown away; ours are below a page per worker."""
_EARLY_S = 0.05
"""A renewal may come this much early, so that a cycle of a second does not miss each other one."""
_LIMITS = {
    "floor": "what must stay free is reached",
    "full": "the filesystem is full",
    "inodes": "too few inodes are free",
    "quota": "a quota is used up",
    "read-only": "the filesystem is read-only",
    "moved": "another filesystem is there now",
    "taken": "the kernel has taken pages back",
    "unknown": "what is free cannot be read",
}
"""What a stresser says that it was limited by, in words; others are names of errors."""
_STUCK_S = 1.0
"""Reserving space takes milliseconds; a process that waits longer waits for somebody."""
_CODE_WORKER_KILLED = 3
"""Exit code of a stresser whose own worker was killed from outside."""


class StresserProcess:
    """A running stresser that obeys leases on its standard input.

    It dies when its standard input or its life pipe is closed, when this
    process ends, or when its lease runs out. Starting raises OSError, and
    RuntimeError in any thread but the main one: the kernel would take the end
    of that thread for the end of the controller. See prctl(2), PR_SET_PDEATHSIG.
    """

    def __init__(self, resource: Resource, arguments: tuple[str, ...]) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                f"a stresser was started in thread {threading.current_thread().name!r}, which "
                "would end it with itself; start it in the main thread"
            )
        self.resource = resource
        self.arguments = arguments
        self.path = path_of(arguments)
        self.pids: tuple[int, ...] = ()
        self.held = 0.0
        self.means: tuple[str, ...] = ()
        self.missing: tuple[str, ...] = ()
        self.place: str | None = None
        self._error: str | None = None
        self._limit: tuple[str, float] | None = None
        self._pulse = Pulse()
        self.stirred = False
        self.taken_bytes = 0
        self.refused = False
        self._stuck_since_s: float | None = None
        self._sent: tuple[float, float] = (-1.0, float("-inf"))
        self._started_s = time.monotonic()
        self._watched = self._stopped = False
        self._buffer = b""
        life_read, self._life_write = _life_pipe()
        command = [python(), "-I", "-S", str(_PROGRAM), resource.value, *arguments]
        command += ["--leased", "--parent", str(os.getpid())]
        if life_read is not None:
            command += ["--life-fd", str(life_read)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=() if life_read is None else (life_read,),
                bufsize=0,
                env=_environment(),
                creationflags=creation_flags(resource),
            )
        except OSError:
            self._close_life()
            raise
        finally:
            if life_read is not None:
                os.close(life_read)
        self.pids = (self._process.pid,)
        crew = identify(self._process.pid, parent=os.getpid())
        self.known: tuple[Identity, ...] = () if crew is None else (crew,)
        self._reports = reports_of(self._process)

    @property
    def pid(self) -> int:
        """The crew's."""
        return self._process.pid

    def renew(self, wanted: float, now_s: float, level: float | None = None) -> None:
        """Send the lease when it has changed or its renewal is due; never blocks for long.

        `level` is the host's utilisation to watch from now on, None: nothing.
        """
        sent, sent_s = self._sent
        changed = abs(wanted - sent) > _SMALLEST_CHANGE[self.resource]
        changed = changed or self._watched != (level is not None)
        if not changed and now_s - sent_s < lease.RENEW_S - _EARLY_S:
            return
        stdin = self._process.stdin
        if stdin is None or stdin.closed:
            return
        line = lease.encode(self.resource.value, wanted, ttl_s=lease.TTL_S, level=level)
        # A full or broken pipe is an unhealthy stresser: its lease runs out, and its end is seen.
        # Windows has EINVAL for a broken one.
        with contextlib.suppress(OSError):
            if stdin.write(line):
                self._sent = (wanted, now_s)
                self._watched = level is not None

    @property
    def last_error(self) -> str | None:
        """Why it gave up, or why it does not grow; None once it holds more or less than then.

        The ledger is told of each growth before it is tried.
        """
        if self._error is None and self._limit is not None and self._limit[1] == self.held:
            by = self._limit[0]
            return _LIMITS.get(by, f"limited by {by}")
        return self._error

    @property
    def output(self) -> int:
        """The descriptor that stirs when it reports or ends."""
        return self._reports.descriptor

    def listen(self) -> None:
        """Take in the reports that have arrived."""
        self._buffer += self._reports.read()
        *lines, self._buffer = self._buffer.split(b"\n")
        if len(self._buffer) > _REPORT_LIMIT_BYTES:
            self._buffer = b""
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, KeyError):
                self._heard(json.loads(line))

    def _heard(self, report: dict[str, object]) -> None:
        kind = report["report"]
        if kind == "ready":
            self._enrol(tuple(int(str(pid)) for pid in _list(report["pids"])))
            self.means = tuple(str(item) for item in _list(report["means"]))
            self.missing = tuple(str(item) for item in _list(report["missing"]))
            place = report.get("place")
            self.place = None if place is None else str(place)
        elif kind == "held":
            self.held = float(str(report["bytes"]))
        elif kind == "limited":
            self._limit = str(report["by"]), float(str(report["bytes"]))
            self.refused = self.refused or report["by"] != "floor"
        elif kind == "taken":
            self.taken_bytes += int(str(report["bytes"]))
        elif kind == "stirred":
            self.stirred = True
        elif kind == "error":
            self._error = str(report["message"])[:500]

    def _enrol(self, pids: tuple[int, ...]) -> None:
        """Know its workers from now on: those are children of the crew, whatever it says."""
        crew = self._process.pid
        workers = (identify(pid, parent=crew) for pid in pids if pid != crew)
        own = tuple(who for who in self.known if who.pid == crew)
        self.pids = pids
        self.known = own + tuple(who for who in workers if who is not None)

    def cpu_s(self) -> float:
        """CPU seconds used by all of its processes until now; never falls."""
        return self._pulse.count(self.pids)

    def cpu_s_at_end(self) -> float:
        """The same once it was ended: then a pid may be somebody else's already."""
        return self._pulse.count(tuple(who.pid for who in self.known if identity.runs(who)))

    def ended(self) -> StresserExit | None:
        """How it ended; None while it lives."""
        code = self._process.poll()
        if code is None:
            return None
        self.listen()
        if self._stopped:
            cause, what = ExitCause.EXPIRED, "ended by us: it was stopped by a signal"
        elif sys.platform == "win32":
            cause, what = windows_end(code, told=self._error is not None)
        elif code in {-signal.SIGTERM, 0}:
            cause, what = ExitCause.FAILED, "ended by itself"
        elif code == -signal.SIGALRM:
            cause, what = ExitCause.EXPIRED, "its lease ran out"
        elif code in {_CODE_WORKER_KILLED, -signal.SIGKILL}:
            cause, what = ExitCause.KILLED, "killed from outside"
        else:
            cause, what = ExitCause.FAILED, f"exit code {code}"
        detail = f"{what}: {self.last_error}" if self.last_error else what
        return StresserExit(resource=self.resource, cause=cause, detail=detail, path=self.path)

    def stuck(self, now_s: float) -> bool:
        """Whether the kernel has kept it waiting, deaf to all signals, since a look before.

        So it is with a disk stresser on a frozen filesystem or a disk that is gone.
        """
        if identity.state(self._process.pid) != "D":
            self._stuck_since_s = None
        elif self._stuck_since_s is None:
            self._stuck_since_s = now_s
        return self._stuck_since_s is not None and now_s - self._stuck_since_s >= _STUCK_S

    def end_if_stopped(self) -> None:
        """End it when somebody has stopped the crew, for no alarm reaches a stopped process.

        A crew does the same with its workers. What a debugger or a frozen
        control group holds up is `silent`.
        """
        if sys.platform != "linux" or self._process.returncode is not None:
            return
        with contextlib.suppress(ChildProcessError):
            found = os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOHANG)
            if found is not None:
                self._stopped = True
                self.kill()

    def silent(self, now_s: float) -> str | None:
        """Which of its processes was stopped, and holds what it held; None when all run.

        No alarm ends such a one. What waits in the kernel is `stuck`.
        """
        return self._pulse.silent(self.pids, now_s)

    def unleased_s(self, now_s: float) -> float:
        """For how long it has taken no lease: a second, unless its input is full."""
        return now_s - max(self._sent[1], self._started_s)

    def kill(self) -> None:
        """End it and its workers at once, without waiting."""
        self._close_life()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        # Popen never signals a process that it has reaped, so this cannot hit another one.
        self._process.kill()

    def kill_again(self) -> None:
        """End those of its processes that are still there, each for itself."""
        self.kill()
        for who in self.known:
            identity.kill(who)

    def gone(self) -> bool:
        """Whether all of its processes have ended; reaps the one that is our child."""
        if self._process.poll() is None:
            return False
        self.known = tuple(who for who in self.known if identity.runs(who))
        return not self.known

    def left(self) -> dict[int, str]:
        """State of each of its processes that is still there, by pid."""
        return {who.pid: identity.state(who.pid) for who in self.known if identity.runs(who)}

    def close(self) -> None:
        """Let go of the pipes of an ended stresser."""
        self._close_life()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _close_life(self) -> None:
        if self._life_write is not None:
            os.close(self._life_write)
            self._life_write = None


def _environment() -> dict[str, str]:
    """Ours without what could switch a stresser's means of dying off: that is for tests alone."""
    return {name: value for name, value in os.environ.items() if name != lease.TEST_SWITCH}


def path_of(arguments: tuple[str, ...]) -> str | None:
    """Where a stresser with these arguments holds; None for one that holds nowhere."""
    named = dict(zip(arguments[::2], arguments[1::2], strict=False))
    return named.get("--path")


_SMALLEST_CHANGE = {
    Resource.CPU: 0.001,
    Resource.MEMORY: float(2 << 20),
    Resource.DISK: float(1 << 20),
}
"""Below this a new lease is not worth a line: a tenth of a point, a huge page, a MiB."""


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _life_pipe() -> tuple[int | None, int | None]:
    """A pipe on which nothing is ever written; the stresser is killed when its end is closed."""
    return os.pipe() if sys.platform == "linux" else (None, None)
