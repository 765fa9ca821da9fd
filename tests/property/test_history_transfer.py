"""What is exported and imported again is the same, whatever it was."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from optimizer.adapters.history import SqliteHistory
from optimizer.adapters.history_file import DAY_S
from optimizer.adapters.history_import import Cover, sift, store
from optimizer.adapters.history_reading import read_rows
from optimizer.adapters.history_text import lines_of, parse_csv, parse_jsonl, render
from optimizer.model import Reason
from optimizer.outcome import HistoryRow
from tests.contract.test_history import make_record
from tests.fakes import FakeLog

NOW_S = 1_800_000_000
RATIO = st.one_of(
    st.none(),
    st.floats(0.0, 1.0),
    st.sampled_from([0.0, -0.0, 5e-324, 0.1 + 0.2, 1.0, 1 - 2**-53, 1e-17]),
)
REASON = st.one_of(st.none(), st.sampled_from([reason.value for reason in Reason]))


def as_recorded(row: HistoryRow) -> HistoryRow:
    """With a reason where our own load is above the total, which only the daemon's rows may be."""
    for of in ("cpu", "memory", "disk"):
        total, own = getattr(row, of), getattr(row, f"{of}_own")
        if total is not None and own is not None and own > total:
            reason: dict[str, Any] = {f"{of}_reason": Reason.HOLDING.value}
            row = row._replace(**reason)
    return row


ROW = st.builds(
    HistoryRow,
    # Few seconds, so that doubles and overlaps are frequent.
    utc_s=st.one_of(st.integers(NOW_S - 300, NOW_S), st.integers(NOW_S - 86_400 * 29, NOW_S)),
    span_s=st.one_of(st.just(60.0), st.floats(1e-3, 86_400.0)),
    cpu=RATIO,
    cpu_own=RATIO,
    cpu_steal=RATIO,
    memory=RATIO,
    memory_own=RATIO,
    disk=RATIO,
    disk_own=RATIO,
    cpu_setpoint=RATIO,
    memory_setpoint=RATIO,
    disk_setpoint=RATIO,
    cpu_reason=REASON,
    memory_reason=REASON,
    disk_reason=REASON,
).map(as_recorded)


def imported(path: Path, rows: list[HistoryRow]) -> list[HistoryRow]:
    """The rows of a history into which these were imported."""
    store(path, [rows], now_utc_s=NOW_S, period_days=30, detail="x")
    return read_rows(path, 0, NOW_S)


def told(rows: list[HistoryRow]) -> list[str]:
    """The rows to the last bit, the sign of a zero too."""
    return [repr(row) for row in rows]


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(ROW, max_size=30), kind=st.sampled_from(["csv", "jsonl"]))
def test_export_and_import_are_the_identity(rows: list[HistoryRow], kind: str) -> None:
    """In any order, with unknowns, odd floats, and several rows of a second; and again nothing."""
    parse = parse_csv if kind == "csv" else parse_jsonl
    with tempfile.TemporaryDirectory() as folder:
        first = imported(Path(folder) / "a", rows)
        assert Counter(first) == Counter(set(rows))
        text = render(first, kind)
        shuffled = text.splitlines(keepends=True)
        head, body = (shuffled[:1], shuffled[1:]) if kind == "csv" else ([], shuffled)
        random.Random(len(rows)).shuffle(body)
        parsed = parse(lines_of("".join((*head, *body, *body))), "x")
        assert parsed.faults == []
        second = imported(Path(folder) / "b", parsed.rows)
        assert sorted(told(second)) == sorted(told(first))
        exact = imported(Path(folder) / "c", parse(lines_of(text), "x").rows)
        assert told(exact) == told(first)
        assert told(imported(Path(folder) / "b", parsed.rows)) == told(second)


ROWS = st.lists(
    st.tuples(st.integers(100, 400), st.sampled_from([1.0, 1.5, 10.0, 60.0, 200.0])), max_size=12
)


@settings(max_examples=200, deadline=None)
@given(rows=ROWS, end_s=st.integers(100, 400), span_s=st.sampled_from([1.0, 4.0, 60.0]))
def test_a_cover_is_what_its_rows_cover(
    rows: list[tuple[int, float]], end_s: int, span_s: float
) -> None:
    """As each row alone says; the search among stretches is only quicker."""
    slack_s = min(1.0, span_s / 4)
    low, high = end_s - span_s + slack_s, end_s - slack_s
    expected = any(end - span < high and end > low for end, span in rows)
    assert Cover(rows).touches(end_s, span_s) is expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(ROW, max_size=8), max_size=4), st.lists(ROW, max_size=8))
def test_each_row_is_counted_once(sources: list[list[HistoryRow]], kept: list[HistoryRow]) -> None:
    """Stored, known or too old: the counts add up, and none that is stored covers a known time."""
    covered = [(row.utc_s, row.span_s) for row in kept]
    sifted = sift(sources, covered, after_utc_s=NOW_S - 86_400 * 20)
    assert len(sifted.rows) + sifted.known + sifted.too_old == sum(map(len, sources))
    assert len(set(sifted.rows)) == len(sifted.rows)
    cover = Cover(covered)
    assert not any(cover.touches(row.utc_s, row.span_s) for row in sifted.rows)
    assert [row.utc_s for row in sifted.rows] == sorted(row.utc_s for row in sifted.rows)


SPAN_S = 2 * 3600
PERIOD_DAYS = 2
LIFE = st.lists(
    st.tuples(
        st.integers(1, 30),
        st.integers(0, 30),
        st.integers(0, 60),
        st.sampled_from([0, 0, SPAN_S, 30 * DAY_S, 3650 * DAY_S, -30 * DAY_S]),
    ),
    max_size=4,
)
"""How many rows are recorded, how many then imported that end how many spans ago, and a leap."""


@settings(max_examples=15, deadline=None)
@given(life=LIFE)
@example(life=[(12, 24, 12, 3650 * DAY_S), (12, 0, 0, 0)])
def test_an_import_costs_no_recorded_row(life: list[tuple[int, int, int, int]]) -> None:
    """A row goes only once a period was recorded after it; what was imported is no record."""
    with tempfile.TemporaryDirectory() as folder:
        path, now_s = Path(folder) / "history.sqlite3", NOW_S
        recorded: list[tuple[int, float]] = []
        for count, foreign, back, leap_s in life:
            history = SqliteHistory(path, period_days=PERIOD_DAYS, log=FakeLog())
            for _ in range(count):
                now_s += SPAN_S
                ratio = len(recorded) / 10_000
                assert history.append(make_record(now_s, span_s=SPAN_S, cpu=(ratio, 0.1)))
                recorded.append((now_s, ratio))
            history.close()
            rows = [
                HistoryRow(now_s - (back + number) * SPAN_S, float(SPAN_S), cpu=0.9)
                for number in range(foreign)
            ]
            store(path, [rows], now_utc_s=now_s, period_days=PERIOD_DAYS, detail="x")
            kept = {(row.utc_s, row.cpu) for row in read_rows(path, -1e12, 1e12)}
            assert set(recorded[-PERIOD_DAYS * DAY_S // SPAN_S :]) <= kept
            now_s += leap_s
