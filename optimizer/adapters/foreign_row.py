"""A row of the history made of what another program has recorded."""

from __future__ import annotations

from optimizer.outcome import HistoryRow


def foreign_row(
    utc_s: int,
    span_s: float,
    *,
    cpu: float | None,
    steal: float | None,
    memory: float | None,
    disk: float | None,
) -> HistoryRow | None:
    """The row of that time; None when nothing is known of it.

    Our own share is 0 where the total is known: nothing of ours ran while the
    history has no row. The ratios are brought to 0 to 1, for percentages are
    rounded and counters are read one after another.
    """
    if (cpu, memory, disk) == (None, None, None):
        return None
    return HistoryRow(
        utc_s=utc_s,
        span_s=span_s,
        cpu=_clamp(cpu),
        cpu_own=_own(cpu),
        cpu_steal=_clamp(steal),
        memory=_clamp(memory),
        memory_own=_own(memory),
        disk=_clamp(disk),
        disk_own=_own(disk),
    )


def _clamp(ratio: float | None) -> float | None:
    return None if ratio is None else min(1.0, max(0.0, ratio))


def _own(ratio: float | None) -> float | None:
    return None if ratio is None else 0.0
