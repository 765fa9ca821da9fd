"""Stressers are killed, stopped and starved of memory while the daemon runs.

It recovers or backs off, and never starts them in a storm; a process of its
own counts the starts. See observer.py and stresser_trials.py.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.observed import Trial, check_end, disk, ms, run_trials

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a child subreaper and pidfd")

HOLD_OFF_MS = 2000.0
"""As stresser_trials.HOLD_OFF_S: what a memory stresser waits after it was killed."""
PAUSE_MS = 1000.0
"""No stresser comes back sooner. Source: control/lifecycle.py."""
EARLY_MS = 100.0
"""Clocks of two processes, and a fault that is noticed before the observer has looked."""
MOST_IN_10_S = 5
SHORT = 4
LONG_AFTER_MS = 15_000.0
"""A stresser that is stopped must be dead by then, however busy the host."""


def strike(
    folder: Path, count: int, seed: int, *, storm: bool = False
) -> tuple[list[Trial], Trial]:
    """So many faults, and what the daemon did meanwhile and left in the end."""
    # A disk is tried again after ten seconds only, too long for the short form.
    with disk(folder) if count > SHORT else contextlib.nullcontext() as mount:
        results = run_trials(
            "stresser_trials", folder / "work", count, disk=mount, seed=seed, storm=storm
        )
    return results[:-1], results[-1]


def tell(faults: list[Trial], end: Trial, figure: Callable[[str], None]) -> None:
    """The figures of so many faults."""
    figure(f"stressers killed, stopped, OOM-killed: {len(faults)} faults")
    for (kind, fault), number in sorted(Counter((f["kind"], f["fault"]) for f in faults).items()):
        these = [one for one in faults if (one["kind"], one["fault"]) == (kind, fault)]
        dead = [one["dead_ms"] for one in these if one["dead_ms"] is not None]
        back = [one["back_ms"] for one in these if one["back_ms"] is not None]
        figure(
            f"  {kind}, {fault}: {number}, ended {len(dead)} ({ms(dead)}), "
            f"back {len(back)} ({ms(back)})"
        )
    figure(f"  most starts within 10 s {end['most_spawns']}, least pause {end['least_gap_s']} s")


def check(faults: list[Trial], end: Trial) -> None:
    """What must hold in each of them."""
    for one in faults:
        assert one["dead_ms"] is not None, one
        assert one["dead_ms"] < LONG_AFTER_MS, one
        assert one["back_ms"] is not None, one
        pause_ms = HOLD_OFF_MS if one["kind"] == "memory" else PAUSE_MS
        assert one["back_ms"] >= pause_ms - EARLY_MS, one
    check_starts(end)
    check_end(end)


def check_starts(end: Trial) -> None:
    """Never more than one start a second, nor more than five in ten."""
    for kind, most in end["most_spawns"].items():
        assert most <= MOST_IN_10_S, (kind, end)
    for kind, gap_s in end["least_gap_s"].items():
        assert gap_s is None or 1000 * gap_s >= PAUSE_MS - EARLY_MS, (kind, end)


def test_stressers_that_are_killed_or_stopped_come_back(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """CPU and memory: what is left of them ends, and after a pause others are there."""
    faults, end = strike(tmp_path, SHORT, 1)
    tell(faults, end, figure)
    check(faults, end)


@pytest.mark.long
def test_three_hundred_faults_of_stressers(
    tmp_path: Path, figure: Callable[[str], None], trials_wanted: int | None
) -> None:
    """Killed, stopped, OOM-killed: with none failed, at most 1 in 100 may (95 %)."""
    faults, end = strike(tmp_path, trials_wanted or 300, 2)
    tell(faults, end, figure)
    check(faults, end)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_stressers_that_are_killed_at_sight_are_given_up(
    tmp_path: Path, figure: Callable[[str], None], seed: int
) -> None:
    """Never a storm: a start a second, five in ten seconds, then none until resumed."""
    faults, end = strike(tmp_path, SHORT + 1, seed, storm=True)
    for one in faults:
        starts = ", ".join(f"{at_s:.1f}" for at_s in one["spawns"])
        figure(f"{one['kind']} stressers killed at sight: started after {starts} s")
        assert one["back"], one
    check_starts(end)
    check_end(end)
