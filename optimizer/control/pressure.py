"""Signs that memory is short somewhere on the host: then all that is held is given back.

MemAvailable alone is not enough: it says what could be freed, not what that
costs. Three signs tell of the cost: programs that wait for memory (PSI), pages
written to the swap, and pages that the kernel has taken from us by itself. A
kernel that says of itself that memory is short (Windows) is a sign too.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from optimizer.control.guard import RESUME_S, Limited, prolonged
from optimizer.counters import MemoryCounters
from optimizer.model import Reason, Utilisation

STALL_S = 0.1
"""So much waiting, beyond what is usual, is pressure.

Polling found 100 ms of it within 0.7 to 1.0 s of the onset, kernel triggers
with the 2 s windows that need no privilege within 0.4 to 1.9 s.
"""
STALL_USUAL_RATIO = 0.05
"""This share of the time some program may wait: huge pages are not to be had at once."""
SWAP_BYTES = 8 << 20
SWAP_USUAL_BYTES_PER_S = 1 << 20
"""The same for pages written to the swap: a kernel puts some away that nobody uses."""
_GAP_S = 5.0
"""Readings further apart than this (suspend, stop) tell nothing of the present."""


class Pressure(NamedTuple):
    """The last counters, how much beyond the usual has added up, and until when nothing is held.

    Times are monotonic seconds.
    """

    at_s: float = -math.inf
    stalled_s: float | None = None
    swapped_out_bytes: int | None = None
    stall_s: float = 0.0
    swap_bytes: float = 0.0
    until_s: float = -math.inf


def press(
    before: Pressure,
    memory: MemoryCounters | None,
    usage: Utilisation | None,
    taken_bytes: int,
    now_s: float,
    hold_off_s: float,
) -> Pressure:
    """The state after a reading; a missing or backward counter is no sign, and no all-clear.

    Each sign begins the hold-off anew, which does not end while there is hardly
    any room. `usage` is the memory's, None where unknown. `taken_bytes` is what the kernel has
    taken from our stressers since last asked.
    """
    span_s = now_s - before.at_s
    stalled_s = None if memory is None else memory.stalled_s
    swapped = None if memory is None else memory.swapped_out_bytes
    stall_s, swap_bytes = before.stall_s, before.swap_bytes
    if 0 < span_s <= _GAP_S:
        stall_s = _leaky(stall_s, before.stalled_s, stalled_s, STALL_USUAL_RATIO * span_s)
        usual_bytes = SWAP_USUAL_BYTES_PER_S * span_s
        swap_bytes = _leaky(swap_bytes, before.swapped_out_bytes, swapped, usual_bytes)
    until_s = before.until_s
    told = taken_bytes > 0 or (memory is not None and memory.low_memory is True)
    if told or stall_s >= STALL_S or swap_bytes >= SWAP_BYTES:
        until_s = max(until_s, now_s + max(hold_off_s, RESUME_S))
        stall_s = swap_bytes = 0.0
    elif usage is not None:
        until_s = prolonged(until_s, usage, now_s)
    return Pressure(
        now_s,
        before.stalled_s if stalled_s is None else stalled_s,
        before.swapped_out_bytes if swapped is None else swapped,
        stall_s,
        swap_bytes,
        until_s,
    )


def caps(pressure: Pressure) -> tuple[Limited, ...]:
    """Nothing at all, in the cycle of a sign and until the hold-off after it is over."""
    if pressure.at_s <= pressure.until_s:
        return (Limited(demand_ratio=0.0, reason=Reason.PRESSURE),)
    return ()


def _leaky(level: float, before: float | None, now: float | None, usual: float) -> float:
    """What has added up beyond the usual; runs empty by itself."""
    grown = 0.0 if before is None or now is None else max(0.0, now - before)
    return max(0.0, level + grown - usual)
