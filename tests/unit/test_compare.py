"""Two periods side by side: the figures, what is said of the difference, and what stands out."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.model import PerResource
from optimizer.outcome import Past
from optimizer.report.compare import Comparison, compare, weighted_percentile
from optimizer.report.compare_text import document, lines, remarks
from optimizer.report.hours import Change, anomalies, hour_of_week
from optimizer.report.periods import Period

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


def held(a: Callable[[float], float | None], b: Callable[[float], float | None]) -> Comparison:
    """A week against the next."""
    return compare(week(0), week(1), past(week(0), a), past(week(1), b), TARGET)


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
    none = (None, None)

    def one(end_s: float, span_s: float, ratio: float) -> Past:
        usage = PerResource(cpu=(ratio, ratio), memory=none, disk=none)
        return Past(MONDAY_S + end_s, span_s, usage)

    rows = [one(600, 1200, 0.1), one(600 + 3600, 3600, 0.4)]
    figures = compare(week(0), week(1), rows, [], TARGET).of.cpu.before
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
    rows = (past(monday, lambda _: 0.2), past(tuesday, lambda _: 0.3))
    cpu = compare(monday, tuesday, *rows, TARGET).of.cpu
    assert (cpu.cycle, cpu.change) == (24, Change.MORE)
    assert cpu.anomalous_hours is None
    assert "What is usual cannot be told: that takes five days in A." in remarks(cpu)


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
    first, second = cpu.anomalies[:2]
    assert (first.start_utc_s, second.start_utc_s) == (high_s, low_s)
    assert first.excess > 0.3
    assert second.excess < -0.05
    assert cpu.anomalous_hours is not None
    assert cpu.anomalous_hours <= 12  # at most some of the 166 others, whose days differ by chance
    assert any("2026-11-25 03:00 UTC   90.0 %, usual" in line for line in lines(held(usual, odd)))


def test_at_most_ten_hours_are_listed_and_all_are_counted() -> None:
    """A whole day that is odd."""
    cpu = held(lambda _: 0.2, lambda at: 0.6 if at < MONDAY_S + 8 * DAY_S else 0.2).of.cpu
    assert (cpu.anomalous_hours, len(cpu.anomalies)) == (24, 10)
    assert "24 hours of B outside of what is usual in A (the 10 furthest out):" in remarks(cpu)


def test_the_hour_of_the_week_counts_where_four_weeks_are_known() -> None:
    """A weekly backup on Sunday at 02:00 is usual then, and odd on Monday."""
    sunday, monday = 6 * 24 + 2, 2
    first = int(MONDAY_S // HOUR_S)
    usual = {first + hour: 0.8 if hour % 168 == sunday else 0.2 for hour in range(4 * 168)}
    now = {first + 4 * 168 + hour: 0.2 for hour in range(168)}
    now |= {first + 4 * 168 + sunday: 0.8, first + 4 * 168 + monday: 0.8}
    found = anomalies(usual, now)
    assert found is not None
    assert [one.start_utc_s for one in found] == [(first + 4 * 168 + monday) * HOUR_S]


def test_a_steady_host_does_not_stand_out_by_a_tenth_of_a_percent() -> None:
    """The band is at least two points to each side."""
    cpu = held(lambda _: 0.2, lambda _: 0.215).of.cpu
    assert cpu.anomalous_hours == 0


def test_hours_of_the_week_begin_on_monday() -> None:
    """The 16th of November 2026 is one."""
    assert hour_of_week(int(MONDAY_S // HOUR_S)) == 0
    assert hour_of_week(int(MONDAY_S // HOUR_S) - 1) == 167


@given(st.lists(st.floats(0, 1), min_size=1, max_size=200), st.sampled_from([0.05, 0.5, 0.95, 1.0]))
def test_a_percentile_is_that_of_numpy(values: list[float], share: float) -> None:
    """With equal weights: the inverted distribution function."""
    expected = float(np.percentile(values, 100 * share, method="inverted_cdf"))
    assert weighted_percentile(values, [60.0] * len(values), share) == expected


def test_the_document_is_plain_json() -> None:
    """For programs: no NaN, no enum, and the same words as on the terminal."""
    found = held(noisy(1), noisy(2, level=0.4))
    content = json.loads(json.dumps(document(found), allow_nan=False))
    cpu = content["resources"]["cpu"]
    assert cpu["change"] == "more"
    assert cpu["a"]["organic_ratio"] == pytest.approx(found.of.cpu.before.organic_ratio)
    assert cpu["remarks"] == remarks(found.of.cpu)
    assert content["resources"]["memory"]["a"]["organic_ratio"] is None
