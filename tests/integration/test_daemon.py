"""The real daemon with real stressers, small loads, in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loopdev import ext4
from tests.paths import checkout
from tests.rig import (
    DaemonRig,
    alive,
    daemon,
    descendants,
    environment,
    eventually,
    optimizer,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

EXIT_TRY_LATER = 75
EXIT_CONFIG = 78


def holding(rig: DaemonRig) -> bool:
    """Whether CPU stressers run; on a busy machine the tenant may be above at the moment."""
    return bool(rig.resource("cpu").get("pids")) and bool(rig.resource("cpu").get("means"))


def test_it_holds_records_reports_and_releases(tmp_path: Path) -> None:
    """Start, hold, record, status; SIGTERM: exit 0, no process and only the history left."""
    with daemon(tmp_path / "work", MEMORY_RISE_MB_PER_MINUTE="6000", TARGET_MEMORY="80") as rig:
        eventually(lambda: holding(rig), what="holding")
        eventually(lambda: rig.status()["history"]["rows"], what="a row in the history")
        eventually(lambda: rig.resource("memory")["own"] > 0, what="memory held")
        cpu = rig.resource("cpu")
        assert cpu["target"] == 0.60
        assert cpu["organic"] is not None
        children = descendants(rig.pid)
        assert set(cpu["pids"]) <= children
        classes = {os.sched_getscheduler(pid) for pid in (rig.pid, *children)}
        assert classes <= {os.SCHED_BATCH, os.SCHED_IDLE}
        assert os.sched_getscheduler(rig.pid) == os.SCHED_BATCH
        assert set(rig.resource("memory")["pids"]) <= children
        assert "SCHED_IDLE" in " ".join(cpu["means"] + cpu["missing"])

        shown = rig.command("status", "--json")
        document = json.loads(shown.stdout)
        assert shown.returncode == 0
        assert document["running"] is True
        assert document["pid"] == rig.pid
        table = rig.command("status")
        assert "cpu" in table.stdout
        assert table.returncode == 0

        assert rig.stop() == 0
        assert alive(children) == set()
    left = sorted(
        p.relative_to(rig.folder).as_posix() for p in rig.folder.rglob("*") if p.is_file()
    )
    assert left == ["logs/optimizer.log", "state/history.sqlite3"]
    with sqlite3.connect(rig.folder / "state" / "history.sqlite3") as db:
        rows = db.execute("SELECT count(*), min(cpu), max(cpu) FROM sample").fetchone()
    assert rows[0] >= 1
    assert 0 <= rows[1] <= rows[2] <= 1
    gone = rig.command("status")
    assert gone.returncode == 1
    assert "No daemon runs" in gone.stdout


def test_a_second_instance_ends_with_75_and_names_the_first(tmp_path: Path) -> None:
    """The first goes on; the second says whom it met and touches nothing."""
    with daemon(tmp_path / "work") as rig:
        eventually(rig.status)
        second = rig.command("run")
        assert second.returncode == EXIT_TRY_LATER
        assert str(rig.pid) in second.stderr
        assert rig.process.poll() is None


def test_pause_takes_all_load_away_and_resume_brings_it_back(tmp_path: Path) -> None:
    """Paused: reason shown, no stresser alive; resumed: held again."""
    with daemon(tmp_path / "work") as rig:
        eventually(lambda: holding(rig), what="holding")
        stressers = descendants(rig.pid)
        said = rig.command("pause", "2h", "--reason", "kernel patch")
        assert said.returncode == 0, said.stderr
        eventually(lambda: rig.resource("cpu")["reason"] == "inhibited", what="inhibited")
        eventually(lambda: not alive(stressers), what="all stressers gone")
        assert rig.status()["inhibit"]["reason"] == "kernel patch"
        assert rig.command("resume").returncode == 0
        eventually(lambda: holding(rig), what="holding again")


def test_a_pause_outlives_the_daemon(tmp_path: Path) -> None:
    """Inhibited before the start: it runs, measures, and loads nothing."""
    work = tmp_path / "work"
    assert optimizer("pause", "--set", f"WORKSPACE_DIR={work}").returncode == 0
    with daemon(work) as rig:
        eventually(lambda: rig.resource("cpu").get("now") is not None, what="measuring")
        assert rig.resource("cpu")["reason"] == "inhibited"
        assert descendants(rig.pid) == set()


def test_the_configuration_is_reloaded_and_a_bad_one_is_not(tmp_path: Path) -> None:
    """A new target is obeyed without a restart; a fault keeps the last good one and is said."""
    file = tmp_path / "optimizer.env"
    file.write_text("TARGET_UTILIZATION_SMALL=20\n", encoding="utf-8")
    with daemon(tmp_path / "work", "--config", str(file), TARGET_CPU="") as rig:
        eventually(rig.status)
        file.write_text("TARGET_UTILIZATION_SMALL=20\nTARGET_UTILIZATION_LARGE=140\n")
        eventually(lambda: rig.status()["config"]["ok"] is False, what="rejected")
        assert "TARGET_UTILIZATION_LARGE=140" in rig.status()["config"]["message"]
        file.write_text(
            "TARGET_UTILIZATION_SMALL=12\nTARGET_UTILIZATION_LARGE=12\nMEDIUM_TARGET=12\n"
        )
        eventually(lambda: rig.resource("cpu")["target"] == 0.12, what="new target")
        assert rig.status()["config"]["ok"] is True
        os.kill(rig.pid, signal.SIGHUP)
        eventually(lambda: rig.said().count("config.reloaded") == 2, what="reload by SIGHUP")
        assert rig.stop() == 0


_HUNG_UP_AT_ONCE = """
import os, signal
from optimizer import __main__
from optimizer.cli import run
configured = run.configured
def hung_up(args):
    os.kill(os.getpid(), signal.SIGHUP)
    return configured(args)
run.configured = hung_up
raise SystemExit(__main__.main())
"""


def test_a_reload_in_the_first_moment_of_a_start_does_not_end_it(tmp_path: Path) -> None:
    """SIGHUP before the configuration is read; later ones are obeyed."""
    with daemon(tmp_path / "work", program=("-c", _HUNG_UP_AT_ONCE)) as rig:
        eventually(rig.status, what="running")
        os.kill(rig.pid, signal.SIGHUP)
        eventually(lambda: "config.reloaded" in rig.said(), what="reload by SIGHUP")
        assert rig.stop() == 0


def test_the_disk_is_held_in_unlinked_files_and_given_back(tmp_path: Path) -> None:
    """On a filesystem of the test's own: used rises to the target, no name shows, and back."""
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("needs root and mkfs.ext4 for a loop device")
    with ext4(tmp_path, size_mb=6000) as mount:
        before = os.statvfs(mount).f_bavail
        names = set(os.listdir(mount))
        with daemon(
            tmp_path / "work",
            TARGET_CPU="0",
            TARGET_DISK="30",
            DISK_STRESS_PATH=str(mount),
            DISK_RISE_MB_PER_SECOND="2000",
        ) as rig:
            eventually(
                lambda: abs((rig.resource("disk").get("now") or 0) - 0.30) < 0.002,
                what="disk at 30 %",
            )
            assert set(os.listdir(mount)) == names
            assert rig.stop() == 0
        eventually(lambda: os.statvfs(mount).f_bavail == before, what="all space back")


def test_without_a_configuration_everything_has_a_default(tmp_path: Path) -> None:
    """`check-config` and `plan` work on an empty folder."""
    options = ("--set", f"WORKSPACE_DIR={tmp_path}")
    checked = optimizer("check-config", *options)
    assert checked.returncode == 0, checked.stderr
    planned = optimizer("plan", *options)
    assert planned.returncode == 0, planned.stderr
    for name in ("CPU:", "Memory:", "Disk:"):
        assert name in planned.stdout
    assert planned.stdout.splitlines()[-1].startswith("Aim: never below the target")


def test_a_path_that_is_not_there_is_said_and_nothing_is_held(tmp_path: Path) -> None:
    """DISK_STRESS_PATH without a directory: a reason and a remedy, no stresser that fails."""
    missing = tmp_path / "missing"
    options = {"TARGET_CPU": "0", "TARGET_DISK": "30", "DISK_STRESS_PATH": str(missing)}
    with daemon(tmp_path / "work", **options) as rig:
        eventually(lambda: rig.resource("disk").get("reason") == "no_disk", what="no disk")
        assert str(missing) in rig.resource("disk")["note"]
        assert descendants(rig.pid) == set()


def test_all_commands_find_the_file_in_the_checkout(tmp_path: Path) -> None:
    """What ./start.sh runs with, `check-config`, `status` and `pause` use as well."""
    copy = checkout(tmp_path / "checkout", "optimizer", "stressers", "start.sh")
    (copy / "config").mkdir()
    work = tmp_path / "work"
    (copy / "config" / "optimizer.env").write_text(f"WORKSPACE_DIR={work}\n", encoding="utf-8")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "optimizer", *words],
            cwd=copy,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert str(copy / "config" / "optimizer.env") in run("check-config").stdout
    paused = run("pause")
    assert "No daemon runs" in paused.stdout
    assert (work / "state" / "inhibit").exists()


def test_a_lock_that_cannot_be_looked_at_is_an_error_not_a_traceback(tmp_path: Path) -> None:
    """A link in place of the lock: one line, exit 1."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").symlink_to("/nowhere")
    shown = optimizer("status", "--set", f"WORKSPACE_DIR={tmp_path}")
    assert shown.returncode == 1
    assert "Traceback" not in shown.stderr
    assert "lock" in shown.stderr


def test_a_broken_configuration_touches_nothing(tmp_path: Path) -> None:
    """All faults at once, exit 78, and no directory made."""
    work = tmp_path / "work"
    broken = optimizer(
        "run", "--set", f"WORKSPACE_DIR={work}", "--set", "TARGET_CPU=x", "--set", "GLANCES_PORT=0"
    )
    assert broken.returncode == EXIT_CONFIG
    assert "TARGET_CPU=x" in broken.stderr
    assert "GLANCES_PORT=0" in broken.stderr
    assert not work.exists()
