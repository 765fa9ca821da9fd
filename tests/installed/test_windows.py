"""The program on Windows, as far as wine can show it: tests, load, kill, service, recovery."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.installed.windows_python import NoPythonError
from tests.installed.wine import NoWineError, Wine, wine
from tests.rig import eventually

pytestmark = pytest.mark.installed

DATA = Path("ProgramData/Optimizer")
UNIT_TESTS = (
    "atomic",
    "directories",
    "history_backup",
    "instance_lock",
    "job_object",
    "lease",
    "log",
    "maintenance",
    "platform",
    "roster",
    "self_limits",
    "settings",
    "status_text",
    "stresser_cpu",
    "stresser_exit",
    "stresser_lookout",
    "stresser_memory",
    "stresser_threads",
    "windows_calls",
    "windows_memory",
    "windows_plan",
)
"""Of tests/unit what meets the system: files, locks, processes, memory, clocks, text.

Arithmetic is the same on each system, so it is not run again; what needs other
programs (Glances, sysstat) or fork is for the systems that have them.
"""
NOT_UNDER_WINE = (
    # Wine makes no symbolic links, and cannot rename what is open.
    "test_rests_are_removed_and_nothing_else",
    "test_what_a_killed_backup_left_goes_with_a_later_one",
    "test_what_is_no_history_is_named",
    "test_a_log_moved_away_by_somebody_is_started_anew",
    # Of POSIX: /proc, the example of a path, line ends; rich is not installed there.
    "test_the_memory_of_a_mounted_proc_counts",
    "test_every_field_is_a_key",
    "test_any_tar_reads_a_backup",
    "test_rich_is_not_imported_though_installed",
)
_UNIT_S = 200.0
_LEAST_PASSED = 400


@pytest.fixture(scope="module")
def rig() -> Iterator[Wine]:
    """One prefix for all; skips where there can be none."""
    try:
        with wine() as found:
            yield found
    except (NoWineError, NoPythonError) as exc:
        pytest.skip(str(exc))


class Foreground:
    """A daemon in the foreground, with a little memory and much CPU to hold."""

    def __init__(self, rig: Wine, folder: Path) -> None:
        self.rig = rig
        self.folder = folder
        used = psutil.virtual_memory().percent
        settings = {
            "WORKSPACE_DIR": rig.windows(folder),
            "GLANCES_ENABLED": "false",
            "CHECK_INTERVAL_SECONDS": "1",
            "TARGET_CPU": "90",
            "TARGET_MEMORY": str(min(90, int(used) + 5)),
            "TARGET_DISK": "0",
            "MEMORY_RISE_MB_PER_MINUTE": "2000",
        }
        pairs = (f"{key}={value}" for key, value in settings.items())
        self.options = [word for pair in pairs for word in ("--set", pair)]
        self.process, self.said = rig.start_python("-m", "optimizer", "run", *self.options)

    def records(self) -> list[dict[str, Any]]:
        """What the file log says of each interval."""
        path = self.folder / "logs/optimizer.log"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        events = [json.loads(line) for line in lines]
        return [event for event in events if event["event"] == "cycle.completed"]

    def pid(self) -> int:
        """Its pid there."""
        status = json.loads((self.folder / "run/status.json").read_text(encoding="utf-8"))
        return int(status["pid"])

    def stressers(self) -> list[int]:
        """What it has started, as this host sees it."""
        return self.rig.programs("stressers")

    def wait_until_holding(self) -> None:
        """It has memory, and says so."""
        eventually(self._holds, deadline_s=90, what=f"memory held; see {self.said}")

    def _holds(self) -> bool:
        records = self.records()
        return bool(records and records[-1]["memory_own_percent"] > 0 and self.stressers())


@pytest.fixture
def foreground(rig: Wine, tmp_path: Path) -> Iterator[Foreground]:
    """A daemon that holds; killed at the end if it still runs."""
    found = Foreground(rig, tmp_path / "w")
    try:
        found.wait_until_holding()
        yield found
    finally:
        found.process.kill()
        found.process.wait(timeout=10)
        for pid in rig.programs("WORKSPACE_DIR="):
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()


def test_the_unit_tests_pass(rig: Wine, figure: Callable[[str], None]) -> None:
    """Those that meet the system, but for what wine has not."""
    files = [f"tests/unit/test_{name}.py" for name in UNIT_TESTS]
    words = ("-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "-m", "not long")
    words = (*words, "-k", " and ".join(f"not {name}" for name in NOT_UNDER_WINE))
    begun_s = time.monotonic()
    done = rig.python(*words, *files, timeout_s=_UNIT_S)
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0, done.stdout[-8000:]
    assert passed
    assert int(passed[1]) >= _LEAST_PASSED
    figure(f"wine: {passed[0]} in {time.monotonic() - begun_s:.0f} s")


def test_it_tells_what_it_would_do(rig: Wine) -> None:
    """A good configuration is found good, a bad one named; the plan knows where it runs."""
    assert rig.optimizer("check-config").returncode == 0
    wrong = rig.optimizer("check-config", "--set", "TARGET_CPU=1000")
    assert wrong.returncode == 78
    assert "TARGET_CPU=1000" in wrong.stdout
    plan = rig.optimizer("plan")
    assert plan.returncode == 0, plan.stdout
    assert "windows" in plan.stdout


def test_it_holds_pauses_and_dies_whole(
    foreground: Foreground, figure: Callable[[str], None]
) -> None:
    """It holds and says so; a pause releases all, a resume brings it back.

    TerminateProcess of the controller ends its stressers, which are then in no
    position to be told anything.
    """
    rig, options = foreground.rig, foreground.options
    status = rig.optimizer("status", *options)
    assert status.returncode == 0, status.stdout
    assert f"pid {foreground.pid()}" in status.stdout
    assert rig.optimizer("pause", *options).returncode == 0
    eventually(lambda: not foreground.stressers(), deadline_s=20, what="all released")
    assert rig.optimizer("resume", *options).returncode == 0
    eventually(foreground.stressers, deadline_s=40, what="load again")
    pid = foreground.pid()
    rig.asked(f"import psutil; psutil.Process({pid}).kill(); print(0)")
    begun_s = time.monotonic()
    eventually(lambda: not foreground.stressers(), deadline_s=10, what="no stresser left")
    figure(f"wine: stressers gone {time.monotonic() - begun_s:.1f} s after TerminateProcess")


def test_each_stresser_gives_way_and_is_listed(foreground: Foreground) -> None:
    """The CPU's are in the idle class, and the roster names all for the recovery tool."""
    rows = foreground.rig.asked(
        "import json, psutil\n"
        f"found = psutil.Process({foreground.pid()}).children()\n"
        "print(json.dumps([[one.pid, int(one.nice()), one.cmdline()[4]] for one in found]))"
    )
    roster = json.loads((foreground.folder / "run/roster.json").read_text(encoding="utf-8"))
    assert rows
    assert {row[0] for row in rows} <= {one["pid"] for one in roster["processes"]}
    idle = 0x40  # Source: winbase.h, IDLE_PRIORITY_CLASS.
    assert all(row[1] == idle for row in rows if row[2] == "cpu")


@pytest.fixture
def service(rig: Wine) -> Iterator[Wine]:
    """The service, installed and running; purged at the end."""
    installed = rig.optimizer("service", "install")
    assert installed.returncode == 0, installed.stdout
    try:
        yield rig
    finally:
        gone = rig.optimizer("service", "uninstall", "--purge")
    assert gone.returncode == 0, gone.stdout


def state(rig: Wine) -> str:
    """What the service manager says."""
    return rig.optimizer("service", "status").stdout


def holds(rig: Wine) -> bool:
    """Whether the service's daemon shows its state."""
    return (rig.drive / DATA / "run/status.json").exists()


def test_the_service_lives_and_goes(rig: Wine) -> None:
    """Install, run, a second install that changes nothing, stop, start, uninstall, purge."""
    assert "not installed" in state(rig)
    first = rig.optimizer("service", "install")
    assert first.returncode == 0, first.stdout
    assert "changed: service CloudResourceOptimizer" in first.stdout
    eventually(lambda: holds(rig), deadline_s=40, what="a status of the service's daemon")
    assert "is running" in state(rig)
    again = rig.optimizer("service", "install").stdout.splitlines()
    assert again[-1] == "nothing changed"
    assert "pid" in rig.optimizer("status").stdout
    assert "changed: service stopped" in rig.optimizer("service", "stop").stdout
    assert "is stopped, exit code 0" in state(rig)
    assert not rig.programs("stressers")
    log = (rig.drive / DATA / "logs/optimizer.log").read_text(encoding="utf-8")
    assert json.loads(log.splitlines()[-1])["event"] == "daemon.stopped"
    assert "changed: service started" in rig.optimizer("service", "start").stdout
    assert rig.optimizer("service", "uninstall").returncode == 0
    assert "not installed" in state(rig)
    left = {path.name for path in (rig.drive / DATA).iterdir()}
    assert left == {"config", "state"}
    assert rig.optimizer("service", "uninstall", "--purge").returncode == 0
    assert not (rig.drive / DATA).exists()
    assert rig.optimizer("service", "uninstall").stdout.splitlines()[-1] == "nothing changed"


def test_a_broken_configuration_ends_the_service_for_good(service: Wine) -> None:
    """The service manager gets exit code 78, as the reason and not as a crash."""
    service.optimizer("service", "stop")
    config = service.drive / DATA / "config/optimizer.env"
    config.write_text("TARGET_CPU=1000\n", encoding="utf-8")
    service.optimizer("service", "start")
    eventually(lambda: "is stopped" in state(service), deadline_s=40, what="stopped")
    assert "exit code 78" in state(service)


def test_a_killed_service_leaves_nothing(service: Wine) -> None:
    """Its stressers die with it, whoever ends it; it comes back with the system."""
    eventually(lambda: service.programs("stressers"), deadline_s=60, what="load of the service")
    pid = int(re.findall(r"pid (\d+)", state(service))[0])
    try:
        service.asked(f"import psutil; psutil.Process({pid}).kill(); print(0)")
        nothing = "no stresser left"
        eventually(lambda: not service.programs("stressers"), deadline_s=10, what=nothing)
    finally:
        # Wine's service manager would take the dead one for running, in each later test.
        service.restart()
    eventually(lambda: service.programs("stressers"), deadline_s=60, what="load after a restart")


def test_recovery_ends_everything(service: Wine) -> None:
    """The tool stops the service, forbids a start, and finds nothing at a second look."""
    eventually(lambda: service.programs("stressers"), deadline_s=60, what="load of the service")
    tool = service.windows(service.app / "recover/recover_system.py")
    done = service.python("-I", tool, "--yes", timeout_s=90)
    assert done.returncode == 0, done.stdout
    assert "stopped by the service manager" in done.stdout
    assert not service.programs("stressers")
    assert "is stopped" in state(service)
    assert (service.drive / DATA / "state/inhibit").exists()
