"""When an order with an end in UTC ends, on a host whose UTC clock may be set."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable
from typing import NamedTuple

_SAME_S = 1.0
"""An end that has moved by less is as it was written: slewing, and leap seconds' smearing."""
_MOST_S = sys.float_info.max


class Given(NamedTuple):
    """When an order was given: its time in UTC, and that of this boot's steady clock.

    The latter may be anything that somebody has written.
    """

    utc_s: float
    steady_s: object


class Deadlines:
    """Counts, in time that no step of a clock moves, how long each order still holds.

    An order is as long as it was when it was first seen here: a clock that is
    set forwards does not end it early, one that is set back does not prolong
    it. Nor does it last longer than it was given for, in case the clock was
    behind when it was first seen. One that seemed to have ended by then counts
    as soon as a clock that was ahead is set right. Where an order tells when it
    was given in steady time of this boot, only that and its length count.
    """

    def __init__(self) -> None:
        self._ends: dict[Hashable, float] = {}
        self._utc_s = self._steady_s = 0.0
        self._unset_utc_s: float | None = None

    def look(self, now_utc_s: float, steady_s: float) -> None:
        """It is that time now; to be told each time before orders are asked for."""
        if self._unset_utc_s is not None:
            self._unset_utc_s = self._utc_s + steady_s - self._steady_s
        else:
            self._unset_utc_s = now_utc_s
        self._utc_s, self._steady_s = now_utc_s, steady_s

    def end_utc_s(
        self,
        order: Hashable,
        until_utc_s: float,
        since_utc_s: float,
        given: Given | None = None,
    ) -> float:
        """The end of the order by the present clock, which it may have passed.

        `until_utc_s` and `since_utc_s` are its end and when it was given, as
        written; where the latter is not the earlier one it tells nothing.
        """
        end_s = self._by_steady_time(until_utc_s, given)
        if end_s is None:
            end_s = self._ends.get(order)
        if end_s is None:
            # A new one may have been written just before the clock was set, or just after.
            now_utc_s = min(self._utc_s, self._unset_utc_s or self._utc_s)
            left_s = until_utc_s - now_utc_s
            if since_utc_s < until_utc_s:
                left_s = min(left_s, until_utc_s - since_utc_s)
            if left_s <= 0:
                return until_utc_s
            end_s = self._ends[order] = self._steady_s + left_s
        end_utc_s = self._utc_s + (end_s - self._steady_s)
        return until_utc_s if abs(end_utc_s - until_utc_s) < _SAME_S else end_utc_s

    def _by_steady_time(self, until_utc_s: float, given: Given | None) -> float | None:
        """The end of an order of this boot in steady time; None where that cannot be true."""
        if given is None or not isinstance(given.steady_s, int | float):
            return None
        length_s = until_utc_s - given.utc_s
        # What was given later than now was given by another clock; comparing suits any number.
        if not 0 <= given.steady_s <= self._steady_s + _SAME_S or not 0 < length_s <= _MOST_S:
            return None
        return float(given.steady_s) + length_s

    def keep(self, orders: Iterable[Hashable]) -> None:
        """Forget all orders but these."""
        kept = set(orders)
        if self._ends.keys() - kept:
            self._ends = {order: end for order, end in self._ends.items() if order in kept}
