"""The arithmetic of benchmarks/cpu_hold.py on counters that are made up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from benchmarks import holding
from benchmarks.holding import CLOCKS, Row, Slot

CPUS = 2


def recorded(
    levels: Sequence[float], *, beat_s: float = 0.1, ticks: Sequence[float] | None = None
) -> list[Row]:
    """Rows of a host that is busy by these percents, each for one beat.

    `ticks` are the percents that /proc/stat sees, where they differ.
    """
    rows = [Row(at_s=100.0, total_s=7.0, away_s=5.0, used_s=3.0, cpus=CPUS)]
    for level, seen in zip(levels, levels if ticks is None else ticks, strict=True):
        last = rows[-1]
        rows.append(
            Row(
                at_s=last.at_s + beat_s,
                total_s=last.total_s + CPUS * beat_s,
                away_s=last.away_s + CPUS * beat_s * (1 - seen / 100),
                used_s=last.used_s + CPUS * beat_s * level / 100,
                cpus=CPUS,
            )
        )
    return rows


def test_both_clocks_are_told_apart() -> None:
    """One is a share of counted ticks, the other CPU time over wall time of all CPUs."""
    first, last = recorded([40.0], ticks=[62.0])
    assert holding.busy(first, last, "true") == pytest.approx(40.0)
    assert holding.busy(first, last, "stat") == pytest.approx(62.0)


@pytest.mark.parametrize("clock", CLOCKS)
def test_no_time_is_no_value(clock: str) -> None:
    """A recorder that did not run has nothing to say, and does not end the benchmark."""
    row = recorded([])[0]
    assert math.isnan(holding.busy(row, row, clock))


@pytest.mark.parametrize("clock", CLOCKS)
def test_means_of_consecutive_windows(clock: str) -> None:
    """Each window has the mean of its own beats; what fills no window is left out."""
    rows = recorded([30.0] * 10 + [50.0] * 10 + [90.0] * 5)
    assert holding.means(rows, 1.0, clock) == pytest.approx([30.0, 50.0])


def test_windows_end_at_the_nearest_row_without_drift() -> None:
    """A window that the beat does not divide ends at most half a beat from its due time."""
    rows = recorded([40.0] * 50)
    ends = holding.edges(rows, 1.37)
    # Due at 1.37, 2.74 and 4.11 s: the nearest tenths are 1.4, 2.7 and 4.1.
    assert [end.at_s - rows[0].at_s for end in ends] == pytest.approx([0.0, 1.4, 2.7, 4.1])


def test_mean_absolute_error_does_not_cancel() -> None:
    """Errors to both sides add up; without a window there is no error, not a zero."""
    # 1 above and 2 below.
    assert holding.mae([41.0, 38.0], 40.0) == 1.5
    assert math.isnan(holding.mae([], 40.0))


def test_holding_sees_what_a_long_window_hides() -> None:
    """Seconds of 39 and 41 are off by one point each and by none over ten seconds."""
    figures = holding.holding(recorded(([39.0] * 10 + [41.0] * 10) * 5), 40.0)
    for clock in CLOCKS:
        assert figures[f"mean_{clock}"] == pytest.approx(40.0)
        assert figures[f"mae_1s_{clock}"] == pytest.approx(1.0)
        assert figures[f"mae_10s_{clock}"] == pytest.approx(0.0, abs=1e-9)


def test_clocks_apart_is_per_window_of_ten_seconds() -> None:
    """Worst and mean difference; opposite differences do not cancel."""
    rows = recorded([40.0] * 200, ticks=[40.2] * 100 + [39.4] * 100)
    figures = holding.holding(rows, 40.0)
    # 0.2 above in the first window, 0.6 below in the second: worst 0.6, mean 0.4.
    assert figures["clocks_apart_10s"] == pytest.approx(0.6)
    assert figures["clocks_apart_10s_mean"] == pytest.approx(0.4)


def test_slots_are_read_as_the_tenant_prints_them() -> None:
    """Seconds, ns of CPU time and ns of lateness; -1 is a slot without work."""
    assert holding.read_slots("0.020000 5000000 -1\n0.041000 25000000 1500000\n") == [
        Slot(end_s=0.02, used_s=0.005, late_ms=None),
        Slot(end_s=0.041, used_s=0.025, late_ms=1.5),
    ]
    with pytest.raises(ValueError, match="unpack"):
        holding.read_slots("usage: tenant\n")


@pytest.mark.parametrize(
    ("at_s", "used_s"),
    [
        (0.0, 0.0),
        # The first slot's 10 ms of work are done from 10 to 20 ms.
        (0.010, 0.0),
        (0.015, 0.005),
        (0.020, 0.010),
        # The second's 5 ms from 45 to 50 ms: until then nothing is added.
        (0.040, 0.010),
        (0.048, 0.013),
        # After the last slot nothing is known to have happened.
        (9.0, 0.015),
    ],
)
def test_work_is_done_right_before_its_end(at_s: float, used_s: float) -> None:
    """Between two slots the tenant rests, then it works without a pause."""
    slots = [
        Slot(end_s=0.020, used_s=0.010, late_ms=0.0),
        Slot(end_s=0.050, used_s=0.015, late_ms=0.0),
    ]
    assert holding.used_until(slots, at_s) == pytest.approx(used_s)


def test_worked_adds_all_processes() -> None:
    """A tenant is the sum of its processes, each with slots of its own."""
    one = [Slot(end_s=1.0, used_s=0.5, late_ms=0.0), Slot(end_s=2.0, used_s=0.9, late_ms=0.0)]
    other = [Slot(end_s=2.0, used_s=0.2, late_ms=0.0)]
    # From 1 to 2 s: 0.9 - 0.5 of the one, 0.2 of the other, which worked from 1.8 s on.
    assert holding.worked([one, other], 1.0, 2.0) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        # A trailing second of which a share s is at 60 and the rest at 40 reads 40 + 20 s:
        # within 3 points of 60 from 0.9 s on (58).
        ([60.0] * 40, 0.9),
        # A second longer at 40 before it moves.
        ([40.0] * 10 + [60.0] * 30, 1.9),
        # Near from 0.9 to 1.6 s, which is less than a second; near for good when of the
        # fall, which ends at 2.5 s, only one tenth is left in the trailing second.
        ([60.0] * 15 + [40.0] * 10 + [60.0] * 25, 3.4),
        ([50.0] * 40, math.inf),
    ],
)
@pytest.mark.parametrize("clock", CLOCKS)
def test_a_step_is_answered_when_the_trailing_second_is_near_and_stays(
    clock: str, after: list[float], expected: float
) -> None:
    """Counted from the step to the end of the first trailing second that is near for good."""
    rows = recorded([40.0] * 10 + after)
    assert holding.answered_s(rows, 60.0, clock) == pytest.approx(expected)


@pytest.mark.parametrize("clock", CLOCKS)
def test_shortfall_is_that_of_the_worst_sliding_window(clock: str) -> None:
    """A dip of half a window counts in full wherever it lies; too much elsewhere is no excuse."""
    rows = recorded([40.0] * 73 + [30.0] * 50 + [50.0] * 100)
    # A window with the whole dip and 5 s before it: 5 s of 10 points below, over 10 s.
    assert holding.shortfall(rows, 40.0, clock) == pytest.approx(5.0)
    assert holding.shortfall(recorded([45.0] * 150), 40.0, clock) == 0.0
    assert math.isnan(holding.shortfall(recorded([45.0] * 50), 40.0, clock))


def test_trace_is_compared_with_the_larger_of_target_and_tenant() -> None:
    """What the tenant takes above the target is no error, and what it leaves is to be filled."""
    # Three steps of 4 s; the filler is half a second late each time.
    rows = recorded([40.0] * 40 + [40.0] * 5 + [60.0] * 35 + [60.0] * 5 + [40.0] * 35)
    figures = holding.trace_figures(
        rows, [0.0] * 4 + [60.0] * 4 + [10.0] * 4, steps=(0, 60, 10), step_s=4.0, target=40.0
    )
    for clock in CLOCKS:
        # 0.5 s of 20 points in two of twelve seconds: 2 * 10 / 12.
        assert figures[f"mae_1s_{clock}"] == pytest.approx(20 / 12)
        # 0.5 s of 20 points in 4 s.
        assert figures[f"mean_0_{clock}"] == pytest.approx(40.0)
        assert figures[f"mean_1_{clock}"] == pytest.approx(57.5)
        assert figures[f"mean_2_{clock}"] == pytest.approx(42.5)
        # 0.5 s late, and then 0.9 s until a trailing second is within 3 of 20 points.
        assert figures[f"back_1_{clock}"] == pytest.approx(1.4)
        assert figures[f"back_2_{clock}"] == pytest.approx(1.4)
        assert figures[f"below_10s_{clock}"] == 0.0
