"""The parts of the HTML report: figures, axes, areas, events, calendar; all derived by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest

from optimizer.control.statistic import Figure
from optimizer.model import Resource
from optimizer.outcome import Event, EventKind
from optimizer.report.account import Share, Stretch
from optimizer.report.html_days import calendar, figures, weekday
from optimizer.report.html_events import lane, listed, spans
from optimizer.report.html_figures import (
    DAY_S,
    amount,
    lasting,
    safe,
    thinned,
    ticks,
    top,
)
from optimizer.report.html_maps import distribution, heat_maps, opacity
from optimizer.report.html_plot import steps
from optimizer.report.html_sections import statistic_words
from optimizer.report.html_timeline import drawn
from optimizer.report.html_words import EN
from optimizer.report.html_words_zh import ZH
from optimizer.report.percents import beside, target_text
from tests.unit import account_samples as samples
from tests.unit.account_samples import END_S

HOUR_S = 3600.0


@pytest.mark.parametrize(
    ("ratio", "met", "shown"),
    [
        (0.402, True, "40.2 %"),
        (0.4, True, "40.0 %"),
        (0.3996, False, "39.96 %"),
        (0.39999, False, "39.999 %"),
        (0.381, False, "38.1 %"),
        # A value just below the target that counts as met: four-byte rounding.
        (0.4 - 1e-9, True, "40.0 %"),
    ],
)
def test_a_figure_never_looks_like_the_other_verdict(ratio: float, met: bool, shown: str) -> None:
    """As many decimals as are needed to see on which side of 40 % it is, and no more."""
    assert beside(ratio, 0.40, met) == shown


@pytest.mark.parametrize(
    ("statistic", "days", "english", "chinese"),
    [
        ("mean", 30, "mean of 30 days", "30 天均值"),
        ("p95", 7, "p95 of 7 days", "7 天 p95"),
        ("peak", 1, "peak of 1 d", "1 天峰值"),
    ],
)
def test_the_statistic_and_its_window(
    statistic: str, days: float, english: str, chinese: str
) -> None:
    """As the policy states them."""
    of = replace(samples.month().of.cpu, statistic=statistic, window_days=days)
    assert statistic_words(of, EN) == english
    assert statistic_words(of, ZH) == chinese


def test_numbers_for_people() -> None:
    """Targets without needless zeros, sizes with three digits, durations in words."""
    assert [target_text(one) for one in (0.4, 0.325, 0.07)] == ["40 %", "32.5 %", "7 %"]
    assert [amount(one) for one in (16.0, 1.937, 0.25, 2580.7)] == ["16", "1.94", "0.25", "2581"]
    assert lasting(30 * DAY_S, EN) == "30 days"
    assert lasting(2 * DAY_S + 3 * HOUR_S, ZH) == "2 天 3 小时"
    assert safe("x" * 1000) == "x" * 400 + "…"


@pytest.mark.parametrize(
    ("most", "end"), [(None, 0.1), (0.05, 0.1), (0.39, 0.6), (0.4, 0.6), (0.97, 1.0), (1.3, 1.0)]
)
def test_an_axis_ends_above_what_it_shows(most: float | None, end: float) -> None:
    """The next round value with a little room; 100 % is the end of all."""
    assert top([None, most]) == end


@pytest.mark.parametrize("hours", [1, 2, 6, 24, 48, 7 * 24, 30 * 24, 62 * 24, 120 * 24, 366 * 24])
def test_dates_on_the_axis_are_few_round_and_inside(hours: float) -> None:
    """From an hour to 366 days: two to nine labels, at round times, no two beside alike."""
    start = END_S + 137 - hours * HOUR_S
    for words in (EN, ZH):
        found = ticks(start, END_S + 137, words)
        assert 2 <= len(found) <= 9
        assert all(start < at < END_S + 137 and at % 600 == 0 for at, _ in found)
        labels = [label for _, label in found]
        assert all(one != following for one, following in pairwise(labels))


def test_weeks_are_marked_at_mondays_and_months_at_their_first_day() -> None:
    """30 days back from Wednesday 2026-11-18; 366 days back."""
    month = [label for _, label in ticks(END_S - 30 * DAY_S, END_S, EN)]
    assert month == ["26 Oct", "2 Nov", "9 Nov", "16 Nov"]
    year = ticks(END_S - 366 * DAY_S, END_S, ZH)
    assert [label for _, label in year] == ["12月", "2月", "4月", "6月", "8月", "10月"]
    assert [label for _, label in ticks(END_S - DAY_S, END_S, EN)][:3] == [
        "18:00",
        "21:00",
        "18 Nov",
    ]


def stretch(place: int, organic: float | None, own: float | None, coverage: float) -> Stretch:
    """An hour."""
    return Stretch(
        start_utc_s=END_S + place * HOUR_S,
        length_s=HOUR_S,
        organic_ratio=organic,
        own_ratio=own,
        setpoint_ratio=None,
        coverage=coverage,
    )


def test_merged_stretches_weigh_by_what_is_known() -> None:
    """0.2 for a whole hour and 0.8 for a quarter: (0.2 + 0.25 * 0.8) / 1.25 = 0.32."""
    one, two = thinned(
        [stretch(0, 0.2, 0.1, 1.0), stretch(1, 0.8, 0.1, 0.25), stretch(2, None, None, 0.0)], 2
    )
    assert one.organic_ratio == pytest.approx(0.32)
    assert one.own_ratio == pytest.approx(0.1)
    assert (one.length_s, one.coverage) == (7200.0, 0.625)
    assert (two.organic_ratio, two.own_ratio, two.coverage) == (None, None, 0.0)


def test_an_area_has_a_hole_where_nothing_is_known() -> None:
    """Heights from the top in thousandths: 0.5 of 1.0 is 500; None closes the area."""
    assert steps([0.5, 0.25, None, 1.0], 1.0) == "M0 1000V500H1V750H2V1000ZM3 1000V0H4V1000Z"
    assert steps([None, None], 1.0) == ""


def test_the_time_line_stacks_and_marks_the_unknown() -> None:
    """Axis to 60 %: 0.2 of organic is at 667, 0.2 + 0.1 at 500; the third hour is hatched."""
    hours = [stretch(0, 0.2, 0.1, 1.0), stretch(1, 0.3, 0.0, 0.5), stretch(2, None, None, 0.0)]
    picture = drawn(hours, 0.40, "label", None, EN)
    assert '<path class="organic" d="M0 1000V667H1V500H2V1000Z"/>' in picture
    assert '<path class="own" d="M0 1000V500H1V500H2V1000Z"/>' in picture
    assert '<rect class="part" x="33.333%" width="33.333%" height="200"/>' in picture
    assert '<rect class="gap" x="66.667%" width="33.333%" height="200"/>' in picture
    # The target: 200 px * (1 - 40 / 60).
    assert '<line class="target" x2="100%" y1="66.6667" y2="66.6667"/>' in picture
    assert "target 40 %" in picture
    titles = re.findall(r"<title>(.*?)</title>", picture, re.DOTALL)
    assert titles[0] == "18 Nov 15:00-16:00\ntotal 30.0 % = organic 20.0 % + own 10.0 %"
    assert titles[1].endswith("known 50 %")
    assert titles[2] == "18 Nov 17:00-18:00\nnothing known"
    assert 'class="target"' not in drawn(hours, 0.0, "label", None, EN)


def event(hour: float, kind: EventKind, until: float | None = None) -> Event:
    """At so many hours from the beginning."""
    return Event(
        utc_s=hour * HOUR_S, kind=kind, until_utc_s=None if until is None else until * HOUR_S
    )


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([event(1, EventKind.PAUSED), event(3, EventKind.RESUMED)], [(1, 3)]),
        # It began before the period, and one that has not ended lasts until its end.
        ([event(2, EventKind.RESUMED)], [(0, 2)]),
        ([event(8, EventKind.PAUSED)], [(8, 10)]),
        ([event(8, EventKind.PAUSED, until=9)], [(8, 9)]),
        # A new order takes the place of the old one.
        (
            [event(1, EventKind.PAUSED), event(2, EventKind.PAUSED), event(3, EventKind.RESUMED)],
            [(1, 2), (2, 3)],
        ),
        # When a daemon started nobody says since when there was none.
        ([event(2, EventKind.STARTED)], []),
        ([event(1, EventKind.STOPPED), event(2, EventKind.RESTARTED)], [(1, 2)]),
        ([event(1, EventKind.PRESSURE_BEGAN), event(4, EventKind.RESTARTED)], [(1, 4)]),
        ([event(4, EventKind.RESTARTED)], []),
        ([event(5, EventKind.MAINTENANCE_BEGAN), event(6, EventKind.MAINTENANCE_ENDED)], [(5, 6)]),
    ],
)
def test_what_lasted_when(events: list[Event], expected: list[tuple[int, int]]) -> None:
    """Spans in hours of a period of ten hours, whatever the order of the events."""
    for given in (events, events[::-1]):
        found = spans(given, 0.0, 10 * HOUR_S)
        assert [(s.start_utc_s / HOUR_S, s.end_utc_s / HOUR_S) for s in found] == expected


def test_marks_say_what_and_when() -> None:
    """A pause as a bar with its length, a crash as a diamond, and a key of only these."""
    marks = lane(
        [
            event(1, EventKind.PAUSED),
            event(3, EventKind.RESUMED),
            event(5, EventKind.RESTARTED),
        ],
        0.0,
        10 * HOUR_S,
        EN,
    )
    assert '<rect class="pause" x="10%" y="3" width="20%" height="6">' in marks.marks
    assert "paused, 1970-01-01 01:00 UTC to 1970-01-01 03:00 UTC, 2 h" in marks.marks
    assert '<svg x="50%"' in marks.marks
    assert 'class="fault"' in marks.marks
    assert re.findall(r"</svg>([^<]*)</span>", marks.keys) == ["paused", "crash or fault"]
    assert lane([], 0.0, HOUR_S, EN).height_px == 0


def test_ten_thousand_events_become_a_few_hundred_marks() -> None:
    """At most 240 a row, and the list has the newest and says how many there are."""
    account = samples.crowded()
    marks = lane(account.events, account.from_utc_s, account.to_utc_s, EN).marks
    assert 200 <= marks.count("<title>") <= 5 * 241
    table = listed(account.events, EN)
    assert table.count("<tr") == 150 + 1
    assert "The last 150 of 10000" in table
    assert "number 9999" in table
    assert listed([], ZH) == f"<p>{ZH.no_events}</p>"


def test_days_stand_under_their_weekday() -> None:
    """2026-11-18 is a Wednesday; 30 days back from 15:00 begin on Monday, 2026-10-19."""
    assert weekday(END_S) == 2
    table = calendar(samples.month().of.cpu, EN)
    first = table.split("<tbody>")[1].split("</tr>")[0]
    assert "<span>19 Oct</span> <b>41.2</b>" in first
    assert first.count("<td") == 7
    assert "<td></td>" not in first
    shifted = replace(samples.month().of.cpu, days=samples.month().of.cpu.days[2:])
    assert calendar(shifted, EN).count("<td></td>") == 2
    assert "<span>1 Nov</span>" in table


def test_each_day_has_its_verdict_with_a_sign() -> None:
    """Met, missed and unknown differ by sign and word, not by colour alone."""
    of = samples.month().of.cpu
    figure = Figure(ratio=0.39, low=0.0, high=1.0, coverage=1.0)
    missed = replace(of.days[0], figure=figure, met=False)
    table = calendar(replace(of, days=(missed, *of.days[1:])), ZH)
    assert '<td class="bad"><i aria-hidden="true">✕</i><span>10月19日</span> <b>39.0</b>' in table
    assert table.count(">✓</i>") == 29
    assert table.count(">?</i>") == 1
    assert "未达标" in table
    assert calendar(samples.month().of.disk, EN) == "", "it is not judged"
    assert figures(samples.month().of.cpu, EN).count("<tr>") == 32


def test_a_day_judged_by_too_little_is_dashed() -> None:
    """Coverage of 94 % of its window: outlined and explained, and a figure in the table."""
    of = samples.lasting(30).of.cpu
    figure = Figure(ratio=0.41, low=0.38, high=0.44, coverage=0.94)
    day = replace(of.days[0], figure=figure, certain=False)
    of = replace(of, days=(day, *of.days[1:]))
    assert calendar(of, EN).count('<td class="ok weak">') == 1
    assert calendar(of, EN).count('<span class="said">met so far</span>') == 1
    assert EN.earlier in calendar(of, EN)
    assert EN.faint not in calendar(of, EN)
    assert EN.weak in calendar(of, EN)
    assert "<td>94.0 %</td>" in figures(of, EN)
    assert EN.weak not in calendar(samples.lasting(30).of.cpu, EN)


@pytest.mark.parametrize("days", [30, 366])
def test_a_day_judged_by_less_than_half_has_no_colour(days: float) -> None:
    """Coverage of 49 %: grey with its figure, unless no unknown minute could turn the verdict."""
    of = samples.lasting(days).of.cpu
    open_ = Figure(ratio=0.41, low=0.2, high=0.71, coverage=0.49)
    sure = Figure(ratio=0.99, low=0.48, high=0.99, coverage=0.49)
    first = replace(of.days[0], figure=open_, certain=False)
    second = replace(of.days[1], figure=sure, certain=True)
    shown = calendar(replace(of, days=(first, second, *of.days[2:])), EN)
    assert shown.count('class="open weak"') == 1
    assert shown.count('class="ok weak"') == 1
    assert EN.faint in shown
    assert EN.weak in shown
    assert EN.faint not in calendar(of, EN)


def test_a_year_is_a_strip_of_weeks() -> None:
    """367 days touched, each a cell with its date; months below."""
    strip = calendar(samples.lasting(366).of.cpu, EN)
    assert strip.count('<rect class="ok" x=') == 367
    assert "2025-11-17" in strip
    assert "<table" not in strip


def test_the_distribution_has_the_shares_as_heights() -> None:
    """Two classes: 0.75 and 0.25 of the time on an axis to 80 %: 1000 * (1 - 0.75 / 0.8) = 62."""
    of = replace(
        samples.month().of.cpu,
        distribution=(
            Share(low_ratio=0.0, high_ratio=0.5, total=0.25, organic=0.75),
            Share(low_ratio=0.5, high_ratio=1.0, total=0.75, organic=0.25),
        ),
    )
    picture = distribution(of, EN)
    assert '<path class="total" d="M0 1000V688H1V62H2V1000Z"/>' in picture
    assert '<path class="line" d="M0 1000V62H1V688H2"/>' in picture
    assert "50 % - 100 %\ntotal: 75.0 % of the time\norganic: 25.0 % of the time" in picture
    assert '<line class="target" x1="40%"' in picture


def test_the_heat_map_shows_each_hour_of_the_week() -> None:
    """168 cells a map, the unknown hatched; depth in proportion to the value."""
    hours = [(0.3, 0.1)] * 167 + [(None, None)]
    maps = heat_maps(replace(samples.month().of.cpu, hour_of_week=tuple(hours)), EN)
    assert maps.count("<title>") == 2 * 168
    assert maps.count('class="gap"') == 2
    assert "<title>Sun 23:00 -</title>" in maps
    assert "<title>Mon 00:00 30.0 %</title>" in maps
    # The axis ends at 40 %: 0.06 + 0.94 * 0.3 / 0.4 = 0.765.
    assert opacity(0.3, 0.4) == ".76"
    assert maps.count('fill-opacity=".76"') >= 167
    assert "nothing known" in heat_maps(samples.empty().of.cpu, EN)


def test_samples_are_of_three_resources() -> None:
    """Guards the samples: judged twice, watched once."""
    of = samples.month().of
    assert [one.resource for one in of] == list(Resource)
    assert [one.judged for one in of] == [True, True, False]
