"""Two periods side by side: the figures, what is said of the difference, and what stands out."""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.model import PerResource
from optimizer.outcome import Columns, Past
from optimizer.report.assemble import Subject, assemble
from optimizer.report.compare import Comparison, compare, reading_from
from optimizer.report.compare_text import document, lines, remarks
from optimizer.report.hours import Change, HourChange, changes, difference, hour_of_week
from optimizer.report.percentile import weighted_percentile
from optimizer.report.periods import Period
from tests.fakes import policy

np = pytest.importorskip("numpy")

MONDAY_S = 1_794_787_200.0
"""2026-11-16 00:00 UTC."""
HOUR_S, DAY_S = 3600.0, 86_400.0
TARGET = PerResource(cpu=0.25, memory=0.4, disk=0.0)


def week(number: int, days: float = 7) -> Period:
    """A period that begins so many weeks after MONDAY_S."""
    start = MONDAY_S + number * 7 * DAY_S
    return Period(from_utc_s=start, to_utc_s=start + days * DAY_S, asked="x", rhythm_s=days * DAY_S)


def past(of: Period, organic: Callable[[float], float | None], span_s: float = 600.0) -> list[Past]:
    """Rows over a period; only the CPU is known, with 5 % of our own."""
    rows, none = [], (None, None)
    for number in range(1, round((of.to_utc_s - of.from_utc_s) / span_s) + 1):
        end_s = of.from_utc_s + number * span_s
        value = organic(end_s - span_s)
        cpu = none if value is None else (value + 0.05, value)
        rows.append(Past(end_s, span_s, PerResource(cpu=cpu, memory=none, disk=none)))
    return rows


def noisy(seed: int, level: float = 0.2) -> Callable[[float], float]:
    """A tenant with a daily rhythm whose days differ by chance."""
    chance = random.Random(seed)
    days: dict[int, float] = {}

    def value(at_s: float) -> float:
        off = days.setdefault(int(at_s // DAY_S), chance.gauss(0, 0.02))
        busy = 0.1 if 8 <= at_s % DAY_S / HOUR_S < 18 else 0.0
        return max(0.0, level + busy + off + chance.gauss(0, 0.01))

    return value


def columns(rows: Iterable[Past]) -> Columns:
    """The same as they are read from a history."""
    table = list(rows)

    def triples(name: str) -> array[float]:
        pairs = (getattr(one.usage, name) for one in table)
        return array(
            "d",
            [
                x
                for total, organic in pairs
                for x in ((-1.0, -1.0, -1.0) if total is None else (total, total - organic, -1.0))
            ],
        )

    return Columns(
        utc_s=array("d", [one.utc_s for one in table]),
        span_s=array("d", [one.span_s for one in table]),
        of=PerResource(cpu=triples("cpu"), memory=triples("memory"), disk=triples("disk")),
    )


def rows(*given: tuple[float, float, float]) -> list[Past]:
    """Rows (end after MONDAY_S, length, organic) of a CPU without load of our own."""
    none = (None, None)
    return [
        Past(MONDAY_S + end_s, span_s, PerResource(cpu=(ratio, ratio), memory=none, disk=none))
        for end_s, span_s, ratio in given
    ]


def held(a: Callable[[float], float | None], b: Callable[[float], float | None]) -> Comparison:
    """A week against the next."""
    return compare(columns(past(week(0), a) + past(week(1), b)), week(0), week(1), TARGET)


def test_the_figures_of_a_period() -> None:
    """Half a week at 10 %, half at 30 %, of the tenant; ours is 5 % throughout."""
    figures = held(
        lambda at: 0.1 if at < MONDAY_S + 3.5 * DAY_S else 0.3, lambda _: 0.3
    ).of.cpu.before
    assert figures.organic_ratio == pytest.approx(0.2)
    assert figures.own_ratio == pytest.approx(0.05)
    assert figures.total_ratio == pytest.approx(0.25)
    assert figures.p95_ratio == pytest.approx(0.35)
    assert figures.peak_ratio == pytest.approx(0.35)
    assert figures.organic_p95_ratio == pytest.approx(0.3)
    assert figures.organic_peak_ratio == pytest.approx(0.3)
    assert figures.coverage == pytest.approx(1.0)
    assert figures.below_hours == pytest.approx(84.0)  # 15 % is below 25 %, for 3.5 days


def test_a_long_row_counts_for_as_long_as_it_lasted() -> None:
    """An hour at 40 % and ten minutes at 10 %; of a row that began earlier what is inside."""
    given = rows((600, 1200, 0.1), (600 + 3600, 3600, 0.4))
    figures = compare(columns(given), week(0), week(1), TARGET).of.cpu.before
    assert figures.organic_ratio == pytest.approx((600 * 0.1 + 3600 * 0.4) / 4200)
    assert figures.coverage == pytest.approx(4200 / (7 * DAY_S))
    assert figures.below_hours == pytest.approx(1 / 6)


def test_unknown_is_not_zero() -> None:
    """Nothing known of the memory: no mean, no hours below, no change, and it is said."""
    found = held(lambda _: 0.2, lambda _: 0.2)
    memory = found.of.memory
    assert memory.before.organic_ratio is None
    assert memory.before.below_hours is None
    assert memory.before.coverage == 0.0
    assert memory.change is Change.UNKNOWN
    assert "memory: nothing is known of it in either period" in lines(found)
    assert found.of.disk.before.below_hours is None


def test_gaps_are_said() -> None:
    """Below 95 % of a period the figures are of the known time only."""
    found = held(lambda at: None if at < MONDAY_S + DAY_S else 0.2, lambda _: 0.2)
    assert found.of.cpu.before.coverage == pytest.approx(6 / 7)
    assert remarks(found.of.cpu)[0] == (
        "Only 85.7 % of A is known: its figures are those of the known time."
    )


def test_a_true_change_is_told_with_its_hours() -> None:
    """Ten points more each day from 02:00 to 03:00: that hour of each weekday, and nothing else."""
    usual = noisy(1)
    later = noisy(2)

    def more(at_s: float) -> float:
        return later(at_s) + (0.3 if at_s % DAY_S // HOUR_S == 2 else 0.04)

    cpu = held(usual, more).of.cpu
    assert cpu.change is Change.MORE
    assert cpu.cycle == 168
    # 4 points, and 26 more for one hour of 24; the days differ by some 2.
    assert cpu.organic_difference == pytest.approx(0.04 + 0.26 / 24, abs=0.03)
    assert {one.hour % 24 for one in cpu.hours} == {2}
    assert len(cpu.hours) == 5
    less = held(more, usual).of.cpu
    assert less.change is Change.LESS


def test_noise_is_rarely_taken_for_a_change() -> None:
    """Of 50 pairs of weeks that differ by chance only, two or three are beyond 95 %."""
    seen = [held(noisy(seed), noisy(1000 + seed)).of.cpu.change for seed in range(50)]
    # Binomial(50, 0.05) is above 8 once in a thousand times; the seeds are fixed.
    assert sum(change is not Change.WITHIN_NOISE for change in seen) <= 8
    assert seen.count(Change.UNKNOWN) == 0


def test_a_change_too_small_to_matter_is_none() -> None:
    """A tenth of a point, as sure as it may be."""
    cpu = held(lambda _: 0.2, lambda _: 0.201).of.cpu
    assert cpu.change is Change.WITHIN_NOISE
    assert "The tenant changes by less than 0.5 points: +0.1 points, give or take 0.0." in remarks(
        cpu
    )


def test_days_are_compared_by_the_hours_of_the_day() -> None:
    """Monday against Tuesday: they share no hour of the week."""
    monday, tuesday = week(0, 1), week(0, 1)
    tuesday = Period(
        from_utc_s=monday.to_utc_s,
        to_utc_s=monday.to_utc_s + DAY_S,
        asked="x",
        rhythm_s=DAY_S,
    )
    given = past(monday, lambda _: 0.2) + past(tuesday, lambda _: 0.3)
    cpu = compare(columns(given), monday, tuesday, TARGET).of.cpu
    assert (cpu.cycle, cpu.change) == (24, Change.MORE)
    assert not cpu.unusual.known
    assert remarks(cpu)[-1] == (
        "What is usual cannot be told: that takes 4 weekdays, or as many days of weekends, "
        "before B."
    )


def test_too_little_in_common_is_said() -> None:
    """A morning against an evening."""
    cpu = held(
        lambda at: 0.2 if at % DAY_S < 10 * HOUR_S else None,
        lambda at: 0.3 if at % DAY_S > 12 * HOUR_S else None,
    ).of.cpu
    assert (cpu.change, cpu.organic_difference, cpu.hours) == (Change.UNKNOWN, None, ())


def test_an_hour_that_stands_out_is_found() -> None:
    """One hour of the second week far above, one far below; the furthest first."""
    usual, later = noisy(3), noisy(4)
    high_s, low_s = MONDAY_S + 9 * DAY_S + 3 * HOUR_S, MONDAY_S + 10 * DAY_S + 9 * HOUR_S

    def odd(at_s: float) -> float:
        return {high_s: 0.9, low_s: 0.0}.get(at_s // HOUR_S * HOUR_S, later(at_s))

    cpu = held(usual, odd).of.cpu
    first, second = cpu.unusual.anomalies[:2]
    assert (first.start_utc_s, second.start_utc_s) == (high_s, low_s)
    assert first.excess > 0.3
    assert second.excess < -0.05
    # At most some of the 118 others of the weekdays, whose days differ by chance.
    assert len(cpu.unusual.anomalies) <= 12
    assert any("2026-11-25 03:00 UTC   90.0 %, usual" in line for line in lines(held(usual, odd)))


def test_at_most_ten_hours_are_listed_and_all_are_counted() -> None:
    """A whole day that is odd."""
    cpu = held(lambda _: 0.2, lambda at: 0.6 if at < MONDAY_S + 8 * DAY_S else 0.2).of.cpu
    assert len(cpu.unusual.anomalies) == 24
    assert "24 hours of B outside of what is usual (the 10 furthest out):" in remarks(cpu)
    shown = lines(held(lambda _: 0.2, lambda at: 0.6 if at < MONDAY_S + 8 * DAY_S else 0.2))
    assert sum("%, usual" in line for line in shown) == 10


def test_hours_of_the_week_begin_on_monday() -> None:
    """The 16th of November 2026 is one."""
    assert hour_of_week(int(MONDAY_S // HOUR_S)) == 0
    assert hour_of_week(int(MONDAY_S // HOUR_S) - 1) == 167


@given(st.lists(st.floats(0, 1), min_size=1, max_size=200), st.sampled_from([0.05, 0.5, 0.95, 1.0]))
def test_a_percentile_is_that_of_numpy(values: list[float], share: float) -> None:
    """With equal weights: the inverted distribution function."""
    expected = float(np.percentile(values, 100 * share, method="inverted_cdf"))
    assert weighted_percentile(np.array(values), np.full(len(values), 60.0), share) == expected


def test_a_percentile_is_of_the_time() -> None:
    """An hour of seconds at 95 % beside ten days of ten minutes at 10 %: 0.4 % of the time."""
    values = np.array([0.95] * 3600 + [0.1] * 1440)
    seconds = np.array([1.0] * 3600 + [600.0] * 1440)
    assert weighted_percentile(values, seconds, 0.95) == 0.1
    assert weighted_percentile(values, seconds, 0.999) == 0.95
    assert weighted_percentile(values[:0], seconds[:0], 0.95) is None


def test_the_95th_of_a_hundred() -> None:
    """Of 1 to 100 %, each for a minute, the load is above 95 % for five of them, and no other."""
    given = rows(*((60 * k, 60, k / 100) for k in range(1, 101)))
    figures = compare(columns(given), week(0), week(1), TARGET).of.cpu.before
    assert (figures.p95_ratio, figures.organic_p95_ratio) == (0.95, 0.95)


def test_below_the_target_is_a_share_of_the_known_time() -> None:
    """Two weeks, one of them known, against a day of the same host: no difference."""
    a, b = week(0, 14), week(2, 1)
    known = past(week(1), lambda _: 0.1) + past(b, lambda _: 0.1)
    found = compare(columns(known), a, b, TARGET)
    assert (found.of.cpu.before.below_ratio, found.of.cpu.before.below_hours) == (1.0, 168.0)
    shown = [line.split() for line in lines(found)]
    assert ["below", "target", "100.0", "%", "100.0", "%", "0.0", "pt"] in shown
    assert ["in", "hours", "168.0", "h", "24.0", "h"] in shown


def test_below_the_target_is_as_the_planner_has_it() -> None:
    """A target that was stored with four bytes is reached; a millionth less is not."""

    def below(ratio: float) -> float | None:
        given = columns(rows((3600, 3600, ratio)))
        return compare(given, week(0), week(1), TARGET).of.cpu.before.below_hours

    assert below(0.25 * (1 - 2.0**-24)) == 0.0
    assert below(0.25 * (1 - 1e-6)) == 1.0


def test_two_weeks_that_share_two_fifths_are_not_compared() -> None:
    """Ten hours of each day are known in both: fewer than half of the week, and of the day."""
    first = int(MONDAY_S // HOUR_S)
    some = {first + hour: 0.2 for hour in range(168) if hour % 24 < 10}
    assert changes(some, some) == (24, [])
    half = {first + hour: 0.2 for hour in range(168) if hour % 24 < 12}
    assert len(changes(half, half)[1]) == 84


def test_the_hours_of_a_day_make_four_blocks() -> None:
    """Differences of 0, 1, 2 and 3 points: t(3) = 3.18, and a standard error of 1.29 / 2."""
    made = [
        HourChange(hour=hour, before_ratio=0.0, after_ratio=hour // 6 / 100) for hour in range(24)
    ]
    shift, noise = difference(made, 24)
    assert shift == pytest.approx(0.015)
    assert noise == pytest.approx(3.18 * (5 / 3) ** 0.5 / 100 / 2)


def test_what_is_usual_shows_before_the_second_period() -> None:
    """Thirteen weeks before it are read, whatever the first one is, and all of a longer one."""
    assert reading_from(week(1), week(2)) == week(2 - 13).from_utc_s
    assert reading_from(week(-20), week(2)) == week(-20).from_utc_s
    weekend = week(0, 28)
    given = past(weekend, lambda at: 0.1 if (at - MONDAY_S) // DAY_S % 7 >= 5 else 0.3)
    cpu = compare(columns(given), week(2), week(3), TARGET).of.cpu
    assert (cpu.unusual.anomalies, cpu.unusual.weekly) == ((), 168)
    assert cpu.unusual.days == pytest.approx(21)


def test_what_overlaps_counts_once_as_in_the_report() -> None:
    """A clock set back twice: rows of the same hours; both commands give the same means."""
    given = rows(
        *((600 * k, 600, 0.2) for k in range(1, 145)),
        *((600 * k + 300, 600, 0.8) for k in range(60, 100)),
        *((600 * k, 600, 0.5) for k in range(80, 145)),
    )
    day = week(0, 1)
    figures = compare(columns(given), week(-1), day, TARGET).of.cpu.after
    subject = Subject(
        host="h",
        version="1",
        policy=policy(cpu=0.25, memory=0.4, disk=0.0),
        interval_s=600.0,
        cpus=1,
        nominal_memory_gb=None,
        size_class="small",
        capacity=PerResource(cpu=1.0, memory=None, disk=None),
    )
    report = assemble(columns(given), (), subject, days=1.0, to_utc_s=day.to_utc_s).of.cpu
    # The second time takes half of each ten minutes from 10:00 to 16:40, the third
    # the place of the first from 13:20 on.
    expected = (0.8 * 40 * 300 + 0.2 * (60 * 600 + 19 * 300) + 0.5 * (21 * 300 + 44 * 600)) / DAY_S
    assert figures.organic_ratio == pytest.approx(expected)
    assert report.organic_ratio == pytest.approx(expected)
    assert figures.total_ratio == pytest.approx(report.total_ratio)
    assert figures.organic_p95_ratio == report.organic_p95_ratio
    assert figures.below_hours == pytest.approx(report.below_hours)
    assert figures.coverage == pytest.approx(1.0)


def test_the_document_is_plain_json() -> None:
    """For programs: no NaN, no enum, and the same words as on the terminal."""
    found = held(noisy(1), noisy(2, level=0.4))
    content = json.loads(json.dumps(document(found), allow_nan=False))
    cpu = content["resources"]["cpu"]
    assert cpu["change"] == "more"
    assert cpu["a"]["organic_ratio"] == pytest.approx(found.of.cpu.before.organic_ratio)
    assert cpu["remarks"] == remarks(found.of.cpu)
    assert content["resources"]["memory"]["a"]["organic_ratio"] is None
