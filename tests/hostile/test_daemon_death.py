"""However the daemon dies: no stresser, no memory, no disk space, no file is left."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.rig import alive, daemon, descendants, eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

LOADS = {
    "TARGET_CPU": "60",
    "TARGET_MEMORY": "60",
    "MEMORY_RISE_MB_PER_MINUTE": "30000",
}


def loaded(pid: int, status: dict[str, object]) -> set[int]:
    """The stressers once CPU and memory are both loaded; else empty."""
    found = descendants(pid)
    return found if status and len(found) >= 3 else set()


@pytest.mark.parametrize("trial", range(3))
def test_after_kill_9_nothing_is_left(tmp_path: Path, trial: int) -> None:
    """SIGKILL at a random moment: every stresser is dead within a second, nothing has a name."""
    chance = random.Random(trial)
    with daemon(tmp_path / "work", **LOADS) as rig:
        stressers = eventually(lambda: loaded(rig.pid, rig.status()), what="loaded")
        time.sleep(chance.random())
        stressers |= descendants(rig.pid)
        os.kill(rig.pid, signal.SIGKILL)
        rig.process.wait(timeout=5)
        eventually(lambda: not alive(stressers), deadline_s=5.0, what="all stressers dead")
    # What a crash leaves are the state files themselves; the next start takes them over.
    with daemon(tmp_path / "work", **LOADS) as rig:
        eventually(lambda: rig.status().get("pid") == rig.pid, what="a new daemon")
        assert rig.stop() == 0


IDLE_GROUPS = Path("/sys/fs/cgroup/cpu")


@pytest.mark.skipif(
    not os.access(IDLE_GROUPS, os.W_OK) or not (IDLE_GROUPS / "cpu.idle").exists(),
    reason="needs root, and version 1 of the cpu controller with idle groups",
)
def test_the_idle_group_of_a_killed_daemon_goes_with_the_next_start(tmp_path: Path) -> None:
    """The workers are in it; SIGKILL leaves it empty; start and stop leave nothing at all."""
    with daemon(tmp_path / "work", **LOADS) as rig:
        group = IDLE_GROUPS / f"optimizer-load.{rig.pid}"
        eventually(lambda: loaded(rig.pid, rig.status()), what="loaded")
        workers = eventually(
            lambda: (group / "cgroup.procs").read_text(encoding="ascii").split(), what="workers"
        )
        assert {int(pid) for pid in workers} <= descendants(rig.pid)
        os.kill(rig.pid, signal.SIGKILL)
        rig.process.wait(timeout=5)
        eventually(
            lambda: not (group / "cgroup.procs").read_text(encoding="ascii"), what="workers dead"
        )
    with daemon(tmp_path / "work", **LOADS) as rig:
        eventually(lambda: rig.status().get("pid") == rig.pid, what="a new daemon")
        assert not group.exists()
        assert rig.stop() == 0
        assert not (IDLE_GROUPS / f"optimizer-load.{rig.pid}").exists()


def test_a_stopped_controller_loses_its_load_when_the_leases_run_out(tmp_path: Path) -> None:
    """SIGSTOP: the stressers end by their own alarm; SIGCONT: the daemon recovers."""
    with daemon(tmp_path / "work", **LOADS) as rig:
        stressers = eventually(lambda: loaded(rig.pid, rig.status()), what="loaded")
        os.kill(rig.pid, signal.SIGSTOP)
        try:
            stressers |= descendants(rig.pid)
            eventually(lambda: not alive(stressers), deadline_s=10.0, what="leases ran out")
        finally:
            os.kill(rig.pid, signal.SIGCONT)
        eventually(
            lambda: alive(descendants(rig.pid)) - stressers, deadline_s=20.0, what="load is back"
        )
        assert rig.stop() == 0
