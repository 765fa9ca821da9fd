"""What every history does, and what the one in SQLite promises beyond that."""

from __future__ import annotations

import math
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.history import BACKLOG_ROWS, SqliteHistory
from optimizer.adapters.history_account import read_account, read_last_day
from optimizer.adapters.history_events import MOST_EVENTS
from optimizer.adapters.history_file import _MIGRATIONS, COLUMNS, SCHEMA_VERSION, begun
from optimizer.adapters.history_reading import (
    SLICE_ROWS,
    read_events,
    read_means,
    read_past,
    read_rows,
    read_spans,
    row_slices,
)
from optimizer.adapters.history_text import parse_jsonl, render
from optimizer.errors import HistoryError
from optimizer.model import Decision, PerResource, Reason, Resource, Sample, Utilisation
from optimizer.outcome import Event, EventKind, Record
from optimizer.ports import History
from tests.fakes import FakeHistory, FakeLog

DAY_S = 86_400
NOW_S = 1_800_000_000.0
Ratios = tuple[float, float] | None


def named(log: FakeLog, name: str) -> list[dict[str, object]]:
    """The fields of all events of this name."""
    return [fields for _, event, fields in log.events if event == name]


def make_record(
    utc_s: float,
    *,
    span_s: float = 60.0,
    cpu: Ratios = (0.4, 0.3),
    memory: Ratios = (0.5, 0.1),
    disk: Ratios = (0.6, 0.2),
) -> Record:
    """A record with these (total, own) ratios; None where the sensor failed."""

    def usage(ratios: Ratios) -> Utilisation | None:
        if ratios is None:
            return None
        total, own = ratios
        return Utilisation(total_ratio=total, own_ratio=own, capacity=2.0, room_ratio=0.5)

    def decision(resource: Resource) -> Decision:
        return Decision(
            resource=resource,
            target_ratio=0.4,
            setpoint_ratio=0.4,
            wanted_ratio=0.1,
            demand_ratio=0.1,
            lease=0.1,
            reason=Reason.HOLDING,
        )

    return Record(
        sample=Sample(
            utc_s=utc_s,
            span_s=span_s,
            usage=PerResource(cpu=usage(cpu), memory=usage(memory), disk=usage(disk)),
            steal_ratio=None if cpu is None else 0.01,
        ),
        plan=PerResource(
            cpu=decision(Resource.CPU),
            memory=decision(Resource.MEMORY),
            disk=decision(Resource.DISK),
        ),
    )


@pytest.fixture
def log() -> FakeLog:
    """A log that can be asked what it was told."""
    return FakeLog()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the history is to be."""
    return tmp_path / "history.sqlite3"


@pytest.fixture(params=["sqlite", "fake"])
def either(request: pytest.FixtureRequest, path: Path, log: FakeLog) -> Iterator[History]:
    """An empty history of each kind."""
    made: History = FakeHistory()
    if request.param == "sqlite":
        made = SqliteHistory(path, period_days=30, log=log)
    yield made
    made.close()


@pytest.fixture
def history(path: Path, log: FakeLog) -> Iterator[SqliteHistory]:
    """An empty history of 30 days."""
    made = SqliteHistory(path, period_days=30, log=log)
    yield made
    made.close()


def stored(path: Path) -> list[tuple[Any, ...]]:
    """What all rows hold, read by another connection."""
    with closing(sqlite3.connect(path)) as db:
        names = ", ".join(COLUMNS)
        return db.execute(f"SELECT {names} FROM sample ORDER BY utc_s").fetchall()  # noqa: S608


def test_empty_history_knows_nothing(either: History) -> None:
    """Without rows there is no mean and no coverage: not a mean of 0."""
    means = either.means(NOW_S, 30)
    assert means.rows == 0
    for mean in means.of:
        assert (mean.mean_ratio, mean.own_mean_ratio, mean.coverage_ratio) == (None, None, 0.0)


def test_mean_is_weighted_by_span(either: History) -> None:
    """A sample over three minutes counts three times as much as one over a minute."""
    assert either.append(make_record(NOW_S - 300, span_s=60, cpu=(0.2, 0.1)))
    assert either.append(make_record(NOW_S, span_s=180, cpu=(0.6, 0.5)))
    mean = either.means(NOW_S, 1).of.cpu
    assert mean.mean_ratio == pytest.approx(0.5)  # (0.2 * 60 + 0.6 * 180) / 240
    assert mean.own_mean_ratio == pytest.approx(0.4)  # (0.1 * 60 + 0.5 * 180) / 240
    assert mean.coverage_ratio == pytest.approx(240 / DAY_S)


def test_unknown_is_left_out_for_each_resource_alone(either: History) -> None:
    """A failed sensor lowers the coverage of its resource, and no mean."""
    either.append(make_record(NOW_S - 60, cpu=None, memory=(0.3, 0.0)))
    either.append(make_record(NOW_S, cpu=(0.8, 0.6), memory=(0.5, 0.2)))
    means = either.means(NOW_S, 1)
    assert means.rows == 2
    assert means.of.cpu.mean_ratio == pytest.approx(0.8)
    assert means.of.cpu.coverage_ratio == pytest.approx(60 / DAY_S)
    assert means.of.memory.mean_ratio == pytest.approx(0.4)  # (0.3 + 0.5) / 2
    assert means.of.memory.own_mean_ratio == pytest.approx(0.1)  # (0.0 + 0.2) / 2
    assert means.of.memory.coverage_ratio == pytest.approx(120 / DAY_S)


def test_our_share_of_the_cpu_is_summed_over_a_time(history: SqliteHistory) -> None:
    """Rows before, after and without a value do not count."""
    history.append(make_record(NOW_S - 600, cpu=(0.9, 0.9)))
    history.append(make_record(NOW_S - 120, span_s=60, cpu=(0.4, 0.3)))
    history.append(make_record(NOW_S - 60, cpu=None))
    history.append(make_record(NOW_S, span_s=30, cpu=(0.4, 0.1)))
    history.append(make_record(NOW_S + 60, cpu=(0.9, 0.9)))
    # 0.3 x 60 + 0.1 x 30
    assert history.own_cpu_ratio_s(NOW_S - 600, NOW_S) == pytest.approx(21.0)
    assert history.own_cpu_ratio_s(NOW_S + 1000, NOW_S + 2000) == 0.0


def test_of_a_row_that_began_earlier_only_what_is_inside_counts(history: SqliteHistory) -> None:
    """A minute that ends 15 s after the start of the time: 0.4 x 15."""
    history.append(make_record(NOW_S + 15, span_s=60, cpu=(0.5, 0.4)))
    assert history.own_cpu_ratio_s(NOW_S, NOW_S + 60) == pytest.approx(6.0)


def test_a_new_history_does_not_know_our_share(history: SqliteHistory) -> None:
    """Unknown is not 0; a closed one says that it cannot be read."""
    assert history.own_cpu_ratio_s(0.0, NOW_S) is None
    history.close()
    with pytest.raises(HistoryError, match="not open"):
        history.own_cpu_ratio_s(0.0, NOW_S)


def test_window_excludes_its_start_and_the_future(history: SqliteHistory) -> None:
    """Rows count from just after the start of the window up to and including now."""
    for utc_s, ratio in ((NOW_S - DAY_S, 0.9), (NOW_S - DAY_S + 1, 0.1), (NOW_S, 0.3)):
        history.append(make_record(utc_s, cpu=(ratio, 0.0)))
    history.append(make_record(NOW_S + 1, cpu=(0.9, 0.0)))
    means = history.means(NOW_S, 1)
    assert means.rows == 2
    assert means.of.cpu.mean_ratio == pytest.approx((0.1 * 1 + 0.3 * 60) / 61)  # what is inside


def test_coverage_is_never_above_one(either: History) -> None:
    """Spans that reach back over the start of the window do not count as more than all of it."""
    either.append(make_record(NOW_S, span_s=2 * DAY_S))
    assert either.means(NOW_S, 1).of.cpu.coverage_ratio == 1.0


def test_of_records_of_one_second_the_last_counts(history: SqliteHistory) -> None:
    """All are kept; a clock that was set back gives two intervals the same time."""
    assert history.append(make_record(NOW_S, span_s=60, cpu=(0.5, 0.0)))
    assert history.append(make_record(NOW_S + 0.4, span_s=30, cpu=(0.9, 0.0)))
    assert history.append(make_record(NOW_S, span_s=60, cpu=(0.7, 0.0)))
    means = history.means(NOW_S + 1, 1)
    assert means.rows == 3
    assert means.of.cpu.mean_ratio == pytest.approx(0.7)
    assert means.of.cpu.coverage_ratio == pytest.approx(60 / DAY_S)


@pytest.mark.parametrize("odd", ["'abc'", "9e999", "-9e999", "x'00'", "-0.5", "7"])
@pytest.mark.parametrize("column", ["cpu", "memory_own", "utc_s", "span_s", "disk_reason"])
def test_one_odd_cell_costs_its_row_at_most(path: Path, column: str, odd: str) -> None:
    """Whatever a hand has put into a cell, the daemon starts and everything can be read."""
    kept = SqliteHistory(path, period_days=30, log=FakeLog())
    for minute in range(3):
        kept.append(make_record(NOW_S - 60 * minute, cpu=(0.4, 0.1), disk=(0.6, 0.2)))
    kept.close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"UPDATE sample SET {column} = {odd} WHERE written = 2")  # noqa: S608
    again = SqliteHistory(path, period_days=30, log=FakeLog())
    assert again.append(make_record(NOW_S + 60, cpu=(0.4, 0.1)))
    now_s = NOW_S + 60
    planned = list(again.past(now_s - DAY_S, now_s))
    means = again.means(now_s, 1)
    own_s = again.own_cpu_ratio_s(now_s - DAY_S, now_s)
    again.close()
    assert own_s == pytest.approx(0.1 * 60 * 4, abs=0.1 * 60 + 0.1 * 60 * (odd == "7"))
    assert means == read_means(path, now_s, 1)
    assert means.of.cpu.mean_ratio == pytest.approx(0.4)
    drawn, rows = read_last_day(path, now_s), read_rows(path, now_s - DAY_S, now_s)
    assert planned == read_past(path, now_s - DAY_S, now_s)
    assert len(drawn) == len(planned) == len(rows)
    for one in (*planned, *drawn):
        assert one.usage.cpu in ((None, None), (pytest.approx(0.4), pytest.approx(0.3)))
    assert parse_jsonl(render(rows, "jsonl").splitlines(), "it")[:2] == (rows, [])
    columns, _ = read_account(path, now_s - DAY_S, now_s, 0.0)
    assert len(columns.utc_s) == len(rows)


def test_slices_are_the_rows_and_hold_up_no_writer(path: Path) -> None:
    """Rows of one second lie on both sides of a cut; between slices nothing is held open."""
    count = 2 * SLICE_ROWS + 5
    with closing(begun(path)) as db:
        db.execute(
            "INSERT INTO sample(utc_s, span_s, cpu) WITH RECURSIVE n(k) AS (SELECT 0 UNION ALL "
            "SELECT k + 1 FROM n WHERE k < ?) SELECT 1 + k / 3, 1, k / 1e6 FROM n",
            (count - 1,),
        )
        shown = []
        for rows in row_slices(path, 0, NOW_S):
            assert len(rows) <= SLICE_ROWS
            shown += [row.cpu for row in rows]
            db.execute("INSERT INTO sample(utc_s, span_s) VALUES (?, 1)", (NOW_S + 1,))
            assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    assert shown == [k / 1e6 for k in range(count)]
    assert list(read_spans(path))[:2] == [(1, 1.0), (1, 1.0)]


def test_the_last_day_is_found_whatever_its_numbers(path: Path) -> None:
    """An import numbers its rows below all others, also those of today."""
    with closing(begun(path)) as db:
        db.execute(
            "INSERT INTO sample(written, utc_s, span_s) WITH RECURSIVE n(k) AS (SELECT 0 UNION ALL "
            "SELECT k + 1 FROM n WHERE k < 100000) SELECT k, ? + k, 1 FROM n",
            (int(NOW_S) - 20 * DAY_S,),
        )
        db.execute(
            "INSERT INTO sample(written, utc_s, span_s, cpu, cpu_own) VALUES (-1, ?, 60, 0.5, 0)",
            (int(NOW_S),),
        )
    assert [one.usage.cpu for one in read_last_day(path, NOW_S)] == [(0.5, 0.5)]


def test_row_holds_every_fact_of_the_record(history: SqliteHistory, path: Path) -> None:
    """The columns carry ratios and words, and NULL where nothing is known."""
    history.append(make_record(NOW_S + 0.9, disk=None))
    assert stored(path) == [
        (
            *(1_800_000_000, 60.0, 0.4, 0.3, 0.01, 0.5, 0.1, None, None),
            *(0.4, 0.4, 0.4, "holding", "holding", "holding"),
        )
    ]


def test_rows_survive_a_restart(path: Path, log: FakeLog) -> None:
    """A history that is opened again knows what was appended before, and leaves no side files."""
    first = SqliteHistory(path, period_days=30, log=log)
    first.append(make_record(NOW_S))
    first.close()
    first.close()
    assert os.listdir(path.parent) == [path.name]
    assert not first.append(make_record(NOW_S + 60))
    second = SqliteHistory(path, period_days=30, log=log)
    assert second.means(NOW_S + 60, 1).rows == 1
    second.close()
    assert log.events == []


def test_steady_operation_keeps_the_period(path: Path, log: FakeLog) -> None:
    """Rows are purged when the period is full; a shorter period takes effect with the next row."""
    history = SqliteHistory(path, period_days=3, log=log)
    for hour in range(24 * 5):
        history.append(make_record(NOW_S + hour * 3600, span_s=3600))
    last_s = NOW_S + (24 * 5 - 1) * 3600
    assert len(stored(path)) == 72  # 3 days of hours
    assert stored(path)[0][0] == last_s - 71 * 3600
    history.set_period(1)
    history.append(make_record(last_s + 3600, span_s=3600))
    assert len(stored(path)) == 24
    history.close()


@pytest.mark.parametrize("years", [-10, -1, 1, 10])
@pytest.mark.parametrize("wrong_hours", [1, 24])
def test_clock_jump_deletes_no_more_than_it_lasted(
    path: Path, log: FakeLog, years: int, wrong_hours: int
) -> None:
    """A clock that is wrong for some hours costs at most as many hours of history."""
    history = SqliteHistory(path, period_days=4, log=log)
    for hour in range(96):
        history.append(make_record(NOW_S + hour * 3600, span_s=3600))
    before = {row[0] for row in stored(path)}
    jumped_s = NOW_S + 96 * 3600 + years * 365 * DAY_S
    for hour in range(wrong_hours):
        history.append(make_record(jumped_s + hour * 3600, span_s=3600))
    after = {row[0] for row in stored(path)}
    assert len(before - after) <= (wrong_hours if years > 0 else 0)
    # The clock is put right: what was recorded under the wrong one does not count.
    true_s = NOW_S + (95 + wrong_hours + 1) * 3600
    history.append(make_record(true_s, span_s=3600))
    means = history.means(true_s, 4)
    # Rows in the four days that end now: those that time has not outdated, less the lost ones,
    # and the new one.
    still_in_window = {utc_s for utc_s in before if utc_s > true_s - 4 * DAY_S}
    assert means.rows == len(still_in_window & after) + 1
    assert means.rows >= 96 - 2 * wrong_hours - 1
    history.close()


@pytest.mark.parametrize("ends", ["never", "before", "after"])
def test_rows_of_a_clock_that_was_behind_are_as_young_as_they_are(
    path: Path, log: FakeLog, ends: str
) -> None:
    """A clock ten years back for five days costs no row of them, also over a restart."""
    history = SqliteHistory(path, period_days=30, log=log)
    for hour in range(0, 30 * 24, 2):
        history.append(make_record(NOW_S + hour * 3600, span_s=7200))
    right_s = NOW_S + 30 * DAY_S
    wrong_s = right_s - 3650 * DAY_S
    behind = [wrong_s + hour * 3600 for hour in range(0, 5 * 24, 2)]
    for utc_s in behind:
        history.append(make_record(utc_s, span_s=7200))
    if ends == "before":
        history.close()
        history = SqliteHistory(path, period_days=30, log=log)
    history.append(make_record(right_s + 5 * DAY_S, span_s=7200))
    if ends == "after":
        history.close()
        history = SqliteHistory(path, period_days=30, log=log)
    for hour in range(2, 24 * 24, 2):
        history.append(make_record(right_s + 5 * DAY_S + hour * 3600, span_s=7200))
    # With the rows of 24 days, 29 days were recorded since the first of them.
    assert set(behind) <= {row[0] for row in stored(path)}
    # The period, and no row more than it takes: 360 of two hours.
    assert len(stored(path)) == 360
    history.close()


def test_no_row_replaces_another_at_short_intervals(path: Path, log: FakeLog) -> None:
    """A row a second, and the clock set back over all of them, twice: each is there."""
    history = SqliteHistory(path, period_days=30, log=log)
    for second in range(1500):
        record = make_record(NOW_S + second % 700, span_s=1, cpu=(second / 1500, 0.0))
        assert history.append(record)
    assert len({row[2] for row in stored(path)}) == 1500
    history.close()


def test_random_clocks_always_leave_the_period(path: Path, log: FakeLog) -> None:
    """Whatever the clock does, a purge leaves a period of recorded time, or all there is."""
    jumps = random.Random(7)
    history = SqliteHistory(path, period_days=2, log=log)
    now_s, seen = NOW_S, set[int]()
    for _ in range(400):
        if jumps.random() < 0.03:
            now_s += jumps.uniform(-10, 10) * 365 * DAY_S
        now_s += 3600
        history.append(make_record(now_s, span_s=3600))
        seen.add(int(now_s))
        assert len(stored(path)) >= min(len(seen), 48)  # 2 days of hours
    assert len(stored(path)) < len(seen), "nothing was purged: the test shows nothing"
    history.close()


def test_a_host_that_was_off_keeps_its_last_rows(path: Path, log: FakeLog) -> None:
    """After a month off the old rows go one by one, as new ones replace them."""
    history = SqliteHistory(path, period_days=2, log=log)
    for hour in range(48):
        history.append(make_record(NOW_S + hour * 3600, span_s=3600))
    back_s = NOW_S + 30 * DAY_S
    for hour in range(10):
        history.append(make_record(back_s + hour * 3600, span_s=3600))
    assert len(stored(path)) == 48
    history.close()


def test_one_long_record_displaces_at_most_a_day(path: Path, log: FakeLog) -> None:
    """A record that claims to span a year does not empty the history."""
    history = SqliteHistory(path, period_days=4, log=log)
    for hour in range(96):
        history.append(make_record(NOW_S + hour * 3600, span_s=3600))
    history.append(make_record(NOW_S + 365 * DAY_S, span_s=365.0 * DAY_S))
    assert len(stored(path)) == 73  # 96 hours less the 24 of a day, and the new one
    history.close()


@pytest.mark.parametrize(
    "content", [b"", b"not a database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_file_that_is_no_database_is_set_aside(path: Path, log: FakeLog, content: bytes) -> None:
    """A file with other content is kept under another name, and a new history begun."""
    path.write_bytes(content)
    history = SqliteHistory(path, period_days=30, log=log)
    assert history.append(make_record(NOW_S))
    history.close()
    aside = [p for p in path.parent.iterdir() if ".damaged-" in p.name]
    assert [p.read_bytes() for p in aside] == ([content] if content else [])
    assert len(named(log, "history.set_aside")) == len(aside)


def test_damaged_pages_are_found_at_the_start(path: Path, log: FakeLog) -> None:
    """Whatever bytes are flipped, the history opens and takes a row: the old file or a new one."""
    first = SqliteHistory(path, period_days=30, log=log)
    for minute in range(300):
        first.append(make_record(NOW_S + minute * 60))
    first.close()
    good = path.read_bytes()
    flips = random.Random(11)
    set_aside = 0
    for _ in range(60):
        bad = bytearray(good)
        for _ in range(flips.choice([1, 10, 200])):
            bad[flips.randrange(len(bad))] = flips.randrange(256)
        path.write_bytes(bad[: flips.choice([len(bad), len(bad), len(bad) // 2, 700])])
        found = FakeLog()
        history = SqliteHistory(path, period_days=30, log=found)
        assert history.append(make_record(NOW_S + 9e5)), found.events
        assert history.means(NOW_S + 9e5, 30).rows >= 1
        history.close()
        set_aside += len(named(found, "history.set_aside"))
    assert set_aside >= 20
    kept = [p for p in path.parent.iterdir() if ".damaged-" in p.name]
    assert len([p for p in kept if not p.name.endswith(("-wal", "-shm"))]) <= 3


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be renamed on Windows")
def test_side_files_go_with_the_damaged_database(path: Path, log: FakeLog) -> None:
    """A WAL that is still there is kept beside its database, never left for the new one."""
    first = SqliteHistory(path, period_days=30, log=log)
    for minute in range(300):
        first.append(make_record(NOW_S + minute * 60))
    first.close()
    with closing(sqlite3.connect(path)) as reader:
        # While somebody has the file open, SQLite does not remove the WAL.
        assert reader.execute("SELECT COUNT(*) FROM sample").fetchone() == (300,)
        with open(path, "r+b") as file:
            file.seek(8192)
            file.write(b"\xff" * 4096)
        second = SqliteHistory(path, period_days=30, log=log)
        assert second.means(NOW_S, 30).rows == 0
        second.close()
        (event,) = named(log, "history.set_aside")
        names = set(os.listdir(path.parent))
        aside = Path(str(event["path"])).name
        assert names == {path.name, aside, f"{aside}-wal", f"{aside}-shm"}


def test_only_the_newest_damaged_files_are_kept(path: Path, log: FakeLog) -> None:
    """Three are kept with their side files; a name that is not ours is left alone."""
    older = [f"{path.name}.damaged-2026010{day}T000000Z" for day in (1, 2, 3)]
    for name in older:
        (path.parent / name).write_bytes(b"x")
        (path.parent / f"{name}-wal").write_bytes(b"x")
    other = path.parent / f"{path.name}.damaged-by-hand"
    other.write_bytes(b"mine")
    path.write_bytes(b"rubbish" * 1000)
    SqliteHistory(path, period_days=30, log=log).close()
    (event,) = named(log, "history.set_aside")
    names = set(os.listdir(path.parent))
    assert not {older[0], f"{older[0]}-wal"} & names
    kept = {older[1], older[2], f"{older[2]}-wal", other.name, Path(str(event["path"])).name}
    assert kept <= names


def test_database_of_another_program_is_set_aside(path: Path, log: FakeLog) -> None:
    """Tables that are not ours are neither written to nor lost."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE foreign_rows(x)")
    SqliteHistory(path, period_days=30, log=log).close()
    (event,) = named(log, "history.set_aside")
    with closing(sqlite3.connect(str(event["path"]))) as db:
        assert db.execute("SELECT COUNT(*) FROM foreign_rows").fetchone() == (0,)


def test_newer_file_is_refused_and_not_touched(path: Path, log: FakeLog) -> None:
    """A file of a newer program stays as it is, and the error names both versions."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE sample(utc_s, more)")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 6}")
    before = path.read_bytes()
    with pytest.raises(HistoryError, match=rf"version {SCHEMA_VERSION + 6}.*{SCHEMA_VERSION}"):
        SqliteHistory(path, period_days=30, log=log)
    with pytest.raises(HistoryError, match="newer program"):
        read_means(path, NOW_S, 30)
    assert path.read_bytes() == before


def test_rows_wait_in_memory_while_the_file_is_locked(
    history: SqliteHistory, path: Path, log: FakeLog
) -> None:
    """Failed appends are logged once, count in the means, and are written later in order."""
    history.append(make_record(NOW_S, cpu=(0.1, 0.0)))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not history.append(make_record(NOW_S + 60, cpu=(0.2, 0.0)))
        assert not history.append(make_record(NOW_S + 120, cpu=(0.3, 0.0)))
        means = history.means(NOW_S + 120, 1)
        assert means.rows == 3
        assert means.of.cpu.mean_ratio == pytest.approx(0.2)  # (0.1 + 0.2 + 0.3) / 3
        other.execute("ROLLBACK")
    (failure,) = named(log, "history.write_failed")
    assert "locked" in str(failure["cause"])
    assert failure["remedy"]
    assert history.append(make_record(NOW_S + 180))
    (recovery,) = named(log, "history.write_recovered")
    assert recovery["rows"] == 3
    assert [row[0] - NOW_S for row in stored(path)] == [0, 60, 120, 180]
    assert len(log.events) == 2


def test_rows_wait_in_memory_while_the_file_cannot_grow(
    history: SqliteHistory, path: Path, log: FakeLog
) -> None:
    """A refused write loses nothing: the rows come after, and reading goes on meanwhile."""
    if sys.platform == "win32":
        pytest.skip("no limit for the size of a file on Windows")
    import resource  # noqa: PLC0415 - not on Windows

    for minute in range(50):
        history.append(make_record(NOW_S + minute * 60))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    wal_bytes = Path(f"{path}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal_bytes, hard))
    try:
        written = [history.append(make_record(NOW_S + 3000 + n * 60)) for n in range(5)]
        rows = history.means(NOW_S + 4000, 1).rows
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert written == [False] * 5
    assert rows == 55
    assert len(named(log, "history.write_failed")) == 1
    assert history.append(make_record(NOW_S + 3300))
    assert len(stored(path)) == 56


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs root to mount a small tmpfs"
)
def test_full_disk_at_the_start_and_later(tmp_path: Path, log: FakeLog) -> None:
    """On a full disk the history begins in memory, and moves into the file when there is space."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "optimizer-test", str(mount)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("mount -t tmpfs is denied here")
    try:
        filler = mount / "filler"
        filler.write_bytes(bytes(512 * 1024))
        history = SqliteHistory(mount / "history.sqlite3", period_days=30, log=log)
        assert not history.append(make_record(NOW_S))
        filler.unlink()
        assert history.append(make_record(NOW_S + 60))
        assert history.means(NOW_S + 60, 1).rows == 2
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(512 * 1024))
        assert not history.append(make_record(NOW_S + 120))
        assert history.means(NOW_S + 120, 1).rows == 3
        filler.unlink()
        assert history.append(make_record(NOW_S + 180))
        assert len(stored(mount / "history.sqlite3")) == 4
        history.close()
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_backlog_is_bounded_and_the_loss_is_told(
    history: SqliteHistory, path: Path, log: FakeLog
) -> None:
    """When memory is full the oldest waiting records go, and the log says how many."""
    history.append(make_record(NOW_S))
    path.rename(path.with_name("elsewhere"))
    path.mkdir()  # nothing can be opened here, and that fails at once
    for minute in range(1, BACKLOG_ROWS + 6):
        assert not history.append(make_record(NOW_S + minute * 60))
    path.rmdir()
    assert history.append(make_record(NOW_S + BACKLOG_ROWS * 60 + 360))
    (recovery,) = named(log, "history.write_recovered")
    assert recovery["rows"] == BACKLOG_ROWS
    assert recovery["rows_lost"] == 6  # 1445 failed and 1 more, for 1440 places
    assert len(stored(path)) == BACKLOG_ROWS


def test_history_on_a_bad_path_degrades(tmp_path: Path, log: FakeLog) -> None:
    """Without its directory the history waits in memory, and uses the file once it can."""
    path = tmp_path / "missing" / "history.sqlite3"
    history = SqliteHistory(path, period_days=30, log=log)
    assert not history.append(make_record(NOW_S))
    with pytest.raises(HistoryError, match="not open"):
        history.means(NOW_S, 1)
    path.parent.mkdir()
    assert history.append(make_record(NOW_S + 60))
    assert history.means(NOW_S + 60, 1).rows == 2
    assert log.names() == ["history.write_failed", "history.write_recovered"]
    history.close()


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed on Windows")
def test_file_removed_under_the_daemon_is_begun_again(
    history: SqliteHistory, path: Path, log: FakeLog
) -> None:
    """No row is acknowledged into a file that has no name any more."""
    history.append(make_record(NOW_S))
    path.unlink()
    assert history.append(make_record(NOW_S + 60))
    assert [row[0] for row in stored(path)] == [NOW_S + 60]
    assert len(named(log, "history.replaced")) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be written on Windows")
def test_damage_at_run_time_is_set_aside_with_the_next_append(
    history: SqliteHistory, path: Path, log: FakeLog
) -> None:
    """A database that breaks while it is open costs its rows and not the daemon."""
    history.append(make_record(NOW_S))
    for name in (path, Path(f"{path}-wal")):
        with open(name, "r+b") as file:
            file.write(b"\xff" * os.path.getsize(name))
    shm = Path(f"{path}-shm")
    with open(shm, "r+b") as file:
        file.write(bytes(os.path.getsize(shm)))
    with pytest.raises(HistoryError, match="cannot read"):
        history.means(NOW_S, 1)
    written = [history.append(make_record(NOW_S + 60 * n)) for n in (1, 2, 3)]
    assert written == [True] * 3
    assert len(named(log, "history.set_aside")) == 1
    assert len(stored(path)) == 3


def test_reader_beside_the_writer(history: SqliteHistory, path: Path) -> None:
    """The command line reads the same means while the daemon has the file open."""
    for minute in range(10):
        history.append(make_record(NOW_S + minute * 60, cpu=(minute / 10, 0.0)))
        now_s = NOW_S + minute * 60
        assert read_means(path, now_s, 1) == history.means(now_s, 1)


def test_reader_without_a_writer(history: SqliteHistory, path: Path) -> None:
    """The command line reads what a stopped daemon left."""
    history.append(make_record(NOW_S))
    history.close()
    assert read_means(path, NOW_S, 1).rows == 1


def test_reader_without_a_file_says_so(tmp_path: Path) -> None:
    """Nothing is created by looking, and the message says when there will be something."""
    path = tmp_path / "with space?#.sqlite3"
    with pytest.raises(HistoryError, match=r"there is no history at .*first interval"):
        read_means(path, NOW_S, 30)
    assert os.listdir(tmp_path) == []


def test_reader_of_rubbish_says_so(path: Path) -> None:
    """A damaged file is an error for the reader, who leaves it where it is."""
    path.write_bytes(b"rubbish" * 1000)
    with pytest.raises(HistoryError, match="not a database"):
        read_means(path, NOW_S, 30)
    assert path.read_bytes() == b"rubbish" * 1000


def test_numbers_that_are_none_are_stored_as_unknown(history: SqliteHistory) -> None:
    """NaN is no ratio: it becomes NULL and counts nowhere."""
    assert history.append(make_record(NOW_S, cpu=(math.nan, math.nan)))
    assert history.means(NOW_S, 1).of.cpu.mean_ratio is None


def make_event(utc_s: float, kind: EventKind = EventKind.PAUSED) -> Event:
    """An event with every fact."""
    return Event(
        utc_s=utc_s,
        kind=kind,
        reason="patch",
        by="ops",
        since_utc_s=utc_s - 1.5,
        until_utc_s=utc_s + 60.25,
        detail="more",
    )


def events_in(path: Path) -> tuple[Event, ...]:
    """All events, read by another connection."""
    return read_events(path, -1e18, 1e18)


def version_1(path: Path) -> None:
    """A file as the first version wrote it: its statement, and two rows."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(_MIGRATIONS[0][0])
        db.execute("PRAGMA user_version = 1")
        for utc_s, cpu in ((NOW_S - 60, 0.2), (NOW_S, 0.4)):
            row = (int(utc_s), 60.0, cpu, 0.1, 0.0, None, None, None, None)
            row += (0.4, 0.4, 0.4, "holding", "no_reading", "no_disk")  # type: ignore[assignment]
            db.execute(f"INSERT INTO sample VALUES ({', '.join('?' * 15)})", row)  # noqa: S608


def test_the_last_event_of_some_kinds_is_known(either: History) -> None:
    """By the order in which they were noted: a clock may have been put back."""
    kinds = {EventKind.STARTED, EventKind.STOPPED}
    assert either.last(kinds) is None
    assert either.note(make_event(NOW_S, EventKind.STARTED))
    assert either.note(make_event(NOW_S - 1e8, EventKind.STOPPED))
    assert either.note(make_event(NOW_S + 5, EventKind.PAUSED))
    assert either.last(kinds) == make_event(NOW_S - 1e8, EventKind.STOPPED)
    assert either.last({EventKind.RESUMED}) is None


def test_events_are_read_back_as_they_were_noted(history: SqliteHistory, path: Path) -> None:
    """Every fact, and what is not known stays unknown; a span has its end and not its start."""
    bare = Event(utc_s=NOW_S + 0.25, kind=EventKind.STARTED)
    assert history.note(make_event(NOW_S))
    assert history.note(bare)
    assert history.note(make_event(NOW_S + 60))
    assert events_in(path) == (make_event(NOW_S), bare, make_event(NOW_S + 60))
    assert read_events(path, NOW_S, NOW_S + 60) == (bare, make_event(NOW_S + 60))
    with closing(sqlite3.connect(path)) as db:
        row = db.execute("SELECT * FROM event WHERE id = 2").fetchone()
    assert row == (2, NOW_S + 0.25, "daemon.started", None, None, None, None, None, 0)


def test_events_survive_a_restart(path: Path, log: FakeLog) -> None:
    """Also one that nothing followed; a closed history takes none and tells none."""
    first = SqliteHistory(path, period_days=30, log=log)
    assert first.note(make_event(NOW_S))
    first.close()
    assert not first.note(make_event(NOW_S))
    with pytest.raises(HistoryError, match="not open"):
        first.last({EventKind.PAUSED})
    second = SqliteHistory(path, period_days=30, log=log)
    assert second.last({EventKind.PAUSED}) == make_event(NOW_S)
    second.close()
    assert log.events == []


def test_a_file_of_version_1_is_brought_forward(path: Path, log: FakeLog) -> None:
    """Its rows stay, numbered by their times, and it takes events; a reader finds none before."""
    version_1(path)
    assert read_events(path, 0, NOW_S) == ()
    before = stored(path)
    history = SqliteHistory(path, period_days=30, log=log)
    assert stored(path) == before
    means = history.means(NOW_S, 1)
    assert means.rows == 2
    assert means.of.cpu.mean_ratio == pytest.approx(0.3)  # (0.2 + 0.4) / 2
    assert history.note(make_event(NOW_S))
    assert history.append(make_record(NOW_S + 60))
    history.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        times = db.execute("SELECT utc_s - ? FROM sample ORDER BY written", (int(NOW_S),))
        assert times.fetchall() == [(-60,), (0,), (60,)]
    assert len(events_in(path)) == 1
    assert log.events == []


def test_a_migration_that_is_refused_leaves_version_1(path: Path, log: FakeLog) -> None:
    """Somebody holds the file: all waits in memory, and comes into it later, in one step."""
    version_1(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        history = SqliteHistory(path, period_days=30, log=log)
        assert not history.note(make_event(NOW_S))
        assert other.execute("PRAGMA user_version").fetchone() == (1,)
        other.execute("ROLLBACK")
    assert history.append(make_record(NOW_S + 60))
    assert events_in(path) == (make_event(NOW_S),)
    assert len(stored(path)) == 3
    history.close()


def test_events_wait_in_memory_while_the_file_is_locked(
    history: SqliteHistory, path: Path, log: FakeLog
) -> None:
    """Logged once, known meanwhile, and written later in their order, with the rows."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not history.note(make_event(NOW_S))
        assert not history.append(make_record(NOW_S))
        assert not history.note(make_event(NOW_S + 1, EventKind.RESUMED))
        assert history.last({EventKind.PAUSED}) == make_event(NOW_S)
        other.execute("ROLLBACK")
    assert history.note(make_event(NOW_S + 2))
    assert [event.utc_s - NOW_S for event in events_in(path)] == [0, 1, 2]
    assert len(stored(path)) == 1
    (recovery,) = named(log, "history.write_recovered")
    assert recovery["rows"] == 4
    assert len(log.events) == 2


def test_events_go_with_the_rows_of_their_time(path: Path, log: FakeLog) -> None:
    """An event an hour and a row an hour: three days of both are kept."""
    history = SqliteHistory(path, period_days=3, log=log)
    for hour in range(24 * 5):
        history.note(make_event(NOW_S + hour * 3600 - 1))
        history.append(make_record(NOW_S + hour * 3600, span_s=3600))
    assert len(stored(path)) == 72
    assert len(events_in(path)) == 72
    history.close()


@pytest.mark.parametrize("years", [-10, 10])
def test_a_clock_jump_deletes_no_more_events_than_rows(
    path: Path, log: FakeLog, years: int
) -> None:
    """A day under a wrong clock costs at most the events of one day."""
    history = SqliteHistory(path, period_days=4, log=log)
    for hour in range(96):
        history.note(make_event(NOW_S + hour * 3600 - 1))
        history.append(make_record(NOW_S + hour * 3600, span_s=3600))
    jumped_s = NOW_S + 96 * 3600 + years * 365 * DAY_S
    for hour in range(24):
        history.append(make_record(jumped_s + hour * 3600, span_s=3600))
    assert len(events_in(path)) >= (72 if years > 0 else 96)
    history.close()


def test_the_number_of_events_is_bounded(history: SqliteHistory, path: Path) -> None:
    """A daemon that starts again and again drops the oldest, and not the file's disk."""
    with closing(sqlite3.connect(path)) as db:
        db.executemany(
            "INSERT INTO event(utc_s, kind) VALUES (?, 'daemon.restarted')",
            [(NOW_S + n,) for n in range(MOST_EVENTS)],
        )
        db.commit()
    for n in range(3):
        assert history.note(make_event(NOW_S + MOST_EVENTS + n))
    found = events_in(path)
    assert len(found) == MOST_EVENTS
    assert found[0].utc_s == NOW_S + 3


def test_events_that_this_program_does_not_know_are_left_out(
    history: SqliteHistory, path: Path
) -> None:
    """Of a program with more kinds but the same table, or by hand."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO event(utc_s, kind) VALUES (1.0, 'unheard.of')")
        db.execute("INSERT INTO event(utc_s, kind) VALUES ('x', 'load.paused')")
        db.execute("INSERT INTO event(utc_s, kind, until_utc_s) VALUES (2.0, 'load.paused', 'x')")
        db.commit()
    assert events_in(path) == (Event(utc_s=2.0, kind=EventKind.PAUSED),)
    assert history.last(set(EventKind)) == Event(utc_s=2.0, kind=EventKind.PAUSED)


def test_a_table_of_events_that_is_gone_is_damage(path: Path, log: FakeLog) -> None:
    """The schema in the file is checked at the start; the file is set aside."""
    SqliteHistory(path, period_days=30, log=log).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE event")
    history = SqliteHistory(path, period_days=30, log=log)
    assert history.note(make_event(NOW_S))
    assert len(named(log, "history.set_aside")) == 1
    history.close()


def test_reader_of_events_without_a_file_says_so(tmp_path: Path) -> None:
    """As for the means."""
    with pytest.raises(HistoryError, match="there is no history at"):
        read_events(tmp_path / "none", 0, NOW_S)
    assert os.listdir(tmp_path) == []


def test_the_past_is_told_oldest_first_with_what_others_used(either: History) -> None:
    """Total and organic of each resource, None where unknown, only of the time asked for."""
    either.append(make_record(NOW_S - 300))
    either.append(make_record(NOW_S - 60, cpu=None))
    either.append(make_record(NOW_S - 120))
    past = list(either.past(NOW_S - 200, NOW_S))
    assert [one.utc_s for one in sorted(past)] == [NOW_S - 120, NOW_S - 60]
    first, last = sorted(past)
    assert first.span_s == 60.0
    assert first.usage.cpu == pytest.approx((0.4, 0.1))
    assert last.usage.cpu == (None, None)
    assert last.usage.memory == pytest.approx((0.5, 0.4))
    assert last.usage.disk == pytest.approx((0.6, 0.4))


def test_a_reader_beside_the_daemon_is_told_the_same_past(tmp_path: Path) -> None:
    """`optimizer plan` reads what a daemon has left; without a file it is told what is missing."""
    path = tmp_path / "history.sqlite3"
    with pytest.raises(HistoryError, match="there is no history"):
        read_past(path, 0.0, NOW_S)
    kept = SqliteHistory(path, period_days=30, log=FakeLog())
    for at_s in (NOW_S - 300, NOW_S - 120, NOW_S):
        kept.append(make_record(at_s))
    told = list(kept.past(NOW_S - 200, NOW_S))
    assert len(told) == 2
    assert read_past(path, NOW_S - 200, NOW_S) == told
    kept.close()
