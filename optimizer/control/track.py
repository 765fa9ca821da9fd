"""The CPU counters of the last moments: what the tenant uses now, and whether that has changed.

A long window tells the tenant's share exactly, a short one soon. So the window
is long while nothing moves, and is cut to the newest readings when they say
something else than the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from optimizer.model import CpuCounters, Reading, Utilisation

GAP_S = 2.0
"""A pause between readings beyond this is a gap (suspend, stop): measure anew."""
LONGEST_S = 20.0
"""Over how long the tenant's share is averaged while nothing moves."""
_LAGS = (1, 2, 3, 5, 10)
"""Readings back at which a change is looked for: a large one shows in the first, a small later."""
_QUANTUM_S = 0.01
"""Counters are shown in hundredths of a second. Source: proc(5), USER_HZ."""
_QUANTA = 1.5
"""A difference of so many quanta is still rounding."""
_CHANGE_RATIO = 0.0075
"""A change of the tenant's share beyond rounding and this cuts the window."""
_BACKWARD_S = 0.02
"""How far idle time may run back, per CPU, before all is measured anew.

iowait is documented to decrease now and then; two hundredths cover it.

Source: proc(5), /proc/stat, field iowait.
"""


class Point(NamedTuple):
    """Cumulative seconds of all CPUs at one instant; `away_s` is what counts as not busy."""

    at_s: float
    away_s: float
    total_s: float
    own_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """Points of one number of CPUs, oldest first.

    `changed` tells that the tenant's share has just moved; `whole_ratio` is then
    its share over the window of `whole_s` seconds before that was cut.
    `reach_ratio` and `throttled` are those of the newest counters. Without at
    least two points nothing is known yet.
    """

    points: tuple[Point, ...] = ()
    cpus: float = 0.0
    changed: bool = False
    whole_ratio: float = 0.0
    whole_s: float = 0.0
    reach_ratio: float = 1.0
    throttled: int = 0

    @property
    def known(self) -> bool:
        """Whether there is a span to speak of."""
        return len(self.points) > 1

    @property
    def span_s(self) -> float:
        """How long the tenant's share has been what it is, as far as is known; 0 if nothing is."""
        return self.points[-1].at_s - self.points[0].at_s if self.points else 0.0

    @property
    def organic_ratio(self) -> float:
        """The tenant's share over the window, 0 to 1; only when known."""
        return _organic(self.points[0], self.points[-1], self.cpus)

    @property
    def step_s(self) -> float:
        """Seconds since the reading before; only when known."""
        return self.points[-1].at_s - self.points[-2].at_s

    @property
    def step_ratio(self) -> float:
        """Busy share since the reading before: the mean of both clocks, 0 to 1; only when known.

        Idle time against wall time is true. The share of all counted time is
        what monitoring agents compute; it counts short bursts by chance. The
        two differ by a tenth of a point or two, and half of that is the most
        that either is off when their mean is held.
        """
        before, after = self.points[-2], self.points[-1]
        away_s = after.away_s - before.away_s
        wall_s = (after.at_s - before.at_s) * self.cpus
        counted_s = after.total_s - before.total_s
        wall = 1.0 - away_s / wall_s
        stat = wall if counted_s <= 0 else 1.0 - away_s / counted_s
        return (_clamp(wall) + _clamp(stat)) / 2

    @property
    def total_ratio(self) -> float:
        """The busy share over the window by the wall clock, 0 to 1; only when known."""
        first, last = self.points[0], self.points[-1]
        return _clamp(1.0 - (last.away_s - first.away_s) / ((last.at_s - first.at_s) * self.cpus))

    def utilisation(self) -> Utilisation | None:
        """The shares over the window by the wall clock; None when not known."""
        if not self.known:
            return None
        first, last = self.points[0], self.points[-1]
        wall_s = (last.at_s - first.at_s) * self.cpus
        total = self.total_ratio
        return Utilisation(
            total_ratio=total,
            own_ratio=_clamp((last.own_s - first.own_s) / wall_s),
            capacity=float(self.cpus),
            room_ratio=1.0 - total,
        )


def advance(track: Track, reading: Reading, *, count_steal: bool, stirred: bool = False) -> Track:
    """The track with a new reading; begun anew where the old one does not lead to it.

    That is after a gap in time, when CPUs came or went, when a counter ran
    backwards, and when the host is known to have `stirred` since the reading
    before. Empty when the reading has no CPU counters.
    """
    cpu = reading.host.cpu
    if cpu is None:
        return Track()
    point = _point(cpu, reading, count_steal=count_steal)
    points, cpus = track.points, cpu.online_cpus
    reach, throttled = cpu.reach_ratio, cpu.throttled
    if stirred or not points or track.cpus != cpus or not _follows(points[-1], point, cpus):
        return Track(points=(point,), cpus=cpus, reach_ratio=reach, throttled=throttled)
    points = (*points, point)
    start, since_s = 0, point.at_s - LONGEST_S
    while start + 2 < len(points) and points[start + 1].at_s <= since_s:
        start += 1
    points = points[start:]
    cut = _cut(points, cpus)
    if cut is None:
        return Track(points=points, cpus=cpus, reach_ratio=reach, throttled=throttled)
    return Track(
        points=points[-1 - cut :],
        cpus=cpus,
        changed=True,
        whole_ratio=_organic(points[0], point, cpus),
        whole_s=point.at_s - points[0].at_s,
        reach_ratio=reach,
        throttled=throttled,
    )


def shares(before: Point, after: Point, cpus: float) -> tuple[float, float]:
    """The tenant's share and ours between two points in time, 0 to 1 each."""
    wall_s = (after.at_s - before.at_s) * cpus
    return _organic(before, after, cpus), _clamp((after.own_s - before.own_s) / wall_s)


def _point(cpu: CpuCounters, reading: Reading, *, count_steal: bool) -> Point:
    return Point(
        reading.host.monotonic_s,
        cpu.idle_s if count_steal else cpu.idle_s + cpu.steal_s,
        cpu.total_s,
        reading.own.cpu_s,
    )


def _follows(before: Point, after: Point, cpus: float) -> bool:
    return (
        0 < after.at_s - before.at_s <= GAP_S
        and after.away_s - before.away_s >= -_BACKWARD_S * cpus
        and after.total_s >= before.total_s - _BACKWARD_S * cpus
        and after.own_s >= before.own_s
    )


def _cut(points: tuple[Point, ...], cpus: float) -> int | None:
    """How many readings back the newest ones begin to differ from the whole; None if nowhere."""
    count = len(points)
    if count <= 2:
        return None
    last = points[-1]
    # Not cut off at 0 and 1: else a rounding there would look like a change.
    whole = _busy_by_others(points[0], last, cpus)
    # Ten times a second and in cold caches: in seconds and in one place, not in ratios by calls.
    for lag in _LAGS:
        if lag >= count - 1:
            return None
        first = points[-1 - lag]
        span_s = cpus * (last.at_s - first.at_s)
        organic_s = span_s - (last.away_s - first.away_s) - (last.own_s - first.own_s)
        allowed_s = _QUANTA * _QUANTUM_S + _CHANGE_RATIO * span_s
        if abs(organic_s - whole * span_s) > allowed_s:
            return lag
    return None


def _organic(first: Point, last: Point, cpus: float) -> float:
    return _clamp(_busy_by_others(first, last, cpus))


def _busy_by_others(first: Point, last: Point, cpus: float) -> float:
    wall_s = (last.at_s - first.at_s) * cpus
    return 1.0 - (last.away_s - first.away_s + last.own_s - first.own_s) / wall_s


def _clamp(ratio: float) -> float:
    return min(1.0, max(0.0, ratio))
