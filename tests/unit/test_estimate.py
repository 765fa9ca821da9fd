"""Counters to ratios."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.control.estimate import (
    cpu_utilisation,
    disk_utilisation,
    estimate,
    memory_utilisation,
    used_bytes,
)
from optimizer.counters import (
    CpuCounters,
    DiskCounters,
    HostReading,
    MemoryBound,
    MemoryCounters,
    OwnCounters,
    Place,
    Reading,
)
from optimizer.orders import MemoryMetric
from tests.fakes import GIB, policy

MEMORY = MemoryCounters(
    total_bytes=16 * GIB, available_bytes=12 * GIB, free_bytes=8 * GIB, cache_bytes=3 * GIB
)


def reading(
    at_s: float,
    *,
    idle_s: float,
    total_s: float | None = None,
    steal_s: float = 0.0,
    own_s: float = 0.0,
    cpus: int = 2,
) -> Reading:
    """A reading of a host with `cpus` CPUs; total defaults to wall time times CPUs."""
    total = at_s * cpus if total_s is None else total_s
    return Reading(
        host=HostReading(
            monotonic_s=at_s,
            utc_s=at_s,
            cpu=CpuCounters(total_s=total, idle_s=idle_s, steal_s=steal_s, cpus=cpus),
            memory=None,
            disks=None,
        ),
        own=OwnCounters(cpu_s=own_s),
    )


def test_cpu_is_busy_time_over_elapsed_time_with_own_told_apart() -> None:
    """10 s on 2 CPUs = 20 CPU-seconds; 8 idle, 5 own: 60 % busy, 25 % own, 35 % organic."""
    usage = cpu_utilisation(reading(0, idle_s=0), reading(10, idle_s=8, own_s=5), count_steal=False)
    assert usage is not None
    assert usage.total_ratio == pytest.approx(0.60)
    assert usage.own_ratio == pytest.approx(0.25)
    assert usage.organic_ratio == pytest.approx(0.35)


@pytest.mark.parametrize(("count_steal", "expected"), [(False, 0.5), (True, 0.6)])
def test_steal_is_busy_only_when_asked_for(count_steal: bool, expected: float) -> None:
    """20 CPU-seconds, 8 idle, 2 stolen: (20 - 8 - 2) / 20 = 50 %, or 60 % with steal counted."""
    usage = cpu_utilisation(
        reading(0, idle_s=0),
        reading(10, idle_s=8, steal_s=2),
        count_steal=count_steal,
    )
    assert usage is not None
    assert usage.total_ratio == pytest.approx(expected)


def test_what_is_recorded_is_the_share_of_the_counted_time() -> None:
    """19 s were counted in 20 s of CPU time, 10 of them idle: 9/19, as agents compute it."""
    usage = cpu_utilisation(
        reading(0, idle_s=0), reading(10, idle_s=10, total_s=19), count_steal=False
    )
    assert usage is not None
    assert usage.total_ratio == pytest.approx(9 / 19)
    assert usage.room_ratio == pytest.approx(10 / 19)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(reading(0, idle_s=9), reading(10, idle_s=8), id="idle ran back"),
        pytest.param(reading(5, idle_s=1), reading(5, idle_s=1), id="no time passed"),
        pytest.param(
            reading(0, idle_s=0, steal_s=3), reading(10, idle_s=8, steal_s=2), id="steal ran back"
        ),
        pytest.param(reading(0, idle_s=0, own_s=3), reading(10, idle_s=8), id="own ran back"),
        pytest.param(reading(0, idle_s=0), reading(10, idle_s=8, cpus=4), id="CPU came"),
    ],
)
def test_impossible_counters_give_no_value(before: Reading, after: Reading) -> None:
    """A counter that cannot be right is a missing value, never a low one."""
    assert cpu_utilisation(before, after, count_steal=False) is None


def test_a_tick_of_iowait_running_back_is_full_load_not_a_missing_value() -> None:
    """Proc(5) lets iowait decrease: -0.01 s of idle on a saturated host reads as 100 %."""
    usage = cpu_utilisation(reading(0, idle_s=5), reading(10, idle_s=4.99), count_steal=False)
    assert usage is not None
    assert usage.total_ratio == 1.0


@pytest.mark.parametrize(
    ("metric", "expected_gib"),
    # total 16, available 12, free 8, cache 3
    [(MemoryMetric.AVAILABLE, 4), (MemoryMetric.NOCACHE, 5), (MemoryMetric.FREE, 8)],
)
def test_each_memory_formula(metric: MemoryMetric, expected_gib: int) -> None:
    """The three formulas of the agents on one and the same host."""
    assert used_bytes(MEMORY, metric) == expected_gib * GIB


def test_memory_room_is_what_is_available_above_the_floor() -> None:
    """12 of 16 GiB available, floor max(5 % = 0.8, 0.5) GiB: room (12 - 0.8) / 16."""
    usage = memory_utilisation(MEMORY, 2 * GIB, policy())
    assert usage.room_ratio == pytest.approx((12 - 0.8) / 16)
    assert usage.own_ratio == pytest.approx(2 / 16)


def test_a_limit_on_a_group_bounds_the_room() -> None:
    """3 of 4 GiB left below the limit, less 0.5 (5 % is less); the host would leave 11.2 of 16."""
    bounded = replace(MEMORY, bounds=(MemoryBound(4 * GIB, 3 * GIB), MemoryBound(8 * GIB, 6 * GIB)))
    usage = memory_utilisation(bounded, 0, policy())
    assert usage.room_ratio == pytest.approx(2.5 / 16)
    assert usage.capacity == 16 * GIB


def test_memory_that_the_kernel_may_take_leaves_no_room_for_more() -> None:
    """By `nocache` it is still counted as available, but we cannot take it twice: 12 - 0.8 - 2."""
    usage = memory_utilisation(MEMORY, 2 * GIB, policy(metric=MemoryMetric.NOCACHE))
    assert usage.room_ratio == pytest.approx((12 - 0.8 - 2) / 16)


def test_disk_is_summed_and_so_is_its_room() -> None:
    """Used 10 + 40 of 40 + 100 GiB; free 30 and 60, less floors of 4 and 10 (10 % each)."""
    first = DiskCounters(place=Place("/a", "/a"), used_bytes=10 * GIB, available_bytes=30 * GIB)
    second = DiskCounters(place=Place("/b", "/b"), used_bytes=40 * GIB, available_bytes=60 * GIB)
    usage = disk_utilisation((first, second), 7 * GIB, policy())
    assert usage is not None
    assert usage.total_ratio == pytest.approx(50 / 140)
    assert usage.own_ratio == pytest.approx(7 / 140)
    assert usage.room_ratio == pytest.approx((26 + 50) / 140)


def test_failed_sensors_are_none_and_do_not_touch_the_others() -> None:
    """Without memory and disk readings the CPU is still estimated."""
    sample = estimate(reading(0, idle_s=0), reading(10, idle_s=8), policy())
    assert sample.usage.memory is None
    assert sample.usage.disk is None
    assert sample.usage.cpu is not None
    assert sample.span_s == 10


def test_a_failed_cpu_sensor_is_none() -> None:
    """No CPU counters, no CPU value."""
    after = reading(10, idle_s=8)
    blind = replace(after, host=replace(after.host, cpu=None))
    assert cpu_utilisation(reading(0, idle_s=0), blind, count_steal=False) is None
