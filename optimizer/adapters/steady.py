"""Three clocks at one instant: monotonic time, UTC, and how long the host has slept."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

_LOOKS = 3
_NEAR_S = 0.002
"""Clocks that were read within this count as read at once; else it was interrupted: again."""


class Instant(NamedTuple):
    """One instant on the three clocks, in seconds.

    `slept_s` is the time since boot in which the host was suspended: on Linux
    CLOCK_BOOTTIME less CLOCK_MONOTONIC, elsewhere 0, for either monotonic time
    goes on meanwhile or no clock tells.

    Source: clock_gettime(2).
    """

    monotonic_s: float
    utc_s: float
    slept_s: float

    def at(self, monotonic_s: float) -> Instant:
        """The same clocks at another time nearby."""
        return Instant(monotonic_s, self.utc_s + monotonic_s - self.monotonic_s, self.slept_s)


def _boot_s() -> float | None:
    if sys.platform != "linux":
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def instant(
    monotonic: Callable[[], float] = time.monotonic,
    utc: Callable[[], float] = time.time,
    boot: Callable[[], float | None] = _boot_s,
) -> Instant:
    """Now; the clocks are read so close together that a step of one is told from a pause of us."""
    best, found = float("inf"), Instant(0.0, 0.0, 0.0)
    for _ in range(_LOOKS):
        before_s = monotonic()
        utc_s, boot_s = utc(), boot()
        after_s = monotonic()
        if after_s - before_s < best:
            best, middle_s = after_s - before_s, (before_s + after_s) / 2
            slept_s = 0.0 if boot_s is None else max(0.0, boot_s - middle_s)
            found = Instant(middle_s, utc_s, slept_s)
        if best < _NEAR_S:
            break
    return found


def steady_s() -> float:
    """Seconds that never go back, that no step of a clock moves, and that go on in suspend."""
    now = instant()
    return now.monotonic_s + now.slept_s
