"""The log: what a line looks like, what is kept, and what happens when the disk is full."""

from __future__ import annotations

import datetime
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from optimizer.adapters import log, log_file

NOON_S = datetime.datetime(2026, 3, 5, 12, tzinfo=datetime.UTC).timestamp()
DAY_S = 86400.0


class Clock:
    """UTC seconds that a test sets."""

    def __init__(self) -> None:
        self.utc_s = NOON_S

    def __call__(self) -> float:
        """The time now."""
        return self.utc_s


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """Leave the process's logging as it was."""
    level = logging.getLogger().level
    yield
    log.shutdown()
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()


def configure(
    directory: Path | None,
    clock: Clock,
    *,
    level: str = "info",
    max_mb: int = 1,
    total_mb: int = 3,
    keep_days: int = 30,
) -> tuple[Any, io.StringIO]:
    """A logger and what it writes on its console."""
    console = io.StringIO()
    logger = log.configure(
        directory=directory,
        level=level,
        max_mb=max_mb,
        total_mb=total_mb,
        keep_days=keep_days,
        console=console,
        now=clock,
    )
    return logger, console


def lines(path: Path) -> list[dict[str, Any]]:
    """The file's lines, each of which must be one JSON object."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def age(path: Path, utc_s: float) -> None:
    """Set the time of the last change, which the file's day is taken from when it is opened."""
    os.utime(path, (utc_s, utc_s))


def fail() -> None:
    """Raise an error whose message has a line end and a control character."""
    raise ValueError("one\ntwo\x1b[1m")


def names(directory: Path) -> list[str]:
    """What the directory holds."""
    return sorted(entry.name for entry in directory.iterdir())


def test_a_line_is_one_json_object_with_utc_time(tmp_path: Path) -> None:
    """The file has time in UTC with milliseconds, level, event and the fields with their types."""
    clock = Clock()
    clock.utc_s += 0.25
    logger, _ = configure(tmp_path, clock)
    logger.info("cycle.completed", count=3, ratio=0.4, resource=None)
    assert lines(tmp_path / "optimizer.log") == [
        {
            "timestamp": "2026-03-05T12:00:00.250Z",
            "level": "info",
            "event": "cycle.completed",
            "count": 3,
            "ratio": 0.4,
            "resource": None,
        }
    ]


def test_the_console_line_is_readable_and_without_colour_off_a_terminal(tmp_path: Path) -> None:
    """A console that is no terminal gets plain text; values with spaces are quoted."""
    logger, console = configure(tmp_path, Clock())
    logger.info("disk.chosen", mount="/data", note="first of two")
    text = console.getvalue()
    assert "2026-03-05T12:00:00.000Z [info     ] disk.chosen" in text
    assert "mount=/data note='first of two'" in text
    assert "\x1b" not in text


def test_without_a_directory_only_the_console_is_written(tmp_path: Path) -> None:
    """No directory means no file anywhere."""
    logger, console = configure(None, Clock())
    logger.info("daemon.started")
    assert "daemon.started" in console.getvalue()
    assert names(tmp_path) == []


def test_lines_below_the_level_are_not_written(tmp_path: Path) -> None:
    """A debug line is dropped at level info, and a second configure takes effect on old loggers."""
    logger, _ = configure(tmp_path, Clock())
    logger.debug("cycle.traced", n=1)
    configure(tmp_path, Clock(), level="debug")
    logger.debug("cycle.traced", n=2)
    assert [line["n"] for line in lines(tmp_path / "optimizer.log")] == [2]


def test_what_libraries_log_takes_the_same_form(tmp_path: Path) -> None:
    """A line of the standard logging module becomes an event with time and level."""
    configure(tmp_path, Clock())
    logging.getLogger("somebody").warning("broken %s", "thing")
    (line,) = lines(tmp_path / "optimizer.log")
    assert (line["event"], line["level"]) == ("broken thing", "warning")


def test_a_library_line_with_wrong_arguments_is_dropped_and_counted(tmp_path: Path) -> None:
    """A message that does not fit its arguments costs that line only."""
    logger, console = configure(tmp_path, Clock())
    library = logging.Logger("somebody")
    ours = {log.__name__, log_file.__name__}
    library.handlers = [h for h in logging.getLogger().handlers if type(h).__module__ in ours]
    library.warning("%d pieces", "no number")
    logger.info("cycle.completed")
    events = [line["event"] for line in lines(tmp_path / "optimizer.log")]
    assert events == ["cycle.completed", "log.write_recovered"]
    assert "log.write_failed" in console.getvalue()


def test_a_value_cannot_forge_a_line_or_move_the_cursor(tmp_path: Path) -> None:
    """Line ends and control characters in a value arrive escaped on the console and in the file."""
    logger, console = configure(tmp_path, Clock())
    evil = 'x\n2026-01-01 [info] forged\x1b[2J\u202e"'
    logger.info("inhibit.found", reason=evil)
    assert console.getvalue().count("\n") == 1
    assert "\x1b" not in console.getvalue()
    assert "\u202e" not in console.getvalue()
    raw = (tmp_path / "optimizer.log").read_bytes()
    assert raw.count(b"\n") == 1
    assert not any(byte < 0x20 for byte in raw.rstrip(b"\n"))
    assert lines(tmp_path / "optimizer.log")[0]["reason"] == evil


def test_a_word_or_a_library_message_cannot_move_the_cursor_either(tmp_path: Path) -> None:
    """Values that need no quotes and what libraries say are escaped on the console as well."""
    logger, console = configure(tmp_path, Clock())
    logger.info("inhibit.found", by="\x1b[2J\u202eroot")
    logging.getLogger("somebody").warning("one\r\ntwo\x1b[2J")
    assert console.getvalue().count("\n") == 2
    assert all(char.isprintable() or char == "\n" for char in console.getvalue())
    assert "one\\r\\ntwo\\x1b[2J" in console.getvalue()


def test_long_values_are_cut(tmp_path: Path) -> None:
    """A text longer than the limit keeps its beginning, also inside a list."""
    logger, _ = configure(tmp_path, Clock())
    logger.info("config.rejected", fault="a" * 5000, faults=["b" * 5000])
    (line,) = lines(tmp_path / "optimizer.log")
    assert line["fault"] == "a" * log.VALUE_CHARS
    assert line["faults"] == ["b" * log.VALUE_CHARS]


def test_values_that_json_does_not_know_become_text(tmp_path: Path) -> None:
    """Paths, bytes, not-a-number and values nested in themselves do not break the line."""
    logger, _ = configure(tmp_path, Clock())
    knot: list[object] = []
    knot.append(knot)
    logger.info("odd.seen", path=tmp_path, raw=b"\xff", ratio=float("nan"), knot=knot)
    (line,) = lines(tmp_path / "optimizer.log")
    assert (line["path"], line["raw"], line["ratio"]) == (str(tmp_path), "b'\\xff'", "nan")
    assert "knot" in line


def test_a_traceback_is_one_string_in_the_file_and_indented_on_the_console(tmp_path: Path) -> None:
    """The file has it as the field `exception`; on the console no line of it starts a line."""
    logger, console = configure(tmp_path, Clock())
    try:
        fail()
    except ValueError:
        logger.exception("cycle.failed", in_a_row=1)
    (line,) = lines(tmp_path / "optimizer.log")
    assert line["level"] == "error"
    assert line["exception"].startswith("Traceback (most recent call last)")
    assert line["exception"].endswith("ValueError: one\ntwo\x1b[1m")
    first, *rest = console.getvalue().rstrip("\n").split("\n")
    assert "cycle.failed" in first
    assert all(row.startswith("    ") for row in rest)
    assert "\x1b" not in console.getvalue()


def test_repeated_warnings_are_written_once_a_minute_with_a_count(tmp_path: Path) -> None:
    """The first at once, the next after a minute, with the number of those left out."""
    clock = Clock()
    logger, _ = configure(tmp_path, clock)
    for second in range(62):
        clock.utc_s = NOON_S + second
        logger.warning("sensor.failed", second=second)
        logger.info("cycle.completed")
    found = [line for line in lines(tmp_path / "optimizer.log") if line["event"] == "sensor.failed"]
    # Seconds 1 to 59 lie within the minute after the first: 59 are left out;
    # second 61 lies within the minute after the one at 60.
    assert [(line["second"], line.get("suppressed")) for line in found] == [(0, None), (60, 59)]
    assert len(lines(tmp_path / "optimizer.log")) == 2 + 62


def test_repeats_are_told_apart_by_event_and_resource(tmp_path: Path) -> None:
    """Another event, or the same of another resource, is no repetition."""
    logger, _ = configure(tmp_path, Clock())
    logger.warning("stresser.exited", resource="cpu")
    logger.warning("stresser.exited", resource="disk")
    logger.error("history.read_failed")
    assert len(lines(tmp_path / "optimizer.log")) == 3


def test_a_clock_set_back_does_not_silence_a_warning(tmp_path: Path) -> None:
    """After the clock went back by an hour the warning is written at once."""
    clock = Clock()
    logger, _ = configure(tmp_path, clock)
    logger.warning("sensor.failed")
    clock.utc_s -= 3600
    logger.warning("sensor.failed")
    assert len(lines(tmp_path / "optimizer.log")) == 2


def test_the_table_of_repeats_does_not_grow_without_end(tmp_path: Path) -> None:
    """Ten thousand different warnings leave no more than a few hundred entries."""
    limit = log._RepeatLimit(Clock())
    for number in range(10_000):
        limit(None, "warning", {"event": f"odd.seen_{number}"})
    assert len(limit._seen) <= 256
    assert names(tmp_path) == []


def test_a_new_day_moves_the_file_aside_under_its_own_day(tmp_path: Path) -> None:
    """What was written on the fifth is found under the fifth, also when a restart lies between."""
    clock = Clock()
    logger, _ = configure(tmp_path, clock)
    logger.info("day.first")
    clock.utc_s += DAY_S
    logger.info("day.second")
    age(tmp_path / "optimizer.log", clock.utc_s)
    log.shutdown()
    clock.utc_s += DAY_S
    logger, _ = configure(tmp_path, clock)
    logger.info("day.third")
    assert names(tmp_path) == [
        "optimizer-2026-03-05.log",
        "optimizer-2026-03-06.log",
        "optimizer.log",
    ]
    assert lines(tmp_path / "optimizer-2026-03-05.log")[0]["event"] == "day.first"
    assert lines(tmp_path / "optimizer-2026-03-06.log")[0]["event"] == "day.second"


def test_files_stay_below_their_size_and_all_together_below_the_total(tmp_path: Path) -> None:
    """Six MiB of lines with files of 1 MiB and 3 in all: the latest 3 files, the oldest gone."""
    logger, _ = configure(tmp_path, Clock())
    mib = 1024 * 1024
    # A line holds 50 texts of 2,000 characters: about 100 kB, ten to a file.
    for number in range(63):
        logger.info("load.written", number=number, text=["x" * 2000] * 50)
    found = names(tmp_path)
    assert found[-1] == "optimizer.log"
    assert len(found) == 3
    assert all((tmp_path / name).stat().st_size <= mib for name in found)
    assert sum((tmp_path / name).stat().st_size for name in found) <= 3 * mib
    numbers = [
        line["number"]
        for name in ["optimizer-2026-03-05.4.log", "optimizer-2026-03-05.5.log", "optimizer.log"]
        for line in lines(tmp_path / name)
    ]
    assert numbers == list(range(40, 63))  # four files of ten lines are gone


def test_old_files_go_and_only_files_of_ours_go(tmp_path: Path) -> None:
    """A file older than the limit is removed; directories, links and other names are not."""
    victim = tmp_path / "elsewhere.txt"
    victim.write_text("keep")
    # Noon of 5 March minus 30 days is 3 February: that day is kept, the day before is not.
    (tmp_path / "optimizer-2026-02-02.log").write_text("old")
    (tmp_path / "optimizer-2026-02-02.3.log").write_text("old")
    (tmp_path / "optimizer-2026-02-03.log").write_text("kept")
    strangers = [
        "optimizer-2020-01-01.log.gz",
        "my-optimizer-2020-01-01.log",
        "optimizer-2020-01-01.x.log",
        "optimizer-2020-1-1.log",
        "optimizer-2020-01-01.log\n",
    ]
    if sys.platform == "win32":
        strangers.pop()
    for name in strangers:
        (tmp_path / name).write_text("not ours")
    (tmp_path / "optimizer-2020-01-02.log").mkdir()
    if sys.platform != "win32":
        (tmp_path / "optimizer-2020-01-03.log").symlink_to(victim)
    before = set(names(tmp_path))
    logger, _ = configure(tmp_path, Clock())
    logger.info("daemon.started")
    gone = before - set(names(tmp_path))
    assert gone == {"optimizer-2026-02-02.log", "optimizer-2026-02-02.3.log"}
    assert victim.read_text() == "keep"


def test_a_log_moved_away_by_somebody_is_started_anew(tmp_path: Path) -> None:
    """Lines go on under the known name after an operator has moved or deleted the file."""
    logger, _ = configure(tmp_path, Clock())
    logger.info("line.first")
    os.rename(tmp_path / "optimizer.log", tmp_path / "taken.log")
    logger.info("line.second")
    assert [line["event"] for line in lines(tmp_path / "optimizer.log")] == ["line.second"]


def test_failed_writing_is_told_once_and_counted_when_it_works_again(tmp_path: Path) -> None:
    """While the file cannot be opened lines are dropped; later their number is written."""
    clock = Clock()
    blocked = tmp_path / "log"
    blocked.write_text("a file where the directory should be")
    logger, console = configure(blocked, clock)
    for _ in range(3):
        logger.info("cycle.completed")
    assert console.getvalue().count("log.write_failed") == 1
    assert "2026-03-05T12:00:00.000Z [warning  ] log.write_failed" in console.getvalue()
    blocked.unlink()
    logger.info("cycle.completed")
    written = lines(blocked / "optimizer.log")
    assert [line["event"] for line in written] == ["cycle.completed", "log.write_recovered"]
    assert written[1]["dropped"] == 3
    assert console.getvalue().count("log.write_recovered") == 1


def test_a_named_pipe_or_link_in_place_of_the_log_is_refused(tmp_path: Path) -> None:
    """Neither a pipe without a reader, which would block, nor a link is ever written to."""
    if sys.platform == "win32":
        pytest.skip("named pipes are POSIX")
    os.mkfifo(tmp_path / "optimizer.log")
    logger, console = configure(tmp_path, Clock())
    logger.info("cycle.completed")
    assert "log.write_failed" in console.getvalue()
    (tmp_path / "optimizer.log").unlink()
    (tmp_path / "target").write_text("")
    (tmp_path / "optimizer.log").symlink_to(tmp_path / "target")
    logger.info("cycle.completed")
    assert (tmp_path / "target").read_text() == ""


FULL_DISK = """
import io, resource, signal, sys
from pathlib import Path
from optimizer.adapters import log
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
console = io.StringIO()
logger = log.configure(directory=Path(sys.argv[1]), level="info", max_mb=1, total_mb=3,
                       keep_days=30, console=console)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
for number in range(20):
    logger.info("cycle.completed", number=number, text="x" * 100)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
logger.info("cycle.completed", number=20)
sys.stdout.write(console.getvalue())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_leaves_whole_lines_only(tmp_path: Path) -> None:
    """When the kernel takes only part of a line, none of it stays; then the loss is counted."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    written = lines(tmp_path / "optimizer.log")
    kept = [line["number"] for line in written if line["event"] == "cycle.completed"]
    assert kept == [*range(len(kept) - 1), 20]
    assert written[-1]["event"] == "log.write_recovered"
    assert written[-1]["dropped"] == 20 - (len(kept) - 1)
    assert 0 < len(kept) - 1 < 20
    assert done.stdout.count("log.write_failed") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="closed pipes raise otherwise there")
def test_a_closed_console_does_not_raise(tmp_path: Path) -> None:
    """When nobody reads the console any more, the file still gets its lines."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=1, encoding="utf-8") as console:
        logger = log.configure(
            directory=tmp_path,
            level="info",
            max_mb=1,
            total_mb=3,
            keep_days=30,
            console=console,
            now=Clock(),
        )
        logger.info("cycle.completed")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)
    assert len(lines(tmp_path / "optimizer.log")) == 1


WITH_RICH = """
import sys
from optimizer.adapters import log
assert "rich" not in sys.modules, "imported"
import rich
print(rich.marker)
"""


def test_rich_is_not_imported_though_installed(tmp_path: Path) -> None:
    """An installed rich stays out of the process, yet can be imported by others later."""
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("marker = 'the real one'\n")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", WITH_RICH],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "the real one"), done.stderr
