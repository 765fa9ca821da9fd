"""The arithmetic of benchmarks/memory_hold.py: what the kernel says, and what is made of it."""

from __future__ import annotations

import math

import pytest

from benchmarks import levels, meminfo

MEMINFO = """MemTotal:        1000 kB
MemFree:          400 kB
MemAvailable:     600 kB
Buffers:           50 kB
Cached:           200 kB
Shmem:             30 kB
SReclaimable:      20 kB
HugePages_Total:     7
"""


def test_meminfo_is_read_in_bytes_and_counts_stay_counts() -> None:
    """Lines with kB are bytes afterwards; the number of huge pages is none."""
    found = meminfo.parse(MEMINFO)
    assert found["MemTotal"] == 1_024_000
    assert found["HugePages_Total"] == 7


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        # 1000 - 600 of 1000.
        ("available", 40.0),
        # 1000 - 400 - (50 + 200 + 20) + 30 of 1000.
        ("nocache", 36.0),
        # 1000 - 400 of 1000.
        ("free", 60.0),
    ],
)
def test_metrics_are_the_formulas_of_the_agents(metric: str, expected: float) -> None:
    """Each metric has its own formula; what counts as used differs by the caches."""
    assert meminfo.percent(meminfo.parse(MEMINFO), metric) == pytest.approx(expected)


def test_a_metric_that_is_none_is_refused() -> None:
    """A misspelt metric is no other metric."""
    with pytest.raises(KeyError):
        meminfo.used(meminfo.parse(MEMINFO), "cached")


def test_counts_are_names_and_whole_numbers() -> None:
    """The form of /proc/vmstat, memory.events and memory.oom_control."""
    assert meminfo.counts("pswpout 12\noom_kill 0\n") == {"pswpout": 12, "oom_kill": 0}


def test_errors_do_not_cancel_in_the_absolute_ones() -> None:
    """Mean is signed; mean absolute and worst error count both sides."""
    found = levels.errors([41.0, 38.0], 40.0)
    # 1 above and 2 below.
    assert found == {"mean_error": -0.5, "mae": 1.5, "worst": 2.0}
    assert levels.errors([], 40.0) == {}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # One sample a second: near from 2 s on, which is 4 s until the last one at 6 s.
        ([10.0, 30.0, 40.1, 40.0, 39.9, 40.0, 40.0], 2.0),
        # Out again at 4 s: near for good for 2 s only.
        ([10.0, 40.0, 40.0, 40.0, 41.0, 40.0, 40.0, 40.0], None),
        ([40.0, 40.0, 40.0, 41.0], None),
        ([], None),
    ],
)
def test_a_level_has_settled_when_it_came_to_stay(
    values: list[float], expected: float | None
) -> None:
    """Three seconds within 0.2 points, up to now, and counted from their begin."""
    samples = [(float(second), value) for second, value in enumerate(values)]
    assert levels.settled_s(samples, 40.0) == expected


def test_per_gib_divides_by_the_size() -> None:
    """300 ms for two GiB are 150 for each."""
    assert levels.per_gib(300.0, 2 << 30) == 150.0


def test_what_does_not_happen_takes_infinitely_long() -> None:
    """A deadline that has passed is not a time; what is so already takes none."""
    assert math.isinf(levels.until(lambda: False, 0.0, 0.0))
    assert levels.until(lambda: True, 0.0) < 1.0
