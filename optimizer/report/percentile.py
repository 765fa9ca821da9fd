"""A percentile of the time; numpy, which only reports may pay for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optimizer.report.grid import Array

P95 = 0.95
"""What a size is chosen by: above it the load is for 5 % of the time."""


def weighted_percentile(values: Array, seconds: Array, share: float) -> float | None:
    """The least value that is not exceeded for this share (0 to 1) of the time.

    Each value counts for the seconds that it lasted, for rows of an import are
    of many lengths. None where no time is known.
    """
    import numpy as np

    order = np.argsort(values, kind="stable")
    so_far = np.cumsum(seconds[order])
    if not len(so_far) or so_far[-1] <= 0:
        return None
    place = np.searchsorted(so_far, share * so_far[-1] * (1 - 1e-12))
    return float(values[order[min(int(place), len(order) - 1)]])
