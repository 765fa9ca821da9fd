"""The report's figures against numpy, plain sums and the daemon's planner, on any history."""

from __future__ import annotations

import itertools
import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.adapters.history_account import columns, read_last_day
from optimizer.adapters.history_file import INSERT_ROW, SCHEMA_VERSION, _prepare
from optimizer.adapters.history_means import PeriodSums
from optimizer.adapters.history_past import past
from optimizer.control.budget import Budget, measure
from optimizer.control.statistic import Figure, Ordered, figure
from optimizer.control.window import Gatherer, Window, slot_length_s
from optimizer.model import PerResource, Resource
from optimizer.orders import Gaps, Goal, Policy, Statistic, Terms
from optimizer.report import grid
from optimizer.report.account import Account
from optimizer.report.assemble import Subject, assemble, reading_from
from optimizer.report.grid import Grid, rows
from optimizer.report.windowed import Windows
from tests.fakes import policy

np = pytest.importorskip("numpy")

DAY_S = 86_400
START_S = 20_000 * DAY_S
HOUR_S = 3600
Row = tuple[int, float, float | None, float]
"""End, length, total, own."""
RATIO = st.floats(0, 1)
RULES = st.tuples(
    st.sampled_from(["mean", "p95", "p50", "p99.5", "peak"]), st.sampled_from(list(Gaps))
)


@st.composite
def histories(draw: st.DrawFn, *, back: bool = False) -> list[Row]:
    """Rows of all lengths with gaps; with `back` also of equal seconds and a clock set back."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from([60] * 8 + [1, 7, 59, 61, 90, 300, 4000]),
                st.sampled_from([0] * 8 + [1, 30, 3600, 20_000] + [-60, -61, -3600] * back),
                st.sampled_from([0.0, 0.003, -0.4]),
                st.none() | RATIO,
                RATIO,
            ),
            min_size=1,
            max_size=60,
        )
    )
    found, at_s = [], START_S + draw(st.integers(0, 130))
    for length_s, gap_s, off_s, total, own in steps:
        at_s += max(-at_s, gap_s) + length_s
        # The end is stored in whole seconds, so rows overlap a little or have little gaps.
        found.append((at_s, length_s + off_s, total, 0.0 if total is None else own * total))
    return found


@contextmanager
def stored(given: list[Row]) -> Iterator[sqlite3.Connection]:
    """A history of them, in memory."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        _prepare(db, 0)
        db.executemany(
            INSERT_ROW,
            [
                (
                    end_s,
                    span_s,
                    total,
                    None if total is None else own,
                    0.0,
                    total,
                    own,
                    None,
                    None,
                    0.4,
                    None,
                    0.4,
                    "holding",
                    "holding",
                    "no_disk",
                )
                for end_s, span_s, total, own in given
            ],
        )
        yield db


def account(
    db: sqlite3.Connection, rules: Policy, days: float, to_s: float, interval_s: float = 60.0
) -> Account:
    """The account of that history."""
    subject = Subject(
        host="host",
        version="1",
        policy=rules,
        interval_s=interval_s,
        cpus=2,
        nominal_memory_gb=4.0,
        size_class="small",
        capacity=PerResource(cpu=2.0, memory=4e9, disk=None),
    )
    found = columns(db, SCHEMA_VERSION, reading_from(rules, days, to_s), to_s)
    return assemble(found, (), subject, days=days, to_utc_s=to_s)


def judged(statistic: str, gaps: Gaps, window_days: float) -> Policy:
    """A policy that judges CPU and memory so."""
    goal = Goal(statistic=Statistic.parse(statistic), window_days=window_days)
    terms = Terms(goals=PerResource(cpu=goal, memory=goal, disk=None), gaps=gaps)
    return replace(policy(cpu=0.4), terms=terms)


def planned(
    db: sqlite3.Connection, goal: Goal, gaps: Gaps, to_s: float, *, organic: bool = False
) -> tuple[Window, Figure]:
    """The window as the daemon fills it from the history at its start, and its figure."""
    slot_s = slot_length_s(goal.window_days, 60.0)
    window, gatherer = Window(goal.window_days, slot_s), Gatherer(slot_s)
    for one in past(db, 0, 1e12):
        total, others = one.usage.cpu
        for slot, whole, rest in gatherer.add(one.utc_s, one.span_s, total, others):
            window.put(slot, rest if organic else whole, rest)
    # After a gap it hears of the time that has passed only when the next slot has ended.
    window.forward(int(to_s // slot_s) - 1)
    budget = Budget(window, measure(goal, 0.4, 0.5, window.slots, gaps))
    budget.refresh()
    return window, figure(goal, budget, Ordered(window), window, gaps)


def same(one: Figure, other: Figure) -> None:
    """Equal to what four-byte values can tell."""
    assert (one.ratio is None) == (other.ratio is None)
    if one.ratio is not None:
        assert one.ratio == pytest.approx(other.ratio, abs=2e-6)
    assert one.low == pytest.approx(other.low, abs=2e-6)
    assert one.high == pytest.approx(other.high, abs=2e-6)
    assert one.coverage == pytest.approx(other.coverage, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(given_rows=histories(), rule=RULES, organic=st.booleans())
def test_the_judged_figure_is_the_planners(
    given_rows: list[Row], rule: tuple[str, Gaps], organic: bool
) -> None:
    """Right after the last sample, whatever the lengths, gaps and unknown rows."""
    check_planners(given_rows, rule, organic)


@pytest.mark.long
@settings(max_examples=5000, deadline=None)
@given(given_rows=histories(), rule=RULES, organic=st.booleans())
def test_the_judged_figure_is_the_planners_in_many_histories(
    given_rows: list[Row], rule: tuple[str, Gaps], organic: bool
) -> None:
    """The same for five thousand."""
    check_planners(given_rows, rule, organic)


def check_planners(given_rows: list[Row], rule: tuple[str, Gaps], organic: bool) -> None:
    """Fails when report and planner differ."""
    goal, now_s = Goal(statistic=Statistic.parse(rule[0]), window_days=0.25), given_rows[-1][0]
    with stored(given_rows) as db:
        window, expected = planned(db, goal, rule[1], now_s, organic=organic)
        if window.newest is None:
            return
        found = rows(columns(db, SCHEMA_VERSION, 0, now_s))
        windows = Windows(goal, 60.0, rule[1])
        end_s = windows.newest_s(found, now_s)
        assert end_s == (window.newest + 1) * window.slot_s
        windows.fill(windows.grid_of(found, end_s, end_s), found.of.cpu)
        same(windows.figure(end_s, organic=organic), expected)


@settings(max_examples=30, deadline=None)
@given(given_rows=histories(), rule=RULES)
def test_each_figure_is_numpys(given_rows: list[Row], rule: tuple[str, Gaps]) -> None:
    """Of the minutes as a plain loop makes them, for the window of each day that ends in it."""
    check_numpys(given_rows, rule)


@pytest.mark.long
@settings(max_examples=3000, deadline=None)
@given(given_rows=histories(), rule=RULES)
def test_each_figure_is_numpys_in_many_histories(
    given_rows: list[Row], rule: tuple[str, Gaps]
) -> None:
    """The same for three thousand."""
    check_numpys(given_rows, rule)


def check_numpys(given_rows: list[Row], rule: tuple[str, Gaps]) -> None:
    """Fails when a day's figure is not what numpy makes of the minutes."""
    name, gaps = rule
    days = 0.5
    slots = 720
    with stored(given_rows) as db:
        to_s = given_rows[-1][0] // 60 * 60 + 60 * 10
        found = account(db, judged(name, gaps, days), 2.0, to_s)
    minutes = plain_minutes(given_rows)
    newest_s = given_rows[-1][0] // 60 * 60 if to_s - given_rows[-1][0] // 60 * 60 < 180 else to_s
    for day in found.of.cpu.days:
        end = round(min(day.start_utc_s + DAY_S, newest_s)) // 60
        values = [minutes.get(at) for at in range(end - slots, end)]
        known = [min(1.0, one) for one in values if one is not None]
        unknown = slots - len(known)
        assert day.figure is not None
        assert day.figure.coverage == pytest.approx(len(known) / slots)

        def plain(of: list[float]) -> float:
            if name == "mean":
                return float(np.mean(of))
            percent = 100.0 if name == "peak" else float(name[1:])
            return float(np.percentile(of, percent, method="lower"))

        if not known and gaps is Gaps.UNKNOWN:
            assert day.figure.ratio is None
            assert day.met is None
            continue
        counted = known + [0.0] * unknown if gaps is Gaps.ZERO else known
        assert day.figure.ratio == pytest.approx(plain(counted), abs=2e-6)
        assert day.figure.low == pytest.approx(plain(known + [0.0] * unknown), abs=2e-6)
        assert day.figure.high == pytest.approx(plain(known + [1.0] * unknown), abs=2e-6)


def plain_minutes(given_rows: list[Row]) -> dict[int, float]:
    """Minute -> mean of the total, where at least half of it is known; by the definition.

    A row that begins within the minute's end of the one before counts from there on.
    """
    sums: dict[int, list[float]] = {}
    before_s = 0.0
    for end_s, span_s, total, _ in given_rows:
        start_s = max(end_s - span_s, before_s)
        before_s = end_s // 60 * 60
        if total is None:
            continue
        for minute in range(int(start_s // 60), -(-end_s // 60)):
            part_s = min(end_s, minute * 60 + 60) - max(start_s, minute * 60)
            if part_s > 0:
                cell = sums.setdefault(minute, [0.0, 0.0])
                cell[0] += part_s
                cell[1] += part_s * total
    return {minute: value / known for minute, (known, value) in sums.items() if known >= 30}


@settings(max_examples=40, deadline=None)
@given(given_rows=histories(back=True), days=st.sampled_from([0.01, 0.3, 1.0, 2.5]))
def test_means_shares_and_sums_agree_with_each_other(given_rows: list[Row], days: float) -> None:
    """All views are of the same seconds: period, stretches, distribution, hours below, cost."""
    to_s = max(row[0] for row in given_rows) + 7.0
    with stored(given_rows) as db:
        found = account(db, judged("mean", Gaps.UNKNOWN, 0.25), days, to_s)
        one = found.of.cpu
        known_s = sum(part.coverage * part.length_s for part in one.stretches)
        assert sum(part.length_s for part in one.stretches) == pytest.approx(days * DAY_S)
        assert 0.0 <= one.coverage <= 1.0
        assert len(one.hour_of_week) == 168
        if one.total_ratio is None:
            assert known_s == pytest.approx(0.0)
            assert (one.organic_p95_ratio, one.below_hours) == (None, 0.0)
            return
        assert one.organic_ratio is not None
        assert one.own_ratio is not None
        assert one.organic_ratio + one.own_ratio == pytest.approx(one.total_ratio)
        assert sum(share.total for share in one.distribution) == pytest.approx(1.0)
        assert sum(share.organic for share in one.distribution) == pytest.approx(1.0)
        assert one.own_core_hours is not None
        if all(b[0] - b[1] > a[0] - 0.01 for a, b in itertools.pairwise(given_rows)):
            assert known_s == pytest.approx(one.coverage * days * DAY_S, abs=1.0)
            assert one.own_core_hours * HOUR_S == pytest.approx(
                one.own_ratio * 2 * known_s, rel=1e-3, abs=5
            )
        assert one.below_hours <= known_s / HOUR_S * 2 + 1
        values = [
            row[2] - row[3]
            for row in given_rows
            if row[2] is not None and row[0] > to_s - days * DAY_S
        ]
        assert one.organic_peak_ratio == pytest.approx(max(values)) or any(
            a[0] >= b[0] for a, b in itertools.pairwise(given_rows)
        )


@settings(max_examples=30, deadline=None)
@given(given_rows=histories(back=True), rule=RULES)
def test_a_clock_that_was_set_back_breaks_nothing(
    given_rows: list[Row], rule: tuple[str, Gaps]
) -> None:
    """Bounds hold, nothing counts twice, and the figure is near that of a restarted planner."""
    goal = Goal(statistic=Statistic.parse(rule[0]), window_days=0.25)
    to_s = max(row[0] for row in given_rows)
    with stored(given_rows) as db:
        found = account(db, judged(*rule, 0.25), 1.0, to_s)
        for one in (found.of.cpu, found.of.memory):
            assert one.figure.coverage <= 1.0
            assert one.coverage <= 1.0
            if one.figure.ratio is not None:
                assert one.figure.low <= one.figure.ratio + 1e-6
                assert one.figure.ratio <= one.figure.high + 1e-6
        window, _ = planned(db, goal, rule[1], to_s)
        if window.newest is None:
            return
        known = [v for v in window.totals(window.oldest, window.slots) if not math.isnan(v)]
        # What the planner writes anew at a row of an equal second, it may lose a minute by.
        again = sum(a[0] >= b[0] for a, b in itertools.pairwise(given_rows))
        assert abs(found.of.cpu.figure.coverage * window.slots - len(known)) <= 70 * (again + 1)


def test_equal_seconds_count_once() -> None:
    """Two rows of the same minute: the later one counts, as in the planner; coverage stays true."""
    given_rows: list[Row] = [(START_S + 60 * k, 60.0, 0.2, 0.0) for k in range(1, 11)]
    given_rows += [(START_S + 60 * k, 60.0, 0.6, 0.0) for k in range(6, 16)]
    goal = Goal(statistic=Statistic.parse("mean"), window_days=0.25)
    to_s = START_S + 15 * 60
    with stored(given_rows) as db:
        _, expected = planned(db, goal, Gaps.UNKNOWN, to_s)
        found = account(db, judged("mean", Gaps.UNKNOWN, 0.25), 0.25, to_s)
    # Minutes 1 to 5 at 0.2, 6 to 15 at 0.6.
    assert found.of.cpu.figure.ratio == pytest.approx((5 * 0.2 + 10 * 0.6) / 15)
    assert found.of.cpu.figure.coverage == pytest.approx(15 / 360)
    same(found.of.cpu.figure, expected)


@settings(max_examples=40, deadline=None)
@given(given_rows=histories())
def test_rows_of_any_length_are_laid_out_by_the_definition(given_rows: list[Row]) -> None:
    """Each day's means are sums over the seconds of that day."""
    to_s = given_rows[-1][0] + 30.0
    with stored(given_rows) as db:
        found = account(db, judged("mean", Gaps.UNKNOWN, 0.25), 3.0, to_s)
    for day in found.of.cpu.days:
        ends_s = min(day.start_utc_s + DAY_S, to_s)
        known_s = own = organic = before_s = 0.0
        for end_s, span_s, total, ours in given_rows:
            start_s = max(end_s - span_s, before_s, day.start_utc_s)
            before_s = end_s // 60 * 60
            part_s = max(0.0, min(end_s, ends_s) - start_s)
            if total is not None:
                known_s += part_s
                own += ours * part_s
                organic += max(0.0, total - ours) * part_s
        assert day.coverage == pytest.approx(
            min(1.0, known_s / (ends_s - day.start_utc_s)), abs=1e-6
        )
        if known_s > 1:
            assert day.own_ratio == pytest.approx(own / known_s, abs=1e-5)
            assert day.organic_ratio == pytest.approx(organic / known_s, abs=1e-5)


def test_a_row_that_overlaps_others_counts_from_their_end_on() -> None:
    """As in the planner: what was told of a minute first stays."""
    given_rows: list[Row] = [(START_S + 60 * k, 60.0, 0.2, 0.0) for k in range(1, 11)]
    given_rows += [(START_S + 15 * 60, 900.0, 0.8, 0.0)]
    goal = Goal(statistic=Statistic.parse("mean"), window_days=0.25)
    to_s = START_S + 15 * 60
    with stored(given_rows) as db:
        _, expected = planned(db, goal, Gaps.UNKNOWN, to_s)
        found = account(db, judged("mean", Gaps.UNKNOWN, 0.25), 0.25, to_s)
    # Ten minutes at 0.2, then five at 0.8.
    assert found.of.cpu.figure.ratio == pytest.approx(0.4)
    assert found.of.cpu.total_ratio == pytest.approx(0.4)
    same(found.of.cpu.figure, expected)


def test_senseless_values_are_unknown() -> None:
    """A history that was altered by hand or by a fault gives a report, without what cannot be."""
    given_rows: list[Row] = [(START_S + 60 * k, 60.0, 0.5, 0.3) for k in range(1, 61)]
    with stored(given_rows) as db:
        db.execute("UPDATE sample SET cpu = 1e300 WHERE written = 5")
        db.execute("UPDATE sample SET cpu = 9e999, cpu_setpoint = 9e999 WHERE written = 6")
        db.execute("UPDATE sample SET cpu_own = -7 WHERE written = 7")
        db.execute("UPDATE sample SET span_s = 9e999 WHERE written = 8")
        db.execute("UPDATE sample SET span_s = -60 WHERE written = 9")
        found = account(db, judged("mean", Gaps.UNKNOWN, 0.25), 1.0, START_S + 3600)
    one = found.of.cpu
    assert one.total_ratio == pytest.approx(0.5)
    # Of an hour three minutes are unknown and two rows are left out.
    assert one.coverage * 1440 == pytest.approx(55)
    assert one.figure.ratio == pytest.approx(0.5)
    assert one.last_day[-1].setpoint_ratio == pytest.approx(0.4)


def test_the_resources_are_told_apart() -> None:
    """Each column of the file is read as what it is; a row of no length tells nothing."""
    given_rows: list[Row] = [(START_S + 60 * k, 60.0, 0.5, 0.3) for k in range(1, 61)]
    with stored(given_rows) as db:
        db.execute("UPDATE sample SET memory = 0.7, memory_own = 0.1, memory_setpoint = 0.33")
        db.execute("UPDATE sample SET span_s = 0, cpu = 1 WHERE written = 3")
        found = account(db, judged("mean", Gaps.UNKNOWN, 0.25), 1.0, START_S + 3600)
        assert found.of.cpu.organic_peak_ratio == pytest.approx(0.2)
    of = found.of
    assert [of.cpu.total_ratio, of.memory.total_ratio] == [pytest.approx(0.5), pytest.approx(0.7)]
    assert [of.cpu.own_ratio, of.memory.own_ratio] == [pytest.approx(0.3), pytest.approx(0.1)]
    assert of.disk.total_ratio is None
    assert of.memory.last_day[-1].setpoint_ratio == pytest.approx(0.33)
    assert of.cpu.last_day[-1].setpoint_ratio == pytest.approx(0.4)
    assert {one.resource for one in of} == set(Resource)


@given(histories())
@settings(deadline=None)
def test_a_long_history_is_summed_piece_by_piece(given_rows: list[Row]) -> None:
    """Only a few rows are laid over the cells at a time; the sums are the same."""
    end_s = given_rows[-1][0]
    with stored(given_rows) as db:
        found = rows(columns(db, SCHEMA_VERSION, 0, end_s))
    cells = math.ceil((end_s - START_S) / 600) + 1
    whole = Grid(found, START_S, 600, cells).sums(found.of.cpu)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "_PIECE_ROWS", 3)
        parts = Grid(found, START_S, 600, cells).sums(found.of.cpu)
    for one, other in ((whole.known_s, parts.known_s), (whole.organic, parts.organic)):
        assert one == pytest.approx(other)


@given(histories(back=True))
@settings(deadline=None)
def test_the_means_of_the_status_are_those_of_the_report(given_rows: list[Row]) -> None:
    """Also where rows overlap, because a clock was set back."""
    told: list[Row] = [(end, float(round(span)), x, y) for end, span, x, y in given_rows]
    now_s = max(row[0] for row in told)
    from_s = now_s - DAY_S
    with stored(told) as db:
        found = PeriodSums(db, from_s, now_s).means(1).of.cpu
        seen = rows(columns(db, SCHEMA_VERSION, from_s, now_s)).within(from_s, now_s)
    known_s = np.maximum(0.0, seen.end_s - seen.start_s) * seen.of.cpu.known
    assert found.coverage_ratio == pytest.approx(min(1.0, known_s.sum() / DAY_S))
    if known_s.sum() > 0:
        for value, values in (
            (found.mean_ratio, seen.of.cpu.total),
            (found.own_mean_ratio, seen.of.cpu.own),
        ):
            assert value == pytest.approx((values * known_s).sum() / known_s.sum(), abs=1e-9)


def test_the_last_day_is_that_of_the_rows(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the status draws: samples of seconds gathered by minutes, unknown ones left out."""
    path = tmp_path_factory.mktemp("history") / "history.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        _prepare(db, 0)
        values = [(0.4, 0.1), (0.8, 0.3), (None, None)] * 40
        db.executemany(
            INSERT_ROW,
            [
                (
                    START_S + k + 1,
                    1.0,
                    total,
                    own,
                    0.0,
                    total,
                    own,
                    None,
                    None,
                    0.4,
                    None,
                    0.4,
                    "holding",
                    "holding",
                    "no_disk",
                )
                for k, (total, own) in enumerate(values)
            ],
        )
    found = read_last_day(path, START_S + 130)
    assert [(one.utc_s, one.span_s) for one in found] == [
        (START_S + 60, 60.0),
        (START_S + 120, 60.0),
    ]
    assert found[0].usage.cpu == (pytest.approx(0.6), pytest.approx(0.4))  # mean of 0.3 and 0.5
    assert found[0].usage.disk == (None, None)
    assert read_last_day(path, START_S + DAY_S + 200) == []
