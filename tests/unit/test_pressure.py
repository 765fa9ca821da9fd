"""When memory counts as short: stalls, swapping, pages taken back, and the time after."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.control.guard import RESUME_S
from optimizer.control.pressure import (
    STALL_S,
    STALL_USUAL_RATIO,
    SWAP_BYTES,
    SWAP_USUAL_BYTES_PER_S,
    Pressure,
    caps,
    press,
)
from optimizer.counters import MemoryCounters
from optimizer.model import Reason, Utilisation

GIB = 1 << 30
CALM = MemoryCounters(
    total_bytes=16 * GIB,
    available_bytes=12 * GIB,
    free_bytes=12 * GIB,
    cache_bytes=0,
    stalled_s=100.0,
    swapped_out_bytes=0,
)
ROOMY = Utilisation(total_ratio=0.4, own_ratio=0.2, capacity=16.0 * GIB, room_ratio=0.5)
HOLD_OFF_S = 300.0


def after(
    state: Pressure,
    memory: MemoryCounters | None,
    now_s: float,
    *,
    usage: Utilisation | None = ROOMY,
    taken_bytes: int = 0,
) -> Pressure:
    """One more reading."""
    return press(state, memory, usage, taken_bytes, now_s, HOLD_OFF_S)


def test_no_sign_no_pressure() -> None:
    """Counters that stand still limit nothing, from the first reading on."""
    state = Pressure()
    for second in range(10):
        state = after(state, CALM, float(second))
        assert caps(state) == ()


def test_a_stall_beyond_the_usual_takes_everything_for_the_hold_off() -> None:
    """100 ms more than the usual 5 % within a second: nothing at all for 300 s, then free."""
    state = after(Pressure(), CALM, 10.0)
    stalled = replace(CALM, stalled_s=100.001 + STALL_S + STALL_USUAL_RATIO)
    state = after(state, stalled, 11.0)
    (cap,) = caps(state)
    assert (cap.demand_ratio, cap.reason) == (0.0, Reason.PRESSURE)
    assert caps(after(state, stalled, 11.0 + HOLD_OFF_S))
    assert not caps(after(state, stalled, 11.1 + HOLD_OFF_S))


def test_stalls_add_up_over_looks_and_leak_away() -> None:
    """10 % of waiting is 5 % too much: at 10 Hz it takes 2 s to come to 100 ms; 5 % never does."""
    for share, ends_s in ((0.10, 2.0), (STALL_USUAL_RATIO, None)):
        state, now_s, memory = after(Pressure(), CALM, 0.0), 0.0, CALM
        while now_s < 10.0 and not caps(state):
            now_s += 0.1
            memory = replace(memory, stalled_s=(memory.stalled_s or 0.0) + share * 0.1)
            state = after(state, memory, now_s)
        assert now_s == pytest.approx(10.0 if ends_s is None else ends_s, abs=0.15)


def test_swapping_counts_by_bytes() -> None:
    """8 MiB beyond 1 MiB a second is pressure; the usual rate is none."""
    state = after(Pressure(), CALM, 0.0)
    usual = after(state, replace(CALM, swapped_out_bytes=SWAP_USUAL_BYTES_PER_S), 1.0)
    assert not caps(usual)
    much = replace(CALM, swapped_out_bytes=SWAP_BYTES + SWAP_USUAL_BYTES_PER_S)
    assert caps(after(state, much, 1.0))


def test_pages_that_the_kernel_took_are_pressure_at_once() -> None:
    """Also when nothing else is known, and each time the hold-off begins anew."""
    state = after(Pressure(), None, 0.0, usage=None, taken_bytes=1)
    assert caps(state)
    state = after(state, CALM, 200.0, taken_bytes=4096)
    assert caps(after(state, CALM, 200.0 + HOLD_OFF_S))
    assert not caps(after(state, CALM, 200.1 + HOLD_OFF_S))


def test_a_kernel_that_says_so_is_short_of_memory() -> None:
    """Windows' low-memory notification: as long as it lasts, and for the hold-off after it."""
    low = replace(CALM, stalled_s=None, swapped_out_bytes=None, low_memory=True)
    state = after(Pressure(), low, 0.0)
    (cap,) = caps(state)
    assert (cap.demand_ratio, cap.reason) == (0.0, Reason.PRESSURE)
    state = after(state, low, 200.0)
    calm = replace(low, low_memory=False)
    assert caps(after(state, calm, 200.0 + HOLD_OFF_S))
    assert not caps(after(state, calm, 200.1 + HOLD_OFF_S))


def test_a_notification_that_is_not_told_is_no_sign_and_no_all_clear() -> None:
    """None begins no hold-off, and ends none."""
    unknown = replace(CALM, low_memory=None)
    assert not caps(after(Pressure(), unknown, 0.0))
    state = after(Pressure(), replace(CALM, low_memory=True), 0.0)
    assert caps(after(state, unknown, 1.0))


def test_without_room_the_hold_off_does_not_end() -> None:
    """Hysteresis: with less than 5 % to spare it goes on, and ends a second after there is more."""
    state = after(Pressure(), CALM, 0.0, taken_bytes=1)
    tight = replace(ROOMY, room_ratio=0.04)
    now_s = 0.0
    while now_s < HOLD_OFF_S + 50:
        now_s += 0.8
        state = after(state, CALM, now_s, usage=tight)
    assert caps(state)
    assert caps(after(state, CALM, now_s + RESUME_S / 2))
    assert not caps(after(state, CALM, now_s + RESUME_S + 0.1))


def test_a_missing_or_backward_counter_and_a_gap_are_no_sign() -> None:
    """None keeps what was known; a counter that runs back and a suspend tell nothing."""
    state = after(Pressure(), CALM, 0.0)
    state = after(state, None, 1.0, usage=None)
    state = after(state, replace(CALM, stalled_s=None, swapped_out_bytes=None), 1.5)
    assert not caps(state)
    assert not caps(after(state, replace(CALM, stalled_s=0.0), 2.0))
    late = replace(CALM, stalled_s=200.0, swapped_out_bytes=1 << 40)
    assert not caps(after(state, late, 100.0))
