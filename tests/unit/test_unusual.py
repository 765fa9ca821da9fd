"""Which hours stand out: rhythms, steps and steady trends do not, a single odd hour does."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest

from optimizer.report.compare_text import _unusual
from optimizer.report.unusual import Unusual, unusual

MONDAY = 1_794_787_200 // 3600
"""2026-11-16 00:00 UTC, in hours."""


def seen(days: int, value: Callable[[int], float], now_days: int = 7) -> Unusual:
    """So many days before that Monday, then some from it on; of the hours since it."""
    before = {MONDAY + hour: value(hour) for hour in range(-24 * days, 0)}
    return unusual(before, {MONDAY + hour: value(hour) for hour in range(24 * now_days)})


def office(hour: int) -> float:
    """30 % on weekdays, 10 % at weekends."""
    return 0.1 if hour // 24 % 7 >= 5 else 0.3


@pytest.mark.parametrize("days", [7, 9, 14, 16, 23, 28, 30, 91])
def test_a_weekend_is_usual(days: int) -> None:
    """However much is known; of one week the weekend cannot be told, and is no anomaly."""
    found = seen(days, office)
    assert found.anomalies == ()
    # The third week before begins on Saturday after 16 days, and is all known after 21.
    expected = {7: (0, 120, 48), 9: (0, 168, 0), 14: (0, 168, 0), 16: (48, 120, 0)}
    assert (found.weekly, found.daily, found.untold) == expected.get(days, (168, 0, 0))


def test_a_busy_sunday_is_not() -> None:
    """What is usual on a Monday stands out on a Sunday, from two weeks on."""
    found = seen(14, lambda hour: 0.3 if hour == 6 * 24 + 9 else office(hour))
    assert [one.start_utc_s for one in found.anomalies] == [(MONDAY + 6 * 24 + 9) * 3600.0]


def noisy(chance: random.Random, hour: int) -> float:
    """The same tenant, whose hours differ by two points."""
    return office(hour) + chance.gauss(0, 0.02)


def test_a_weekly_backup_is_usual_at_its_hour() -> None:
    """On Sunday at 02:00 for three weeks; on Monday at 02:00 it is odd."""
    sunday = 6 * 24 + 2
    found = seen(21, lambda hour: 0.8 if hour % 168 == sunday or hour == 2 else 0.2)
    assert [one.start_utc_s for one in found.anomalies] == [(MONDAY + 2) * 3600.0]


@pytest.mark.parametrize("days", [7, 14, 23, 30])
@pytest.mark.parametrize("rise", [0.002, -0.002])
def test_a_steady_drift_does_not_stand_out(days: int, rise: float) -> None:
    """A disk that changes by 0.2 points a day; where three weeks show it, for a month."""
    later = 30 if days >= 21 else 7
    assert seen(days, lambda hour: 0.5 + rise * hour / 24, later).anomalies == ()


@pytest.mark.parametrize("days_ago", [3, 6, 10, 17])
def test_a_step_long_past_does_not_stand_out(days_ago: int) -> None:
    """The tenant moved from 20 to 40 % and stays there: four days of seven are its level."""
    found = seen(28, lambda hour: 0.2 if hour < -24 * days_ago else 0.4)
    assert (found.anomalies == ()) == (days_ago >= 4)


def test_a_step_is_no_trend() -> None:
    """Moved by 20 points ten days ago, beside 0.1 a day; it does not move so each week."""

    def value(hour: int) -> float:
        return (0.2 if hour < -240 else 0.4) + 0.001 * hour / 24

    assert seen(23, value, 21).anomalies == ()


def test_a_new_level_stands_out() -> None:
    """Ten points more in all the period."""
    assert len(seen(28, lambda hour: 0.2 if hour < 0 else 0.3).anomalies) == 168


def test_the_band_is_three_sigma() -> None:
    """Five weeks at -4, -2, 0, 2 and 4 points, in another order at each hour before 08:00.

    The others have the median 1, 1, 0, -1, -1: half of the misses are up to 3
    points, so the band is 3 times 1.4826 times as wide: 13.3 points.
    """
    chance = random.Random(1)
    orders = [chance.sample((-0.04, -0.02, 0.0, 0.02, 0.04), 5) for _ in range(168)]

    def found(now: float) -> int:
        def value(hour: int) -> float:
            if hour % 24 >= 8:
                return 0.5
            return 0.5 + (now if hour >= 0 else orders[hour % 168][-1 - hour // 168])

        return len(seen(35, value).anomalies)

    assert [found(now) for now in (-0.135, -0.13, 0.13, 0.135)] == [56, 0, 0, 56]


@pytest.mark.parametrize("weeks", [3, 4, 8])
def test_chance_seldom_stands_out(weeks: int) -> None:
    """A tenant whose hours differ by two points: of 168 hours not one in twenty-five."""
    for seed in range(5):
        chance = random.Random(seed)
        found = seen(7 * weeks, partial(noisy, chance))
        assert len(found.anomalies) <= 7


def test_a_steady_host_does_not_stand_out_by_a_tenth_of_a_percent() -> None:
    """The band is at least two points to each side."""
    assert seen(28, lambda hour: 0.2 if hour < 0 else 0.215).anomalies == ()


def test_what_was_held_against_it_is_said() -> None:
    """By what hours, of how many days, and how many could not be told."""
    assert _unusual(seen(23, office))[0] == (
        "Usual is what the 23 days before B show, by the hour of the week."
    )
    assert _unusual(seen(7, office)) == [
        "Usual is what the 7 days before B show, by the hour of the day, weekdays and weekends "
        "apart. For 48 hours of B they are too few.",
        "No hour of B is outside of what is usual.",
    ]
    assert _unusual(seen(2, office))[0].startswith("What is usual cannot be told")
    assert not seen(0, office).known


def test_rows_of_a_few_hours_a_day_tell_something() -> None:
    """A host that runs from 08:00 to 11:00 only; nothing known is no hour."""
    before = {MONDAY + hour: 0.2 for hour in range(-28 * 24, 0) if 8 <= hour % 24 < 11}
    found = unusual(before, {MONDAY + 9: 0.9, MONDAY + 12: 0.9})
    assert [one.start_utc_s for one in found.anomalies] == [(MONDAY + 9) * 3600.0]
    assert found.untold == 1
    assert unusual(before, {}).anomalies == ()
