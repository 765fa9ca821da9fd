"""The facts that `optimizer doctor` gathers, from files and processes of the test's own."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from optimizer.adapters import mark as mark_name
from optimizer.adapters.history_file import SCHEMA_VERSION, begun
from optimizer.adapters.identity import boot_id, identify, stat_of
from optimizer.adapters.instance_lock import Holder
from optimizer.directories import HISTORY_NAME, Directories
from optimizer.examine import apart, log_lines, processes
from optimizer.examine.daemon import examine_orders
from optimizer.examine.files import look
from optimizer.examine.history import examine_history
from optimizer.examine.kernel import brokered, examine_clock
from optimizer.examine.subject import Subject
from optimizer.examine.subject import look as look_at_lock
from optimizer.report.doctor import Area, Code, Finding
from optimizer.settings import load
from optimizer.settings_salvage import salvage

NOW = time.time()
_SET_NAME = 15
"""PR_SET_NAME. Source: linux/prctl.h."""
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def subject(
    folder: Path, *, runs: bool = False, status: dict[str, object] | None = None
) -> Subject:
    """A daemon whose directories all are this folder; this process, if it runs."""
    places = Directories(state=folder, runtime=folder, log=folder, config=folder)
    started_s = NOW - (processes.up_s(os.getpid()) or 0.0)
    return Subject(
        loaded=load(file=None, environ={}, overrides={"MONITOR_PERIOD_DAYS": "30"}),
        directories=places,
        holder=Holder(pid=os.getpid(), started_utc_s=started_s, boot_id=None) if runs else None,
        status=status or {},
        now_utc_s=NOW,
    )


def codes(findings: list[Finding]) -> set[Code]:
    """The names of what was found."""
    return {one.code for one in findings}


def test_what_is_good_of_a_broken_configuration_is_used(tmp_path: Path) -> None:
    """A wrong target must not make the doctor look into the wrong directories."""
    file = tmp_path / "optimizer.env"
    file.write_text(
        f"WORKSPACE_DIR={tmp_path}/w\nLOG_DIR=${{WORKSPACE_DIR}}/l\nTARGET_CPU=x\nNO=1\n"
    )
    found = salvage(file=file, environ={"TARGET_MEMORY": "99"}, overrides={"TARGET_DISK": "30"})
    settings = found.loaded.settings
    assert [str(settings.workspace_dir), str(settings.log_dir)] == [
        f"{tmp_path}/w",
        f"{tmp_path}/w/l",
    ]
    assert (settings.target_cpu, settings.target_memory, settings.target_disk) == (None, None, 30)
    assert [fault.partition(" ")[0] for fault in found.faults] == [
        "NO",
        "TARGET_CPU=x",
        "TARGET_MEMORY=99",
    ]


def test_keys_that_contradict_one_another_are_not_both_used() -> None:
    """Each is good by itself; the first that came is kept."""
    found = salvage(file=None, environ={}, overrides={"CPU_CEILING": "20", "LOG_LEVEL": "debug"})
    assert found.faults
    assert found.loaded.settings.log_level == "debug"


def test_the_directories_are_found_without_the_library_that_reads_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain lines are read all the same; what has variables in it is left alone."""
    monkeypatch.delitem(sys.modules, "dotenv.parser", raising=False)
    monkeypatch.setitem(sys.modules, "dotenv", None)
    file = tmp_path / "optimizer.env"
    file.write_text("# c\nexport WORKSPACE_DIR='/w'  # mine\nLOG_DIR=${WORKSPACE_DIR}/l\nX\n")
    found = salvage(file=file, environ={}, overrides={})
    assert found.unread is not None
    assert found.loaded.settings.workspace_dir == Path("/w")
    assert found.loaded.settings.log_dir is None


def test_a_lock_that_cannot_be_probed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For want of a library, as on systems where identity needs one."""
    places = subject(tmp_path).directories
    assert look_at_lock(places) == (None, None)
    monkeypatch.setitem(sys.modules, "optimizer.adapters.instance_lock", None)
    assert look_at_lock(places)[1] is not None


@LINUX
def test_a_process_is_read_whatever_its_name() -> None:
    """Names may hold brackets and blanks; an own process has an age and a parent."""
    libc = ctypes.CDLL(None)
    before = Path("/proc/self/comm").read_bytes().rstrip(b"\n")
    libc.prctl(_SET_NAME, b"a) S (b c", 0, 0, 0)
    try:
        found = stat_of(os.getpid())
    finally:
        libc.prctl(_SET_NAME, before, 0, 0, 0)
    assert found is not None
    assert (found.name, found.parent) == ("a) S (b c", os.getppid())
    who = identify(os.getpid())
    assert who is not None
    assert found.start == who.start
    assert 0 <= (processes.up_s(os.getpid()) or -1) < 86_400
    assert processes.descends(os.getpid(), os.getppid())
    assert not processes.descends(os.getppid(), os.getpid())


@pytest.fixture
def marked_as() -> Iterator[object]:
    """Marks this process as one of ours, with the given content; ends it after the test."""
    if sys.platform != "linux":
        pytest.skip("needs memfd_create(2)")
    opened: list[int] = []

    def mark(**said: object) -> None:
        opened.append(mark_name._sealed(json.dumps(said).encode()))

    yield mark
    for descriptor in opened:
        os.close(descriptor)


def own() -> dict[str, object]:
    """What proves this process to be itself."""
    found = stat_of(os.getpid())
    assert found is not None
    return {
        "role": "stresser",
        "kind": "cpu",
        "pid": os.getpid(),
        "start": found.start,
        "boot_id": boot_id(),
    }


def seen() -> list[processes.Process]:
    """What is found of this process among those that are ours."""
    return [one for one in processes.marked() if one.pid == os.getpid()]


@pytest.mark.parametrize("changes", [{"start": 1}, {"boot_id": "x"}, {"start": None}])
def test_only_a_mark_that_fits_its_process_counts(marked_as: object, changes: object) -> None:
    """A mark that was inherited or copied proves nothing."""
    assert callable(marked_as)
    assert isinstance(changes, dict)
    marked_as(**{**own(), **changes})
    assert seen() == []
    marked_as(**own(), controller=os.getppid())
    assert [(one.kind, one.lost) for one in seen()] == [("cpu", False)]


def gone() -> int:
    """The pid of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


@LINUX
def test_the_roster_tells_who_lost_its_daemon(tmp_path: Path) -> None:
    """Believed for this boot and for the same start only."""
    entry = own()
    roster = {"boot_id": entry["boot_id"], "controller": {"pid": gone()}, "processes": [entry]}
    path = tmp_path / "roster.json"
    path.write_text(json.dumps(roster))
    assert [(one.pid, one.lost) for one in processes.rostered(tmp_path)] == [(os.getpid(), True)]
    for wrong in ({**roster, "boot_id": "x"}, {**roster, "processes": [{**entry, "start": 1}]}, []):
        path.write_text(json.dumps(wrong))
        assert processes.rostered(tmp_path) == ()


@LINUX
def test_who_listens_on_a_port_is_told() -> None:
    """By pid and name; nobody listens on it after the end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert processes.listener(port) == os.getpid()
        assert f"pid {os.getpid()} (" in processes.described(os.getpid())
    assert processes.listener(port) is None


def line(event: str, level: str, age_s: float, **fields: object) -> str:
    """A line of the log."""
    at = datetime.fromtimestamp(NOW - age_s, UTC).isoformat(timespec="milliseconds")
    return json.dumps({"timestamp": at, "level": level, "event": event, **fields}) + "\n"


def test_errors_of_the_last_day_are_counted_by_name(tmp_path: Path) -> None:
    """Rotated files count too, suppressed repetitions too, older and broken lines do not."""
    (tmp_path / "optimizer-2026-01-01.log").write_text(line("cycle.failed", "error", 80_000))
    (tmp_path / "optimizer.log").write_text(
        line("cycle.failed", "error", 90_000)
        + "not json\n[]\n"
        + line("cycle.failed", "error", 50, suppressed=3, cause="disk\nENOSPC")
        + line("stresser.exited", "warning", 40)
        + line("daemon.stopped", "info", 30)
    )
    found = {one.code: one.found for one in log_lines.examine_log(subject(tmp_path))}
    assert "cycle.failed 5x" in found[Code.LOG_ERRORS]
    assert "ENOSPC" in found[Code.LOG_ERRORS]
    assert "stresser.exited 1x" in found[Code.LOG_WARNINGS]
    assert log_lines.last(tmp_path)["event"] == "daemon.stopped"


def rows(folder: Path, *ages_s: float) -> Path:
    """A history with a row of a minute at each of these ages."""
    path = folder / HISTORY_NAME
    with closing(begun(path)) as db:
        db.executemany(
            "INSERT INTO sample(utc_s, span_s) VALUES (?, 60)", [(int(NOW - a),) for a in ages_s]
        )
    return path


def content(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_sound_history_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    """Not even the side files of a reader appear beside it."""
    rows(tmp_path, *range(0, 7200, 60))
    before = content(tmp_path)
    found = examine_history(subject(tmp_path))
    assert [one.code for one in found] == [Code.FINE]
    assert "120 rows" in found[0].found
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (f"PRAGMA user_version = {SCHEMA_VERSION + 1}", Code.HISTORY_NEWER),
        ("DROP TABLE sample", Code.HISTORY_DAMAGED),
        (
            "UPDATE sample SET utc_s = utc_s + 99999 WHERE utc_s = (SELECT MAX(utc_s) FROM sample)",
            Code.HISTORY_FUTURE,
        ),
        ("DELETE FROM sample WHERE utc_s > (SELECT MIN(utc_s) FROM sample)", Code.HISTORY_GAPS),
    ],
)
def test_what_is_odd_in_a_history_is_named(tmp_path: Path, change: str, code: Code) -> None:
    """A newer schema, a lost table, rows of the future, hours without rows."""
    path = rows(tmp_path, *range(0, 7200, 60))
    with closing(sqlite3.connect(path)) as db:
        db.execute(change)
        db.commit()
    assert code in codes(examine_history(subject(tmp_path)))


def test_a_damaged_page_is_found(tmp_path: Path) -> None:
    """By quick_check, or by the first statement that meets it."""
    path = rows(tmp_path, *range(0, 36_000, 60))
    data = bytearray(path.read_bytes())
    data[3 * 4096 : 3 * 4096 + 2048] = b"\xa5" * 2048
    path.write_bytes(data)
    assert codes(examine_history(subject(tmp_path))) == {Code.HISTORY_DAMAGED}


def test_files_that_were_set_aside_are_told(tmp_path: Path) -> None:
    """Also when a new history has taken their place."""
    rows(tmp_path, 0)
    (tmp_path / f"{HISTORY_NAME}.damaged-20260101T000000Z").touch()
    (tmp_path / f"{HISTORY_NAME}.damaged-20260101T000000Z-wal").touch()
    found = [o for o in examine_history(subject(tmp_path)) if o.code is Code.HISTORY_SET_ASIDE]
    assert found[0].found.startswith("1 damaged history")


def test_orders_are_read_whoever_wrote_them(tmp_path: Path) -> None:
    """None, in force, expired, odd; and what the daemon says where there is no file."""
    inhibit = tmp_path / "inhibit"
    assert codes(examine_orders(subject(tmp_path))) == {Code.FINE}
    inhibit.write_text(json.dumps({"reason": "r", "by": "b", "until_utc_s": NOW + 60}))
    assert codes(examine_orders(subject(tmp_path))) == {Code.INHIBITED}
    inhibit.write_text(json.dumps({"reason": "r", "by": "b", "until_utc_s": NOW - 60}))
    assert codes(examine_orders(subject(tmp_path))) == {Code.INHIBIT_EXPIRED}
    inhibit.write_text("{")
    assert codes(examine_orders(subject(tmp_path))) == {Code.INHIBIT_ODD}
    inhibit.unlink()
    told: dict[str, object] = {"inhibit": {"by": "window", "reason": "night", "until_utc_s": None}}
    assert codes(examine_orders(subject(tmp_path, runs=True, status=told))) == {Code.INHIBITED}


@LINUX
def test_the_daemons_workers_tell_whether_a_broker_has_moved_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs counts; where nothing runs, whether there is a socket that could be asked."""
    path = tmp_path / "socket"
    monkeypatch.setenv("OPTIMIZER_LOAD_SOCKET", str(path))

    def said(means: list[str]) -> str | None:
        status = {"updated_utc_s": NOW, "resources": {"cpu": {"means": means}}}
        return brokered(subject(tmp_path, runs=True, status=status))

    assert said([]) is None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert said([]) == f"the broker at {path}"
        assert said(["SCHED_IDLE"]) is None
        assert said(["SCHED_IDLE", "idle cgroup"]) == "the daemon's CPU workers are in it"


@LINUX
def test_a_clock_that_was_set_is_seen_by_the_age_of_the_daemon(tmp_path: Path) -> None:
    """The kernel counts the age of a process by a clock that nobody can set."""
    sound = subject(tmp_path, runs=True)
    assert Code.CLOCK_STEPPED not in codes(examine_clock(sound))
    assert sound.holder is not None
    wrong = Holder(
        pid=os.getpid(), started_utc_s=(sound.holder.started_utc_s or 0) - 3600, boot_id=None
    )
    stepped = Subject(
        loaded=sound.loaded, directories=sound.directories, holder=wrong, now_utc_s=NOW
    )
    said = [one for one in examine_clock(stepped) if one.code is Code.CLOCK_STEPPED]
    assert "forward by 60.0 min" in said[0].found


def test_a_sample_of_the_future_says_that_the_clock_was_ahead(tmp_path: Path) -> None:
    """Ten years, as after a wrong battery."""
    rows(tmp_path, -10 * 365 * 86_400)
    assert Code.CLOCK_BEHIND in codes(examine_clock(subject(tmp_path)))


def test_a_directory_is_written_to_without_a_trace(tmp_path: Path) -> None:
    """Nothing is left, and what is not there is not made."""
    found = look("state", tmp_path)
    assert found.error is None
    assert found.exists
    assert not any(tmp_path.iterdir())
    missing = look("state", tmp_path / "a" / "b")
    assert (missing.exists, missing.makeable) == (False, True)
    assert not any(tmp_path.iterdir())
    (tmp_path / "file").touch()
    assert look("state", tmp_path / "file").error == "it is not a directory"


def test_a_directory_without_rights_is_told(plain_folder: Path) -> None:
    """To a plain user."""
    closed = plain_folder / "closed"
    closed.mkdir(mode=0o500)
    assert look("state", closed).error == "permission denied"
    assert not look("state", closed / "below").makeable
    closed.chmod(0o777)
    assert look("state", closed).open_to_all


def hung(area: Area, program: str, deadline_s: float = 20.0) -> Finding:
    """What is said of an area whose process runs that program."""
    (found,) = apart.examine([area], None, [], deadline_s=deadline_s, program=program)
    return found


def test_an_examination_that_hangs_is_given_up() -> None:
    """After its deadline, and the others are still told."""
    found = hung(Area.FILES, "import time; time.sleep(60)", 0.3)
    assert (found.code, found.area) == (Code.EXAMINATION_HANGS, Area.FILES)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise RuntimeError('broken')", "broken"),
        ("import os; os.kill(os.getpid(), 9)", "exit code -9"),
        ("print('[{}]')", "no message"),
    ],
)
def test_an_examination_that_crashes_costs_its_area_only(program: str, said: str) -> None:
    """An exception, a crash in a library's C code, an answer that is none."""
    if sys.platform == "win32" and "kill" in program:
        pytest.skip("there are no signals")
    found = hung(Area.LOG, program)
    assert found.code is Code.EXAMINATION_FAILED
    assert said in found.found
