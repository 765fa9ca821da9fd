"""`optimizer doctor` as people run it, on a real daemon and on hosts that are broken."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.releases import release
from optimizer.directories import HISTORY_NAME
from optimizer.examine import apart
from optimizer.examine.files import look as look_into
from optimizer.report.doctor import Area, Code, Finding, Severity
from tests.loopdev import volume
from tests.paths import checkout
from tests.rig import DaemonRig, daemon, environment, eventually, optimizer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

ROOT = Path(__file__).resolve().parents[2]
HOSTS_OWN = {"targets", "disks", "stressers", "kernel", "clock", "page"}
"""Areas in which a shared machine may have findings of its own."""


def look(folder: Path, *areas: Area, **settings: str) -> list[Finding]:
    """The findings of some areas about a daemon in that folder."""
    pairs = {"WORKSPACE_DIR": str(folder), "GLANCES_ENABLED": "false", **settings}
    return apart.examine(areas, None, [f"{key}={value}" for key, value in pairs.items()])


def codes(findings: list[Finding]) -> set[Code]:
    """The names of what was found."""
    return {one.code for one in findings}


def report(rig: DaemonRig) -> dict[str, Any]:
    """What the command says of a daemon, as JSON."""
    shown = rig.command("doctor", "--json")
    found: dict[str, Any] = json.loads(shown.stdout)
    bad = {"fault", "warning"} & {one["severity"] for one in found["findings"]}
    assert shown.returncode == (1 if bad else 0)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_daemon_that_is_well_then_stopped_then_killed(tmp_path: Path) -> None:
    """Nothing is said against a healthy one; its stop and its death are told; nothing changes."""
    folder = tmp_path / "work"
    with daemon(folder, GLANCES_ENABLED="false", TARGET_DISK="0") as rig:
        eventually(lambda: rig.status().get("history", {}).get("rows"), what="a row")
        found = report(rig)["findings"]
        assert {one["area"] for one in found} == {area.value for area in Area}
        # Daemons and stressers of other tests on this machine are told too.
        others = {Code.TWO_DAEMONS.value, Code.LOAD_WITHOUT_DAEMON.value}
        bad = [
            one
            for one in found
            if one["severity"] in {"fault", "warning"}
            and one["area"] not in HOSTS_OWN
            and one["code"] not in others
        ]
        assert bad == []
        assert not [one for one in found if one["code"] == Code.STRESSER_CANNOT_START.value]

        os.kill(rig.pid, signal.SIGSTOP)
        stopped = [o for o in look(folder, Area.DAEMON) if o.code is Code.DAEMON_STOPPED]
        os.kill(rig.pid, signal.SIGCONT)
        assert [one.command for one in stopped] == [f"kill -CONT {rig.pid}"]

        rig.process.kill()
        rig.process.wait(timeout=10)
        before = contents(folder)
        dead = look(folder, Area.DAEMON, Area.HISTORY, Area.FILES, Area.LOG)
        assert {Code.DAEMON_DIED, Code.LEFT_BEHIND} <= codes(dead)
        database = str(folder / "state" / HISTORY_NAME)
        side = (f"{database}-shm",)  # SQLite's locks of readers
        after = contents(folder)
        assert after.keys() == before.keys()
        assert {k: v for k, v in after.items() if k not in side} == {
            k: v for k, v in before.items() if k not in side
        }


def test_a_daemon_that_hangs_is_told_from_one_that_starts(tmp_path: Path) -> None:
    """An old status under a lock that is held; here the lock's holder writes none at all."""
    folder = tmp_path / "work"
    (folder / "run").mkdir(parents=True)
    holder = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from optimizer.adapters.instance_lock import InstanceLock\n"
        "InstanceLock(Path(sys.argv[1])).acquire()\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", holder, str(folder / "run/lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            assert Code.DAEMON_STARTING in codes(look(folder, Area.DAEMON))
            old = {"updated_utc_s": time.time() - 60, "pid": process.pid}
            (folder / "run/status.json").write_text(json.dumps(old))
            hung = [one for one in look(folder, Area.DAEMON) if one.code is Code.DAEMON_HUNG]
            assert str(process.pid) in (hung[0].command or "")
        finally:
            process.kill()


def test_a_broken_configuration_is_a_finding(tmp_path: Path) -> None:
    """Every fault is told, exit 1 and not 78, and the rest is examined all the same."""
    file = tmp_path / "optimizer.env"
    file.write_text(f"WORKSPACE_DIR={tmp_path}/w\nTARGET_CPU=forty\nNONSENSE=1\n")
    shown = optimizer("doctor", "--config", str(file))
    assert shown.returncode == 1
    assert shown.stdout.count("config-fault") == 2
    assert "TARGET_CPU=forty" in shown.stdout
    assert "write for example TARGET_CPU=40" in shown.stdout
    assert f"{tmp_path}/w/state" in shown.stdout
    assert not (tmp_path / "w").exists()


def with_libraries(folder: Path, *path: Path) -> subprocess.CompletedProcess[str]:
    """The command in an interpreter that finds libraries in these folders only."""
    options = ["--json", "--set", f"WORKSPACE_DIR={folder}/w"]
    return subprocess.run(
        [sys.executable, "-S", "-m", "optimizer", "doctor", *options],
        env={**environment(), "PYTHONPATH": os.pathsep.join(map(str, path))},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_runs_without_any_library(tmp_path: Path) -> None:
    """Each missing one is named with the command that installs it; areas that need none work."""
    code = checkout(tmp_path / "code", "optimizer", "recover", "stressers", "setup.cfg")
    shown = with_libraries(tmp_path, code)
    findings = json.loads(shown.stdout)["findings"]
    assert shown.returncode == 1
    missing = [one for one in findings if one["code"] == Code.DEPENDENCY_MISSING.value]
    assert {one["found"].split()[0] for one in missing} == {
        "cronsim",
        "psutil",
        "python-dotenv",
        "structlog",
    }
    assert all(one["command"] for one in missing)
    unseen = {one["area"] for one in findings if one["code"] == Code.NOT_EXAMINED.value}
    assert unseen == {"targets", "disks"}
    fine = {one["area"] for one in findings if one["code"] == Code.FINE.value}
    assert {"orders", "stressers", "files", "log"} <= fine


def test_a_library_that_breaks_at_import_is_told_from_one_that_is_missing(tmp_path: Path) -> None:
    """As a C extension for another Python does; its version is that of its metadata."""
    broken = (
        "import sys\n"
        "class Broken:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'psutil':\n"
        "            raise ImportError('undefined symbol: x')\n"
        "sys.meta_path.insert(0, Broken())\n"
    )
    pairs = [f"WORKSPACE_DIR={tmp_path}/w"]
    found = apart.examine([Area.INSTALL], None, pairs, program=broken + apart.CHILD)
    (told,) = [one for one in found if one.code is Code.DEPENDENCY_BROKEN]
    assert "undefined symbol: x" in told.found


def test_who_takes_the_port_is_named(tmp_path: Path) -> None:
    """By pid and name, with the key to change."""
    pytest.importorskip("glances")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = look(tmp_path, Area.PAGE, GLANCES_ENABLED="true", GLANCES_PORT=str(port))
    taken = [one for one in found if one.code is Code.PORT_TAKEN]
    assert f"pid {os.getpid()} (" in taken[0].found
    assert f"GLANCES_PORT={port + 1}" in taken[0].remedy


def test_a_limit_that_is_too_low_is_told(tmp_path: Path) -> None:
    """As `ulimit` or a unit sets it, with its value."""
    program = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
    ) + apart.CHILD
    pairs = [f"WORKSPACE_DIR={tmp_path}", "TARGET_DISK=0"]
    found = apart.examine([Area.KERNEL], None, pairs, program=program)
    limits = [one.found for one in found if one.code is Code.LIMIT_TOO_LOW]
    assert any("RLIMIT_NOFILE) is 64" in said for said in limits)
    assert any("RLIMIT_AS" in said for said in limits)


def test_an_inhibit_in_force_is_told_and_obeyed(tmp_path: Path) -> None:
    """Stressers are started all the same, but hold nothing."""
    (tmp_path / "w/state").mkdir(parents=True)
    optimizer("pause", "--reason", "audit", "--set", f"WORKSPACE_DIR={tmp_path}/w")
    found = look(tmp_path / "w", Area.ORDERS, Area.STRESSERS, TARGET_DISK="0")
    said = [one for one in found if one.code is Code.INHIBITED]
    assert "audit" in said[0].found
    assert said[0].severity is Severity.WARNING
    assert Code.STRESSER_CANNOT_START not in codes(found)


def fill(path: Path) -> None:
    """Write until not one more block fits; what was promised is on the disk then."""
    with path.open("wb", buffering=0) as filler:
        for chunk in (bytes(1 << 20), bytes(4096), bytes(4096)):
            with contextlib.suppress(OSError):
                while filler.write(chunk) == len(chunk):
                    pass
            with contextlib.suppress(OSError):
                os.fsync(filler)


def test_a_full_and_a_read_only_filesystem_are_told(tmp_path: Path) -> None:
    """What the daemon would meet with its next sample or log line."""
    with volume("ext4", tmp_path, size_mb=24) as disk:
        for name in ("state", "run", "logs"):
            (disk.mount / "w" / name).mkdir(parents=True)
        fill(disk.mount / "filler")
        full = [
            one for one in look(disk.mount / "w", Area.FILES) if one.code is Code.DIRECTORY_FULL
        ]
        assert {one.severity for one in full} == {Severity.FAULT}
        assert len(full) == 3
        assert look_into("state", disk.mount / "w/state").full
        assert disk.remount("ro") is None
        assert Code.DIRECTORY_READ_ONLY in codes(look(disk.mount / "w", Area.FILES))


def test_a_filesystem_that_an_operator_asked_for_is_left_alone(tmp_path: Path) -> None:
    """It is about to be unmounted: no stresser is tried there."""
    folder = tmp_path / "w"
    (folder / "state").mkdir(parents=True)
    with volume("ext4", tmp_path, size_mb=64) as disk:
        pairs = {"TARGET_DISK": "40", "DISK_STRESS_PATH": str(disk.mount)}
        tried = look(folder, Area.STRESSERS, **pairs)
        assert "nothing is held of it" not in " ".join(one.found for one in tried)
        release(
            folder / "state",
            [str(disk.mount)],
            until_utc_s=time.time() + 600,
            now_utc_s=time.time(),
        )
        found = look(folder, Area.STRESSERS, Area.ORDERS, **pairs)
        assert "disk: nothing is held of it" in " ".join(one.found for one in found)
        assert Code.RELEASED in codes(found)


def test_a_filesystem_that_does_not_answer_costs_its_areas_only(tmp_path: Path) -> None:
    """A look at a frozen one is given up after the deadline, and the others are told."""
    with volume("ext4", tmp_path, size_mb=24) as disk:
        for name in ("state", "run", "logs"):
            (disk.mount / "w" / name).mkdir(parents=True)
        pairs = [f"WORKSPACE_DIR={disk.mount}/w", "GLANCES_ENABLED=false"]
        disk.freeze()
        started_s = time.monotonic()
        found = apart.examine([Area.FILES, Area.INSTALL], None, pairs, deadline_s=4.0)
        took_s = time.monotonic() - started_s
        disk.thaw()
        assert Code.EXAMINATION_HANGS in {o.code for o in found if o.area is Area.FILES}
        assert Code.EXAMINATION_HANGS not in {o.code for o in found if o.area is Area.INSTALL}
        assert took_s < 20
