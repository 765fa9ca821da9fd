"""The means of a period, as sums over rows and as one record adds to them."""

from __future__ import annotations

from optimizer.adapters.history_file import DAY_S
from optimizer.model import PerResource
from optimizer.outcome import PeriodMean, PeriodMeans, Record

_WEIGHED = ("cpu", "cpu_own", "memory", "memory_own", "disk", "disk_own")
_TOTALS = ", ".join(
    f"TOTAL({x} * span_s), TOTAL(span_s) FILTER (WHERE {x} IS NULL)" for x in _WEIGHED
)
SUMS = f"""
    SELECT COUNT(*), TOTAL(span_s), {_TOTALS} FROM sample WHERE utc_s > ? AND utc_s <= ?
"""  # noqa: S608 - constants only
"""Number of rows and weighted sums over the rows of a time."""


def weighted(record: Record) -> list[float]:
    """What one record adds to the sums of `SUMS`, in their order."""
    span_s = record.sample.span_s
    sums = [span_s]
    for used in record.sample.usage:
        if used is None:
            sums += (0.0, span_s, 0.0, span_s)
        else:
            sums += (used.total_ratio * span_s, 0.0, used.own_ratio * span_s, 0.0)
    return sums


def period_means(rows: int, sums: list[float], days: float) -> PeriodMeans:
    """The means of `days` days, from what `SUMS` gives."""
    span_s, *weighted = sums

    def mean(first: int) -> PeriodMean:
        total, unknown_s, own, own_unknown_s = weighted[first : first + 4]
        known_s, own_known_s = span_s - unknown_s, span_s - own_unknown_s
        return PeriodMean(
            mean_ratio=total / known_s if known_s else None,
            own_mean_ratio=own / own_known_s if own_known_s else None,
            coverage_ratio=min(1.0, known_s / (days * DAY_S)),
        )

    return PeriodMeans(
        days=days, rows=rows, of=PerResource(cpu=mean(0), memory=mean(4), disk=mean(8))
    )
