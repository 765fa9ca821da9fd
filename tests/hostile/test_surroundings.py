"""The disk of the daemon's own files, its configuration and its clock go wrong; 50 start at once.

It keeps its promises (load within the target, acknowledged rows kept, nothing
left), names the reason, and goes on when the fault is over. A process of its
own looks on; see observer.py and the *_trials.py of this folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.observed import check_end, run_trials
from tests.loopdev import volume

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a child subreaper and pidfd")

SMALL_MB = 24
"""Room for a history, a log and the state; quickly filled."""
EXIT_TRY_LATER = 75
EXIT_CONFIG = 78


def own_disk(folder: Path, fault: str, count: int, figure: Callable[[str], None]) -> None:
    """So many trials in which the disk of state, log and status is full or read-only."""
    with volume("ext4", folder, size_mb=SMALL_MB) as disk:
        device = Path(disk.device() or "").name
        if fault == "read-only" and not Path(f"/sys/fs/ext4/{device}/trigger_fs_error").exists():
            pytest.skip("this kernel cannot be told to find an error in an ext4")
        trials = run_trials(
            "place_trials",
            disk.mount / "work",
            count,
            seed=count,
            fault=fault,
            mount=str(disk.mount),
            image=str(disk.image),
            beside=str(folder / "beside"),
        )
    late = [one for one in trials if one["when"] == "late"]
    figure(
        f"own disk {fault}: {len(late)} times in mid-run, {len(trials) - len(late)} at the start; "
        f"named {sum(one['named'] for one in trials)}, "
        f"went on after it {sum(one['mended'] for one in trials)}, "
        f"rows lost {sum(one['rows_lost'] for one in late)}; "
        f"{sum(one['seconds'] for one in trials) / len(trials):.1f} s a trial"
    )
    assert len(trials) == count
    for one in trials:
        assert one["named"], one
        assert one["mended"], one
        if "code_at_start" in one:
            assert one["code_at_start"] == EXIT_CONFIG, one
            assert one["orphans_at_start"] == 0, one
        else:
            assert one["alive"], one
            assert one["loaded"], one
            assert one["within_target"], one
            assert one["rows_lost"] == 0, one
        check_end(one)


def garbage(folder: Path, count: int, figure: Callable[[str], None]) -> None:
    """So many trials with something else where the configuration should be."""
    *trials, end = run_trials("config_trials", folder / "work", count, seed=count)
    starts = [one for one in trials if one["when"] == "start"]
    reloads = [one for one in trials if one["when"] == "reload"]
    figure(
        f"configuration garbage: refused at the start with 78 "
        f"{sum(one['code'] == EXIT_CONFIG for one in starts)} of {len(starts)}, at a reload "
        f"named and the old one kept {sum(one['named'] and one['kept'] for one in reloads)} "
        f"of {len(reloads)}"
    )
    assert len(trials) == count
    for one in starts:
        assert one["code"] == EXIT_CONFIG, one
        assert one["named"], one
        assert not one["touched"], one
        assert one["orphans"] == 0, one
    for one in reloads:
        assert one["named"], one
        assert one["kept"], one
        assert one["within_target"], one
        assert one["mended"], one
    check_end(end)


def clock(folder: Path, count: int, figure: Callable[[str], None]) -> None:
    """So many steps of the UTC clock by ten years, forwards and backwards, each with one back."""
    *trials, end = run_trials("clock_trials", folder / "work", count, seed=count)
    steps = [step for one in trials for step in (one["away"], one["back"])]
    figure(
        f"clock stepped by ten years: {len(steps)} steps, "
        f"named {sum(step['named'] for step in steps)}, "
        f"recorded after it {sum(step['recorded'] for step in steps)}, "
        f"rows lost {sum(step['rows_lost'] for step in steps)}"
    )
    assert len(trials) == count
    for one in trials:
        assert one["alive"], one
    for step in steps:
        assert step["named"], step
        assert step["recorded"], step
        assert step["loaded"], step
        assert step["within_target"], step
        assert step["rows_lost"] == 0, step
    check_end(end)


def together(folder: Path, count: int, starts: int, figure: Callable[[str], None]) -> None:
    """So many times that many daemons at once."""
    trials = run_trials("start_trials", folder / "work", count, seed=count, starts=starts)
    figure(
        f"{starts} starts at once: {len(trials)} times, exactly one active "
        f"{sum(one['active'] == 1 for one in trials)}, loaded within 20 s "
        f"{sum(bool(one['loaded']) for one in trials)}, exit codes of the others "
        f"{sorted({code for one in trials for code in one['codes']})}; "
        f"{sum(one['seconds'] for one in trials) / len(trials):.1f} s a trial"
    )
    assert len(trials) == count
    for one in trials:
        assert one["alone"], one
        assert one["active"] == 1, one
        assert one["codes"] == {str(EXIT_TRY_LATER): starts - 1}, one
        assert one["refusals"] == starts - 1, one
        # So many starts are a load themselves, beside which it may well hold off for a while.
        assert max(one["crews"].values()) <= 1, one
        assert one["within_target"], one
        check_end(one)


def test_it_goes_on_when_its_own_disk_is_full(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """Once in mid-run: named, load as before, no acknowledged row lost, recorded afterwards."""
    own_disk(tmp_path, "full", 1, figure)


def test_garbage_is_refused_and_the_old_configuration_kept(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """At a start it ends with 78 and touches nothing, at a reload it goes on as it was."""
    garbage(tmp_path, 2, figure)


def test_a_clock_that_steps_loses_no_row(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Ten years back and forth: named, loaded as before, and all rows are there."""
    clock(tmp_path, 1, figure)


def test_of_six_starts_at_once_one_is_active(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """The others end with 75; the load is there once."""
    together(tmp_path, 1, 6, figure)


@pytest.mark.long
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_fifty_faults_of_its_own_disk(
    tmp_path: Path, fault: str, figure: Callable[[str], None], trials_wanted: int | None
) -> None:
    """Fifty, half of them at the start: with none failed, at most 6 in 100 may (95 %)."""
    own_disk(tmp_path, fault, trials_wanted or 50, figure)


@pytest.mark.long
def test_fifty_times_garbage(
    tmp_path: Path, figure: Callable[[str], None], trials_wanted: int | None
) -> None:
    """Fifty of ten kinds, half of them at the start."""
    garbage(tmp_path, trials_wanted or 50, figure)


@pytest.mark.long
def test_fifty_steps_of_the_clock(
    tmp_path: Path, figure: Callable[[str], None], trials_wanted: int | None
) -> None:
    """Fifty away and fifty back."""
    clock(tmp_path, trials_wanted or 50, figure)


@pytest.mark.long
def test_fifty_times_fifty_starts_at_once(
    tmp_path: Path, figure: Callable[[str], None], trials_wanted: int | None
) -> None:
    """Each time exactly one is active."""
    together(tmp_path, trials_wanted or 50, 50, figure)
