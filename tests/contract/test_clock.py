"""The clock, fake and real: it waits until its time, and a signal ends a wait."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from optimizer.adapters.clock import WakeableClock
from optimizer.ports import Clock
from tests.fakes import FakeHost


@pytest.fixture(params=["fake", "real"])
def clock(request: pytest.FixtureRequest) -> Iterator[Clock]:
    """Both clocks."""
    if request.param == "fake":
        yield FakeHost()
        return
    with WakeableClock() as real:
        yield real


def test_it_waits_until_its_time(clock: Clock) -> None:
    """Never returns early without a signal."""
    until_s = clock.monotonic() + 0.03
    clock.wait_until(until_s)
    assert clock.monotonic() >= until_s - 1e-9


def test_a_time_that_has_passed_is_no_wait(clock: Clock) -> None:
    """The past ends at once and time does not run back."""
    before_s = clock.monotonic()
    clock.wait_until(before_s - 100.0)
    assert before_s <= clock.monotonic() < before_s + 5.0


@pytest.mark.parametrize("period_s", [0.1, 0.5])
def test_a_beat_is_the_next_of_a_fixed_rhythm(clock: Clock, period_s: float) -> None:
    """It lies ahead by a period at most, and two beats are whole periods apart.

    The real one begins just after a tick, whose place is seen anew each time:
    so to a tenth of the period, where a tick is 10 ms at most.
    """
    before_s = clock.monotonic()
    first_s = clock.beat(period_s)
    assert before_s < first_s
    assert first_s <= clock.monotonic() + period_s
    clock.wait_until(first_s + period_s / 4)
    periods = (clock.beat(period_s) - first_s) / period_s
    assert periods == pytest.approx(round(periods), abs=0.1)
    assert periods > 0.5


def test_utc_is_seconds_since_the_epoch(clock: Clock) -> None:
    """After 2023 began, as any clock that runs this."""
    assert clock.utc() > 1_672_531_200


@pytest.mark.skipif(sys.platform == "win32", reason="uses SIGUSR1")
def test_a_signal_ends_the_wait() -> None:
    """A wait of an hour ends when a signal with a handler comes in."""
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    try:
        with WakeableClock() as clock:
            start_s = clock.monotonic()
            timer.start()
            clock.wait_until(start_s + 3600.0)
            assert clock.monotonic() - start_s < 60.0
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
