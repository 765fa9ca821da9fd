"""Rows of the history laid over cells of equal length; numpy, which only reports may pay for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optimizer.model import PerResource
from optimizer.outcome import Columns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Indices = NDArray[np.intp]

_CLIP_S = 60
_MOST = 2.0
"""Counters that are read apart may give a little more than 1; no reading gives more than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What each row says of one resource, as ratios; 0 where it is not `known`."""

    known: Flags
    total: Array
    own: Array
    setpoint: Array
    setpoint_known: Flags

    @property
    def organic(self) -> Array:
        """What others used, at least 0 as everywhere."""
        import numpy as np

        return np.maximum(0.0, self.total - self.own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows in order of time, each from `start_s` to `end_s`; UTC seconds."""

    start_s: Array
    end_s: Array
    of: PerResource[Used]

    def within(self, from_s: float, to_s: float) -> Rows:
        """Those that overlap that time, cut to it."""
        import numpy as np

        kept = (self.end_s > from_s) & (self.start_s < to_s)
        return Rows(
            start_s=np.maximum(self.start_s[kept], from_s),
            end_s=np.minimum(self.end_s[kept], to_s),
            of=_each(
                lambda one: Used(
                    known=one.known[kept],
                    total=one.total[kept],
                    own=one.own[kept],
                    setpoint=one.setpoint[kept],
                    setpoint_known=one.setpoint_known[kept],
                ),
                self.of,
            ),
        )


def rows(columns: Columns) -> Rows:
    """The rows in order of time; where two tell of the same, it counts as the planner counts it.

    Of rows that end in the same second at the end of a minute the one written
    last counts; else a row counts from the minute on in which the one before
    it ended. Rows overlap when a clock was set back, and by parts of a second
    because the end is stored in whole ones. A value that no reading gives is
    unknown.
    """
    import numpy as np

    end_s = np.frombuffer(columns.utc_s, dtype=np.float64)
    span_s = np.frombuffer(columns.span_s, dtype=np.float64)
    order: Any = slice(None)
    if np.any(np.diff(end_s) <= 0):
        order = np.argsort(end_s, kind="stable")
        ends = end_s[order]
        replaced = np.append((np.diff(ends) == 0) & (ends[:-1] % _CLIP_S == 0), False)
        order = order[~replaced]
    end_s = end_s[order]
    start_s = end_s - span_s[order]
    start_s[1:] = np.maximum(start_s[1:], end_s[:-1] // _CLIP_S * _CLIP_S)

    def used(values: Any) -> Used:
        table = np.frombuffer(values, dtype=np.float64).reshape(-1, 3)[order]
        total, own, setpoint = table.T
        known = (total >= 0) & (own >= 0) & (total <= _MOST) & (own <= _MOST)
        planned = (setpoint >= 0) & (setpoint <= _MOST)
        return Used(
            known=known,
            total=np.where(known, total, 0.0),
            own=np.where(known, own, 0.0),
            setpoint=np.where(planned, setpoint, 0.0),
            setpoint_known=planned,
        )

    return Rows(start_s=start_s, end_s=end_s, of=_each(used, columns.of))


def _each(make: Any, of: PerResource[Any]) -> PerResource[Used]:
    return PerResource(cpu=make(of.cpu), memory=make(of.memory), disk=make(of.disk))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """For each cell: seconds known, and ratios times seconds."""

    known_s: Array
    total: Array
    organic: Array
    own: Array
    setpoint_s: Array
    setpoint: Array


class Grid:
    """Cells of `cell_s` seconds from `origin_s` on, with the parts of the rows in each."""

    def __init__(self, of: Rows, origin_s: float, cell_s: float, cells: int) -> None:
        import numpy as np

        self.rows, self.cells = of, cells
        self.origin_s, self.cell_s = origin_s, cell_s
        first = np.maximum(0, np.floor((of.start_s - origin_s) / cell_s)).astype(np.intp)
        last = np.minimum(cells, np.ceil((of.end_s - origin_s) / cell_s)).astype(np.intp) - 1
        parts = np.maximum(0, last - first + 1)
        parts[of.end_s <= of.start_s] = 0
        self._row: Indices = np.repeat(np.arange(len(parts)), parts)
        before = np.cumsum(parts) - parts
        self._cell: Indices = np.arange(len(self._row)) + np.repeat(first - before, parts)
        begins = origin_s + self._cell * cell_s
        self._part_s: Array = np.maximum(
            0.0,
            np.minimum(of.end_s[self._row], begins + cell_s)
            - np.maximum(of.start_s[self._row], begins),
        )

    def sums(self, used: Used) -> Sums:
        """The sums of one resource."""
        known_s = self._part_s * used.known[self._row]
        setpoint_s = self._part_s * used.setpoint_known[self._row]
        return Sums(
            known_s=self._in_cells(known_s),
            total=self._in_cells(known_s * used.total[self._row]),
            organic=self._in_cells(known_s * used.organic[self._row]),
            own=self._in_cells(known_s * used.own[self._row]),
            setpoint_s=self._in_cells(setpoint_s),
            setpoint=self._in_cells(setpoint_s * used.setpoint[self._row]),
        )

    def slots(self, used: Used) -> tuple[Any, Any]:
        """Totals and organics of each cell as the planner's window has them; NaN where unknown.

        A cell is known when at least half of it is; stored with four bytes.
        """
        import numpy as np

        known_s = self._part_s * used.known[self._row]
        seconds = self._in_cells(known_s)
        unknown = seconds < 0.5 * self.cell_s
        divisor = np.where(unknown, np.nan, seconds)

        def means(values: Array) -> Any:
            sums = self._in_cells(known_s * values[self._row])
            return (sums / divisor).astype(np.float32)

        return means(used.total), means(used.organic)

    def _in_cells(self, values: Array) -> Array:
        import numpy as np

        counted: Array = np.bincount(self._cell, weights=values, minlength=self.cells)  # type: ignore[assignment]
        return counted
