"""The controller is killed at random moments; a process of its own counts what is left.

See observer.py and kill_trials.py: nothing here relies on what the daemon says.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.observed import DAEMON, ms, run_trials
from tests.loopdev import volume
from tests.rig import daemon, eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a child subreaper and pidfd")

DISK_LEFT_BYTES = 64 << 10
"""What an ext4 may take for itself meanwhile: a block of a directory, of extents, of a bitmap."""
SIZE_MB = 4096


@contextlib.contextmanager
def place(folder: Path) -> Iterator[Path | None]:
    """A filesystem for the daemon to hold, None where there can be none."""
    with contextlib.ExitStack() as stack:
        disk = None
        with contextlib.suppress(pytest.skip.Exception):
            disk = stack.enter_context(volume("ext4", folder, size_mb=SIZE_MB)).mount
        yield disk


def kill(folder: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """So many trials; a daemon starts and ends in good order after them."""
    with place(folder) as disk:
        trials = run_trials(
            "kill_trials",
            {
                "command": [*DAEMON, "--config"],
                "folder": str(folder / "work"),
                "disk": None if disk is None else str(disk),
                "trials": count,
                "seed": seed,
            },
        )
    assert len(trials) == count
    with daemon(folder / "work", TARGET_CPU="0") as rig:
        eventually(lambda: rig.status().get("pid") == rig.pid, what="a new daemon")
        assert rig.stop() == 0
    left = [path.name for path in (folder / "work").rglob("*") if path.is_file()]
    assert sorted(left) == ["history.sqlite3", "optimizer.log"]
    return trials


def figures(trials: list[dict[str, Any]]) -> list[str]:
    """What to tell of them."""
    killed = [one for one in trials if one["code"] == -9]
    held = sum(one["memory_held"] for one in killed) / len(killed) / 2**20
    disk = sum(one["disk_held"] for one in killed) / len(killed) / 2**20
    moments = Counter(one["moment"] for one in killed if one["reached"])
    idle = sum(one["idle"] for one in trials) / len(trials)
    quick = [one["dead_ms"] for one in killed if one["idle"] > 0.1]
    return [
        f"kill -9 of the controller: {len(killed)} kills ({len(trials)} trials), "
        f"{sum(one['processes'] for one in killed)} processes, "
        f"{sum(one['unseen'] for one in killed)} of them seen by their end only, "
        f"{held:.0f} MiB of memory and {disk:.0f} MiB of disk held on average",
        f"  orphans {sum(one['orphans'] for one in trials)}; "
        f"all dead after {ms([one['dead_ms'] for one in killed])}; "
        f"what holds memory or disk after {ms([one['holders_dead_ms'] for one in killed])}",
        f"  where the host had 10 % idle ({len(quick)}; {idle:.0%} idle on average): {ms(quick)}",
        f"  left: memory {total(trials, 'memory_left')} bytes, "
        f"disk {total(trials, 'disk_left')} bytes, {count(trials, 'files')} files, "
        f"{count(trials, 'fragments')} fragments of state files, "
        f"{sum(one['groups'] for one in trials)} empty control groups until the next start, "
        f"{sum(one['in_groups'] for one in trials)} processes in them",
        "  moments: " + ", ".join(f"{name} {number}" for name, number in moments.items()),
        f"  {sum(one['seconds'] for one in trials) / len(trials):.2f} s a trial",
    ]


def total(trials: list[dict[str, Any]], key: str) -> int | str:
    """The largest value, for what was left once stays; "unknown" where nobody could count."""
    known = [one[key] for one in trials if one[key] is not None]
    return max(known) if known else "unknown"


def count(trials: list[dict[str, Any]], key: str) -> int:
    """How many names were listed in all."""
    return sum(len(one[key]) for one in trials)


def check(trials: list[dict[str, Any]]) -> None:
    """What must hold in each of them."""
    for one in trials:
        assert one["orphans"] == 0, one
        assert not one["memory_left"], one
        assert (one["disk_left"] or 0) <= DISK_LEFT_BYTES, one
        assert one["files"] == [], one
        # One file may have been about to replace another one at each kill, and none before it.
        assert len(one["fragments"]) <= 1, one
        assert one["in_groups"] == 0, one
        assert one["groups"] <= 1, one
        assert one["code"] == -9 or (one["moment"] == "stopping" and one["code"] == 0), one


def test_nothing_is_left_of_a_killed_controller(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """Each moment once: nobody lives 5 s later, no memory, no disk space and no file is left."""
    trials = kill(tmp_path, 9, 1)
    for line in figures(trials):
        figure(line)
    check(trials)


@pytest.mark.long
def test_nothing_is_left_of_a_thousand_killed_controllers(
    tmp_path: Path, figure: Callable[[str], None], trials_wanted: int | None
) -> None:
    """A thousand: with no orphan, at most 3 in 1,000 kills may leave one (95 %)."""
    trials = kill(tmp_path, trials_wanted or 1000, 2)
    for line in figures(trials):
        figure(line)
    check(trials)
