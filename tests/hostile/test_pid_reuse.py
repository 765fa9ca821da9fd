"""A pid that was a worker's and is somebody else's by now: not ours, and never signalled."""

from __future__ import annotations

import json
import os
import shutil
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
from tests.hostile.observed import ROOT
from tests.rig import environment, eventually

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


@pytest.mark.parametrize("trial", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_worker_whose_pid_is_used_again_is_gone(trial: int) -> None:
    """Neither does the pool wait for it, nor does killing again hit the new one.

    A trial is one reuse of the pid of a real worker, among all processes of this host.
    """
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


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
@pytest.mark.parametrize("rounds", [40, pytest.param(400, marks=pytest.mark.long)])
def test_whoever_gets_a_workers_pid_is_not_hurt(rounds: int) -> None:
    """Before the look, after the pidfd was opened, after the look; else the worker ends.

    See reuse_trials.py. Three of four rounds reuse a pid, each counted once it
    is had; an innocent process counts as hurt when it has ended.
    """
    inside = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    done = subprocess.run(
        [*inside, sys.executable, "-m", "tests.hostile.reuse_trials", str(rounds)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
        env=environment(),
    )
    if "Operation not permitted" in done.stderr and "unshare" in done.stderr:
        pytest.skip("this host allows no pid namespace")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "rounds": rounds,
        "reused": rounds // 4 * 3,
        "ended": rounds // 4,
        "hurt": 0,
        "mistaken": 0,
    }
