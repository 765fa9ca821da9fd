"""Pause, resume and maintenance windows on a real daemon, and what the commands say."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from optimizer.__main__ import main
from optimizer.adapters.switch import INHIBIT_NAME
from tests.rig import DaemonRig, alive, daemon, descendants, eventually

EXIT_USAGE = 2
NO_WINDOWS = "MAINTENANCE_WINDOWS="


def window_in_force(hours: int = 3) -> str:
    """A daily window that began some minutes ago and has long to go."""
    start = datetime.now(UTC) - timedelta(minutes=5)
    return f"{start.minute} {start.hour} * * * {hours}h UTC"


def coming_window() -> str:
    """A daily window that begins in some hours."""
    start = datetime.now(UTC) + timedelta(hours=5)
    return f"{start.minute} {start.hour} * * * 2h UTC"


def allowed(rig: DaemonRig) -> bool:
    """Whether load may be held; on a busy machine the tenant alone may be above the target."""
    return rig.resource("cpu").get("reason") in {"holding", "rising", "tenant_above", "hold_off"}


def configure(file: Path, line: str) -> None:
    """Write the configuration at once, so that no daemon reads half of it."""
    fresh = file.with_suffix(".new")
    fresh.write_text(line, encoding="utf-8")
    fresh.replace(file)


def events(rig: DaemonRig) -> list[str]:
    """The kinds of the events so far."""
    shown = rig.command("history", "events", "--json")
    assert shown.returncode == 0, shown.stderr
    return [event["kind"] for event in json.loads(shown.stdout)]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_window_in_force_is_obeyed_and_resume_lifts_it_also_over_a_restart(
    tmp_path: Path,
) -> None:
    """No load and a named reason; after resume load, said so; after a restart still load."""
    window = window_in_force()
    work, options = tmp_path / "work", {"MAINTENANCE_WINDOWS": window}
    with daemon(work, **options) as rig:
        eventually(lambda: rig.resource("cpu").get("reason") == "inhibited", what="inhibited")
        assert descendants(rig.pid) == set()
        inhibit = rig.status()["inhibit"]
        assert (inhibit["by"], inhibit["reason"]) == ("maintenance window", window)
        table = rig.command("status").stdout
        assert "paused    by maintenance window since" in table
        assert "UTC, in 2 h 5" in table
        assert "window    now: " in table
        assert "window    next: " in table
        page = (work / "run" / "status.txt").read_text(encoding="utf-8")
        assert "PAUSED until" in page
        assert "by maintenance: " in page
        paused = rig.command("pause", "10m")
        assert "ends later and counts" in paused.stdout
        resumed = rig.command("resume")
        assert f"The maintenance window {window!r} is lifted until" in resumed.stdout
        eventually(lambda: allowed(rig), what="load after resume")
        assert "lifted by `optimizer resume`" in rig.command("status").stdout
        assert rig.stop() == 0
    with daemon(work, **options) as rig:
        eventually(lambda: allowed(rig), what="load after a restart")
        rig.process.kill()
        rig.process.wait(timeout=10)
    with daemon(work, **options) as rig:
        eventually(lambda: "daemon.restarted" in events(rig), what="a third daemon")
        assert events(rig) == [
            "daemon.started",
            "maintenance.began",
            "maintenance.ended",
            "daemon.stopped",
            "daemon.started",
            "daemon.restarted",
        ]
        assert rig.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_windows_are_reloaded_and_a_pause_at_the_start_is_noted(tmp_path: Path) -> None:
    """A window that comes with a reload takes the load away; with the next one it is back."""
    file, work = tmp_path / "optimizer.env", tmp_path / "work"
    configure(file, f"{NO_WINDOWS}{coming_window()}\n")
    with daemon(work, "--config", str(file)) as rig:
        eventually(lambda: allowed(rig), what="load")
        assert "window    next: " in rig.command("status").stdout
        configure(file, f"{NO_WINDOWS}{window_in_force()}\n")
        eventually(lambda: rig.resource("cpu")["reason"] == "inhibited", what="inhibited")
        eventually(lambda: not descendants(rig.pid), what="all stressers gone")
        configure(file, f"{NO_WINDOWS}0 2 * * * 2h Nowhere/Else\n")
        eventually(lambda: rig.status()["config"]["ok"] is False, what="rejected")
        assert "Nowhere/Else" in rig.status()["config"]["message"]
        assert rig.resource("cpu")["reason"] == "inhibited"
        configure(file, NO_WINDOWS + "\n")
        eventually(lambda: allowed(rig), what="load again")
        assert rig.stop() == 0
    # The file is good again, and names no window.
    gone = rig.command("pause", "--reason", "kernel patch")
    assert "No daemon runs" in gone.stdout
    with daemon(work, "--config", str(file)) as rig:
        eventually(lambda: "load.paused" in events(rig), what="the pause in the history")
        assert events(rig) == [
            "daemon.started",
            "config.reloaded",
            "maintenance.began",
            "config.rejected",
            "config.reloaded",
            "maintenance.ended",
            "daemon.stopped",
            "daemon.started",
            "load.paused",
        ]
        shown = rig.command("history", "events", "--days", "1").stdout.splitlines()
        assert "paused by" in shown[-1]
        assert shown[-1].endswith(": kernel patch")


@pytest.mark.skipif(sys.platform != "linux", reason="uses SIGSTOP")
def test_pause_and_status_work_while_the_daemon_hangs(tmp_path: Path) -> None:
    """The order is written and shown; the daemon obeys it as soon as it goes on."""
    with daemon(tmp_path / "work") as rig:
        eventually(lambda: allowed(rig), what="load")
        stressers = descendants(rig.pid)
        os.kill(rig.pid, signal.SIGSTOP)
        try:
            assert rig.command("pause", "--reason", "hang").returncode == 0
            eventually(lambda: not alive(stressers), what="leases over")
            old = rig.status() | {"updated_utc_s": time.time() - 60}
            rig.status_path.write_text(json.dumps(old), encoding="utf-8")
            shown = rig.command("status")
            assert shown.returncode == 1
            assert "it hangs or is stopped" in shown.stdout
            assert ", until resumed: hang" in shown.stdout
            assert json.loads(rig.command("status", "--json").stdout)["inhibit"]["reason"] == "hang"
        finally:
            os.kill(rig.pid, signal.SIGCONT)
        eventually(lambda: rig.resource("cpu").get("reason") == "inhibited", what="inhibited")


Words = tuple[str, ...]


class Here:
    """Commands in this process, on a folder of its own without a daemon."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def __call__(self, *words: str, windows: str = "") -> tuple[int, str]:
        """Exit code and what was printed."""
        options = ("--set", f"WORKSPACE_DIR={self.folder}", "--set", f"{NO_WINDOWS}{windows}")
        try:
            code = main([*words, *options])
        except SystemExit as exc:
            code = int(exc.code or 0)
        printed = self._capsys.readouterr()
        return code, printed.out + printed.err


@pytest.fixture
def here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Here:
    """Commands on an empty folder."""
    return Here(tmp_path, capsys)


def test_a_pause_is_shown_with_its_end_and_what_it_replaces(here: Here) -> None:
    """By whom, why, until when with the zone, and how long that is; without a daemon too."""
    code, said = here("pause", "2h", "--reason", "first")
    assert code == 0
    assert "in 2 h: first." in said
    assert "replaces" not in said
    code, said = here("pause", "--reason", "second")
    assert "Paused until `optimizer resume`: second." in said
    assert "This replaces the pause by " in said
    assert "in 2 h: first." in said
    _, said = here("status")
    assert ", until resumed: second; `optimizer resume` lifts it." in said
    code, said = here("resume")
    assert (code, said) == (0, "Resumed: load comes back at its allowed rise.\n")
    assert "Paused" not in here("status")[1]


def test_an_order_that_has_expired_confuses_nobody(here: Here) -> None:
    """Neither the status nor the next pause speaks of it, though its file is there."""
    here("pause", "1s", "--reason", "old")
    path = here.folder / "state" / INHIBIT_NAME
    order = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(order | {"until_utc_s": time.time() - 1}), encoding="utf-8")
    assert "Paused" not in here("status")[1]
    assert json.loads(here("status", "--json")[1])["inhibit"] is None
    assert path.exists()
    assert "replaces" not in here("pause", "1h")[1]


def test_windows_are_announced_without_a_daemon(here: Here) -> None:
    """The one that runs, the next one, and what a resume does to them."""
    window = window_in_force()
    (here.folder / "state").mkdir()
    _, said = here("status", windows=f"{window}; {coming_window()}")
    assert f"Paused by maintenance window since {datetime.now(UTC):%Y-%m-}" in said
    assert f": {window}; `optimizer resume` lifts it." in said
    assert "Maintenance window now: " in said
    assert "Maintenance window next: " in said
    assert "UTC, in 5 h." in said or "UTC, in 4 h 59 min." in said
    _, said = here("resume", windows=window)
    assert f"The maintenance window {window!r} is lifted until " in said
    assert "The next maintenance window: " in said
    _, said = here("status", windows=window)
    assert "Paused" not in said
    assert "lifted by `optimizer resume` until its end in 2 h 5" in said


@pytest.mark.parametrize(
    "word", ["0", "0s", "-5", "1e9d", "nan", "999999999999d", "367d", "2 h", "", "2w"]
)
def test_a_bad_duration_is_a_clear_error_and_no_pause(here: Here, word: str) -> None:
    """Exit 2, the word, and what to write; nothing on the disk."""
    code, said = here("pause", word)
    assert code == EXIT_USAGE
    assert repr(word) in said
    assert "write" in said
    assert not (here.folder / "state").exists()


@pytest.mark.parametrize("word", ["0", "-1", "nan", "x", "inf"])
def test_a_bad_number_of_days_is_a_clear_error(here: Here, word: str) -> None:
    """Exit 2 and the word."""
    code, said = here("history", "events", "--days", word)
    assert code == EXIT_USAGE
    assert repr(word) in said


def test_events_without_a_history_say_so(here: Here) -> None:
    """One line, exit 1."""
    code, said = here("history", "events")
    assert code == 1
    assert said.startswith("optimizer: there is no history at ")


def test_a_broken_configuration_hinders_no_pause(here: Here, tmp_path: Path) -> None:
    """Pause, status and resume go by the part that is good, and say so; a typing error is 78."""
    config = tmp_path / "broken.env"
    config.write_text("TARGET_CPU=banana\nGLANCES_PORT=99999\n", encoding="utf-8")
    broken = ("--config", str(config))
    code, said = here("pause", "1h", *broken)
    assert (code, "faults (2," in said, "Paused until" in said) == (0, True, True)
    assert (tmp_path / "state" / INHIBIT_NAME).exists()
    assert "Paused by" in here("status", *broken)[1]
    assert here("resume", *broken)[0] == 0
    assert not (tmp_path / "state" / INHIBIT_NAME).exists()
    code, said = here("pause", "1h", "--set", "nonsense")
    assert (code, "nonsense" in said) == (78, True)
