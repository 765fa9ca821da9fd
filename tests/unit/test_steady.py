"""Monotonic time, UTC and the time slept, read at one instant."""

from __future__ import annotations

import sys
import time

import pytest

from optimizer.adapters.steady import Instant, instant, steady_s


def test_the_clocks_belong_together() -> None:
    """UTC less monotonic time is the same from one look to the next: nobody sets the clock here."""
    first, second = instant(), instant()
    assert second.monotonic_s >= first.monotonic_s
    ahead = [one.utc_s - one.monotonic_s for one in (first, second)]
    assert ahead[0] == pytest.approx(ahead[1], abs=0.1)
    assert first.slept_s == pytest.approx(second.slept_s, abs=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="CLOCK_BOOTTIME is Linux's")
def test_steady_time_is_that_since_boot() -> None:
    """Sleep included: /proc/uptime counts the same."""
    with open("/proc/uptime") as file:
        uptime_s = float(file.read().split()[0])
    assert steady_s() == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=1.0)
    # In a time namespace only the first of the two is shifted in every kernel.
    assert steady_s() == pytest.approx(uptime_s, abs=5.0)


def test_an_instant_can_be_moved() -> None:
    """The counters were read a moment before: UTC then is as much less."""
    assert Instant(10.0, 1000.0, 3.0).at(9.5) == Instant(9.5, 999.5, 3.0)


def test_an_interrupted_look_is_taken_again() -> None:
    """Stopped for a minute between two clocks: that look is not the one that counts."""
    monotonic, utc = iter([100.0, 160.0, 160.1, 160.1]), iter([1000.0, 1060.1])
    found = instant(lambda: next(monotonic), lambda: next(utc), lambda: None)
    assert found == Instant(160.1, 1060.1, 0.0)
