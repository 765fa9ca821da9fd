"""What is left to us of a container's CPU quota after it has run out: it may lower, never raise.

A quota is shared: when it is used up, the tenant's programs stand still until
the next period begins, however low our priority is. The kernel counts these
periods. When one was counted while both used some of the quota, most of our
part is given up; it grows again, slowly, after a time without another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from optimizer.control.track import Point, Track, shares

_LOOK_S = 0.75
"""How often the count is looked at; the tenant's bursts are shorter than that."""
_FRESH_S = 2.0
"""For so long after it was lowered the count may tell of what was before."""
_LOWER_FACTOR = 0.25
_LEAST_RATIO = 0.005
"""Less than this is not worth a worker that wakes ten times a second."""
_TENANT_RATIO = 0.01
"""A tenant that uses less does not stand still."""
_START_S = 5.0
"""For so long after our load has begun the quota may run out because stressers start."""
_GROWTH_PER_S = 0.001
"""Capacities per second: from nothing to a share of 40 % in seven minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """Most that we may demand (share of the capacity), and what that follows from.

    `counted` is the count of periods in which the quota ran out and `point`
    the counters at the last look, None before the first. `lowered_s` is when
    the most was last lowered. `loaded_s` is since when we use more than next
    to nothing, None while we do not.
    """

    most_ratio: float = 1.0
    counted: int = 0
    point: Point | None = None
    lowered_s: float = -math.inf
    loaded_s: float | None = None


def press(state: Throttle, track: Track, hold_off_s: float) -> Throttle:
    """The state with the newest counters; looks about once a second.

    Periods that ran out while we used next to nothing are the tenant's own
    doing. A count that ran back (another container) is only remembered.
    """
    last, before = track.points[-1], state.point
    if before is not None and 0 <= last.at_s - before.at_s < _LOOK_S:
        return state
    seen = replace(state, counted=track.throttled, point=last)
    if before is None or last.at_s <= before.at_s:
        return seen
    organic_ratio, own_ratio = shares(before, last, track.cpus)
    loaded_s = None
    if own_ratio >= _LEAST_RATIO:
        loaded_s = last.at_s if state.loaded_s is None else state.loaded_s
    most, lowered_s = state.most_ratio, state.lowered_s
    settled = loaded_s is not None and last.at_s - loaded_s > _START_S
    fresh = last.at_s - lowered_s > _FRESH_S
    ran_out = track.throttled > state.counted and organic_ratio >= _TENANT_RATIO
    if settled and fresh and ran_out:
        most, lowered_s = min(most, own_ratio) * _LOWER_FACTOR, last.at_s
        most = most if most >= _LEAST_RATIO else 0.0
    elif last.at_s > lowered_s + hold_off_s:
        grown_s = last.at_s - max(before.at_s, lowered_s + hold_off_s)
        most = min(1.0, most + grown_s * _GROWTH_PER_S)
    return replace(seen, most_ratio=most, lowered_s=lowered_s, loaded_s=loaded_s)
