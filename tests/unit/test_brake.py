"""Steal and our own core-hours: when they lower the demand, by how much, and for how long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.control.brake import Brake, OwnHours, caps, charge, known_until, midnight, press
from optimizer.counters import CpuCounters, HostReading, OwnCounters, Reading
from optimizer.model import Reason
from optimizer.orders import Policy
from tests.fakes import policy

DAY_S = 86400.0
CPUS = 2


def reading(
    at_s: float, *, steal_s: float = 0.0, own_s: float = 0.0, utc_s: float = 0.0
) -> Reading:
    """Counters of two CPUs at a time."""
    cpu = CpuCounters(total_s=CPUS * at_s, idle_s=0.0, steal_s=steal_s, cpus=CPUS)
    host = HostReading(monotonic_s=at_s, utc_s=utc_s, cpu=cpu, memory=None, disks=None)
    return Reading(host=host, own=OwnCounters(cpu_s=own_s))


def pressed(share: float, seconds: int, before: Brake, demand: float, rules: Policy) -> Brake:
    """The brake after some seconds with that share of steal; we use what it allows."""
    start_s, steal_s = before.at_s or 0.0, before.steal_s
    for second in range(1, seconds + 1):
        now = reading(start_s + second, steal_s=steal_s + share * CPUS * second)
        before = press(before, now, min(demand, before.most_ratio), rules)
    return before


def settled() -> Brake:
    """A brake that has seen one reading."""
    return press(Brake(), reading(1000.0), 0.4, policy())


def test_steal_below_the_threshold_changes_nothing() -> None:
    """4 % for a minute with a threshold of 5 %: no cap."""
    rules = replace(policy(), steal_max_ratio=0.05)
    brake = pressed(0.04, 60, settled(), 0.4, rules)
    assert brake.most_ratio == 1.0
    assert caps(brake, OwnHours(), rules) == ()


def test_steal_above_the_threshold_lowers_the_demand_by_a_fifth_each_second() -> None:
    """30 % of steal: the mean passes 5 % after two seconds, then 0.4 x 0.8 for each second."""
    rules = replace(policy(), steal_max_ratio=0.05)
    # The mean over ten seconds: 3 %, 5.7 %: from the second second on.
    brake = pressed(0.30, 5, settled(), 0.4, rules)
    assert brake.most_ratio == pytest.approx(0.4 * 0.8**4)
    (cap,) = caps(brake, OwnHours(), rules)
    assert (cap.reason, cap.demand_ratio) == (Reason.STEAL, brake.most_ratio)


def test_the_demand_grows_again_slowly_once_steal_is_half_the_threshold() -> None:
    """Above half of the threshold it stays; below that it grows 0.5 point a second."""
    rules = replace(policy(), steal_max_ratio=0.05)
    low = pressed(0.30, 10, settled(), 0.4, rules)
    between = replace(low, steal_ratio=0.04)
    assert pressed(0.04, 30, between, 0.4, rules).most_ratio == low.most_ratio
    quiet = replace(low, steal_ratio=0.0)
    assert pressed(0.0, 10, quiet, 0.4, rules).most_ratio == pytest.approx(low.most_ratio + 0.05)


def test_steal_of_all_there_is_brakes_also_with_counters_that_are_rounded() -> None:
    """A hundredth more stolen than there was time: 100 % for a second, a mean of 10 %."""
    rules = replace(policy(), steal_max_ratio=0.05)
    brake = press(settled(), reading(1001.0, steal_s=CPUS * 1.0 + 0.01), 0.4, rules)
    assert brake.steal_ratio == pytest.approx(0.1)
    assert brake.most_ratio == pytest.approx(0.4 * 0.8)


def test_a_threshold_of_one_switches_it_off() -> None:
    """CPU_STEAL_MAX=100: even a VM that gets nothing is not braked."""
    brake = pressed(1.0, 60, settled(), 0.4, replace(policy(), steal_max_ratio=1.0))
    assert brake.most_ratio == 1.0


def test_a_threshold_of_nothing_ends_when_there_is_no_steal() -> None:
    """CPU_STEAL_MAX=0: one second with 1 % brakes until its mean of 0.1 % is nothing."""
    rules = replace(policy(), steal_max_ratio=0.0)
    start = settled()
    # 0.001 x 0.9^n is below 0.0005 from the seventh second on: lowered seven times in all.
    low = pressed(0.01, 1, start, 0.4, rules)
    assert low.most_ratio == pytest.approx(0.4 * 0.8)
    low = pressed(0.0, 6, low, 0.4, rules)
    assert low.most_ratio == pytest.approx(0.4 * 0.8**7)
    # Half a point a second from there on, the seventh second included.
    freed = pressed(0.0, 61, low, 0.4, rules).most_ratio
    assert freed == pytest.approx(0.4 * 0.8**7 + 61 * 0.005)


def test_a_missing_or_backward_counter_and_a_gap_neither_lower_nor_raise() -> None:
    """What cannot be known leaves the brake as it is; an hour of standstill is not steal of now."""
    rules = replace(policy(), steal_max_ratio=0.05)
    low = pressed(0.30, 10, settled(), 0.4, rules)
    assert low.at_s is not None
    back = press(low, reading(low.at_s + 1, steal_s=0.0), 0.1, rules)
    assert back.most_ratio == low.most_ratio
    late = reading(low.at_s + 3600, steal_s=low.steal_s + CPUS * 3600)
    assert press(low, late, 0.1, rules).most_ratio == low.most_ratio
    assert press(low, late, 0.1, rules).steal_ratio == low.steal_ratio
    blind = replace(reading(low.at_s + 1), host=replace(reading(0.0).host, cpu=None))
    assert press(low, blind, 0.1, rules) == low


def test_own_hours_are_counted_from_the_counter() -> None:
    """The first reading only begins; each later one adds what the counter has grown by."""
    hours = charge(OwnHours(day=0, used_s=100.0), reading(0.0, own_s=7.0, utc_s=10.0))
    assert hours.used_s == 100.0
    hours = charge(hours, reading(1.0, own_s=9.5, utc_s=11.0))
    assert hours.used_s == 102.5
    # A counter that fell is a new one: nothing is added, nothing taken away.
    assert charge(hours, reading(2.0, own_s=1.0, utc_s=12.0)).used_s == 102.5


def test_a_new_utc_day_begins_at_nothing() -> None:
    """Midnight resets the sum; a clock that is set back a day gives nothing back."""
    hours = OwnHours(day=3, used_s=500.0, counter_s=0.0)
    after = charge(hours, reading(0.0, own_s=2.0, utc_s=4 * DAY_S + 1))
    assert (after.day, after.used_s) == (4, 2.0)
    back = charge(after, reading(1.0, own_s=3.0, utc_s=3 * DAY_S))
    assert (back.day, back.used_s) == (3, 3.0)
    again = charge(back, reading(2.0, own_s=4.0, utc_s=4 * DAY_S))
    assert (again.day, again.used_s) == (4, 4.0)


def test_a_clock_that_was_a_year_ahead_does_no_lasting_harm() -> None:
    """Set right again, the count goes on until the next midnight that is 20 hours away."""
    ahead = charge(OwnHours(day=400, used_s=500.0, counter_s=0.0), reading(0.0, utc_s=400 * DAY_S))
    right = charge(ahead, reading(1.0, own_s=1.0, utc_s=35 * DAY_S))
    assert right.used_s == 501.0
    first = charge(right, reading(2.0, own_s=2.0, utc_s=36 * DAY_S))
    assert first.used_s == 1.0
    soon = charge(first, reading(19 * 3600.0, own_s=3.0, utc_s=37 * DAY_S))
    assert soon.used_s == 2.0
    assert charge(soon, reading(43 * 3600.0, own_s=4.0, utc_s=38 * DAY_S)).used_s == 1.0


def test_a_day_asleep_is_a_day() -> None:
    """A host that was suspended over a night has a new day, though monotonic time stood still."""
    hours = OwnHours(day=3, used_s=500.0, counter_s=0.0, renewed_s=0.0)
    late = reading(60.0, own_s=1.0, utc_s=4 * DAY_S + 9)
    assert charge(hours, late).used_s == 501.0
    slept = replace(late, host=replace(late.host, slept_s=DAY_S - 60.0))
    assert charge(hours, slept).used_s == 1.0


@pytest.mark.parametrize(("used_s", "reached"), [(3599.0, False), (3600.0, True), (9e9, True)])
def test_the_limit_of_own_hours_stops_the_load(used_s: float, reached: bool) -> None:
    """One core-hour is 3600 s; from there on nothing may be demanded."""
    rules = replace(policy(), own_hours_max=1.0)
    found = caps(Brake(), OwnHours(used_s=used_s), rules)
    assert [(cap.reason, cap.demand_ratio) for cap in found] == (
        [(Reason.OWN_HOURS, 0.0)] if reached else []
    )


def test_without_a_limit_no_hours_are_too_many() -> None:
    """The default."""
    assert caps(Brake(), OwnHours(used_s=1e12), policy()) == ()


def test_a_start_goes_on_with_what_the_day_has_used_already() -> None:
    """Half an hour before and a minute after the start are one sum, on the day of the start."""
    hours = charge(known_until(5 * DAY_S + 10, 1800.0), reading(0.0, utc_s=5 * DAY_S + 11))
    hours = charge(hours, reading(60.0, own_s=60.0, utc_s=5 * DAY_S + 71))
    assert (hours.day, hours.used_s) == (5, 1860.0)


def test_midnight_is_the_beginning_of_the_utc_day() -> None:
    """Days since the epoch have 86,400 s in UTC as computers count it."""
    assert midnight(5 * DAY_S + 3.5) == 5 * DAY_S
