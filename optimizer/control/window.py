"""The minutes of a window, for one resource: a ring of slots of equal length, unknown ones too.

A slot is the time from `slot * slot_s` to the next, in UTC seconds; its value is
the mean over it. It is known when at least half of it is. Compact: four bytes
for a value, 43,200 slots at most, whatever the window.
"""

from __future__ import annotations

import math
from array import array

DAY_S = 86_400
BLOCK = 240
"""Slots that are summed up together; the ring is a whole number of these."""
MOST_SLOTS = 43_200
"""Thirty days of minutes; longer windows have longer slots."""
_LEAST_SLOT_S = 60
"""What monitoring services store: a value each minute."""
KNOWN_RATIO = 0.5
"""A slot of which less than this is known is unknown."""
_NAN = float("nan")


def slot_length_s(window_days: float, interval_s: float) -> int:
    """Length of a slot: a minute, or more where samples come less often or the window is long.

    A percentile of longer slots is that of their means: a tenant's peak of some
    minutes may vanish in one, or make it count whole. A year has slots of 12 minutes.
    """
    return math.ceil(max(_LEAST_SLOT_S, interval_s, window_days * DAY_S / MOST_SLOTS))


class Window:
    """The last `slots` slots up to `newest`; None in, NaN out where unknown.

    `revision` rises when slots that were there before have changed.
    """

    def __init__(self, window_days: float, slot_s: int) -> None:
        self.slot_s = slot_s
        self.slots = max(1, round(window_days * DAY_S / slot_s))
        self.size = (self.slots // BLOCK + 2) * BLOCK
        self.total = array("f", [_NAN]) * self.size
        self.organic = array("f", [_NAN]) * self.size
        self.newest: int | None = None
        self.first: int | None = None
        self.revision = 0

    @property
    def oldest(self) -> int:
        """The first slot of the window that ends with the newest one."""
        return (self.newest or 0) - self.slots + 1

    @property
    def age(self) -> int:
        """Slots since the first known one, at most the window's."""
        if self.newest is None or self.first is None:
            return 0
        return min(self.slots, self.newest - self.first + 1)

    def put(self, slot: int, total: float | None, organic: float | None) -> None:
        """Store the value of a slot; those between it and the newest before become unknown.

        A slot before the newest means that the clock was set back: what lies
        after it was never true, and is forgotten.
        """
        newest = self.newest
        if newest is None or slot - newest >= self.size or newest - slot >= self.size:
            self._forget(slot)
        elif slot <= newest:
            for later in range(slot, newest + 1):
                self._set(later, _NAN, _NAN)
            self.revision += 1
        else:
            for between in range(newest + 1, slot):
                self._set(between, _NAN, _NAN)
        self.newest = slot
        self._set(slot, _NAN if total is None else total, _NAN if organic is None else organic)
        if total is not None and (self.first is None or self.first > slot):
            self.first = slot

    def forward(self, slot: int) -> None:
        """Time has come to that slot and nothing is known of those before it."""
        if self.newest is not None and slot > self.newest:
            self.put(slot, None, None)

    def block(self, block: int) -> array[float]:
        """The totals of one block, oldest first."""
        at = block * BLOCK % self.size
        return self.total[at : at + BLOCK]

    def totals(self, start: int, count: int) -> array[float]:
        """`count` totals from the slot `start` on, at most the ring's size."""
        return _cut(self.total, start % self.size, count)

    def organics(self, start: int, count: int) -> array[float]:
        """The same of what others use."""
        return _cut(self.organic, start % self.size, count)

    def _set(self, slot: int, total: float, organic: float) -> None:
        at = slot % self.size
        self.total[at], self.organic[at] = total, organic

    def _forget(self, slot: int) -> None:
        if self.newest is not None:
            self.total = array("f", [_NAN]) * self.size
            self.organic = array("f", [_NAN]) * self.size
        self.revision += 1
        self.first, self.newest = None, slot


def _cut(ring: array[float], at: int, count: int) -> array[float]:
    end = at + count
    return ring[at:end] if end <= len(ring) else ring[at:] + ring[: end - len(ring)]


class Gatherer:
    """Makes slots out of samples of any length, in order of time."""

    def __init__(self, slot_s: int) -> None:
        self._slot_s = slot_s
        self._slot: int | None = None
        self._known_s = self._total_s = self._organic_s = 0.0

    def forward(self, slot: int) -> None:
        """Drop what was gathered of a slot before this one: it is known to be unknown."""
        if self._slot is not None and self._slot < slot:
            self._slot = None

    def add(
        self, end_utc_s: float, span_s: float, total: float | None, organic: float | None
    ) -> list[tuple[int, float | None, float | None]]:
        """Slots that this sample has ended: (slot, total, organic), None where unknown.

        A sample before the slot that is being filled begins anew there.
        """
        ended: list[tuple[int, float | None, float | None]] = []
        start_s = end_utc_s - span_s
        last = math.ceil(end_utc_s / self._slot_s) - 1
        first = max(math.floor(start_s / self._slot_s), last - MOST_SLOTS)
        if self._slot is not None and last < self._slot:
            self._slot = None
        if self._slot is None:
            self._begin(first)
        for slot in range(max(first, self._slot or first), last + 1):
            if slot != self._slot:
                ended.append(self._end())
                self._begin(slot)
            if total is not None and organic is not None:
                begins, ends = slot * self._slot_s, (slot + 1) * self._slot_s
                part_s = min(end_utc_s, ends) - max(start_s, begins)
                self._known_s += part_s
                self._total_s += total * part_s
                self._organic_s += organic * part_s
        if end_utc_s >= (last + 1) * self._slot_s:
            ended.append(self._end())
            self._begin(last + 1)
        return ended

    def _begin(self, slot: int) -> None:
        self._slot, self._known_s, self._total_s, self._organic_s = slot, 0.0, 0.0, 0.0

    def _end(self) -> tuple[int, float | None, float | None]:
        slot = self._slot or 0
        if self._known_s < KNOWN_RATIO * self._slot_s:
            return slot, None, None
        return slot, self._total_s / self._known_s, self._organic_s / self._known_s
