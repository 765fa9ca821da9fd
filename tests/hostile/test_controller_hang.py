"""The controller hangs: stopped, in a deadlock, in a read that never ends, deaf in C.

A process of its own sees when the load is gone; see observer.py and hang_trials.py.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from stressers.lease import TTL_S
from tests.hostile.observed import (
    Trial,
    check_left,
    disk,
    ms,
    must_be_counted,
    roomy,
    run_trials,
    told_held,
    told_left,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a child subreaper and pidfd")

PROMISED_S = TTL_S + 1.0
"""All load is gone by then."""
LOOK_S = 0.5
"""What the observer may need to see it."""
ENOUGH = 30
"""Trials with idle time that show it."""
GENEROUS_S = TTL_S + 4.0
"""The same on a machine that others use as well."""


def hang(folder: Path, count: int, seed: int) -> list[Trial]:
    """So many trials."""
    with disk(folder) as mount:
        return run_trials("hang_trials", folder / "work", count, disk=mount, seed=seed)


def tell(trials: list[Trial], figure: Callable[[str], None]) -> None:
    """The figures of so many."""
    hung = [one for one in trials if one["hung"]]
    ways = Counter(one["fault"] for one in hung)
    figure(
        f"the controller hangs: {len(hung)} of {len(trials)} trials ("
        + ", ".join(f"{way} {number}" for way, number in ways.items())
        + f"), loaded as it should be in {sum(one['loaded'] for one in hung)}"
    )
    late = sum(one["load_ms"] > 1000 * PROMISED_S for one in hung)
    figure(
        f"  all load gone after {ms([one['load_ms'] for one in hung])}; "
        f"{late} later than the lease and a second"
    )
    timed = [one["load_ms"] for one in roomy(hung)]
    figure(f"  that where the host had 10 % idle ({len(timed)}): {ms(timed)}")
    figure(f"  all stressers dead after {ms([one['dead_ms'] for one in hung])}")
    stopped = [one for one in hung if one["fault"] == "stopped"]
    figure(f"  went on after SIGCONT: {sum(one['recovered'] for one in stopped)} of {len(stopped)}")
    figure(told_left(trials))
    figure(told_held(hung))


def check(trials: list[Trial]) -> None:
    """What must hold in each of them."""
    # Not where neighbours have taken meanwhile what was to be held.
    assert sum(one["loaded"] for one in trials) >= len(trials) / 2
    for one in trials:
        assert one["hung"], one
        assert one["load_ms"] <= 1000 * GENEROUS_S, one
        assert one["left_alive"] == 0, one
        assert one["recovered"] in {None, True}, one
        check_left(one)


def check_time(trials: list[Trial], figure: Callable[[str], None]) -> None:
    """The lease and a second, where enough trials had idle time to show it."""
    timed = roomy(trials)
    if len(timed) < ENOUGH:
        figure(f"  not shown: gone within {PROMISED_S:g} s, {len(timed)} of {ENOUGH} trials")
        return
    for one in timed:
        assert one["load_ms"] <= 1000 * (PROMISED_S + LOOK_S), one


def test_a_hung_controller_loses_its_load(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Stopped and in a deadlock: its stressers end by themselves when their leases run out."""
    trials = hang(tmp_path, 2, 1)
    tell(trials, figure)
    check(trials)
    must_be_counted(trials)


@pytest.mark.long
def test_a_hundred_hung_controllers_lose_their_load(
    tmp_path: Path, figure: Callable[[str], None], trials_wanted: int | None
) -> None:
    """A hundred, in four ways and five places: with none failed, at most 3 in 100 may (95 %)."""
    trials = hang(tmp_path, trials_wanted or 100, 2)
    tell(trials, figure)
    check(trials)
    check_time(trials, figure)
    must_be_counted(trials)
