"""The unit files: systemd takes them without a word, and they are closed as far as can be."""

from __future__ import annotations

import configparser
import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from optimizer.installed import VENV, share

FOLDER = share() / "systemd"
SERVICES = sorted(FOLDER.glob("*.service"))
UNITS = sorted(one for one in FOLDER.iterdir() if one.suffix != ".conf")
MOST_EXPOSED = 13
"""Of 100; systemd-analyze security shows a tenth of it."""
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (package systemd)"
)


def said(path: Path, key: str) -> list[str]:
    """All that a unit says for a key."""
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^{re.escape(key)}=(.*)$", text, re.MULTILINE)


@needs_systemd
def test_systemd_finds_nothing_to_say_of_the_units(tmp_path: Path) -> None:
    """`systemd-analyze verify` prints nothing: its exit code is 0 for an unknown key too."""
    copies = []
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        copy = tmp_path / unit.name
        copy.write_text(re.sub(rf"{VENV}/bin/[\w-]+", "/bin/true", text), encoding="utf-8")
        copies.append(str(copy))
    done = subprocess.run(
        ["systemd-analyze", "verify", *copies], capture_output=True, text=True, check=False
    )
    if "Failed to initialize manager" in done.stderr:
        pytest.skip(f"systemd-analyze cannot work here: {done.stderr[:200]}")
    assert (done.stdout + done.stderr).strip() == ""


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.name)
def test_each_service_is_closed(unit: Path) -> None:
    """`systemd-analyze security` shows an exposure of 1.3 at most."""
    words = ["systemd-analyze", "security", "--no-pager", "--offline=true"]
    done = subprocess.run(
        [*words, f"--threshold={MOST_EXPOSED}", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "--offline" in done.stderr or "nrecognized" in done.stderr:
        pytest.skip("this systemd-analyze judges no files (before version 250)")
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("User", "optimizer"),
        ("KillMode", "control-group"),
        ("WatchdogSec", "10"),
        ("TimeoutStopSec", "5"),
        ("OOMPolicy", "continue"),
        ("OOMScoreAdjust", "-500"),
        ("Restart", "on-failure"),
        ("RestartPreventExitStatus", "78"),
        ("StartLimitIntervalSec", "0"),
        ("LimitCORE", "0"),
        ("ProtectControlGroups", "yes"),
        # The sensors read /proc/stat and its like.
        ("ProcSubset", "all"),
        # A mount namespace that pins nothing, and in which data disks can be written.
        ("ProtectSystem", "full"),
        ("ProtectHome", "no"),
        ("PrivateDevices", "no"),
    ],
)
def test_the_daemon_is_run_as_designed(key: str, value: str) -> None:
    """What the design counts on stands in the unit, once."""
    assert said(FOLDER / "optimizer.service", key) == [value]


def test_what_must_end_in_time_does() -> None:
    """No unit may hold up a shutdown for longer than five seconds."""
    for name in ("optimizer.service", "optimizer-glances.service"):
        assert [int(text) for text in said(FOLDER / name, "TimeoutStopSec")] == [5]


def test_a_stop_is_proven_and_touches_no_order() -> None:
    """After each stop root looks for what is left, without forbidding load or stopping units."""
    _, after = said(FOLDER / "optimizer.service", "ExecStopPost")
    assert after.startswith("+")
    assert "--after-stop" in after.split()


def test_what_is_to_end_in_the_idle_group_gets_cpu_time() -> None:
    """Before it is told to end, and again after a crash, whose end nobody ordered."""
    (before,) = said(FOLDER / "optimizer.service", "ExecStop")
    first, _ = said(FOLDER / "optimizer.service", "ExecStopPost")
    assert before == first
    assert before.startswith("-+")
    assert "optimizer.slice/cpu.idle" in before


def test_a_disk_that_cannot_be_prepared_does_not_keep_the_daemon_from_running() -> None:
    """The preparation is root's, and its failure is passed over."""
    (before,) = said(FOLDER / "optimizer.service", "ExecStartPre")
    assert before.startswith("-+")


def test_the_daemon_stops_before_disks_are_unmounted() -> None:
    """What starts after the mounts stops before them."""
    (after, *_) = said(FOLDER / "optimizer.service", "After")
    assert {"local-fs.target", "remote-fs.target"} <= set(after.split())


def test_the_daemon_needs_no_other_unit() -> None:
    """It wants others, and none of them can take it down."""
    text = (FOLDER / "optimizer.service").read_text(encoding="utf-8")
    assert not re.search(r"^(Requires|BindsTo|PartOf|Requisite)=", text, re.MULTILINE)


def test_the_page_is_another_users_and_reads_no_configuration() -> None:
    """The page runs as a user of its own; root hands it what it needs."""
    page = FOLDER / "optimizer-glances.service"
    assert said(page, "User") == ["optimizer-glances"]
    (condition,) = said(page, "ExecCondition")
    assert condition.startswith("+")
    assert "/etc/optimizer" not in "".join(said(page, "ExecStart"))


@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.name)
def test_what_goes_wrong_is_in_the_journal(unit: Path) -> None:
    """Standard error follows standard output unless it is said: see systemd.exec(5)."""
    if said(unit, "StandardOutput") == ["null"]:
        assert said(unit, "StandardError") == ["journal"]


@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.name)
def test_each_weak_line_says_why(unit: Path) -> None:
    """A comment stands above each line that leaves a part of the sandbox open."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    weak = re.compile(r"(Protect\w+|Private\w+|ProcSubset)=(no|full|default|all)")
    for before, line in itertools.pairwise(lines):
        if weak.fullmatch(line) and line != "ProcSubset=all":
            assert before.startswith("#"), line


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_each_unit_says_what_it_is(unit: Path) -> None:
    """`systemctl status` shows a description that names the program."""
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.read_string(unit.read_text(encoding="utf-8"))
    assert "CloudResourceOptimizer" in parser["Unit"]["Description"]
