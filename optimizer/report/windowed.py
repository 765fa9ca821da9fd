"""The judged figure of a window that ends at any time, from slots like those of the planner."""

from __future__ import annotations

import math
from typing import Any

from optimizer.control import statistic
from optimizer.control.statistic import Figure
from optimizer.control.window import DAY_S, slot_length_s
from optimizer.orders import Gaps, Goal, Kind
from optimizer.report.grid import Grid, Rows, Used


class Windows:
    """The slots of one resource that all windows which end in a time are made of."""

    def __init__(self, goal: Goal, interval_s: float, gaps: Gaps) -> None:
        self.goal, self._gaps = goal, gaps
        self.slot_s = slot_length_s(goal.window_days, interval_s)
        self.slots = max(1, round(goal.window_days * DAY_S / self.slot_s))
        self._interval_s = interval_s
        self._first = 0
        self._total: Any = ()
        self._organic: Any = ()

    def fill(self, grid: Grid, used: Used) -> None:
        """Take in the slots of a grid that `grid_of` has made."""
        self._first = round(grid.origin_s / self.slot_s)
        self._total, self._organic = grid.slots(used)

    def grid_of(self, rows: Rows, first_end_s: float, last_end_s: float) -> Grid:
        """All slots of the windows that end from the first time to the second."""
        first = self._last_slot(first_end_s) - self.slots + 1
        cells = max(1, self._last_slot(last_end_s) - first + 1)
        return Grid(rows, first * self.slot_s, self.slot_s, cells)

    def newest_s(self, rows: Rows, now_s: float) -> float:
        """Where the window that ends now does so: with the last slot whose samples are all there.

        After three intervals without a sample it is time that moves on, not the samples.
        """
        ended_s = self._last_slot(now_s) + 1
        if not len(rows.end_s):
            return ended_s * self.slot_s
        known = self._last_slot(float(rows.end_s[-1])) + 1
        late_s = 3 * max(self._interval_s, self.slot_s)
        return (known if now_s - known * self.slot_s < late_s else ended_s) * self.slot_s

    def figure(self, end_s: float, *, organic: bool = False) -> Figure:
        """The figure of the window that ends there."""
        import numpy as np

        last = self._last_slot(end_s) - self._first + 1
        values = (self._organic if organic else self._total)[max(0, last - self.slots) : last]
        known = values[~np.isnan(values)]
        if self.goal.statistic.kind is Kind.MEAN:
            value_sum = float(np.minimum(known, 1.0).sum(dtype=np.float64))
            return statistic.mean(value_sum, len(known), self.slots, self._gaps)
        unknown = self.slots - len(known)
        in_order: Any = np.sort(known)
        found = statistic.ordered(in_order, unknown, self.goal.statistic, self._gaps)
        return Figure(
            ratio=None if found.ratio is None else float(found.ratio),
            low=float(found.low),
            high=float(found.high),
            coverage=found.coverage,
        )

    def _last_slot(self, end_s: float) -> int:
        """The last slot that has ended by then."""
        return math.floor(end_s / self.slot_s) - 1
