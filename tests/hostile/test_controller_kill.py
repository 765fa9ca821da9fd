"""The controller is killed at random moments; a process of its own counts what is left.

See observer.py and kill_trials.py: nothing here relies on what the daemon says.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.observed import (
    Trial,
    check_left,
    disk,
    ms,
    must_be_counted,
    percentile,
    roomy,
    run_trials,
    told_held,
    told_left,
)
from tests.rig import daemon, eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a child subreaper and pidfd")

HELD_BYTES = 64 << 20
"""More than a daemon takes that holds nothing."""
LOADED = ("growing memory", "growing disk", "holding", "shrinking")
"""Moments that are reached only once something is held."""
SHORT_RATIO, LONG_RATIO = 0.5, 0.7
"""In so many trials the moment must be reached; neighbours may leave nothing to hold."""
PROMISED_MS = 100.0
"""All are dead by then in 99 of 100 kills, on a host with idle time."""
ENOUGH = 200
"""Trials in which a 99th percentile means something: the second largest of them at most."""


def kill(
    folder: Path,
    count: int,
    seed: int,
    reached_ratio: float,
    figure: Callable[[str], None],
    moments: tuple[str, ...] = (),
) -> list[Trial]:
    """So many trials; a daemon starts and ends in good order after them.

    With no `moments` given, at all of them in turn.
    """
    with disk(folder) as mount:
        trials = run_trials(
            "kill_trials", folder / "work", count, disk=mount, seed=seed, moments=moments
        )
    tell(trials, figure)
    check(trials)
    check_reached(trials, reached_ratio)
    assert len(trials) == count
    with daemon(folder / "work", TARGET_CPU="0") as rig:
        eventually(lambda: rig.status().get("pid") == rig.pid, what="a new daemon")
        assert rig.stop() == 0
    left = [path.name for path in (folder / "work").rglob("*") if path.is_file()]
    assert sorted(left) == ["history.sqlite3", "optimizer.log"]
    return trials


def tell(trials: list[Trial], figure: Callable[[str], None]) -> None:
    """The figures of so many kills."""
    killed = [one for one in trials if one["code"] == -9]
    moments = Counter(one["moment"] for one in killed if one["reached"])
    idle = sum(one["idle"] for one in trials) / len(trials)
    timed = [one["dead_ms"] for one in roomy(killed)]
    figure(
        f"kill -9 of the controller: {len(killed)} kills in {len(trials)} trials, "
        f"{sum(one['processes'] for one in killed)} processes, "
        f"{sum(one['unseen'] for one in killed)} of them first seen by their end"
    )
    figure(f"  all dead after {ms([one['dead_ms'] for one in killed])}")
    figure(f"  that of memory and disk after {ms([one['holders_dead_ms'] for one in killed])}")
    figure(f"  all where the host had 10 % idle ({len(timed)}; {idle:.0%} on average): {ms(timed)}")
    figure(told_left(trials))
    figure(told_held(killed))
    figure("  reached: " + ", ".join(f"{name} {number}" for name, number in moments.items()))


def check(trials: list[Trial]) -> None:
    """What must hold in each of them."""
    for one in trials:
        check_left(one)
        # One file may be about to replace another one at the kill, and none is left from before.
        assert len(one["fragments"]) <= 1, one
        assert one["code"] == -9 or (one["moment"] == "stopping" and one["code"] == 0), one


def check_reached(trials: list[Trial], least_ratio: float) -> None:
    """The kills met a daemon that was doing what its moment is named after, and held something."""
    reached = [one for one in trials if one["reached"]]
    assert len(reached) > least_ratio * len(trials), Counter(one["moment"] for one in reached)
    loaded = [one for one in reached if one["moment"] in LOADED]
    for one in loaded:
        assert one["memory_held"] > HELD_BYTES or one["disk_held"] > 0, one
    assert any(one["memory_held"] > HELD_BYTES for one in loaded), "no memory was held"
    if all(one["disk_left"] is not None for one in trials):
        assert any(one["disk_held"] for one in trials), "no disk space was held in any trial"


def check_time(trials: list[Trial], figure: Callable[[str], None]) -> None:
    """How soon all are dead, where enough trials had idle time to show it."""
    timed = [one["dead_ms"] for one in roomy(trials) if one["code"] == -9]
    if len(timed) < ENOUGH:
        figure(f"  not shown: dead within {PROMISED_MS:.0f} ms, {len(timed)} of {ENOUGH} trials")
        return
    assert percentile(timed, 99) <= PROMISED_MS, ms(timed)


def test_nothing_is_left_of_a_killed_controller(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """Five moments once: nobody lives 5 s later, no memory, no disk space and no file is left."""
    moments = ("spawning", "growing memory", "growing disk", "shrinking", "stopping")
    must_be_counted(kill(tmp_path, len(moments), 1, SHORT_RATIO, figure, moments))


@pytest.mark.long
def test_nothing_is_left_of_a_thousand_killed_controllers(
    tmp_path: Path, figure: Callable[[str], None], trials_wanted: int | None
) -> None:
    """A thousand: with no orphan, at most 3 in 1,000 kills may leave one (95 %)."""
    trials = kill(tmp_path, trials_wanted or 1000, 2, LONG_RATIO, figure)
    check_time(trials, figure)
    must_be_counted(trials)
