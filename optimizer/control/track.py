"""The CPU counters of the last moments: what the tenant uses now, and whether that has changed.

A long window tells the tenant's share exactly, a short one soon. So the window
is long while nothing moves, and is cut to the newest readings when they say
something else than the whole.
"""

from __future__ import annotations

from typing import NamedTuple

from optimizer.counters import CpuCounters
from optimizer.model import Utilisation

GAP_S = 2.0
"""A pause between readings beyond this is a gap (suspend, stop): measure anew."""
LONGEST_S = 20.0
"""Over how long the tenant's share is averaged while nothing moves."""
_LAGS = (1, 2, 3, 5, 10)
"""Readings back at which a change is looked for: a large one shows in the first, a small later."""
_FULLY = 12
"""So many of the newest points are kept: one more than the longest look back, and its end."""
_APART_S = 1.05
"""Of the older ones so many seconds' worth are one."""
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


class Track(NamedTuple):
    """Points of one number of CPUs, oldest first: all of the last ones, before them one a second.

    `reach_ratio` and `throttled` are those of the newest counters. What follows
    is known only with at least two points: the tenant's share over the window
    (0 to 1), the seconds since the reading before, and the busy share (0 to 1)
    in them. `changed` tells that the tenant's share has just moved;
    `whole_ratio` is then its share over the `whole_s` seconds of the window
    before that was cut.
    """

    points: tuple[Point, ...] = ()
    cpus: float = 0.0
    reach_ratio: float = 1.0
    throttled: int = 0
    organic_ratio: float = 0.0
    step_s: float = 0.0
    step_ratio: float = 0.0
    changed: bool = False
    whole_ratio: float = 0.0
    whole_s: float = 0.0

    @property
    def known(self) -> bool:
        """Whether there is a span to speak of."""
        return len(self.points) > 1

    @property
    def span_s(self) -> float:
        """How long the tenant's share has been what it is, as far as is known; 0 if nothing is."""
        return self.points[-1].at_s - self.points[0].at_s if self.points else 0.0

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


def advance(
    track: Track,
    at_s: float,
    cpu: CpuCounters | None,
    own_s: float,
    *,
    count_steal: bool,
    stirred: bool = False,
) -> Track:
    """The track with the counters of `at_s`, at which we had used `own_s`.

    Begun anew where the old one does not lead there: after a gap in time, when
    CPUs came or went, when a counter ran backwards or faster than time, and
    when the host is known to have `stirred` since the reading before. Empty
    without counters.

    Runs ten times a second in cold caches: few calls, and nothing worked out twice.
    """
    if cpu is None:
        return Track()
    total_s, idle_s, steal_s, cpus, reach_ratio, throttled, _ = cpu
    point = Point(at_s, idle_s if count_steal else idle_s + steal_s, total_s, own_s)
    points = track.points
    if stirred or not points or track.cpus != cpus:
        return Track((point,), cpus, reach_ratio, throttled)
    before, back_s = points[-1], -_BACKWARD_S * cpus
    step_s, away_s, counted_s = (
        at_s - before.at_s,
        point.away_s - before.away_s,
        total_s - before.total_s,
    )
    backwards = away_s < back_s or counted_s < back_s or own_s < before.own_s
    # More idle time than there was time: it is counted in another way from now on.
    odd = backwards or away_s > step_s * cpus - back_s
    if odd or not 0 < step_s <= GAP_S:
        return Track((point,), cpus, reach_ratio, throttled)
    step = _step_ratio(away_s, counted_s, step_s * cpus)
    points = _kept((*points, point))
    lag, organic = _cut(points, cpus)
    if lag is None:
        return Track(points, cpus, reach_ratio, throttled, _clamp(organic), step_s, step)
    newest = points[-1 - lag :]
    return Track(
        newest,
        cpus,
        reach_ratio,
        throttled,
        _clamp(_busy_by_others(newest[0], point, cpus)),
        step_s,
        step,
        changed=True,
        whole_ratio=_clamp(organic),
        whole_s=at_s - points[0].at_s,
    )


def glance(track: Track, at_s: float, cpu: CpuCounters, *, count_steal: bool) -> Point:
    """A point of these counters; our use is as it was, until settle() knows better."""
    away_s = cpu.idle_s if count_steal else cpu.idle_s + cpu.steal_s
    return Point(at_s, away_s, cpu.total_s, track.points[-1].own_s)


def settle(track: Track, glanced: Point | None, at_s: float, own_s: float) -> Track:
    """The track with what was only glanced at, as if we had used our CPU time evenly since.

    `own_s` is what we had used at `at_s`.
    """
    last = track.points[-1] if track.points else None
    if glanced is None or last is None or not last.at_s < glanced.at_s < at_s:
        return track
    share = (glanced.at_s - last.at_s) / (at_s - last.at_s)
    point = glanced._replace(own_s=last.own_s + share * (own_s - last.own_s))
    return track._replace(points=(*track.points, point))


def busy_between(before: Point, after: Point, cpus: float) -> float:
    """The busy share between two points by the wall clock; below 0 or above 1 by rounding."""
    return 1.0 - (after.away_s - before.away_s) / ((after.at_s - before.at_s) * cpus)


def _step_ratio(away_s: float, counted_s: float, wall_s: float) -> float:
    """Busy share of a step: the mean of both clocks, 0 to 1.

    Idle time against wall time is true. The share of all counted time is what
    monitoring agents compute; it counts short bursts by chance. The two differ
    by a tenth of a point or two, and half of that is the most that either is
    off when their mean is held.
    """
    wall = 1.0 - away_s / wall_s
    stat = wall if counted_s <= 0 else 1.0 - away_s / counted_s
    return (_clamp(wall) + _clamp(stat)) / 2


def shares(before: Point, after: Point, cpus: float) -> tuple[float, float]:
    """The tenant's share and ours between two points in time, 0 to 1 each."""
    wall_s = (after.at_s - before.at_s) * cpus
    own = _clamp((after.own_s - before.own_s) / wall_s)
    return _clamp(_busy_by_others(before, after, cpus)), own


def _kept(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """Those within the window, and of the old ones no more than one a second or so."""
    while len(points) > 2 and points[1].at_s <= points[-1].at_s - LONGEST_S:
        points = points[1:]
    if len(points) > _FULLY and points[-_FULLY + 1].at_s - points[-_FULLY - 1].at_s <= _APART_S:
        points = points[:-_FULLY] + points[-_FULLY + 1 :]
    return points


def _cut(points: tuple[Point, ...], cpus: float) -> tuple[int | None, float]:
    """How many readings back the newest ones begin to differ from the whole, None if nowhere.

    And the tenant's share over the whole, not cut off at 0 and 1: else a
    rounding there would look like a change.
    """
    last, count = points[-1], len(points)
    whole = _busy_by_others(points[0], last, cpus)
    at_s, away_s, _, own_s = last
    for lag in _LAGS:
        if lag >= count - 1:
            break
        then_s, then_away_s, _, then_own_s = points[-1 - lag]
        # In seconds, not in ratios: one division less.
        span_s = cpus * (at_s - then_s)
        organic_s = span_s - (away_s - then_away_s) - (own_s - then_own_s)
        if abs(organic_s - whole * span_s) > _QUANTA * _QUANTUM_S + _CHANGE_RATIO * span_s:
            return lag, whole
    return None, whole


def _busy_by_others(first: Point, last: Point, cpus: float) -> float:
    wall_s = (last.at_s - first.at_s) * cpus
    return 1.0 - (last.away_s - first.away_s + last.own_s - first.own_s) / wall_s


def _clamp(ratio: float) -> float:
    return min(1.0, max(0.0, ratio))
