"""How time has passed from one reading to the next: sleep of the host, steps of the UTC clock."""

from __future__ import annotations

from typing import NamedTuple

from optimizer.counters import HostReading

STEP_S = 0.5
"""A clock that is off by more than this from one reading to the next was set, not slewed.

Slewing moves it by 0.05 % (adjtime) to 8 % (chrony's default for a start), and
on Linux the monotonic clock with it.

Source: adjtime(3), chrony.conf(5) maxslewrate.
"""
_DRIFT_RATIO = 0.001
"""By so much two clocks of one host may differ in rate, over a long gap."""


class Clocks(NamedTuple):
    """What the clocks said at a reading, in seconds."""

    monotonic_s: float
    utc_s: float
    slept_s: float


class Passage(NamedTuple):
    """What the monotonic time does not tell of the time between two readings.

    `slept_s` is how long the host slept meanwhile, `stepped_s` how far the UTC
    clock was set forwards (negative: back); less than STEP_S is nothing.
    """

    slept_s: float = 0.0
    stepped_s: float = 0.0

    @property
    def moved(self) -> bool:
        """Whether nothing may be concluded from the earlier reading to the later one."""
        return self.slept_s != 0 or self.stepped_s != 0


def passed(before: Clocks | None, now: Clocks) -> Passage:
    """What came between the reading before, if there was one, and this one."""
    if before is None:
        return Passage()
    span_s = now.monotonic_s - before.monotonic_s
    slept_s = now.slept_s - before.slept_s
    stepped_s = now.utc_s - before.utc_s - span_s - slept_s
    least_s = STEP_S + _DRIFT_RATIO * abs(span_s)
    return Passage(
        slept_s=slept_s if slept_s > STEP_S else 0.0,
        stepped_s=stepped_s if abs(stepped_s) > least_s else 0.0,
    )


def clocks_of(host: HostReading) -> Clocks:
    """What the clocks said at this reading."""
    return Clocks(host.monotonic_s, host.utc_s, host.slept_s)
