"""In which order rows were written, where times do not tell because the clock was set back."""

from __future__ import annotations

import math
from typing import NamedTuple

_STRETCH_S = 6 * 3600.0
"""Recorded time of which is remembered together; well below the day that may be lost."""


class Stretch(NamedTuple):
    """Rows written one after another, from the first to the last time, in seconds of UTC.

    `written_s` is how much had been recorded up to their end.
    """

    first_utc_s: int
    last_utc_s: int
    span_s: float
    written_s: float


class RowOrder(NamedTuple):
    """What this process has written, as far as its rows do not come last by their times.

    `highest_utc_s` is the latest row of all, `last_utc_s` the one written last.
    """

    highest_utc_s: float = -math.inf
    last_utc_s: float = -math.inf
    written_s: float = 0.0
    behind: tuple[Stretch, ...] = ()

    def is_behind(self, utc_s: int) -> bool:
        """Whether a row of that time would come before others that were written earlier."""
        return utc_s <= self.highest_utc_s and utc_s != self.last_utc_s

    def after(self, utc_s: int, span_s: float, period_s: float) -> RowOrder:
        """The order with one row more, which was written at that time.

        What has a period of recorded time behind it is forgotten.
        """
        written_s = self.written_s + span_s
        behind = self.behind
        while behind and written_s - behind[0].written_s >= period_s:
            behind = behind[1:]
        if self.is_behind(utc_s):
            last = behind[-1] if behind else None
            follows = last is not None and self.last_utc_s == last.last_utc_s < utc_s
            if last is not None and follows and last.span_s + span_s <= _STRETCH_S:
                stretch = Stretch(last.first_utc_s, utc_s, last.span_s + span_s, written_s)
                behind = (*behind[:-1], stretch)
            else:
                behind = (*behind, Stretch(utc_s, utc_s, span_s, written_s))
        return RowOrder(max(self.highest_utc_s, utc_s), utc_s, written_s, behind)
