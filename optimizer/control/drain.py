"""How fast others take what is left of memory or disk space, and so what is left in a moment.

A look each 0.8 s is too late for a writer that fills the rest in half of that.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from optimizer.model import Utilisation

BURST_BYTES_PER_S = 8e9
"""The fastest that others take memory or write files; huge pages were measured at 7.4 GB/s.

What went faster came in one piece, and does not go on like that.
"""
_HALF_S = 0.5
"""A pace that has slackened counts half after so long: bursts come in pieces."""
_GAP_S = 5.0


class Drain(NamedTuple):
    """When was last looked (monotonic), what was left to others and us, and how fast it shrinks.

    `left_ratio` is the room together with what we hold, so that our own growth
    does not count; `per_s` is never negative. Both are shares of the capacity.
    """

    at_s: float = -math.inf
    left_ratio: float = 0.0
    per_s: float = 0.0


def watch(before: Drain, usage: Utilisation | None, now_s: float) -> Drain:
    """What is to be said after a reading: a faster pace counts at once."""
    if usage is None:
        return before
    left_ratio = usage.room_ratio + usage.own_ratio
    span_s = now_s - before.at_s
    if not 0 < span_s <= _GAP_S:
        return Drain(now_s, left_ratio)
    pace = min((before.left_ratio - left_ratio) / span_s, BURST_BYTES_PER_S / usage.capacity)
    return Drain(now_s, left_ratio, max(0.0, pace, before.per_s * 0.5 ** (span_s / _HALF_S)))


def ahead(drain: Drain, usage: Utilisation, in_s: float) -> Utilisation:
    """The same utilisation with the room that will be left in so many seconds at this pace."""
    return replace(usage, room_ratio=usage.room_ratio - drain.per_s * in_s)
