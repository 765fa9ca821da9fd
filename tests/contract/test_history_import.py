"""Rows from elsewhere in the history's file: what is new, in one transaction, replacing nothing."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from optimizer.adapters import history_import
from optimizer.adapters.history import SqliteHistory
from optimizer.adapters.history_file import DAY_S
from optimizer.adapters.history_import import Cover, Sifted, ahead, sift, store
from optimizer.adapters.history_reading import read_events, read_past, read_rows
from optimizer.errors import HistoryError
from optimizer.outcome import EventKind, HistoryRow
from tests.contract.test_history import NOW_S, make_record
from tests.fakes import FakeLog

END_S = int(NOW_S)


def row(utc_s: int, span_s: float = 60.0, cpu: float = 0.25) -> HistoryRow:
    """A row as sar would give it."""
    return HistoryRow(utc_s=utc_s, span_s=span_s, cpu=cpu, cpu_own=0.0)


def stored(path: Path, *sources: list[HistoryRow], days: int = 30) -> Sifted:
    """Import with the usual arguments."""
    return store(path, sources, now_utc_s=NOW_S, period_days=days, detail="sa21")


def numbers(path: Path) -> list[tuple[int, int]]:
    """(number, time) of each row in the order of the numbers."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT written, utc_s FROM sample ORDER BY written").fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the history is to be."""
    return tmp_path / "history.sqlite3"


@pytest.fixture
def lived(path: Path) -> Path:
    """A history in which a daemon has recorded ten minutes up to now."""
    history = SqliteHistory(path, period_days=30, log=FakeLog())
    for minute in range(9, -1, -1):
        assert history.append(make_record(NOW_S - 60 * minute))
    history.close()
    return path


def test_a_new_history_is_made(path: Path) -> None:
    """Where no daemon has ever run; the rows are there by time, whatever their order was."""
    sifted = stored(path, [row(END_S), row(END_S - 60)])
    assert (len(sifted.rows), sifted.known, sifted.too_old) == (2, 0, 0)
    assert numbers(path) == [(1, END_S - 60), (2, END_S)]
    history = SqliteHistory(path, period_days=30, log=FakeLog())
    assert history.append(make_record(NOW_S + 60))
    assert history.means(NOW_S + 60, 1).rows == 3
    history.close()


@pytest.mark.skipif(sys.platform == "win32", reason="links and modes of files")
def test_a_new_history_is_not_for_everybody_and_a_link_is_none(path: Path) -> None:
    """Mode 0640 as after a restore; what a link leads to is not written to, nor made."""
    before = os.umask(0o022)
    try:
        stored(path, [row(END_S)])
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
    for name in (path.name, "none"):
        link = path.with_name(f"link-to-{name}")
        link.symlink_to(path.with_name(name))
        with pytest.raises(HistoryError, match=r"is not a regular file.*set WORKSPACE_DIR"):
            stored(link, [row(END_S - 60)])
    assert not path.with_name("none").exists()
    assert [one.utc_s for one in read_rows(path, 0, 1e12)] == [END_S]


def test_what_the_daemon_recorded_wins(lived: Path) -> None:
    """Rows of its ten minutes are left out, also those that only begin in them; others are not."""
    before = read_rows(lived, 0, 2 * NOW_S)
    new = [row(END_S - 60 * minute, cpu=0.9) for minute in range(15)]
    wide = [row(END_S - 300, span_s=600.0), row(END_S - 600 - 900, span_s=600.0)]
    sifted = stored(lived, new, wide)
    assert [one.utc_s for one in sifted.rows] == [
        wide[1].utc_s,
        *(END_S - 60 * minute for minute in (14, 13, 12, 11, 10)),
    ]
    assert sifted.known == 10 + 1
    assert read_rows(lived, END_S - 600, END_S) == before


def test_ends_on_whole_seconds_do_not_hide_a_neighbour(path: Path) -> None:
    """Rows of 60.7 s each ten seconds past a whole one overlap by less than a second."""
    stored(path, [row(END_S - 60, span_s=60.7)])
    assert stored(path, [row(END_S, span_s=60.7)]).known == 0
    assert stored(path, [row(END_S, span_s=60.7)]).known == 1


def test_nothing_is_stored_twice(lived: Path) -> None:
    """The same import again finds all known, and notes no event."""
    source = [row(END_S - 3600 - 60 * minute) for minute in range(5)]
    assert len(stored(lived, source).rows) == 5
    kept = read_rows(lived, 0, 2 * NOW_S)
    again = stored(lived, source, source[:2])
    assert (again.rows, again.known) == ((), 7)
    assert read_rows(lived, 0, 2 * NOW_S) == kept
    assert len(read_events(lived, 0, 2 * NOW_S)) == 1


def test_the_earlier_source_wins(path: Path) -> None:
    """Two files that overlap: what the first has of a time stays."""
    first, second = row(END_S, cpu=0.1), row(END_S - 30, cpu=0.9)
    assert stored(path, [first], [second]).rows == (first,)


def test_a_clock_that_was_set_back_keeps_both_rows_of_a_time(path: Path) -> None:
    """Within one export rows may overlap; only one that is there twice is known."""
    rows = [row(END_S, cpu=0.1), row(END_S, cpu=0.2), row(END_S - 30, cpu=0.3), row(END_S, cpu=0.1)]
    sifted = stored(path, rows)
    assert sifted.rows == (rows[2], rows[0], rows[1])
    assert sifted.known == 1


def test_what_would_be_purged_is_left_out(path: Path) -> None:
    """Older than the days that are kept."""
    old, young = row(END_S - 2 * DAY_S), row(END_S - 2 * DAY_S + 1)
    assert stored(path, [old, young], days=2) == Sifted(rows=(young,), known=0, too_old=1)


def test_rows_of_the_future_are_seen() -> None:
    """A minute of difference between two clocks is none."""
    rows = [row(END_S), row(END_S + 60), row(END_S + 61)]
    assert ahead(rows, NOW_S) == (rows[2],)


def test_imported_rows_go_before_what_was_recorded(path: Path) -> None:
    """They are numbered before it: a clock that leaps a year takes no row that was recorded.

    Had they been numbered behind, the purge would count them as recorded
    after the daemon's own rows.
    """
    history = SqliteHistory(path, period_days=1, log=FakeLog())
    assert history.append(make_record(NOW_S - 10 * 3600, span_s=3600.0))
    history.close()
    imported = [row(END_S - hour * 3600, span_s=3600.0) for hour in range(9, -1, -1)]
    imported += [row(END_S - hour * 3600, span_s=3600.0) for hour in range(22, 12, -1)]
    assert len(stored(path, imported, days=1).rows) == 20
    assert [number for number, _ in numbers(path)] == list(range(-19, 2))
    assert numbers(path)[-1] == (1, END_S - 36_000)
    history = SqliteHistory(path, period_days=1, log=FakeLog())
    leap_s = NOW_S + 365 * DAY_S
    for hour in range(4):
        assert history.append(make_record(leap_s + 3600 * hour, span_s=3600.0))
    history.close()
    # 24 h were recorded after the first imported row, so that one may go, and only that.
    assert len(numbers(path)) == 24
    assert numbers(path)[0][0] == -18
    assert (1, END_S - 36_000) in numbers(path)


def test_rows_after_a_negative_number_are_still_in_order(path: Path) -> None:
    """SQLite gives the next number also where all are negative."""
    with closing(SqliteHistory(path, period_days=30, log=FakeLog())):
        stored(path, [row(END_S - 600)])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE sample SET written = -5")
    history = SqliteHistory(path, period_days=30, log=FakeLog())
    for minute in range(3):
        assert history.append(make_record(NOW_S + 60 * minute))
    history.close()
    assert [utc_s for _, utc_s in numbers(path)] == [END_S - 600, END_S, END_S + 60, END_S + 120]


def test_the_planner_sees_imported_rows_by_time(lived: Path) -> None:
    """Its past is in the order of time, not of writing."""
    stored(lived, [row(END_S - 7200), row(END_S - 3600)])
    times = [one.utc_s for one in read_past(lived, 0, 2 * NOW_S)]
    assert times == sorted(times)
    assert len(times) == 12


def test_an_event_tells_of_the_import(lived: Path) -> None:
    """How many rows, of which time, from where."""
    stored(lived, [row(END_S - 7200), row(END_S - 3600)])
    (event,) = read_events(lived, 0, 2 * NOW_S)
    assert (event.kind, event.utc_s) == (EventKind.IMPORTED, NOW_S)
    # 1800000000 is 2027-01-15 08:00.
    assert event.detail == "2 rows, 2027-01-15 06:00 to 2027-01-15 07:00 UTC, from sa21"


def test_a_failure_midway_stores_nothing(lived: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are in when the event fails; neither is there afterwards."""
    before = read_rows(lived, 0, 2 * NOW_S)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(history_import.history_events, "insert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stored(lived, [row(END_S - 7200)])
    assert read_rows(lived, 0, 2 * NOW_S) == before


def test_a_damaged_history_is_left_as_it_is(path: Path) -> None:
    """The daemon is who sets it aside."""
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(HistoryError, match=r"damaged .* start the daemon once"):
        stored(path, [row(END_S)])
    assert path.read_bytes() == b"no database" * 1000


def test_a_history_that_another_program_writes_is_named(lived: Path) -> None:
    """An sqlite3 shell in a transaction, for example."""
    with closing(sqlite3.connect(lived, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(HistoryError, match="end the other program"):
            stored(lived, [row(END_S - 7200)])


def test_a_history_of_a_newer_program_is_left_alone(lived: Path) -> None:
    """Its rows may mean something else."""
    with closing(sqlite3.connect(lived)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(HistoryError, match="schema version 99"):
        stored(lived, [row(END_S - 7200)])


@pytest.mark.parametrize(
    ("end_s", "span_s", "touches"),
    [
        (100, 60.0, True),
        (40, 40.0, False),
        (41, 41.0, False),  # by the second that ends are rounded to
        (42.5, 42.5, True),
        (160, 60.0, False),
        (160, 61.0, False),
        (160, 62.5, True),
        (300, 300.0, True),
        (70, 1.0, True),
        (101, 1.0, False),
        (41, 1.0, True),
        (40, 1.0, False),
        (250, 60.0, True),
    ],
)
def test_a_cover_is_touched_by_more_than_a_second(
    end_s: float, span_s: float, touches: bool
) -> None:
    """Known are 40 to 100 and 200 to 230."""
    cover = Cover([(230, 30.0), (100, 30.0), (80, 40.0)])
    assert cover.touches(end_s, span_s) is touches


def test_nothing_to_sift_is_nothing() -> None:
    """No source, or an empty one."""
    assert sift([[], []], [], after_utc_s=0) == Sifted(rows=(), known=0, too_old=0)
