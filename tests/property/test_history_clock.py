"""What the history loses when the clock is set, as often and as far as chance will have it."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from enum import Enum, auto
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from optimizer.adapters.history import SqliteHistory
from optimizer.adapters.history_file import DAY_S
from tests.contract.test_history import NOW_S, make_record
from tests.fakes import FakeLog

SPAN_S = 2 * 3600
YEARS_S = 10 * 365 * DAY_S
PERIOD_DAYS = 2
PERIOD_ROWS = 24
DAY_ROWS = 12
KEPT = "SELECT cpu, utc_s FROM sample"

STEPS = st.one_of(
    st.integers(-YEARS_S, YEARS_S),
    st.integers(-4 * DAY_ROWS, 4 * DAY_ROWS).map(lambda rows: rows * SPAN_S),
    st.sampled_from([-YEARS_S, YEARS_S, -30 * DAY_S, 30 * DAY_S, -1, 1]),
)


class End(Enum):
    """How the process ends whose clock was set, if it does, before the next begins."""

    NONE = auto()
    CLOSED = auto()
    KILLED = auto()


LIFE_PARTS = (st.integers(1, 30), st.sampled_from(End), st.integers(0, 29))
"""How many records follow, whether the process ends, and after which of them."""
LIVES = st.lists(st.tuples(STEPS, *LIFE_PARTS), min_size=1, max_size=6)
"""By how much the clock is set, and the parts that follow."""


def kept(path: Path) -> set[tuple[int, int]]:
    """The numbers and times of the records that are there; none is there twice."""
    with closing(sqlite3.connect(path)) as db:
        rows = [(round(ratio * 10_000), utc_s) for ratio, utc_s in db.execute(KEPT)]
    assert len(rows) == len(set(rows))
    return set(rows)


def begun_again(history: SqliteHistory, path: Path, end: End) -> tuple[SqliteHistory, Path]:
    """The history of the next process, and its file.

    After a kill that is a copy of the files as they are, beside which the old
    process cannot write any more.
    """
    if end is End.NONE:
        return history, path
    if end is End.KILLED:
        killed, path = path, path.with_name(f"{path.name}-")
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{killed}{suffix}", f"{path}{suffix}")
    history.close()
    log = FakeLog()
    history = SqliteHistory(path, period_days=PERIOD_DAYS, log=log)
    assert log.events == []
    return history, path


def live(life: list[tuple[int, int, End, int]], span_s: int) -> None:
    """Record through such a life; a row may go only once a period was recorded after it."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "history.sqlite3"
        history = SqliteHistory(path, period_days=PERIOD_DAYS, log=FakeLog())
        utc_s, number, recorded = NOW_S, 0, []
        for step_s, rows, end, at in [(0, PERIOD_ROWS, End.NONE, 0), *life]:
            utc_s += step_s
            for row in range(rows):
                utc_s += span_s
                record = make_record(utc_s, span_s=span_s, cpu=(number / 10_000, 0.0))
                assert history.append(record)
                recorded.append((number, int(utc_s)))
                number += 1
                if row == min(at, rows - 1):
                    history, path = begun_again(history, path, end)
            young = recorded[-PERIOD_DAYS * DAY_S // span_s :]
            assert set(young) <= kept(path)
            assert kept(path) <= set(recorded)
        history.close()


@settings(max_examples=25, deadline=None)
@given(life=LIVES)
@example(life=[(-6 * SPAN_S, 6, End.NONE, 0)] * 4)  # exactly over the rows that are there
@example(life=[(-YEARS_S, 18, End.NONE, 0), (YEARS_S, 6, End.NONE, 0)])
@example(life=[(-YEARS_S, 18, End.CLOSED, 17), (YEARS_S, 6, End.NONE, 0)])
@example(life=[(-YEARS_S, 18, End.KILLED, 17), (YEARS_S, 6, End.NONE, 0)])
@example(life=[(YEARS_S, 18, End.NONE, 0), (-YEARS_S, 18, End.NONE, 0)])
# Rows of the future that stay must not take the place of younger ones.
@example(
    life=[
        (YEARS_S, 18, End.NONE, 0),
        (-YEARS_S, 24, End.CLOSED, 23),
        (30 * DAY_S, 1, End.NONE, 0),
    ]
)
def test_no_clock_deletes_young_history(life: list[tuple[int, int, End, int]]) -> None:
    """No row goes before a period was recorded after it, whatever clocks and restarts there are."""
    live(life, SPAN_S)


@settings(max_examples=10, deadline=None)
@given(life=st.lists(st.tuples(st.integers(-90, 30), *LIFE_PARTS), min_size=1, max_size=6))
@example(life=[(-24, 24, End.CLOSED, 5), (-24, 24, End.KILLED, 5), (-1, 30, End.NONE, 0)])
def test_no_row_replaces_another(life: list[tuple[int, int, End, int]]) -> None:
    """Rows of one second each, and a clock that is set back over them: all are there."""
    live(life, 1)
