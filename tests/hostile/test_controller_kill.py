"""The controller is killed at random moments; a process of its own counts what is left.

See observer.py and kill_trials.py: nothing here relies on what the daemon says.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.observed import Trial, check_left, disk, ms, run_trials, told_held, told_left
from tests.rig import daemon, eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a child subreaper and pidfd")


def kill(folder: Path, count: int, seed: int, figure: Callable[[str], None]) -> None:
    """So many trials; a daemon starts and ends in good order after them."""
    with disk(folder) as mount:
        trials = run_trials("kill_trials", folder / "work", count, disk=mount, seed=seed)
    tell(trials, figure)
    check(trials)
    assert len(trials) == count
    with daemon(folder / "work", TARGET_CPU="0") as rig:
        eventually(lambda: rig.status().get("pid") == rig.pid, what="a new daemon")
        assert rig.stop() == 0
    left = [path.name for path in (folder / "work").rglob("*") if path.is_file()]
    assert sorted(left) == ["history.sqlite3", "optimizer.log"]


def tell(trials: list[Trial], figure: Callable[[str], None]) -> None:
    """The figures of so many kills."""
    killed = [one for one in trials if one["code"] == -9]
    moments = Counter(one["moment"] for one in killed if one["reached"])
    idle = sum(one["idle"] for one in trials) / len(trials)
    roomy = [one["dead_ms"] for one in killed if one["idle"] > 0.1]
    figure(
        f"kill -9 of the controller: {len(killed)} kills in {len(trials)} trials, "
        f"{sum(one['processes'] for one in killed)} processes, "
        f"{sum(one['unseen'] for one in killed)} of them first seen by their end"
    )
    figure(f"  all dead after {ms([one['dead_ms'] for one in killed])}")
    figure(f"  that of memory and disk after {ms([one['holders_dead_ms'] for one in killed])}")
    figure(f"  all where the host had 10 % idle ({len(roomy)}; {idle:.0%} on average): {ms(roomy)}")
    figure(told_left(trials))
    figure(told_held(killed))
    figure("  moments: " + ", ".join(f"{name} {number}" for name, number in moments.items()))


def check(trials: list[Trial]) -> None:
    """What must hold in each of them."""
    for one in trials:
        check_left(one)
        # One file may be about to replace another one at the kill, and none is left from before.
        assert len(one["fragments"]) <= 1, one
        assert one["code"] == -9 or (one["moment"] == "stopping" and one["code"] == 0), one


def test_nothing_is_left_of_a_killed_controller(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """Each moment once: nobody lives 5 s later, no memory, no disk space and no file is left."""
    kill(tmp_path, 9, 1, figure)


@pytest.mark.long
def test_nothing_is_left_of_a_thousand_killed_controllers(
    tmp_path: Path, figure: Callable[[str], None], trials_wanted: int | None
) -> None:
    """A thousand: with no orphan, at most 3 in 1,000 kills may leave one (95 %)."""
    kill(tmp_path, trials_wanted or 1000, 2, figure)
