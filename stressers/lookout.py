"""Gives back by itself what others are about to need, sooner than a controller could say so.

A controller looks about once a second. A tenant that writes 4 GB a second gets
through 2 GiB of floor in half of that, and then sees ENOSPC while something is
held (16 of 34 trials on XFS). So who holds looks at what is free as often as the
fastest tenant makes it necessary.
"""

from __future__ import annotations

FASTEST_BYTES_PER_S = 8e9
"""The fastest that others take memory or write files; huge pages were measured at 7.4 GB/s."""
_LEAST_S, _MOST_S = 0.03, 1.0
"""Between two looks. At the fastest 240 MB are taken in the least, an eighth of a disk's floor."""
UNREADABLE_S = 1.0
"""Until the next look where what is free cannot be read."""
_CAP_S = 1.0
"""How long nothing is taken again after something was given back."""
_GAP_S = 1.5
"""Looks further apart than this tell no pace."""


class Lookout:
    """When to look next, and the most that may be held until a while after the last look.

    Times are seconds on the monotonic clock.
    """

    __slots__ = ("_at_s", "_cap", "_cap_until_s", "_left", "due_s")

    def __init__(self) -> None:
        self.due_s = float("-inf")
        self._at_s = float("-inf")
        self._left = 0
        self._cap = 0
        self._cap_until_s = float("-inf")

    def look(self, room: int, held: int, now_s: float) -> None:
        """Take in how many bytes may still be taken, and how many are held.

        What is lacking now, or will be at the next look at the pace since the
        last one, is more than may be held.
        """
        left, span_s = room + held, now_s - self._at_s
        pace = 0.0
        if 0 < span_s <= _GAP_S:
            pace = min(FASTEST_BYTES_PER_S, max(0.0, (self._left - left) / span_s))
        # Half of what the fastest would need: the next look comes before the room is gone.
        pause_s = min(_MOST_S, max(_LEAST_S, room / (2 * FASTEST_BYTES_PER_S)))
        ahead = room - int(pace * pause_s)
        if held > 0 and ahead < 0:
            self._cap, self._cap_until_s = max(0, held + ahead), now_s + _CAP_S
        self._at_s, self._left, self.due_s = now_s, left, now_s + pause_s

    def later(self, now_s: float, in_s: float = _LEAST_S) -> None:
        """What is free cannot be told now; look again then, and never at once."""
        self.due_s = now_s + in_s

    def within(self, wanted: float, now_s: float) -> float:
        """What of the wanted bytes may be held now."""
        return min(wanted, self._cap) if now_s < self._cap_until_s else wanted

    def pause_s(self, now_s: float) -> float:
        """Seconds until the next look."""
        return max(0.0, self.due_s - now_s)
