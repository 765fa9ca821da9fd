"""A daemon that was killed leaves an empty control group until the next start."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.rig import daemon, descendants, eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

LOADS = {
    "TARGET_CPU": "60",
    "TARGET_MEMORY": "60",
    "MEMORY_RISE_MB_PER_MINUTE": "30000",
}
ROOMY = ("-m", "tests.hostile.altered_daemon", '{"roomy": true}')
"""Its CPU workers are there however busy the host is."""


def loaded(pid: int, status: dict[str, object]) -> set[int]:
    """The stressers once CPU and memory are both loaded; else empty."""
    found = descendants(pid)
    return found if status and len(found) >= 3 else set()


IDLE_GROUPS = Path("/sys/fs/cgroup/cpu")


@pytest.mark.skipif(
    not os.access(IDLE_GROUPS, os.W_OK) or not (IDLE_GROUPS / "cpu.idle").exists(),
    reason="needs root, and version 1 of the cpu controller with idle groups",
)
def test_the_idle_group_of_a_killed_daemon_goes_with_the_next_start(tmp_path: Path) -> None:
    """The workers are in it; SIGKILL leaves it empty; start and stop leave nothing at all."""
    with daemon(tmp_path / "work", program=ROOMY, **LOADS) as rig:
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
