"""`optimizer report` and the drawing of `optimizer status` on real files, beside a real daemon."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from optimizer.model import Reason
from optimizer.outcome import Event, EventKind, Record
from tests.histories import record, written
from tests.rig import daemon, environment, eventually, optimizer

pytest.importorskip("numpy")

EXIT_USAGE, EXIT_CONFIG = 2, 78


def recent(hours: int) -> list[Record]:
    """A row for each minute of the last hours, now included."""
    now_s = time.time()
    count = hours * 60
    return [record(now_s - 60 * k, cpu=(0.3, 0.2)) for k in reversed(range(count))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with a history of two days."""
    event = Event(utc_s=time.time() - 60, kind=EventKind.PAUSED, by="root")
    written(tmp_path / "state" / "history.sqlite3", recent(48), [event])
    return tmp_path


def report(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`optimizer report` for a workspace, with targets of 25 %."""
    targets = ("TARGET_CPU=25", "TARGET_MEMORY=25", "TARGET_DISK=0", f"WORKSPACE_DIR={folder}")
    return optimizer("report", *words, *(word for one in targets for word in ("--set", one)))


def test_the_report_is_printed_and_written(folder: Path) -> None:
    """In words, as CSV and JSON, to files and to the standard output; all say the same."""
    shown = report(folder)
    assert shown.returncode == 0, shown.stderr
    assert "verdict  MET so far (cpu met so far, memory met so far)" in shown.stdout
    assert "own load" in shown.stdout
    assert "events   1 " in shown.stdout
    assert "last 24 h" in shown.stdout
    assert "\x1b" not in shown.stdout
    files = folder / "out.csv", folder / "out.json"
    files[0].write_text("old", encoding="utf-8")
    done = report(folder, "--csv", str(files[0]), "--json", str(files[1]), "--days", "2")
    assert (done.returncode, done.stdout) == (0, "")
    rows = list(csv.DictReader(io.StringIO(files[0].read_text(encoding="utf-8"))))
    assert len(rows) == 6
    document = json.loads(files[1].read_text(encoding="utf-8"))
    assert document["of"]["cpu"]["total_ratio"] == pytest.approx(0.3)
    assert document["of"]["cpu"]["coverage"] == pytest.approx(1.0, abs=0.01)
    assert json.loads(report(folder, "--json", "-").stdout)["schema"] == document["schema"]
    assert (
        report(folder, "--csv", "-", "--days", "2").stdout.splitlines()[0].startswith("date,host")
    )
    assert sorted(one.name for one in folder.iterdir()) == ["out.csv", "out.json", "state"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--days", "0"), "'0' is no number of days above 0"),
        (("--days", "nan"), "'nan' is no number of days above 0"),
        (("--days", "1e9"), "up to 366"),
        (("--days", "week"), "write for example 7"),
        (("--csv", "-", "--json", "-"), "only one"),
        (("--lang", "zh"), "--lang zh is the language of --html"),
        (("--csv", "a", "--json", "./a"), "--csv and --json name the same file, ./a"),
    ],
)
def test_wrong_words_are_refused(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """Exit 2, with the value and what to write."""
    done = report(tmp_path, *words)
    assert (done.returncode, said in done.stderr) == (EXIT_USAGE, True), done.stderr


def test_what_cannot_be_written_is_left_as_it_is(folder: Path) -> None:
    """A directory, a device, a folder that is not there: exit 1, the name and a remedy."""
    device = Path("/dev/null")
    for place, said in (
        (folder, "it is a directory"),
        (folder / "none" / "out.csv", "name a file in a directory that you may write to"),
        *([(device, "it is no regular file")] if device.exists() else []),
    ):
        done = report(folder, "--csv", str(place))
        assert done.returncode == 1
        assert str(place) in done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert not device.is_file()


def test_a_page_for_a_pipe_is_utf_8(folder: Path) -> None:
    """Whatever the encoding of the terminal: the page says itself that it is UTF-8."""
    words = ["report", "--html", "-", "--lang", "zh", "--set", f"WORKSPACE_DIR={folder}"]
    done = subprocess.run(
        [sys.executable, "-m", "optimizer", *words],
        capture_output=True,
        timeout=60,
        check=True,
        env={**environment(), "PYTHONIOENCODING": "latin-1"},
    )
    assert "资源利用率</h1>" in done.stdout.decode("utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need rights there")
def test_a_link_is_followed(folder: Path) -> None:
    """The file that it leads to is replaced, the link stays."""
    (folder / "real.csv").write_text("old", encoding="utf-8")
    (folder / "link.csv").symlink_to("real.csv")
    assert report(folder, "--csv", str(folder / "link.csv")).returncode == 0
    assert (folder / "link.csv").is_symlink()
    assert (folder / "real.csv").read_text(encoding="utf-8").startswith("date,")


def test_without_a_good_history_it_says_what_to_do(tmp_path: Path) -> None:
    """None, a damaged one, one of a newer program: exit 1 and a remedy; odd values are unknown."""
    missing = report(tmp_path)
    assert missing.returncode == 1
    assert "there is no history at" in missing.stderr
    path = tmp_path / "state" / "history.sqlite3"
    written(path, recent(1))
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE sample SET cpu = 'half' WHERE written = 7")
        db.commit()
    odd = report(tmp_path, "--json", "-")
    assert odd.returncode == 0, odd.stderr
    cpu, memory = (json.loads(odd.stdout)["of"][name]["coverage"] for name in ("cpu", "memory"))
    assert 0 < cpu < memory
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    newer = report(tmp_path)
    assert (newer.returncode, "install the newer program" in newer.stderr) == (1, True)
    path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    damaged = report(tmp_path)
    assert damaged.returncode == 1
    assert "the daemon sets it aside" in damaged.stderr
    status = optimizer("status", "--set", f"WORKSPACE_DIR={tmp_path}")
    assert "No daemon runs here" in status.stdout
    assert "the daemon sets it aside" in status.stdout
    for done in (missing, newer, damaged):
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


def test_a_history_of_the_first_schema_is_read(tmp_path: Path) -> None:
    """It has no events and no numbers of rows."""
    path = tmp_path / "state" / "history.sqlite3"
    path.parent.mkdir()
    from optimizer.adapters.history_file import _MIGRATIONS  # noqa: PLC0415

    now_s = int(time.time())
    with closing(sqlite3.connect(path)) as db:
        db.execute(_MIGRATIONS[0][0])
        db.execute("PRAGMA user_version = 1")
        values = (60.0, 0.3, 0.2, 0.0, 0.5, 0.1, None, None, 0.2, 0.2, None, "a", "b", "c")
        marks = ", ".join("?" * 15)
        db.executemany(
            f"INSERT INTO sample VALUES ({marks})",  # noqa: S608
            [(now_s - 60 * k, *values) for k in range(100)],
        )
        db.commit()
    done = report(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "organic 10.0 % + own 20.0 % = total 30.0 %" in " ".join(done.stdout.split())
    shown = optimizer("status", "--set", f"WORKSPACE_DIR={tmp_path}")
    assert "last 24 h" in shown.stdout


def test_the_newest_row_tells_that_there_is_no_data_disk(tmp_path: Path) -> None:
    """Its reason, not that of an older row; the verdict is over the CPU and the memory then."""
    now_s = time.time()
    rows = [
        record(now_s - 3600 * k, 3600.0, cpu=(0.4, 0.3), memory=(0.5, 0.1), disk_reason=reason)
        for k, reason in zip(
            range(720, -1, -1), [Reason.HOLDING] * 720 + [Reason.NO_DATA_DISK], strict=True
        )
    ]
    written(tmp_path / "state" / "history.sqlite3", rows)
    targets = ("TARGET_CPU=25", "TARGET_MEMORY=25", "TARGET_DISK=25", f"WORKSPACE_DIR={tmp_path}")
    done = optimizer("report", *(word for one in targets for word in ("--set", one)))
    assert "verdict  MET (cpu met, memory met; disk not judged)" in done.stdout
    assert "not judged: this host has no data disk (DATA_DISK_ONLY)" in done.stdout


def test_a_broken_configuration_is_said_and_the_good_part_used(folder: Path) -> None:
    """As for all commands that only look."""
    env = folder / "bad.env"
    env.write_text("TARGET_CPU=12\nNO_SUCH_KEY=1\n", encoding="utf-8")
    done = optimizer("report", "--config", str(env), "--set", f"WORKSPACE_DIR={folder}")
    assert done.returncode == 0, done.stderr
    assert "the configuration has faults" in done.stderr
    assert "target 12 %" in done.stdout
    assert optimizer("report", "--set", "nonsense").returncode == EXIT_CONFIG


def test_ascii_where_the_terminal_has_no_blocks(folder: Path) -> None:
    """An old locale gets the same report in ASCII, and no error."""
    command = [sys.executable, "-m", "optimizer", "report", "--set", f"WORKSPACE_DIR={folder}"]
    done = subprocess.run(
        command,
        capture_output=True,
        timeout=60,
        check=True,
        env={**environment(), "PYTHONIOENCODING": "ascii", "COLUMNS": "80"},
    )
    assert b"##########" in done.stdout
    assert max(map(len, done.stdout.decode("ascii").splitlines())) <= 80


@pytest.mark.skipif(sys.platform != "linux", reason="stops a process")
def test_report_and_status_work_beside_a_daemon_that_hangs(tmp_path: Path) -> None:
    """With rows in the WAL; the history is read, not waited for."""
    with daemon(tmp_path / "work", TARGET_CPU="0") as rig:
        eventually(lambda: rig.status().get("history", {}).get("rows"), what="a row")
        running = rig.command("status")
        assert running.returncode == 0
        assert "last 24 h" in running.stdout
        os.kill(rig.pid, signal.SIGSTOP)
        try:
            done, shown = rig.command("report", "--csv", "-"), rig.command("status", "--json")
        finally:
            os.kill(rig.pid, signal.SIGCONT)
        assert done.returncode == 0, done.stderr
        assert any(row["day_coverage_percent"] for row in csv.DictReader(io.StringIO(done.stdout)))
        assert json.loads(shown.stdout)["running"] is True
        assert rig.stop() == 0


def test_the_daemon_never_imports_numpy() -> None:
    """Each megabyte of the resident process needs a reason; reports are processes of their own."""
    names = "optimizer.app, optimizer.cli.run, optimizer.cli.status"
    code = f"import sys, {names}; sys.exit('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert done.returncode == 0
