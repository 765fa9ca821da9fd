"""How long a pause and a release last when the clock is set and the daemon begins anew."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from optimizer.adapters.releases import RELEASED_NAME, parse
from optimizer.adapters.switch import INHIBIT_NAME
from tests.unit.test_order_clock import HOUR_S, KINDS, NOW_S, YEARS_S, Times

BOOT = "0f6cf5a1-8a7e-4a55-9a7b-1d1f7b8f3c21"
NEXT_BOOT = "9d0a3e58-6a2c-4bb0-8b3f-55b1b8f0a7c4"


def given(directory: Path, kind: str, seconds: float = 2 * HOUR_S) -> Times:
    """An order of two hours, on a host that knows its boot."""
    times = Times(directory, boot=BOOT)
    times.give(kind, seconds)
    return times


def change(directory: Path, kind: str, **new: object) -> None:
    """Another steady time, or other times of the order, in the file."""
    path = directory / (INHIBIT_NAME if kind == "pause" else RELEASED_NAME)
    order = json.loads(path.read_text())
    if kind == "pause":
        if "steady_s" in new:
            order["given"]["steady_s"] = new.pop("steady_s")
        order |= new
    else:
        order = {
            mount: one | {"given_steady_s": new.get("steady_s", one["given_steady_s"])}
            for mount, one in order.items()
        }
    path.write_text(json.dumps(order))


@KINDS
@pytest.mark.parametrize("seconds", [86_400.0, YEARS_S, -YEARS_S, HOUR_S, -HOUR_S])
def test_an_order_lasts_as_long_for_a_new_daemon(tmp_path: Path, kind: str, seconds: float) -> None:
    """The clock is set, and the daemon begins anew: two hours are two hours."""
    times = given(tmp_path, kind)
    times.pass_by(600)
    times.utc_s += seconds
    times.restart()
    assert times.holds(kind)
    times.pass_by(2 * HOUR_S - 602)
    times.restart()
    assert times.holds(kind)
    times.pass_by(4)
    assert not times.holds(kind)
    times.restart()
    assert not times.holds(kind)


@KINDS
@pytest.mark.parametrize("boot", [NEXT_BOOT, None])
def test_after_a_reboot_the_clock_counts(tmp_path: Path, kind: str, boot: str | None) -> None:
    """The steady time of another boot is never believed, nor without knowing the boot."""
    given(tmp_path, kind)
    times = Times(tmp_path, utc_s=NOW_S + HOUR_S, boot=boot)
    times.steady_s = 1e7  # by this, it would have ended
    assert times.holds(kind)
    times.pass_by(HOUR_S + 2)
    assert not times.holds(kind)
    times = Times(tmp_path, utc_s=NOW_S + 3 * HOUR_S, boot=boot)
    assert not times.holds(kind)  # by the steady time, it would hold


@KINDS
@pytest.mark.parametrize(
    "value", [-1.0, 1e9, 1e308, 10**400, math.inf, -math.inf, math.nan, None, "x", [], True]
)
def test_a_steady_time_that_cannot_be_is_not_believed(
    tmp_path: Path, kind: str, value: object
) -> None:
    """No error, and neither longer nor shorter than the clock says."""
    times = given(tmp_path, kind)
    change(tmp_path, kind, steady_s=value)
    times.restart()
    times.pass_by(HOUR_S)
    assert times.holds(kind)
    times.pass_by(HOUR_S + 2)
    times.restart()
    assert not times.holds(kind)


@pytest.mark.parametrize("value", [0, -1.0, 1e9, math.nan, 10**400])
def test_an_order_without_an_end_has_none(tmp_path: Path, value: object) -> None:
    """Whatever the steady time says; nor has a file that is no proper order."""
    times = given(tmp_path, "pause")
    change(tmp_path, "pause", until_utc_s=None, steady_s=value)
    times.pass_by(YEARS_S)
    times.restart()
    assert times.paused
    change(tmp_path, "pause", until_utc_s="soon")
    times.restart()
    assert times.paused


def test_times_that_were_changed_by_hand_count(tmp_path: Path) -> None:
    """Somebody prolongs a pause in the file: then the clock counts as for any order by hand."""
    times = given(tmp_path, "pause")
    times.pass_by(5 * HOUR_S)
    change(tmp_path, "pause", since_utc_s=times.utc_s, until_utc_s=times.utc_s + 2 * HOUR_S)
    times.restart()
    assert times.paused
    times.pass_by(2 * HOUR_S + 1)
    assert not times.paused


def test_another_release_keeps_one_that_still_holds(tmp_path: Path) -> None:
    """Asked for while the clock is ahead, by which the first one would have ended."""
    times = given(tmp_path, "release")
    times.utc_s += 86_400
    times.release("/other", HOUR_S)
    times.restart()
    assert times.switch.released(times.utc_s) == {"/data", "/other"}
    times.pass_by(HOUR_S + 2)
    assert times.switch.released(times.utc_s) == {"/data"}
    times.pass_by(HOUR_S)
    times.release("/other", HOUR_S)
    assert parse((tmp_path / RELEASED_NAME).read_bytes()).keys() == {"/other"}


def test_a_release_written_by_hand_counts_by_the_clock(tmp_path: Path) -> None:
    """An end alone is enough, in seconds of UTC."""
    (tmp_path / RELEASED_NAME).write_text(json.dumps({"/data": NOW_S + HOUR_S}))
    times = Times(tmp_path, boot=BOOT)
    assert times.switch.released(times.utc_s) == {"/data"}
    times.pass_by(HOUR_S + 1)
    assert times.switch.released(times.utc_s) == frozenset()


def test_many_releases_stay_readable(tmp_path: Path) -> None:
    """Where the steady times do not fit in the file's limit, the releases alone are written."""
    times = Times(tmp_path, boot=BOOT)
    for number in range(3):
        times.release(f"/{number}/{'x' * 15_000}", HOUR_S)
    times.restart()
    assert len(times.switch.released(times.utc_s)) == 3
