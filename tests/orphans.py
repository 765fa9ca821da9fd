"""Stressers whose controller is dead and whose every way to die is off: what must never happen."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.stresser_harness import PROGRAM, Watch, watch

ALL_WAYS = {"alarm", "pdeathsig", "pipe", "eof"}
LOADS = {"cpu": '{"duty": 0.05, "ttl_s": %s}', "memory": '{"bytes": 8388608, "ttl_s": %s}'}

CONTROLLER = """
import os, subprocess, sys, time
program, kind, line = sys.argv[1:]
read, write = os.pipe()
child = subprocess.Popen(
    [sys.executable, "-I", "-S", program, kind, "--leased", "--parent", str(os.getpid()),
     "--life-fd", str(read)],
    stdin=subprocess.PIPE, pass_fds=(read,), bufsize=0)
os.close(read)
while True:
    child.stdin.write(line.encode() + b"\\n")
    time.sleep(0.1)
"""


@contextlib.contextmanager
def controlled(
    kind: str, disable: str, ttl_s: float, *, program: Path = PROGRAM
) -> Iterator[tuple[int, Watch]]:
    """A controller in a process of its own with a loaded stresser: its pid, and the watched."""
    command = [sys.executable, "-c", CONTROLLER, str(program), kind, LOADS[kind] % ttl_s]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "STRESSER_TEST_DISABLE": disable},
    ) as controller:
        try:
            assert controller.stdout is not None
            text = b""
            while b'"ready"' not in text or not text.endswith(b"\n"):
                chunk = os.read(controller.stdout.fileno(), 65536)
                assert chunk, "the stresser ended before it was ready"
                text += chunk
            pids = text.split(b'"pids": [')[1].split(b"]")[0]
            with watch([int(pid) for pid in pids.split(b",")]) as watched:
                assert watched.alive() == watched.pids
                yield controller.pid, watched
        finally:
            controller.kill()


@contextlib.contextmanager
def orphans(kind: str = "cpu") -> Iterator[tuple[int, Watch]]:
    """The pid of a controller that is dead and reaped, and its stressers that live on."""
    with controlled(kind, ",".join(ALL_WAYS), 60.0) as (controller, watched):
        os.kill(controller, signal.SIGKILL)
        # Reaped by whoever has started it, so that the pid is nobody's.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(controller, 0)
        assert watched.alive() == watched.pids
        yield controller, watched
