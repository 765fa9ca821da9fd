"""How exactly a level was held: arithmetic over recorded counters, without clock or file.

Two clocks, see benchmarks/recorder.py; all levels in percent of the host, all
errors in points. A window in which no time passed (a recorder that was stopped)
has no value: NaN, which also spoils the means that it is part of.
"""

from __future__ import annotations

import bisect
import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CLOCKS = ("stat", "true")
ODD_WINDOW_S = 1.37
"""A window that slices of 100 ms do not divide."""
BACK_POINTS = 3.0
"""How near the trailing second must be to the new level for a step to count as answered."""
STAYS_S = 1.0
"""And for how long it must stay there."""
LONG_S = 10.0
"""The windows over which a shortfall counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Cumulative seconds of all CPUs at a monotonic time; `used_s` is the CPU time of all tasks.

    `away_s` is idle, waiting for a disk, or stolen, in the ticks of /proc/stat, as `total_s` is.
    """

    at_s: float
    total_s: float
    away_s: float
    used_s: float
    cpus: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One slot of a tenant's process: when its work was done, and its CPU time until then.

    `end_s` counts from the start of the trace. `late_ms` is how long after the slot
    the work was done; None where there was none to do.
    """

    end_s: float
    used_s: float
    late_ms: float | None


def busy(first: Row, last: Row, clock: str) -> float:
    """Busy percent between two rows by that clock; NaN when no time passed."""
    if clock == "stat":
        total_s = last.total_s - first.total_s
        return 100 * (1 - (last.away_s - first.away_s) / total_s) if total_s else math.nan
    wall_s = last.at_s - first.at_s
    return 100 * (last.used_s - first.used_s) / (wall_s * last.cpus) if wall_s else math.nan


def edges(rows: Sequence[Row], seconds: float) -> list[Row]:
    """The rows nearest to the ends of consecutive windows of that length."""
    found, place = [], 0
    count = math.floor((rows[-1].at_s - rows[0].at_s) / seconds + 0.01) + 1
    for window in range(count):
        due_s = rows[0].at_s + window * seconds
        while place + 1 < len(rows) and abs(rows[place + 1].at_s - due_s) <= abs(
            rows[place].at_s - due_s
        ):
            place += 1
        found.append(rows[place])
    return found


def means(rows: Sequence[Row], seconds: float, clock: str) -> list[float]:
    """Busy percent of consecutive windows of that length."""
    return [busy(a, b, clock) for a, b in itertools.pairwise(edges(rows, seconds))]


def mae(values: Sequence[float], target: float) -> float:
    """Mean absolute error in points; NaN without a value."""
    return statistics.fmean(abs(value - target) for value in values) if values else math.nan


def holding(rows: Sequence[Row], target: float) -> dict[str, float]:
    """How well a constant target was held, by both clocks, and how far these are apart."""
    result = {}
    for clock in CLOCKS:
        result[f"mean_{clock}"] = busy(rows[0], rows[-1], clock)
        for name, seconds in (("1s", 1.0), ("1.37s", ODD_WINDOW_S), ("10s", LONG_S)):
            result[f"mae_{name}_{clock}"] = mae(means(rows, seconds, clock), target)
    pairs = zip(means(rows, LONG_S, "stat"), means(rows, LONG_S, "true"), strict=True)
    apart = [abs(a - b) for a, b in pairs]
    result["clocks_apart_10s"] = max(apart) if apart else math.nan
    result["clocks_apart_10s_mean"] = statistics.fmean(apart) if apart else math.nan
    return result


def read_slots(text: str) -> list[Slot]:
    """The lines that native/tenant.c prints. Raises ValueError for anything else."""
    found = []
    for line in text.splitlines():
        end, used, late = line.split()
        late_ms = None if int(late) < 0 else int(late) / 1e6
        found.append(Slot(end_s=float(end), used_s=int(used) / 1e9, late_ms=late_ms))
    return found


def used_until(slots: Sequence[Slot], at_s: float) -> float:
    """CPU seconds of one process until a time.

    Work is taken to be done in one go right before its end, which is exact for a
    tenant that nobody disturbs, and off by no more than one slot otherwise.
    """
    place = bisect.bisect_right(slots, at_s, key=lambda slot: slot.end_s)
    before_s = slots[place - 1].used_s if place else 0.0
    if place == len(slots):
        return before_s
    return max(before_s, slots[place].used_s - (slots[place].end_s - at_s))


def worked(processes: Sequence[Sequence[Slot]], begin_s: float, end_s: float) -> float:
    """CPU seconds that all processes of a tenant used between two times."""
    return sum(used_until(one, end_s) - used_until(one, begin_s) for one in processes)


def trace_figures(
    rows: Sequence[Row],
    tenant: Sequence[float],
    *,
    steps: Sequence[float],
    step_s: float,
    target: float,
) -> dict[str, float]:
    """Error, mean of each step, worst shortfall and answer to each step, by both clocks.

    `tenant` is what the tenant used in each second, in percent of the host; `steps`
    is what it wanted, each for `step_s`. The reference is the larger of target and tenant.
    """
    wanted = [max(target, percent) for percent in tenant]
    tenths = edges(rows, 0.1)
    figures: dict[str, float] = {}
    for clock in CLOCKS:
        seconds = [busy(tenths[k * 10], tenths[k * 10 + 10], clock) for k in range(len(wanted))]
        figures[f"mae_1s_{clock}"] = statistics.fmean(
            abs(value - want) for value, want in zip(seconds, wanted, strict=True)
        )
        figures[f"below_10s_{clock}"] = shortfall(tenths, target, clock)
        for step in range(len(steps)):
            first, last = (round(k * step_s * 10) for k in (step, step + 1))
            figures[f"mean_{step}_{clock}"] = busy(tenths[first], tenths[last], clock)
        for step, percent in enumerate(steps[1:], 1):
            begin, end = (round(k * step_s * 10) for k in (step, step + 1))
            level = max(target, percent)
            figures[f"back_{step}_{clock}"] = answered_s(tenths[begin - 10 : end + 1], level, clock)
    return figures


def shortfall(tenths: Sequence[Row], target: float, clock: str) -> float:
    """How far the lowest sliding window of LONG_S is below the target; 0 when none is.

    NaN when there is no window of that length.
    """
    length = round(LONG_S * 10)
    levels = [busy(a, b, clock) for a, b in zip(tenths, tenths[length:], strict=False)]
    return max(0.0, target - min(levels)) if levels else math.nan


def answered_s(tenths: Sequence[Row], level: float, clock: str) -> float:
    """Seconds after a step until the trailing second is near the level, and stays; inf if never.

    The rows are a tenth of a second apart, and the step is one second after the first.
    """
    near = [
        abs(busy(a, b, clock) - level) <= BACK_POINTS
        for a, b in zip(tenths[1:], tenths[11:], strict=False)
    ]
    stays = round(STAYS_S * 10)
    for place in range(len(near) - stays + 1):
        if all(near[place : place + stays]):
            return (place + 1) / 10
    return math.inf
