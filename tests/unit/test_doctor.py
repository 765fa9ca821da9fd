"""Every diagnosis of `optimizer doctor` appears on its facts, and only there."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer import __main__ as entry
from optimizer.model import Reason
from optimizer.report.doctor import (
    Area,
    Code,
    Finding,
    Severity,
    as_json,
    exit_code,
    fine,
    from_json,
    in_order,
)
from optimizer.report.doctor_daemon import DaemonFacts, Process, daemon
from optimizer.report.doctor_files import Directory, Log, files, log
from optimizer.report.doctor_history import History, history
from optimizer.report.doctor_host import Disks, Platform, disks, targets
from optimizer.report.doctor_install import (
    OLDEST_PYTHON,
    Config,
    Dependency,
    Install,
    config,
    install,
)
from optimizer.report.doctor_kernel import (
    Clock,
    Kernel,
    Lack,
    Stressers,
    Trial,
    Troubled,
    clock,
    kernel,
    stressers,
)
from optimizer.report.doctor_orders import Orders, orders
from optimizer.report.doctor_page import Page, page
from optimizer.report.doctor_text import WIDTH_CHARS, text

NOW = 1_800_000_000.0
HOUR, DAY = 3600.0, 86_400.0
GIB = float(1 << 30)

PSUTIL = Dependency(name="psutil", version="7.2.2", error=None, oldest="7.0", locked="7.2.2")
INSTALL = Install(python=(3, 11, 7), executable="/v/bin/python", dependencies=(PSUTIL,))
CONFIG = Config(file="/etc/optimizer/optimizer.env", in_force="/etc/optimizer/optimizer.env")
DAEMON = DaemonFacts(
    runtime="/run/optimizer", pid=7, state="S", age_s=1.0, up_s=HOUR, here="/p", runs="/p"
)
IDLE = replace(DAEMON, pid=None, age_s=None, last_word="daemon.stopped", last_exit=0)
ORDERS = Orders(now_utc_s=NOW, path="/s/inhibit")
INHIBIT = replace(ORDERS, by="root", reason="test", until_utc_s=NOW + HOUR, since_utc_s=NOW - 5)
PLATFORM = Platform(configured="auto", detected="debian", evidence="ID=debian")
DISKS = Disks(target=0.4, places=("/data",), reason=None, note="Space is held on /data.")
STRESSERS = Stressers(trials=(Trial(kind="cpu", ready_s=0.1),))
KERNEL = Kernel(release="6.18", is_root=True, groups="control groups version 2")
HISTORY = History(
    path="/s/history.sqlite3",
    now_utc_s=NOW,
    interval_s=60.0,
    days=30.0,
    runs=True,
    runs_s=40 * DAY,
    rows=43_200,
    size_bytes=1 << 20,
    first_utc_s=NOW - 30 * DAY,
    last_utc_s=NOW - 30,
    known_s=30 * DAY,
)
DIRECTORY = Directory(word="state", path="/s", exists=True, free_bytes=1 << 40, free_inodes=1 << 20)
LOG = Log(path="/l/optimizer.log", exists=True, lines=9)
CLOCK = Clock(now_utc_s=NOW, stepped_s=-1.0, ahead=(("the log", -2.0),), oldest_s=NOW - DAY)
PAGE = Page(enabled=True, bind="127.0.0.1", port=61208, local=True, state="running", answers=True)


def status(**changes: Any) -> dict[str, Any]:
    """A status document of a host that is held at its target, with changes to the memory."""
    held = {
        "now": 0.4,
        "organic": 0.1,
        "own": 0.3,
        "room": 0.5,
        "target": 0.4,
        "ceiling": 0.85,
        "reason": "holding",
        "capacity": 16 * GIB,
        "reach": 1.0,
        "note": "",
    }
    warnings = changes.pop("warnings", [])
    return {
        "resources": {"cpu": dict(held), "memory": held | changes, "disk": dict(held)},
        "warnings": warnings,
        "platform": "debian",
        "host_class": "large",
        "nominal_memory_gb": 16.0,
    }


def on(**changes: Any) -> list[Finding]:
    """The findings about the targets on such a host."""
    return targets(status(**changes), PLATFORM)


def library(**changes: Any) -> list[Finding]:
    """The findings about an installation whose one library is as said."""
    return install(replace(INSTALL, dependencies=(replace(PSUTIL, **changes),)))


def trial(**changes: Any) -> list[Finding]:
    """The findings about one stresser that was tried."""
    return stressers(Stressers(trials=(Trial(**{"kind": "disk", "ready_s": 0.1} | changes),)))


def process(**changes: Any) -> tuple[Process, ...]:
    """One CPU stresser of the daemon with pid 7."""
    return (Process(**{"pid": 8, "role": "stresser", "kind": "cpu", "controller": 7} | changes),)


FAULT, WARNING, NOTE = Severity.FAULT, Severity.WARNING, Severity.NOTE
TABLE: list[tuple[Code, Severity, Callable[[], list[Finding]]]] = [
    (Code.PYTHON_TOO_OLD, FAULT, lambda: install(replace(INSTALL, python=(3, 9, 2)))),
    (Code.OTHER_INTERPRETER, NOTE, lambda: install(replace(INSTALL, venv="/c/.venv/bin/python"))),
    (Code.DEPENDENCY_MISSING, FAULT, lambda: library(version=None, error="No module")),
    (Code.DEPENDENCY_BROKEN, FAULT, lambda: library(error="undefined symbol")),
    (Code.DEPENDENCY_BROKEN, FAULT, lambda: library(version=None, error="x", builtin=True)),
    (Code.DEPENDENCY_TOO_OLD, FAULT, lambda: library(version="6.10")),
    (Code.DEPENDENCY_NOT_LOCKED, NOTE, lambda: library(version="7.10.0")),
    (Code.CONFIG_FAULT, FAULT, lambda: config(replace(CONFIG, faults=("X=1: bad; write X=2",)))),
    (Code.CONFIG_WARNING, WARNING, lambda: config(replace(CONFIG, warnings=("old; remove",)))),
    (Code.CONFIG_NOT_READ, WARNING, lambda: config(replace(CONFIG, unread="no dotenv"))),
    (Code.RELOAD_REFUSED, WARNING, lambda: config(replace(CONFIG, refused="X=1: bad"))),
    (Code.OTHER_CONFIG, NOTE, lambda: config(replace(CONFIG, in_force=""))),
    (Code.DAEMON_NOT_RUNNING, NOTE, lambda: daemon(IDLE)),
    (Code.DAEMON_NOT_RUNNING, NOTE, lambda: daemon(replace(IDLE, last_word=None, is_new=True))),
    (Code.DAEMON_NOT_RUNNING, NOTE, lambda: daemon(replace(IDLE, last_word=None))),
    (Code.DAEMON_DIED, WARNING, lambda: daemon(replace(IDLE, last_word="cycle.completed"))),
    (Code.DAEMON_DIED, WARNING, lambda: daemon(replace(IDLE, last_exit=1))),
    (Code.DAEMON_DIED, WARNING, lambda: daemon(replace(IDLE, lock_left=True))),
    (Code.DAEMON_STARTING, NOTE, lambda: daemon(replace(DAEMON, age_s=None, up_s=2.0))),
    (Code.DAEMON_HUNG, FAULT, lambda: daemon(replace(DAEMON, age_s=60.0))),
    (Code.DAEMON_HUNG, FAULT, lambda: daemon(replace(DAEMON, age_s=None))),
    (Code.DAEMON_HUNG, FAULT, lambda: daemon(replace(DAEMON, age_s=60.0, state="D"))),
    (Code.DAEMON_STOPPED, FAULT, lambda: daemon(replace(DAEMON, state="T"))),
    (Code.DAEMON_UNSEEN, WARNING, lambda: daemon(replace(DAEMON, unseen="no rights"))),
    (Code.DAEMON_RESTARTS, WARNING, lambda: daemon(replace(DAEMON, starts=4))),
    (Code.DAEMON_OTHER_CODE, NOTE, lambda: daemon(replace(DAEMON, runs="/q"))),
    (Code.DAEMON_OLD_CODE, NOTE, lambda: daemon(replace(DAEMON, code_age_s=60.0))),
    (
        Code.TWO_DAEMONS,
        WARNING,
        lambda: daemon(replace(DAEMON, processes=process(pid=9, role="controller"))),
    ),
    (
        Code.LOAD_WITHOUT_DAEMON,
        FAULT,
        lambda: daemon(replace(IDLE, processes=process(lost=True))),
    ),
    (
        Code.LOAD_BY_HAND,
        NOTE,
        lambda: daemon(replace(DAEMON, processes=process(controller=None))),
    ),
    (Code.LEFT_BEHIND, NOTE, lambda: daemon(replace(DAEMON, left=("/cg/optimizer-load.5",)))),
    (Code.INHIBITED, NOTE, lambda: orders(INHIBIT)),
    (Code.INHIBITED, WARNING, lambda: orders(replace(INHIBIT, until_utc_s=None))),
    (Code.INHIBITED, NOTE, lambda: orders(replace(ORDERS, shown=("window", "night", NOW)))),
    (Code.NOT_EXAMINED, NOTE, lambda: orders(replace(ORDERS, unseen=True))),
    (Code.INHIBIT_ODD, WARNING, lambda: orders(replace(INHIBIT, odd=True))),
    (Code.INHIBIT_EXPIRED, NOTE, lambda: orders(replace(INHIBIT, until_utc_s=NOW - 1))),
    (Code.RELEASED, NOTE, lambda: orders(replace(ORDERS, released=(("/data", NOW + 1),)))),
    (Code.TARGET_OUT_OF_REACH, WARNING, lambda: on(ceiling=0.3)),
    # 10 % of the tenant's, 10 % ours and 10 % more end at 30 %.
    (Code.TARGET_OUT_OF_REACH, WARNING, lambda: on(own=0.1, now=0.2, room=0.1)),
    (Code.TENANT_ABOVE_TARGET, NOTE, lambda: on(organic=0.5, now=0.5)),
    (Code.HOST_NEARLY_FULL, WARNING, lambda: on(organic=0.97, now=0.97, room=-0.02)),
    (Code.LOAD_LIMITED, WARNING, lambda: on(reason=Reason.PRESSURE.value)),
    (Code.LOAD_LIMITED, NOTE, lambda: on(reason=Reason.HOLD_OFF.value)),
    (Code.SENSOR_FAILED, WARNING, lambda: on(now=None, organic=None)),
    (Code.SENSOR_FAILED, WARNING, lambda: on(warnings=["cannot read memory: no such file"])),
    (
        Code.PLATFORM_WRONG,
        WARNING,
        lambda: targets(status(), replace(PLATFORM, configured="centos")),
    ),
    (
        Code.PLATFORM_UNKNOWN,
        NOTE,
        lambda: targets(status(), replace(PLATFORM, detected="linux_generic")),
    ),
    (
        Code.NO_DATA_DISK,
        WARNING,
        lambda: disks(replace(DISKS, places=(), reason=Reason.NO_DATA_DISK, note="None; do X.")),
    ),
    (
        Code.NO_DISK,
        WARNING,
        lambda: disks(replace(DISKS, places=(), reason=Reason.NO_DISK, note="None; do X.")),
    ),
    (Code.DISK_REFUSED, NOTE, lambda: disks(replace(DISKS, refused=(("/boot", "why"),)))),
    (Code.DISK_NOT_WRITABLE, WARNING, lambda: disks(replace(DISKS, unwritable=(("/d", "no"),)))),
    (Code.DISK_FILE_HAS_NAME, NOTE, lambda: disks(replace(DISKS, named=("/data",)))),
    (Code.STRESSER_CANNOT_START, FAULT, lambda: trial(ready_s=None, error="denied")),
    (Code.STRESSER_LIMITED, WARNING, lambda: trial(limit="the filesystem is full")),
    (
        Code.STRESSER_DOWN,
        WARNING,
        lambda: stressers(
            replace(STRESSERS, troubled=(Troubled(kind="cpu", reason="stresser_down", note="x"),))
        ),
    ),
    (
        Code.STRESSER_TRIPPED,
        FAULT,
        lambda: stressers(
            replace(
                STRESSERS, troubled=(Troubled(kind="cpu", reason="stresser_tripped", note="x"),)
            )
        ),
    ),
    (
        Code.STRESSER_STUCK,
        WARNING,
        lambda: stressers(
            replace(
                STRESSERS, troubled=(Troubled(kind="disk", reason="stuck", note="", pids=(5,)),)
            )
        ),
    ),
    (Code.MEANS_MISSING, NOTE, lambda: trial(missing=("ioprio idle: our writes compete",))),
    (
        Code.MEANS_MISSING,
        NOTE,
        lambda: stressers(replace(STRESSERS, missing=("idle cgroup: 4 ms",))),
    ),
    (Code.NOT_ROOT, NOTE, lambda: kernel(replace(KERNEL, is_root=False))),
    (
        Code.NOT_ROOT,
        NOTE,
        lambda: kernel(replace(KERNEL, is_root=False, daemon_is_root=True, denied="no rights")),
    ),
    (Code.KERNEL_LACKS, NOTE, lambda: kernel(replace(KERNEL, lacks=(Lack(name="PSI", cost="x"),)))),
    (Code.CGROUP_DENIED, NOTE, lambda: kernel(replace(KERNEL, denied="read-only"))),
    (Code.LIMIT_TOO_LOW, WARNING, lambda: kernel(replace(KERNEL, limits=(("files", 9, 256),)))),
    (Code.HISTORY_NONE, NOTE, lambda: history(replace(HISTORY, exists=False, runs=False))),
    (Code.HISTORY_NONE, WARNING, lambda: history(replace(HISTORY, exists=False))),
    (Code.HISTORY_DAMAGED, FAULT, lambda: history(replace(HISTORY, damage="malformed"))),
    (Code.HISTORY_SET_ASIDE, WARNING, lambda: history(replace(HISTORY, aside=("/s/h.damaged-1",)))),
    (Code.HISTORY_NEWER, FAULT, lambda: history(replace(HISTORY, newer="schema 9: install"))),
    (Code.HISTORY_UNREADABLE, WARNING, lambda: history(replace(HISTORY, error="denied"))),
    (Code.HISTORY_UNREADABLE, NOTE, lambda: history(replace(HISTORY, exists=None, error="x"))),
    (Code.HISTORY_NOT_WRITABLE, FAULT, lambda: history(replace(HISTORY, writable=False))),
    (Code.HISTORY_NOT_CHECKED, NOTE, lambda: history(replace(HISTORY, checked=False))),
    (Code.HISTORY_STALE, WARNING, lambda: history(replace(HISTORY, last_utc_s=NOW - 600))),
    (Code.HISTORY_GAPS, WARNING, lambda: history(replace(HISTORY, known_s=28 * DAY))),
    (Code.HISTORY_FUTURE, WARNING, lambda: history(replace(HISTORY, future=3))),
    (Code.DIRECTORY_MISSING, NOTE, lambda: files((replace(DIRECTORY, exists=False),))),
    (
        Code.DIRECTORY_MISSING,
        FAULT,
        lambda: files((replace(DIRECTORY, exists=False, makeable=False, error="/ is not ours"),)),
    ),
    (Code.DIRECTORY_NOT_WRITABLE, FAULT, lambda: files((replace(DIRECTORY, error="denied"),))),
    (Code.NOT_EXAMINED, NOTE, lambda: files((replace(DIRECTORY, error="denied", ours=False),))),
    (Code.DIRECTORY_READ_ONLY, FAULT, lambda: files((replace(DIRECTORY, read_only=True),))),
    (Code.DIRECTORY_FULL, FAULT, lambda: files((replace(DIRECTORY, error="full", full=True),))),
    (Code.DIRECTORY_FULL, FAULT, lambda: files((replace(DIRECTORY, free_bytes=1 << 20),))),
    (Code.DIRECTORY_FULL, FAULT, lambda: files((replace(DIRECTORY, free_inodes=2),))),
    (Code.DIRECTORY_FULL, WARNING, lambda: files((replace(DIRECTORY, free_bytes=100 << 20),))),
    (Code.DIRECTORY_OPEN, WARNING, lambda: files((replace(DIRECTORY, open_to_all=True),))),
    (Code.LOG_ERRORS, WARNING, lambda: log(replace(LOG, errors=(("cycle.failed", 2),)))),
    (Code.LOG_WARNINGS, NOTE, lambda: log(replace(LOG, warnings=(("stresser.exited", 1),)))),
    (Code.LOG_UNREADABLE, NOTE, lambda: log(replace(LOG, error="denied"))),
    (Code.CLOCK_STEPPED, WARNING, lambda: clock(replace(CLOCK, stepped_s=-DAY))),
    (Code.CLOCK_STEPPED, WARNING, lambda: clock(replace(CLOCK, stepped_s=DAY))),
    (Code.CLOCK_BEHIND, WARNING, lambda: clock(replace(CLOCK, ahead=(("the log", HOUR),)))),
    (Code.CLOCK_BEHIND, WARNING, lambda: clock(replace(CLOCK, oldest_s=NOW + 9 * DAY))),
    (Code.CLOCK_NOT_SYNCHRONISED, NOTE, lambda: clock(replace(CLOCK, synchronised=False))),
    (
        Code.GLANCES_MISSING,
        WARNING,
        lambda: page(replace(PAGE, installed=False, obstacle="not installed: pip install it")),
    ),
    (Code.GLANCES_UNFIT, WARNING, lambda: page(replace(PAGE, obstacle="too old: pip install it"))),
    (
        Code.PORT_TAKEN,
        WARNING,
        lambda: page(replace(PAGE, state=None, port_obstacle="taken: set it", taken=True)),
    ),
    (Code.PORT_UNUSABLE, WARNING, lambda: page(replace(PAGE, port_obstacle="forbidden: set it"))),
    (
        Code.PAGE_FAILED,
        WARNING,
        lambda: page(replace(PAGE, state="failed", message="ended with code 1")),
    ),
    (Code.PAGE_SILENT, WARNING, lambda: page(replace(PAGE, answers=False))),
    (Code.FIREWALL, NOTE, lambda: page(replace(PAGE, local=False, firewall="ufw"))),
]
"""Diagnosis, severity, and facts on which it must appear, each one step from sound ones."""

SOUND: dict[Area, Callable[[], list[Finding]]] = {
    Area.INSTALL: lambda: install(INSTALL),
    Area.CONFIG: lambda: config(CONFIG),
    Area.DAEMON: lambda: daemon(replace(DAEMON, processes=process())),
    Area.ORDERS: lambda: orders(ORDERS),
    Area.TARGETS: on,
    Area.DISKS: lambda: disks(DISKS),
    Area.STRESSERS: lambda: stressers(STRESSERS),
    Area.KERNEL: lambda: kernel(KERNEL),
    Area.HISTORY: lambda: history(HISTORY),
    Area.FILES: lambda: files((DIRECTORY,)),
    Area.LOG: lambda: log(LOG),
    Area.CLOCK: lambda: clock(CLOCK),
    Area.PAGE: lambda: page(PAGE),
}


@pytest.mark.parametrize(
    ("code", "severity", "findings"),
    TABLE,
    ids=[f"{row[0].value}-{n}" for n, row in enumerate(TABLE)],
)
def test_a_diagnosis_appears_on_its_facts(
    code: Code, severity: Severity, findings: Callable[[], list[Finding]]
) -> None:
    """It has that severity, says what was found, and no other fault is made up beside it."""
    found = findings()
    hits = [one for one in found if one.code is code]
    assert [one.severity for one in hits] == [severity]
    assert hits[0].found
    assert hits[0].remedy or severity is NOTE
    assert all(one.severity not in {FAULT, WARNING} for one in found if one not in hits)


@pytest.mark.parametrize("area", Area, ids=lambda area: area.value)
def test_sound_facts_give_one_line_that_says_what_was_checked(area: Area) -> None:
    """So an operator can trust that it was looked at; no diagnosis appears."""
    found = SOUND[area]()
    assert [(one.area, one.code) for one in found] == [(area, Code.FINE)]
    assert len(found[0].found) > 10


def test_every_diagnosis_is_in_the_table() -> None:
    """A new name needs facts on which it appears; three are about the examination itself."""
    about_itself = {Code.FINE, Code.EXAMINATION_FAILED, Code.EXAMINATION_HANGS}
    assert {code for code, _, _ in TABLE} == set(Code) - about_itself


@pytest.mark.parametrize(
    ("severities", "expected"),
    [((), 0), ((Severity.OK,), 0), ((NOTE, Severity.OK), 0), ((WARNING,), 1), ((NOTE, FAULT), 1)],
)
def test_the_exit_code_counts_faults_and_warnings(
    severities: tuple[Severity, ...], expected: int
) -> None:
    """Notes do not fail a script."""
    found = [replace(fine(Area.LOG, "x"), severity=severity) for severity in severities]
    assert exit_code(found) == expected


def test_the_worst_comes_first() -> None:
    """Faults, warnings, notes, then what is fine; in each by area."""
    found = [
        fine(Area.INSTALL, "a"),
        replace(fine(Area.PAGE, "b"), severity=FAULT),
        replace(fine(Area.CONFIG, "c"), severity=FAULT),
        replace(fine(Area.CONFIG, "d"), severity=NOTE),
    ]
    assert [one.found for one in in_order(found)] == ["c", "b", "d", "a"]


def test_a_finding_survives_its_way_between_processes() -> None:
    """What one process says, the other shows."""
    found = [one for _, _, make in TABLE for one in make()]
    assert [from_json(as_json(one)) for one in found] == found


def test_lines_fit_a_terminal_and_commands_stay_whole() -> None:
    """80 characters, but a command is never broken, so that it can be pasted."""
    command = f"rm -f {'/long' * 30}/.stamp && /x/start.sh --setup-only"
    found = [one for _, _, make in TABLE for one in make()]
    found.append(replace(fine(Area.INSTALL, "x"), severity=FAULT, command=command))
    lines = text(found).splitlines()
    commands = {one.command for one in found}
    assert any(line.strip() == command for line in lines)
    assert all(len(line) <= WIDTH_CHARS for line in lines if line.strip() not in commands)


def test_nothing_found_can_steer_the_terminal() -> None:
    """A reason of a pause or a name of a process may hold escape sequences."""
    found = orders(replace(INHIBIT, reason="\x1b[2J\nfault    all-is-lost (daemon)"))
    shown = text(found)
    assert "\x1b" not in shown
    assert not any(line.startswith("fault") for line in shown.splitlines())


def test_the_verdict_counts() -> None:
    """The last line is what many people read."""
    assert text([fine(Area.LOG, "x")]).endswith("\nNothing is wrong.\n")
    warned = replace(fine(Area.LOG, "x"), severity=WARNING)
    noted = replace(fine(Area.LOG, "x"), severity=NOTE)
    assert text([warned, warned, noted]).endswith("\n2 warnings, 1 note.\n")
    assert text([noted]).endswith("\nNothing is wrong; 1 note.\n")


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({}, "/v/bin/python -m pip install 'psutil>=7.0'"),
        (
            {
                "in_venv": True,
                "venv": "/v/bin/python",
                "stamp": "/v/s",
                "start_script": "/c/start.sh",
            },
            "rm -f /v/s && /c/start.sh --setup-only",
        ),
        ({"managed": True, "start_script": "/c/start.sh"}, "/c/start.sh --setup-only"),
    ],
)
def test_the_remedy_for_a_library_suits_the_environment(
    changes: dict[str, Any], command: str
) -> None:
    """start.sh trusts its stamp; a distribution's Python lets nobody install into it."""
    missing = replace(PSUTIL, version=None, error="No module named 'psutil'")
    found = install(replace(INSTALL, dependencies=(missing,), **changes))
    assert [one.command for one in found if one.code is Code.DEPENDENCY_MISSING] == [command]


def test_who_takes_the_port_is_named_and_our_own_page_is_not_blamed() -> None:
    """The daemon's own Glances listens there too."""
    taken = replace(PAGE, port_obstacle="port 61208 is taken: set it", taken=True)
    said = page(replace(taken, who="pid 5 (nginx)", file="/e"))[0]
    assert "pid 5 (nginx)" in said.found
    assert "GLANCES_PORT=61209 in /e" in said.remedy
    assert [one.code for one in page(replace(taken, ours=True))] == [Code.FINE]


def test_a_page_of_its_own_unit_is_looked_for_where_it_listens() -> None:
    """It answers, or nobody listens there and the remedy names its unit."""
    apart = replace(PAGE, state="apart", message="by optimizer-glances.service")
    listens = replace(apart, port_obstacle="port 61208 is taken: set it", taken=True, ours=True)
    assert [one.code for one in page(listens)] == [Code.FINE]
    (found,) = page(replace(apart, answers=None))
    assert found.code is Code.PAGE_FAILED
    assert "systemctl restart optimizer-glances" in str(found.command)


def test_a_stale_sample_is_no_news_without_a_daemon() -> None:
    """Nobody writes then; and a daemon that has just begun has had no time."""
    old = replace(HISTORY, last_utc_s=NOW - DAY)
    assert [one.code for one in history(replace(old, runs=False))] == [Code.FINE]
    assert [one.code for one in history(replace(old, runs_s=30.0))] == [Code.FINE]


def test_a_young_history_is_not_blamed_for_gaps() -> None:
    """Ten minutes say nothing of a month."""
    young = replace(HISTORY, first_utc_s=NOW - 600, known_s=60.0)
    assert [one.code for one in history(young)] == [Code.FINE]


def test_a_target_of_zero_is_only_watched() -> None:
    """No disk and a full memory are no trouble where nothing is to be held."""
    assert [one.code for one in disks(replace(DISKS, target=0.0, reason=Reason.NO_DISK))] == [
        Code.FINE
    ]
    assert [one.code for one in on(target=0.0, reason="no_target", room=-0.1)] == [Code.FINE]


def test_an_older_python_is_told_before_anything_is_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under the name that doctor gives it, by every command; what runs then is old syntax."""
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    assert entry.main(["doctor"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"fault    {Code.PYTHON_TOO_OLD.value} (install)\n")
    assert "is Python 3.9.2; 3.11 or newer is needed" in said
    assert entry.OLDEST_PYTHON == OLDEST_PYTHON
    package = Path(entry.__file__).parent
    for name in ("__init__.py", "__main__.py", "errors.py"):
        ast.parse((package / name).read_text("utf-8"), feature_version=(3, 7))


@pytest.mark.parametrize("root", [False, True])
def test_a_group_that_a_broker_gives_is_not_said_to_be_missing(*, root: bool) -> None:
    """Whoever looks may make none himself; the daemon's workers are in one."""
    lacking = replace(KERNEL, is_root=root, denied="read-only")
    assert Code.CGROUP_DENIED in {one.code for one in kernel(lacking)}
    found = kernel(replace(lacking, brokered="the daemon's CPU workers are in it"))
    assert Code.CGROUP_DENIED not in {one.code for one in found}
    assert not [one for one in found if "no idle control group" in one.found]
    sound = kernel(replace(KERNEL, is_root=True, brokered="the broker at /run/x"))
    assert sound[0].found.endswith("an idle group: the broker at /run/x")
