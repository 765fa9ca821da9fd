"""What the history loses when the clock is set, as often and as far as chance will have it."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
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

STEPS = st.one_of(
    st.integers(-YEARS_S, YEARS_S),
    st.integers(-4 * DAY_ROWS, 4 * DAY_ROWS).map(lambda rows: rows * SPAN_S),
    st.sampled_from([-YEARS_S, YEARS_S, -30 * DAY_S, 30 * DAY_S, -1, 1]),
)
LIVES = st.lists(st.tuples(STEPS, st.integers(1, 30)), min_size=1, max_size=6)
"""By how much the clock is set, and how many records follow."""


def kept(path: Path) -> set[int]:
    """The numbers of the records that are there."""
    with closing(sqlite3.connect(path)) as db:
        return {round(ratio * 10_000) for (ratio,) in db.execute("SELECT cpu FROM sample")}


@settings(max_examples=10, deadline=None)
@given(life=LIVES)
@example(life=[(-6 * SPAN_S, 6)] * 4)  # exactly over the rows that are there
@example(life=[(-YEARS_S, 18), (YEARS_S, 6)])
@example(life=[(YEARS_S, 18), (-YEARS_S, 18)])
def test_no_clock_deletes_more_than_a_day_of_history(life: list[tuple[int, int]]) -> None:
    """A record may go once a period was recorded after it; others, together, no more than a day."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "history.sqlite3"
        history = SqliteHistory(path, period_days=PERIOD_DAYS, log=FakeLog())
        utc_s, number = NOW_S, 0
        for step_s, rows in [(0, PERIOD_ROWS), *life]:
            utc_s += step_s
            for _ in range(rows):
                utc_s += SPAN_S
                record = make_record(utc_s, span_s=SPAN_S, cpu=(number / 10_000, 0.0))
                assert history.append(record)
                number += 1
            early = set(range(number - PERIOD_ROWS, number)) - kept(path)
            assert len({one for one in early if one >= 0}) <= DAY_ROWS, sorted(early)
        history.close()


@settings(max_examples=8, deadline=None)
@given(life=LIVES, again=st.sets(st.integers(0, 5)))
def test_with_restarts_a_period_of_recorded_time_stays(
    life: list[tuple[int, int]], again: set[int]
) -> None:
    """A new process does not know in which order rows were written; it keeps as many."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "history.sqlite3"
        history = SqliteHistory(path, period_days=PERIOD_DAYS, log=FakeLog())
        utc_s, number = NOW_S, 0
        for part, (step_s, rows) in enumerate(life):
            utc_s += step_s
            for _ in range(rows):
                utc_s += SPAN_S
                record = make_record(utc_s, span_s=SPAN_S, cpu=(number / 10_000, 0.0))
                assert history.append(record)
                number += 1
            assert len(kept(path)) >= min(number, PERIOD_ROWS) - 1
            if part in again:
                history.close()
                history = SqliteHistory(path, period_days=PERIOD_DAYS, log=FakeLog())
        history.close()
