"""When a level that grows day by day reaches its limit."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.control.forecast import DAY, median

_TREND_DAYS = 5
_TREND_REACH = 10
"""What was seen in a month may go on for most of a year, and says nothing about many."""


def days_until(limit: float, values: Sequence[float]) -> float | None:
    """Days until the trend of the daily means reaches `limit`; None when it does not.

    The trend is the median of the slopes between all days (Theil and Sen), so
    that a single day does not make it; with fewer than five days, or where not
    three of four slopes rise, there is none, nor further ahead than _TREND_REACH
    times what was seen. 0 when the limit is reached.
    """
    means: list[tuple[float, float]] = []
    end = len(values)
    # Whole days that end now.
    for start in range(end % DAY, end, DAY):
        known = [v for v in values[start : start + DAY] if v == v]  # noqa: PLR0124
        if len(known) >= DAY / 2:
            means.append((start / DAY, sum(known) / len(known)))
    if len(means) < _TREND_DAYS:
        return None
    slopes = sorted(
        (later - earlier) / (day - before)
        for at, (before, earlier) in enumerate(means)
        for day, later in means[at + 1 :]
    )
    slope = slopes[len(slopes) // 2]
    if slope <= 0 or slopes[len(slopes) // 4] <= 0:
        return None
    level = median([mean - slope * day for day, mean in means])
    # A day's mean is that of its middle; now is its end.
    now = level + slope * (means[-1][0] + 0.5)
    ahead = max(0.0, (limit - now) / slope)
    return ahead if ahead <= _TREND_REACH * len(values) / DAY else None
