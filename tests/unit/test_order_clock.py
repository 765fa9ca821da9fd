"""How long a pause and a release last when somebody sets the clock meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from optimizer.adapters.releases import RELEASED_NAME, release
from optimizer.adapters.switch import INHIBIT_NAME, FileSwitch, pause

NOW_S = 1_800_000_000.0
YEARS_S = 10 * 365 * 86_400.0
HOUR_S = 3600.0


class Times:
    """UTC and steady time of a host, and its switch."""

    def __init__(self, directory: Path, utc_s: float = NOW_S, boot: str | None = None) -> None:
        self.utc_s, self.steady_s = utc_s, 500.0
        self.directory, self.boot = directory, boot
        self.restart()

    def restart(self) -> None:
        """The daemon begins anew."""
        self.switch = FileSwitch(
            self.directory, steady=lambda: self.steady_s, boot=lambda: self.boot
        )

    def pass_by(self, seconds: float) -> None:
        """Time passes."""
        self.utc_s += seconds
        self.steady_s += seconds

    @property
    def paused(self) -> bool:
        """Whether a pause is in force."""
        return self.switch.inhibit(self.utc_s) is not None

    @property
    def released(self) -> bool:
        """Whether /data is released."""
        return bool(self.switch.released(self.utc_s))

    def give(self, kind: str, seconds: float) -> None:
        """The order, as the command line writes it now."""
        until, now = self.utc_s + seconds, self.utc_s
        if kind == "pause":
            pause(
                self.directory,
                until_utc_s=until,
                reason="",
                by="",
                now_utc_s=now,
                steady=lambda: self.steady_s,
                boot=lambda: self.boot,
            )
        else:
            self.release("/data", seconds)
        name = INHIBIT_NAME if kind == "pause" else RELEASED_NAME
        os.utime(self.directory / name, (now, now))

    def release(self, mount: str, seconds: float) -> None:
        """One mount point, as the command line asks for it now."""
        release(
            self.directory,
            [mount],
            until_utc_s=self.utc_s + seconds,
            now_utc_s=self.utc_s,
            steady=lambda: self.steady_s,
            boot=lambda: self.boot,
        )

    def holds(self, kind: str) -> bool:
        """Whether that order is in force."""
        return self.paused if kind == "pause" else self.released


KINDS = pytest.mark.parametrize("kind", ["pause", "release"])


@KINDS
@pytest.mark.parametrize("seconds", [YEARS_S, -YEARS_S, HOUR_S, -HOUR_S])
def test_an_order_lasts_as_long_as_it_was_given_for(
    tmp_path: Path, kind: str, seconds: float
) -> None:
    """Two hours are two hours, whatever the clock is set to meanwhile, once or to and fro."""
    times = Times(tmp_path)
    times.give(kind, 2 * HOUR_S)
    assert times.holds(kind)
    times.pass_by(600)
    for step in (seconds, -seconds, seconds):
        times.utc_s += step
        assert times.holds(kind)
        times.pass_by(60)
    times.pass_by(2 * HOUR_S - 600 - 180 - 2)
    assert times.holds(kind)
    times.pass_by(4)
    assert not times.holds(kind)


@KINDS
@pytest.mark.parametrize("seconds", [YEARS_S, -YEARS_S, HOUR_S / 2, -HOUR_S / 2])
@pytest.mark.parametrize("given_first", [True, False])
def test_an_order_of_the_moment_of_a_step_is_as_long(
    tmp_path: Path, kind: str, seconds: float, *, given_first: bool
) -> None:
    """Written between two looks, just before the clock is set or just after: it is an hour."""
    times = Times(tmp_path)
    assert not times.holds(kind)
    if given_first:
        times.give(kind, HOUR_S)
        times.utc_s += seconds
    else:
        times.utc_s += seconds
        times.give(kind, HOUR_S)
    assert times.holds(kind)
    times.pass_by(HOUR_S - 2)
    assert times.holds(kind)
    times.pass_by(4)
    assert not times.holds(kind)


@KINDS
def test_a_clock_that_was_behind_at_boot_does_not_prolong(tmp_path: Path, kind: str) -> None:
    """The host begins in 1970 and is set right a minute later: two hours from then at most."""
    Times(tmp_path).give(kind, 2 * HOUR_S)
    times = Times(tmp_path, utc_s=60.0)
    assert times.holds(kind)
    times.pass_by(60)
    times.utc_s = NOW_S + 1.5 * HOUR_S
    assert times.holds(kind)
    times.pass_by(2 * HOUR_S)
    assert not times.holds(kind)


@KINDS
def test_an_order_of_after_the_step_counts_by_the_new_clock(tmp_path: Path, kind: str) -> None:
    """Given again after the clock was set, it lasts as long as it says."""
    times = Times(tmp_path)
    times.give(kind, HOUR_S)
    assert times.holds(kind)
    times.utc_s += YEARS_S
    times.give(kind, 2 * HOUR_S)
    assert times.holds(kind)
    times.pass_by(2 * HOUR_S - 2)
    assert times.holds(kind)
    times.pass_by(4)
    assert not times.holds(kind)


@pytest.mark.parametrize("seconds", [YEARS_S, -YEARS_S])
def test_the_end_is_shown_by_the_present_clock(tmp_path: Path, seconds: float) -> None:
    """Half an hour is left, so the end is half an hour from now; untouched while nothing steps."""
    times = Times(tmp_path)
    times.give("pause", HOUR_S)
    order = times.switch.inhibit(times.utc_s)
    assert order is not None
    times.pass_by(HOUR_S / 2)
    assert times.switch.inhibit(times.utc_s + 0.3) == order
    times.utc_s += seconds
    order = times.switch.inhibit(times.utc_s)
    assert order is not None
    assert order.until_utc_s == pytest.approx(times.utc_s + HOUR_S / 2)


def test_an_order_that_has_ended_stays_ended(tmp_path: Path) -> None:
    """A clock that is set back later does not bring an old pause back to this daemon."""
    times = Times(tmp_path)
    times.give("pause", HOUR_S)
    assert times.paused
    times.pass_by(HOUR_S + 1)
    assert not times.paused
    times.utc_s -= 10 * HOUR_S
    assert not times.paused


@KINDS
def test_an_order_counts_once_a_clock_that_was_ahead_is_set_right(
    tmp_path: Path, kind: str
) -> None:
    """The daemon starts while the clock is years ahead: then the order seems to have ended."""
    Times(tmp_path).give(kind, 2 * HOUR_S)
    times = Times(tmp_path, utc_s=NOW_S + YEARS_S)
    assert not times.holds(kind)
    times.utc_s = NOW_S + HOUR_S
    assert times.holds(kind)
    times.pass_by(HOUR_S + 2)
    assert not times.holds(kind)


def test_a_pause_by_hand_without_a_beginning_began_when_it_was_written(tmp_path: Path) -> None:
    """Its file's time stands for it."""
    path = tmp_path / INHIBIT_NAME
    path.write_text(f'{{"until_utc_s": {NOW_S + HOUR_S}}}')
    os.utime(path, (NOW_S, NOW_S))
    times = Times(tmp_path, utc_s=60.0)
    assert times.paused
    times.pass_by(HOUR_S + 1)
    assert not times.paused
