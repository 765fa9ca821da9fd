"""How fast others take what is left of memory or disk space, and so what is left in a moment.

A look each 0.8 s is too late for a writer that fills the rest in half of that.
"""

from __future__ import annotations

import math
from typing import NamedTuple

BURST_BYTES_PER_S = 8e9
"""The fastest that others take memory or write files; huge pages were measured at 7.4 GB/s.

What went faster came in one piece, and does not go on like that.
"""
TIGHT_RATIO = 0.10
"""With less room than this above the floor, memory and disk are looked at in every cycle.

A tenant that takes memory at 5 GB/s gets through a tenth of 16 GB in 0.3 s.
"""
TIGHT_AHEAD_S = 2.0
"""The same when it would come to that so soon at the pace of the last looks."""
GIVE_AHEAD_S = 0.5
"""What would be lacking so soon is given back now."""
_HALF_S = 0.5
"""A pace that has slackened counts half after so long: bursts come in pieces."""
_GAP_S = 5.0


class Drain(NamedTuple):
    """When was last looked (monotonic), what was left to others and us, and how fast it shrinks.

    `left_bytes` is the room together with what we hold, so that our own growth
    does not count; `per_s` (bytes) is never negative.
    """

    at_s: float = -math.inf
    left_bytes: float = 0.0
    per_s: float = 0.0

    def lost_bytes(self, in_s: float) -> float:
        """What will be taken in so many seconds at this pace."""
        return self.per_s * in_s

    def is_tight(self, room_bytes: float, size_bytes: float) -> bool:
        """Whether little room is left of so much, or will be soon at this pace."""
        return room_bytes - self.lost_bytes(TIGHT_AHEAD_S) < TIGHT_RATIO * size_bytes


def watch(before: Drain, left_bytes: float, now_s: float) -> Drain:
    """What is to be said after a reading: a faster pace counts at once."""
    span_s = now_s - before.at_s
    if not 0 < span_s <= _GAP_S:
        return Drain(now_s, left_bytes)
    pace = min((before.left_bytes - left_bytes) / span_s, BURST_BYTES_PER_S)
    return Drain(now_s, left_bytes, max(0.0, pace, before.per_s * 0.5 ** (span_s / _HALF_S)))
