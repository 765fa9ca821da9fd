"""Rows of the history laid over cells of equal length; numpy, which only reports may pay for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optimizer.control.window import KNOWN_RATIO
from optimizer.model import PerResource
from optimizer.outcome import MOST_RATIO, Columns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Indices = NDArray[np.intp]

_CLIP_S = 60
_PIECE_ROWS = 100_000
"""So many rows are laid over the cells at a time: 10 MB; a month of minutes is one piece."""


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

        kept: Any = (self.end_s > from_s) & (self.start_s < to_s)
        places = np.flatnonzero(kept)
        if len(places) and places[-1] - places[0] + 1 == len(places):
            # A view, for a month of seconds is large.
            kept = slice(int(places[0]), int(places[-1]) + 1)
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
        known = (total >= 0) & (own >= 0) & (total <= MOST_RATIO) & (own <= MOST_RATIO)
        planned = (setpoint >= 0) & (setpoint <= MOST_RATIO)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Parts of rows: of which row, in which cell, how long."""

    row: Indices
    cell: Indices
    part_s: Array


class Grid:
    """Cells of `cell_s` seconds from `origin_s` on, with the parts of the rows in each."""

    def __init__(self, of: Rows, origin_s: float, cell_s: float, cells: int) -> None:

        self.rows, self.cells = of, cells
        self.origin_s, self.cell_s = origin_s, cell_s
        count = len(of.end_s)
        self._pieces: Sequence[_Piece] | None = None
        if count <= _PIECE_ROWS:
            self._pieces = [self._piece(0, count)]

    def sums(self, used: Used) -> Sums:
        """The sums of one resource."""
        import numpy as np

        known_s, total, organic, own, setpoint_s, setpoint = self._in_cells(
            lambda part_s, row: (
                (known_s := part_s * used.known[row]),
                known_s * used.total[row],
                known_s * np.maximum(0.0, used.total[row] - used.own[row]),
                known_s * used.own[row],
                (setpoint_s := part_s * used.setpoint_known[row]),
                setpoint_s * used.setpoint[row],
            )
        )
        return Sums(
            known_s=known_s,
            total=total,
            organic=organic,
            own=own,
            setpoint_s=setpoint_s,
            setpoint=setpoint,
        )

    def slots(self, used: Used) -> tuple[Any, Any]:
        """Totals and organics of each cell as the planner's window has them; NaN where unknown.

        A cell is known when at least half of it is; stored with four bytes.
        """
        import numpy as np

        seconds, total, organic = self._in_cells(
            lambda part_s, row: (
                (known_s := part_s * used.known[row]),
                known_s * used.total[row],
                known_s * np.maximum(0.0, used.total[row] - used.own[row]),
            )
        )
        unknown = seconds < KNOWN_RATIO * self.cell_s
        divisor = np.where(unknown, np.nan, seconds)
        return (total / divisor).astype(np.float32), (organic / divisor).astype(np.float32)

    def _in_cells(self, make: Callable[[Array, Indices], Sequence[Array]]) -> list[Array]:
        """The sums over each cell of what `make` gives for parts of rows, a piece at a time."""
        import numpy as np

        def sums(piece: _Piece) -> list[Any]:
            cell = piece.cell
            return [
                np.bincount(cell, weights=values, minlength=self.cells)
                for values in make(piece.part_s, piece.row)
            ]

        if self._pieces is not None:
            return sums(self._pieces[0])
        count = len(self.rows.end_s)
        found = sums(self._piece(0, _PIECE_ROWS))
        for at in range(_PIECE_ROWS, count, _PIECE_ROWS):
            for whole, more in zip(
                found, sums(self._piece(at, min(count, at + _PIECE_ROWS))), strict=True
            ):
                np.add(whole, more, out=whole)
        return found

    def _piece(self, from_row: int, to_row: int) -> _Piece:
        """The parts of these rows in the cells."""
        import numpy as np

        origin_s, cell_s = self.origin_s, self.cell_s
        start_s, end_s = self.rows.start_s[from_row:to_row], self.rows.end_s[from_row:to_row]
        first = np.maximum(0, np.floor((start_s - origin_s) / cell_s)).astype(np.intp)
        last = np.minimum(self.cells, np.ceil((end_s - origin_s) / cell_s)).astype(np.intp) - 1
        parts = np.maximum(0, last - first + 1)
        parts[end_s <= start_s] = 0
        row: Indices = np.repeat(np.arange(len(parts)), parts)
        before = np.cumsum(parts) - parts
        cell: Indices = np.arange(len(row)) + np.repeat(first - before, parts)
        begins = origin_s + cell * cell_s
        part_s: Array = np.maximum(
            0.0, np.minimum(end_s[row], begins + cell_s) - np.maximum(start_s[row], begins)
        )
        return _Piece(row=row + from_row, cell=cell, part_s=part_s)
