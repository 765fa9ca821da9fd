"""The report as people and programs read it: nothing, one row, only unknown rows, and much."""

from __future__ import annotations

import csv
import io
import json
from array import array
from dataclasses import replace

import pytest

from optimizer.model import PerResource
from optimizer.orders import Combination, Gaps, Goal, Policy, Statistic, Terms
from optimizer.outcome import Columns, Event, EventKind
from optimizer.report import grid, rightsizing
from optimizer.report.account import Account
from optimizer.report.account_json import COLUMNS, SCHEMA, VERSION, document, table
from optimizer.report.account_text import text
from optimizer.report.assemble import Subject, assemble
from optimizer.report.spark import ASCII, BLOCKS, Piece, columns, last_day, line, shows_blocks
from optimizer.report.text_style import Style
from optimizer.report.windowed import Windows
from tests.fakes import policy

pytest.importorskip("numpy")

DAY_S = 86_400.0
NOW_S = 20_500 * DAY_S + 18 * 3600
"""2026-02-16 18:00 UTC."""
GIB = float(1 << 30)
Known = tuple[float, float]
Rows = list[tuple[float, float, Known | None]]


def account(
    rows: list[tuple[float, float, Known | None]],
    *,
    days: float = 30.0,
    rules: Policy | None = None,
    events: tuple[Event, ...] = (),
    disk_reason: str | None = None,
) -> Account:
    """Of rows (end, length, total and own of the CPU); the memory is always at 50 %, own 20 %."""

    def triples(values: list[Known | None]) -> array[float]:
        known = ((-1.0, -1.0) if one is None else one for one in values)
        return array("d", [x for total, own in known for x in (total, own, 0.25)])

    return assemble(
        Columns(
            utc_s=array("d", [row[0] for row in rows]),
            span_s=array("d", [row[1] for row in rows]),
            of=PerResource(
                cpu=triples([row[2] for row in rows]),
                memory=triples([None if row[2] is None else (0.5, 0.2) for row in rows]),
                disk=triples([None for _ in rows]),
            ),
            disk_reason=disk_reason,
        ),
        events,
        Subject(
            host="web-1",
            version="9.9",
            policy=rules or policy(cpu=0.25, memory=0.4, disk=0.0),
            interval_s=60.0,
            cpus=4,
            nominal_memory_gb=8.0,
            size_class="small",
            capacity=PerResource(cpu=4.0, memory=8 * GIB, disk=None),
        ),
        days=days,
        to_utc_s=NOW_S,
    )


def hours(count: int, used: Known | None) -> list[tuple[float, float, Known | None]]:
    """Rows of an hour each until now."""
    return [(NOW_S - 3600 * k, 3600.0, used) for k in reversed(range(count))]


@pytest.mark.parametrize("rows", [[], [(NOW_S - 60, 60.0, None)], hours(48, None)])
def test_without_anything_known_all_is_unknown(
    rows: list[tuple[float, float, Known | None]],
) -> None:
    """No row, or only unknown ones: no figure, no verdict, coverage 0; never a 0 %."""
    found = account(rows)
    assert found.met is None
    for one in found.of:
        assert (one.figure.ratio, one.total_ratio, one.organic_p95_ratio) == (None, None, None)
        assert (one.figure.low, one.figure.high, one.coverage) == (0.0, 1.0, 0.0)
        assert (one.met, one.below_hours) == (None, 0.0)
        assert len(one.days) == 30
    shown = text(found, Style())
    assert "verdict  cannot be told (cpu unknown, memory unknown)" in shown
    assert " 0.0 %" not in shown
    assert "Nothing is known of the organic load" in shown
    assert all(row["figure_percent"] == "" for row in csv.DictReader(io.StringIO(table(found))))
    assert json.loads(document(found))["of"]["cpu"]["figure"]["ratio"] is None


def test_one_row_is_told_with_its_bounds() -> None:
    """A figure of one minute in 43,200 is given, with what it may be in truth."""
    found = account([(NOW_S, 60.0, (0.5, 0.4))])
    assert found.of.cpu.figure.ratio == pytest.approx(0.5)
    shown = text(found, Style(width=200))
    assert "coverage 0.0 %, so it lies between 0.0 % and 100.0 % whatever" in shown
    assert "2026-02-16  50.0%  50.0% met so far*" in shown
    assert "2026-02-16  50.0%  50.0% met*" in text(found, Style(width=60))
    assert "2026-02-16  50.0% met*" in text(found, Style(width=50))


def test_a_month_is_summed_up() -> None:
    """Means, hours below the target, core-hours, events, and what the tenant alone would need."""
    event = Event(utc_s=NOW_S - 5, kind=EventKind.PAUSED, by="a\x1b[31mb")
    rows = [*hours(720, (0.3, 0.2))[:-10], *hours(10, (0.2, 0.0))]
    found = account(rows, events=(event,))
    of = found.of.cpu
    # 710 hours at 0.3 and 10 at 0.2.
    assert of.figure.ratio == pytest.approx((710 * 0.3 + 10 * 0.2) / 720)
    assert of.organic_figure.ratio == pytest.approx((710 * 0.1 + 10 * 0.2) / 720)
    assert of.below_hours == pytest.approx(10)
    assert of.own_core_hours == pytest.approx(710 * 0.2 * 4)
    assert of.coverage == pytest.approx(1.0)
    assert found.met is True
    assert of.stretches[0].setpoint_ratio == pytest.approx(0.25)
    assert of.days[-1].start_utc_s == 20_500 * DAY_S
    assert of.days[-1].coverage == pytest.approx(1.0)
    shown = text(found, Style(width=200))
    assert "mean of 30 d 29.9 %, target 25 %: met; coverage 100.0 %" in shown
    assert "own load 568.0 core-hours" in shown
    assert "1 (`optimizer history events` lists them): 1 paused" in shown
    assert "watched only: the target is 0" in shown
    assert "\x1b" not in shown


def test_a_size_is_chosen_by_time_and_not_by_rows() -> None:
    """An hour of seconds at 95 % beside ten days of ten minutes at 10 %, as `sar` may have it."""
    busy_s = NOW_S - 3600
    rows: Rows = [(busy_s - 600 * k, 600.0, (0.1, 0.0)) for k in reversed(range(1440))]
    rows += [(busy_s + k, 1.0, (0.95, 0.0)) for k in range(1, 3601)]
    found = account(rows)
    assert found.of.cpu.organic_p95_ratio == 0.1
    assert "0.40" in rightsizing.sentences(found, "en")[0]  # of 4 CPUs


def test_the_95th_of_a_hundred_hours() -> None:
    """At 1 to 100 %, one each: above 95 % are five of them."""
    rows: Rows = [(NOW_S - 3600 * k, 3600.0, (1 - k / 100, 0.0)) for k in reversed(range(100))]
    found = account(rows)
    assert found.of.cpu.organic_p95_ratio == pytest.approx(0.95)


def test_after_three_intervals_without_a_sample_time_moves_on() -> None:
    """Until then the window ends with the last whole slot that is known."""
    goal = Goal(statistic=Statistic.parse("mean"), window_days=1)
    windows = Windows(goal, 60.0, Gaps.UNKNOWN)
    none = array("d", [0.1, 0.0, -1.0])
    known = grid.rows(
        Columns(
            utc_s=array("d", [NOW_S]),
            span_s=array("d", [60.0]),
            of=PerResource(cpu=none, memory=none, disk=none),
        )
    )
    assert windows.slot_s == 60
    ends = [windows.newest_s(known, NOW_S + late_s) - NOW_S for late_s in (0, 179, 180, 300)]
    assert ends == [0, 0, 180, 300]


def test_others_never_use_less_than_nothing() -> None:
    """The counters are read apart, so own may come out above the total: organic is 0 then."""
    found = account(hours(10, (0.2, 0.3))).of.cpu
    assert (found.organic_ratio, found.organic_p95_ratio, found.organic_peak_ratio) == (0, 0, 0)
    assert found.organic_figure.ratio == 0
    assert found.distribution[0].organic == pytest.approx(1.0)


@pytest.mark.parametrize("width", [60, 70, 80, 120])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    """At the usual widths, with the longest words in it."""
    found = account(hours(720, (1.0, 1.0)))
    for blocks in (True, False):
        shown = text(found, Style(width=width, blocks=blocks))
        short = account(hours(24, (0.3, 0.0)), rules=policy(cpu=0.25, memory=0.4, disk=0.25))
        shown += text(short, Style(width=width, blocks=blocks))
        assert max(len(one) for one in shown.splitlines()) <= width
        assert shown.isascii() is not blocks


def test_colours_only_where_they_are_wanted() -> None:
    """The verdicts are green and red in a terminal."""
    found = account(hours(720, (0.1, 0.0)))
    assert "\x1b[31mNOT met (cpu NOT met, memory met)\x1b[0m" in text(found, Style(colour=True))
    assert "\x1b" not in text(account(hours(24, (0.1, 0.0))), Style(colour=True)), "it is open"
    assert "\x1b" not in text(found, Style())


def test_the_verdict_follows_the_combination() -> None:
    """All of them, or one that suffices; unknown where that decides."""
    met, missed = account(hours(30, (0.9, 0.0))).of.cpu, account(hours(30, (0.1, 0.0))).of.cpu
    unknown = account([]).of.cpu
    every, any_one = Combination.MEET_ALL, Combination.BREAK_ANY
    cases = {
        (met, met): (True, True),
        (met, missed): (False, True),
        (missed, missed): (False, False),
        (met, unknown): (None, True),
        (missed, unknown): (False, None),
        (): (None, None),
    }
    for judged, (wants_all, wants_one) in cases.items():
        found = [one.met for one in judged]
        assert every.verdict(found) is wants_all
        assert any_one.verdict(found) is wants_one


def test_a_percentile_of_its_own_window_is_judged() -> None:
    """p95 of 7 days, whatever the length of the report."""
    goal = Goal(statistic=Statistic.parse("p95"), window_days=7)
    terms = Terms(goals=PerResource(cpu=goal, memory=None, disk=None))
    rules = replace(policy(cpu=0.2), terms=terms)
    # The last ten of 168 hours are high: more than 5 % of them.
    rows = [*hours(168, (0.1, 0.0))[:-10], *hours(10, (0.3, 0.2))]
    found = account(rows, days=2, rules=rules)
    assert found.of.cpu.figure.ratio == pytest.approx(0.3)
    assert found.of.cpu.met is True
    assert [day.met for day in found.of.cpu.days] == [False, True]
    assert found.of.memory.statistic is None
    assert "watched only: the policy does not judge it" in text(found, Style())


def test_the_window_moves_on_when_samples_stop() -> None:
    """Minutes whose sample may still come are not yet unknown; an hour later they are."""
    stopped = account([(NOW_S - 3600.0, 60.0, (0.5, 0.0))], days=1)
    assert stopped.of.cpu.figure.coverage == pytest.approx(1 / 43_200)
    # From 3,665 s ago to 65 s ago: 59 whole minutes until 120 s ago, where the window ends.
    goes_on = account([(NOW_S - 65.0, 3600.0, (0.5, 0.0))], days=1)
    assert goes_on.of.cpu.figure.coverage == pytest.approx(59 / 43_200)
    assert goes_on.of.cpu.last_day[-1].coverage == pytest.approx(235 / 300)


def test_an_open_verdict_is_one_so_far() -> None:
    """A day at 30 % of thirty: the target of 25 % is met so far, everywhere; 96 % known is met."""
    short, full = account(hours(24, (0.3, 0.0))), account(hours(694, (0.3, 0.0)))
    shown = text(short, Style(width=200))
    assert "verdict  MET so far (cpu met so far, memory met so far)" in shown
    assert "target 25 %: met so far; coverage 3.3 %, so it lies between" in shown
    assert "* so far: less than 95 % of the window is known" in shown
    assert "verdict  MET (cpu met, memory met)" in text(full, Style(width=200))
    assert "target 25 %: met; coverage 96.4 %\n" in text(full, Style(width=200))
    assert "The history is kept for one judged window" in text(full, Style(width=200))
    for found, certain in ((short, False), (full, True)):
        read = json.loads(document(found))
        assert (read["met"], read["certain"]) == (True, certain)
        cpu = read["of"]["cpu"]
        assert (cpu["certain"], cpu["days"][-1]["certain"]) == (certain, certain)
        assert cpu["slot_s"] == 60
        last = list(csv.DictReader(io.StringIO(table(found))))[-3]
        assert (last["met"], last["certain"]) == ("yes", "yes" if certain else "no")
    assert "slots of 60 s" in " ".join(shown.split())


def test_bounds_on_one_side_of_the_target_settle_the_verdict() -> None:
    """20 of 30 days at 90 %: at least 60 % whatever the others were; then the verdict stands."""
    found = account(hours(480, (0.9, 0.0)))
    assert (found.of.cpu.weak, found.of.cpu.certain, found.of.memory.certain) == (True, True, False)
    assert (found.met, found.certain) == (True, False)
    missed = account(hours(480, (0.05, 0.0)), rules=policy(cpu=0.5, memory=0.2, disk=0.0))
    assert (missed.met, missed.certain) == (False, True), "one that is missed decides"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("no_data_disk", "not judged: this host has no data disk (DATA_DISK_ONLY)"),
        ("no_disk", "not judged: this host has no eligible disk"),
    ],
)
def test_a_host_without_a_data_disk_can_meet_its_policy(reason: str, said: str) -> None:
    """The verdict is over the others, and says so; a disk that failed stays unknown."""
    rules = policy(cpu=0.25, memory=0.4, disk=0.25)
    found = account(hours(720, (0.3, 0.1)), rules=rules, disk_reason=reason)
    assert (found.met, found.certain, found.of.disk.absent) == (True, True, reason)
    shown = text(found, Style(width=120))
    assert "verdict  MET (cpu met, memory met; disk not judged)" in shown
    assert f"disk     {said}" in shown
    failed = account(hours(720, (0.3, 0.1)), rules=rules, disk_reason="no_reading")
    assert (failed.met, failed.of.disk.absent) == (None, None)
    assert "disk unknown" in text(failed, Style(width=120))


def test_a_figure_is_never_rounded_over_its_verdict() -> None:
    """24.998 % of 25 % are shown so, in the line of the resource and in the table."""
    shown = text(account(hours(720, (0.24998, 0.1))), Style(width=120))
    assert "mean of 30 d 24.998 %, target 25 %: NOT met" in shown
    assert " 24.998% NOT met" in shown


def test_csv_has_the_documented_columns() -> None:
    """One row for each day and resource, oldest first; verdicts in words, figures in percent."""
    found = account(hours(48, (0.3, 0.2)), days=2)
    rows = list(csv.DictReader(io.StringIO(table(found))))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["resource"] for row in rows] == ["cpu", "memory", "disk"] * 2
    last = rows[3]
    assert (last["date"], last["host"], last["met"]) == ("2026-02-16", "web-1", "yes")
    assert (last["organic_percent"], last["own_percent"]) == ("10.000", "20.000")
    assert (last["figure_percent"], last["target_percent"]) == ("30.000", "25.000")
    assert rows[5]["statistic"] == ""


def test_json_has_the_whole_account() -> None:
    """With the name and version of its schema, and no number that JSON does not know."""
    event = Event(utc_s=NOW_S - 5, kind=EventKind.RESTARTED)
    found = account(hours(30, (0.3, 0.2)), events=(event,))
    read = json.loads(document(found), parse_constant=pytest.fail)
    assert (read["schema"], read["version"], read["program_version"]) == (SCHEMA, VERSION, "9.9")
    assert read["of"]["cpu"]["resource"] == "cpu"
    assert read["events"][0]["kind"] == "daemon.restarted"
    assert len(read["of"]["cpu"]["stretches"]) == len(found.of.cpu.stretches) == 720
    assert len(read["of"]["cpu"]["hour_of_week"]) == 168


def test_the_hour_of_the_week_is_that_of_the_calendar() -> None:
    """NOW is a Monday, 18:00: the last hour is the 17th of the week."""
    found = account(hours(1, (0.3, 0.2))).of.cpu.hour_of_week
    assert [at for at, one in enumerate(found) if one[0] is not None] == [17]
    assert found[17] == (pytest.approx(0.3), pytest.approx(0.1))


@pytest.mark.parametrize("language", rightsizing.LANGUAGES)
def test_what_the_tenant_alone_would_need(language: str) -> None:
    """The 95th percentile with a fifth free; the peak of the memory; honest about a short look."""
    found = account(hours(720, (0.6, 0.2)))
    said = rightsizing.sentences(found, language)
    # CPU: 0.4 of 4 CPUs, 1.6 / 0.8 = 2. Memory: 0.3 of 8 GiB, 2.4 / 0.8 = 3.
    assert "1.60" in said[0]
    assert "2 CPUs" in said[0] or "2 个 CPU" in said[0]
    assert "3 GiB" in said[1]
    short = rightsizing.sentences(account(hours(24, (0.6, 0.2))), language)
    assert len(short) == len(said) + 1
    full = rightsizing.sentences(account(hours(720, (0.95, 0.0))), language)
    assert "4.75" in full[0]  # 3.8 / 0.8, of 4 CPUs


def test_a_line_of_blocks_spans_from_zero_to_its_top() -> None:
    """Eight levels; what is unknown is blank, what is above the top is at the top."""
    values = [0.0, 0.5, 1.0, None, 2.0, -1.0]
    assert line(values, 1.0, blocks=True) == "▁▅█ █▁"
    assert line(values, 1.0, blocks=False) == "_=# #_"
    assert len(BLOCKS) == len(ASCII) == 8
    # A level begins with its eighth and ends below the next one.
    assert line([0.01, 0.124, 0.125, 0.126, 0.874, 0.875], 1.0, blocks=False) == "__..*#"


def test_columns_are_means_of_what_overlaps_them() -> None:
    """A piece that lies in two columns counts in each by its part."""
    piece = Piece(end_utc_s=150.0, length_s=100.0, organic_ratio=0.2, own_ratio=0.4)
    other = Piece(end_utc_s=200.0, length_s=50.0, organic_ratio=0.4, own_ratio=0.0)
    organic, own = columns([piece, other], 0.0, 400.0, 4)
    assert organic == [pytest.approx(0.2), pytest.approx(0.3), None, None]
    assert own == [pytest.approx(0.4), pytest.approx(0.2), None, None]
    assert (
        columns([Piece(end_utc_s=900.0, length_s=10.0, organic_ratio=1, own_ratio=0)], 0, 400, 4)[0]
        == [None] * 4
    )


def test_the_last_day_fits_and_says_its_scale() -> None:
    """Whole parts of hours at any width; a resource of which nothing is known is left out."""
    pieces = [Piece(end_utc_s=NOW_S, length_s=3600.0, organic_ratio=0.1, own_ratio=0.42)]
    of: PerResource[list[Piece]] = PerResource(cpu=pieces, memory=[], disk=[])
    for width, minutes in ((60, 60), (80, 30), (120, 20), (300, 15)):
        shown = last_day(of, NOW_S, width=width, blocks=False)  # type: ignore[arg-type]
        assert shown[0] == f"last 24 h to 2026-02-16 18:00 UTC, {minutes} minutes a column"
        assert shown[1].endswith("  0 to 50 %")
        assert len(shown) == 3
        assert max(map(len, shown)) <= width
    nothing: PerResource[list[Piece]] = PerResource(cpu=[], memory=[], disk=[])
    assert last_day(nothing, NOW_S, width=80, blocks=True) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("encoding", "blocks"),
    [("utf-8", True), ("ascii", False), ("cp1252", False), (None, False), ("no-such", False)],
)
def test_blocks_only_where_the_encoding_has_them(encoding: str | None, blocks: bool) -> None:
    """Else the same in ASCII."""
    assert shows_blocks(encoding) is blocks
