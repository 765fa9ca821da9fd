"""Starts stressers as a controller does, and watches from outside when they end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

from tests.paths import CODE

PROGRAM = CODE / "stressers" / "__main__.py"
DEADLINE_S = 15.0
"""How long anything may take on a busy machine before a test calls it a failure."""


def until(fulfilled: Callable[[], bool], deadline_s: float = DEADLINE_S) -> bool:
    """Whether a condition came true before the deadline."""
    end_s = time.monotonic() + deadline_s
    while not fulfilled():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.01)
    return True


def cpu_s(pid: int) -> float:
    """CPU seconds used by a process, by its own clock; see clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


class Stresser:
    """A leased stresser whose controller is this process; renews its lease by a thread.

    `user` is whose it is, if another one's; root may start those. `words` are how
    the program is called.
    """

    def __init__(
        self,
        kind: str,
        *arguments: str,
        disable: str = "",
        user: int | None = None,
        words: tuple[str, ...] = (sys.executable, "-I", "-S", str(PROGRAM)),
    ) -> None:
        self._life_read, self.life_write = os.pipe()
        command = [*words, kind, "--leased"]
        command += ["--parent", str(os.getpid()), "--life-fd", str(self._life_read), *arguments]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(self._life_read,),
            bufsize=0,
            env={**os.environ, "STRESSER_TEST_DISABLE": disable},
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
        os.close(self._life_read)
        self.reports: list[dict[str, object]] = []
        self._lease: bytes | None = None
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._listen, daemon=True),
            threading.Thread(target=self._renew, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def lease(self, **lease: float) -> None:
        """Give this lease from now on, ten times a second."""
        self._lease = json.dumps(lease).encode() + b"\n"
        self.write(self._lease)

    def write(self, line: bytes) -> None:
        """Write to its input as it is."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            self.process.stdin.write(line)

    def silence(self) -> None:
        """Give no lease any more."""
        self._lease = None

    def said(self, report: str) -> list[dict[str, object]]:
        """All reports of one kind until now, oldest first."""
        return [line for line in self.reports if line["report"] == report]

    def held(self) -> object:
        """Its ledger as last told; None when it has told none."""
        held = self.said("held")
        return held[-1]["bytes"] if held else None

    def pids(self) -> list[int]:
        """All its processes, once it has told them."""
        assert until(lambda: bool(self.said("ready"))), self.errors()
        pids = self.said("ready")[-1]["pids"]
        assert isinstance(pids, list)
        return [int(pid) for pid in pids]

    def errors(self) -> str:
        """What it wrote to stderr; ends it first."""
        self.end()
        assert self.process.stderr is not None
        return self.process.stderr.read().decode() if not self.process.stderr.closed else ""

    def _listen(self) -> None:
        assert self.process.stdout is not None
        buffer = b""
        while chunk := os.read(self.process.stdout.fileno(), 1 << 16):
            *lines, buffer = (buffer + chunk).split(b"\n")
            self.reports += [json.loads(line) for line in lines]

    def _renew(self) -> None:
        while not self._over.wait(0.1):
            if self._lease is not None:
                self.write(self._lease)

    def end(self) -> int:
        """End it by closing its input; its exit code."""
        self._over.set()
        self._threads[1].join()
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            code = self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._threads[0].join(DEADLINE_S)
        return code

    def close(self) -> None:
        """End it and let go of its pipes."""
        self.end()
        os.close(self.life_write)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@contextlib.contextmanager
def stresser(
    kind: str,
    *arguments: str,
    disable: str = "",
    user: int | None = None,
    words: tuple[str, ...] = (sys.executable, "-I", "-S", str(PROGRAM)),
) -> Iterator[Stresser]:
    """A leased stresser that has ended when the block is left."""
    started = Stresser(kind, *arguments, disable=disable, user=user, words=words)
    try:
        yield started
    finally:
        started.close()


class Watch:
    """Knows of processes, also of those that are not ours, whether they have ended.

    By pidfd: a pid that is used again for another process cannot deceive it.
    """

    def __init__(self, pids: list[int]) -> None:
        self.pids = pids
        self._fds = {pid: os.pidfd_open(pid) for pid in pids}

    def alive(self) -> list[int]:
        """Those that have not ended."""
        return [pid for pid, fd in self._fds.items() if not select.select([fd], [], [], 0)[0]]

    def all_dead(self) -> bool:
        """Whether all end before the deadline."""
        return until(lambda: not self.alive())

    def kill(self) -> None:
        """End those that are left, and let go."""
        for fd in self._fds.values():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            os.close(fd)
        self._fds = {}


@contextlib.contextmanager
def watch(pids: list[int]) -> Iterator[Watch]:
    """Watch processes; those that still live are killed when the block is left."""
    watched = Watch(pids)
    try:
        yield watched
    finally:
        watched.kill()
