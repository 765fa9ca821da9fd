"""Commands whose standard output cannot be written: what was done is told all the same."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import cast

import pytest

from optimizer.__main__ import main
from optimizer.directories import HISTORY_NAME
from tests.backups import make_backup, make_history, times
from tests.histories import record, written
from tests.rig import environment


class Broken(io.StringIO):
    """A standard output on which every write fails, at once or when it is flushed."""

    def __init__(self, code: int, *, buffered: bool) -> None:
        super().__init__()
        self._error = OSError(code, os.strerror(code))
        self._buffered = buffered

    def write(self, text: str) -> int:
        """Fail, unless buffered."""
        if not self._buffered:
            raise self._error
        return len(text)

    def flush(self) -> None:
        """Fail."""
        raise self._error


@contextmanager
def broken(code: int = errno.ENOSPC, *, buffered: bool = True) -> Iterator[None]:
    """The standard output is a broken one."""
    with redirect_stdout(Broken(code, buffered=buffered)):
        yield


@pytest.fixture(autouse=True)
def _sigterm() -> Iterator[None]:
    """What ends this process is as before afterwards: backup and restore change it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workspace with an hour of history."""
    (tmp_path / "w" / "state").mkdir(parents=True)
    now_s = int(time.time())
    minutes = [record(now_s - 60 * back, cpu=(0.3, 0.2)) for back in range(60, 0, -1)]
    written(tmp_path / "w" / "state" / HISTORY_NAME, minutes)
    return tmp_path / "w"


@pytest.mark.parametrize("buffered", [False, True])
@pytest.mark.parametrize(
    "words",
    [
        ("report",),
        ("report", "--csv", "-"),
        ("history", "export"),
        ("history", "compare"),
        ("history", "events"),
        ("policies",),
    ],
)
def test_a_full_disk_behind_the_output_is_told(
    place: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], *, buffered: bool
) -> None:
    """In one line with cause and remedy, exit 1."""
    if words[0] == "report":
        pytest.importorskip("numpy")
    on = () if words == ("policies",) else ("--set", f"WORKSPACE_DIR={place}")
    with broken(buffered=buffered):
        assert main([*words, *on]) == 1
    assert capsys.readouterr().err == (
        "optimizer: cannot write the standard output: No space left on device; "
        "free space there, or send it elsewhere\n"
    )


def test_a_reader_that_ends_early_is_no_fault(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `head` does: nothing is said."""
    with broken(errno.EPIPE):
        assert main(["history", "export", "--set", f"WORKSPACE_DIR={place}"]) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EPIPE])
def test_a_backup_that_was_made_is_told(
    place: Path, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    """Its file is named on the standard error, for it is there."""
    with broken(code):
        assert main(["history", "backup", "--set", f"WORKSPACE_DIR={place}"]) == 1
    (file,) = (place / "state" / "backups").glob("*.gz")
    assert f"Backup completed: {file}" in capsys.readouterr().err


@pytest.mark.parametrize("buffered", [False, True])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EPIPE])
def test_a_restore_is_done_to_its_end_and_told(
    place: Path, capsys: pytest.CaptureFixture[str], code: int, *, buffered: bool
) -> None:
    """History and configuration; never that the history is as it was."""
    archive, config = other(place)
    words = (str(archive), "--with-config", "--config", str(config))
    on = ("--set", f"WORKSPACE_DIR={place}")
    with broken(code, buffered=buffered):
        assert main(["history", "restore", "--dry-run", *words, *on]) == 1
    said = capsys.readouterr().err
    assert said.startswith("optimizer: cannot write the standard output") or said == ""
    assert len(times(place / "state" / HISTORY_NAME)) == 60
    with broken(code, buffered=buffered):
        assert main(["history", "restore", "--yes", *words, *on]) == 1
    said = capsys.readouterr().err
    assert "Restored the history" in said
    assert f"The configuration {config} was restored" in said
    assert "as it was" not in said
    assert len(times(place / "state" / HISTORY_NAME)) == 7
    assert config.read_text(encoding="ascii") == "TARGET_CPU=31\n"


def test_an_import_that_was_stored_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its counts."""
    source = place.parent / "x.csv"
    source.write_text(f"utc_s,span_s,cpu\n{int(time.time()) - 86_400},60,0.5\n", encoding="ascii")
    with broken():
        assert main(["history", "import", str(source), "--set", f"WORKSPACE_DIR={place}"]) == 1
    assert "stored                     1" in capsys.readouterr().err
    assert len(times(place / "state" / HISTORY_NAME)) == 61


def other(place: Path) -> tuple[Path, Path]:
    """A backup of seven rows and a configuration, and another configuration that is in force."""
    config = place.parent / "its.env"
    config.write_text("TARGET_CPU=31\n", encoding="ascii")
    make_history(place.parent / "new.sqlite3", 7, first_utc_s=5_000)
    archive = make_backup(place.parent / "new.sqlite3", place.parent, config=config).file
    config.write_text("TARGET_CPU=44\n", encoding="ascii")
    return archive, config


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("command", ["report", "simulate"])
def test_a_terminal_without_blocks_gets_another_character(place: Path, command: str) -> None:
    """ASCII: no traceback, and the figures stand as they are."""
    written(place / "state" / HISTORY_NAME, [record(time.time() - 60)])
    trace = place / "trace.csv"
    trace.write_text("timestamp,value\n2026-11-01 00:00,5\n2026-11-01 00:05,15\n", encoding="utf-8")
    given = {"report": [], "simulate": ["--trace", str(trace), "--cpus", "2", "--memory-gb", "8"]}
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with redirect_stdout(out):
        code = main([command, *given[command], "--set", f"WORKSPACE_DIR={place}"])
    out.flush()
    shown = cast("io.BytesIO", out.buffer).getvalue()
    assert code == 0
    assert b"organic" in shown


def test_python_does_not_try_it_again(place: Path) -> None:
    """On the real device: one line, and exit 1, not the 120 of a flush at the end."""
    on = ("--set", f"WORKSPACE_DIR={place}")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "optimizer", "history", "export", *on],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
            env=environment(),
        )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "No space left on device" in done.stderr
