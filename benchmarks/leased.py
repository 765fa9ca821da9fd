"""Our stressers as a controller starts them, and how a filler is started and ended in a box."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Self

import arms
from boxes import Box

READY_S = 10.0
END_S = 3.0
TTL_S = 60.0
"""The longest lease that a stresser takes; renew() well before it runs out."""
RENEW_S = 10.0
WITHOUT_HUGE = (
    "import ctypes, os, sys; assert ctypes.CDLL(None).prctl(41, 1, 0, 0, 0) == 0; "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
"""PR_SET_THP_DISABLE stays over fork and exec, see prctl(2)."""


class Closing:
    """Closed at the end of a with statement."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()  # type: ignore[attr-defined]


class Ours(Closing):
    """A stresser of ours under the protocol of leases; `ready` when it is made.

    `start_cpu_s` is what its start has cost. Raises OSError.
    """

    def __init__(self, box: Box, *words: str, huge: bool = True) -> None:
        self.box = box
        program = str(arms.PROJECT / "stressers" / "__main__.py")
        command = [sys.executable, "-I", "-S", program, *words]
        command += ["--leased", "--parent", str(os.getpid())]
        if not huge:
            command = [sys.executable, "-I", "-S", "-c", WITHOUT_HUGE, *command]
        self._size = 0
        self._told = b""
        self.held_bytes: int = 0
        self._ready = False
        self._process = started(command, box, subprocess.PIPE)
        try:
            self._await_ready()
        except OSError:
            self.close()
            raise
        self.start_cpu_s = box.cpu_s()

    def _await_ready(self) -> None:
        if self._process.stdout is None:
            raise OSError
        os.set_blocking(self._process.stdout.fileno(), False)
        until_s = time.monotonic() + READY_S
        while not self._ready:
            if self._process.poll() is not None or time.monotonic() > until_s:
                message = f"our stresser is not ready; code {self._process.returncode}"
                raise OSError(message)
            self.listen()
            time.sleep(0.002)

    def listen(self) -> None:
        """Takes the reports that have come into `held_bytes`."""
        if self._process.stdout is None:
            return
        while chunk := self._process.stdout.read(65536):
            *lines, self._told = (self._told + chunk).split(b"\n")
            for line in lines:
                report = json.loads(line)
                self._ready = self._ready or report["report"] == "ready"
                self.held_bytes = report.get("bytes", self.held_bytes)

    def _lease(self) -> None:
        if self._process.stdin is None:
            raise OSError
        line = json.dumps({"bytes": self._size, "ttl_s": TTL_S}) + "\n"
        self._process.stdin.write(line.encode())

    def begin(self, size_bytes: int) -> None:
        """See fillers.Filler."""
        self._size = size_bytes
        self._lease()

    def renew(self) -> None:
        """See fillers.Filler."""
        self.listen()
        self._lease()

    def release(self) -> None:
        """See fillers.Filler."""
        self.begin(0)

    def close(self) -> None:
        """See fillers.Filler."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        ended(self._process, self.box)


def started(
    command: Sequence[str], box: Box, pipe: int | None, place: str | None = None
) -> subprocess.Popen[bytes]:
    """A program in that box, in a session of its own. Raises OSError."""
    return subprocess.Popen(
        command,
        bufsize=0,
        cwd=place,
        stdin=subprocess.DEVNULL if pipe is None else pipe,
        stdout=subprocess.DEVNULL if pipe is None else pipe,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=box.join,  # noqa: PLW1509  # one thread
    )


def ended(process: subprocess.Popen[bytes], box: Box) -> None:
    """Waits for a process to end by itself, then kills all that is in its box."""
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        box.kill()
        process.wait(READY_S)
    until_s = time.monotonic() + READY_S
    while box.pids() and time.monotonic() < until_s:
        box.kill()
        time.sleep(0.01)
