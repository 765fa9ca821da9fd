"""Sleep of the host and steps of the UTC clock, told from the passing of time."""

from __future__ import annotations

import pytest

from optimizer.control.passage import Clocks, Passage, passed

START = Clocks(monotonic_s=1000.0, utc_s=1.7e9, slept_s=50.0)
YEARS_S = 10 * 365 * 86_400.0


def later(span_s: float, *, set_by_s: float = 0.0, slept_s: float = 0.0) -> Clocks:
    """The clocks after some time awake, a sleep, and a step of UTC."""
    return Clocks(
        START.monotonic_s + span_s,
        START.utc_s + span_s + slept_s + set_by_s,
        START.slept_s + slept_s,
    )


@pytest.mark.parametrize("seconds", [1.0, -1.0, 3600.0, -3600.0, YEARS_S, -YEARS_S])
@pytest.mark.parametrize("span_s", [0.1, 0.9, 86_400.0])
def test_a_step_is_told_with_its_size(seconds: float, span_s: float) -> None:
    """In either direction; over a day as well if it is more than the clocks may differ."""
    found = passed(START, later(span_s, set_by_s=seconds))
    if span_s > 3600 and abs(seconds) < 86.4 + 0.5:
        assert found == Passage()
    else:
        assert found.stepped_s == pytest.approx(seconds, abs=1e-3)
        assert found.slept_s == 0.0
        assert found.moved


@pytest.mark.parametrize("rate", [0.0005, -0.0005, 0.08, -0.08])
def test_slewing_is_no_step(rate: float) -> None:
    """Half a second a quarter of an hour, or chrony's hurry: nothing, however often."""
    clocks = START
    for step in range(1, 1000):
        span_s = step * 0.9
        now = later(span_s, set_by_s=rate * span_s)
        assert passed(clocks, now) == Passage()
        clocks = now


def test_a_sleep_is_no_step() -> None:
    """Eight hours suspended: UTC and the time slept agree."""
    found = passed(START, later(0.5, slept_s=8 * 3600.0))
    assert found == Passage(slept_s=8 * 3600.0)
    assert found.moved


def test_a_sleep_during_which_the_clock_was_set_is_both() -> None:
    """Eight hours suspended, and an hour back: each with its own size."""
    found = passed(START, later(0.5, slept_s=8 * 3600.0, set_by_s=-3600.0))
    assert (found.slept_s, found.stepped_s) == (8 * 3600.0, pytest.approx(-3600.0))


def test_the_first_reading_and_a_late_one_are_no_step() -> None:
    """A controller that was stopped for ten minutes finds the clocks in agreement."""
    assert passed(None, START) == Passage()
    assert passed(START, later(600.0)) == Passage()
