"""A pid that was a worker's and is somebody else's by now: not ours, and never signalled."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from optimizer.adapters import identity
from optimizer.adapters.stresser_process import StresserProcess
from optimizer.model import Resource
from tests.rig import eventually

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
TRIES = 200

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not os.access(LAST_PID, os.W_OK),
    reason="needs root, and a kernel that lets one choose the next pid",
)


@contextmanager
def innocent(pid: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else that has this pid; others may take it first, so it is tried."""
    eventually(lambda: not Path(f"/proc/{pid}").exists(), what="reaped by init")
    for _ in range(TRIES):
        LAST_PID.write_text(str(pid - 1), encoding="ascii")
        with subprocess.Popen(["sleep", "60"]) as process:
            try:
                if process.pid == pid:
                    yield process
                    return
            finally:
                process.kill()
    pytest.skip(f"pid {pid} could not be had in {TRIES} tries: others start many processes here")


@pytest.mark.parametrize("trial", range(2))
def test_a_worker_whose_pid_is_used_again_is_gone(trial: int) -> None:
    """Neither does the pool wait for it, nor does killing again hit the new one."""
    process = StresserProcess(Resource.MEMORY, ("--shards", "2", "--metric", "available"))
    try:
        process.renew(0.0, time.monotonic())
        eventually(lambda: (process.listen(), len(process.known) == 3)[1], what="ready")
        worker = process.known[1 + trial % 2]
        process.kill()
        eventually(process.gone)
        with innocent(worker.pid) as other:
            process.known = (worker,)
            assert not identity.runs(worker)
            assert not identity.kill(worker)
            assert process.left() == {}
            process.kill_again()
            assert process.gone()
            time.sleep(0.05)
            assert other.poll() is None
    finally:
        process.kill()
        eventually(process.gone)
        process.close()
