"""The rig itself: what a test that uses it may rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.installed.booted import booted
from tests.rig import alive, eventually

pytestmark = pytest.mark.installed


def test_the_rig_boots_keeps_its_disk_over_a_power_loss_and_leaves_nothing() -> None:
    """A disk can be mounted, files stay over a power loss, all goes in the end."""
    with booted() as rig:
        assert rig.run(["systemctl", "is-system-running"], check=False).stdout == "running\n"
        device = rig.disk("data", size_mb=64)
        rig.run(["mount", device, "/mnt"])
        rig.write("/mnt/kept", "here")
        rig.write("/var/lib/kept", "there")
        rig.run(["sync"])
        rig.power_loss()
        assert "Started" in rig.console
        rig.boot()
        assert rig.read("/var/lib/kept") == "there"
        rig.run(["mount", device, "/mnt"])
        assert rig.read("/mnt/kept") == "here"
        rig.power_off()
        folder = rig.folder
    assert not folder.exists()


def test_a_killed_test_leaves_nothing_that_the_next_one_does_not_remove(tmp_path: Path) -> None:
    """No process outlives the test process; groups, loop devices and files go with the next rig."""
    told = tmp_path / "told"
    script = (
        "import sys, time; from pathlib import Path; from tests.installed.booted import booted\n"
        "with booted() as rig:\n"
        "    device = rig.disk('data', size_mb=64)\n"
        "    rig.run(['mount', device, '/mnt'])\n"
        "    Path(sys.argv[1]).write_text(f'{rig.init} {device} {rig.folder}')\n"
        "    time.sleep(60)\n"
    )
    root = Path(__file__).parent.parent.parent
    with subprocess.Popen([sys.executable, "-c", script, str(told)], cwd=root) as test:
        eventually(told.exists, deadline_s=90, what="the rig of the other process is up")
        eventually(lambda: len(told.read_text().split()) == 3)
        test.kill()
    init, device, folder = told.read_text().split()
    eventually(lambda: not alive({int(init)}), what="its process 1 has ended")
    with booted():
        assert not Path(folder).exists()
        assert not list(Path("/sys/fs/cgroup").rglob(Path(folder).name))
        words = ["losetup", "-n", "-O", "BACK-FILE", device]
        loops = subprocess.run(words, capture_output=True, text=True, check=False)
        assert folder not in loops.stdout


def test_limits_are_real() -> None:
    """A unit gets no more memory and processes than it may have, as on a machine of its own."""
    with booted() as rig:
        run = ["systemd-run", "--wait", "--pipe", "--quiet"]
        memory = [*run, "-p", "MemoryMax=60M", "python3", "-c", "bytearray(200_000_000)"]
        assert rig.run(memory, check=False).returncode != 0
        tasks = [*run, "-p", "TasksMax=3", "sh", "-c", "for i in 1 2 3 4 5; do sleep 1 & done"]
        assert "fork" in rig.run(tasks, check=False).stderr
