"""When a worker's slices begin and where in them it works: places between the scheduler's ticks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stressers.cpu import SLICE_S, Rhythm

TICKS_S = (0.001, 0.004, 0.01)
"""The scheduler's ticks of kernels with 1,000, 250 and 100 a second."""
EDGE = 0.2
"""Of a tick: nearer to whole ticks a burst is made whole."""
USUALLY_LATE_S = 0.00015
"""For a wake-up as late as this a burst is placed."""
TINY_S = 1e-9

ticks_s = st.sampled_from([0.0, 1 / 1000, 1 / 300, 1 / 250, 1 / 100])


@pytest.mark.parametrize("tick_s", [1 / 1000, 1 / 300, 1 / 250, 1 / 100])
def test_a_slice_is_whole_ticks(tick_s: float) -> None:
    """As near to 100 ms as whole ticks come."""
    slice_s = Rhythm(0, 1, tick_s).slice_s
    assert slice_s / tick_s == pytest.approx(round(slice_s / tick_s))
    assert abs(slice_s - SLICE_S) <= tick_s / 2


def test_a_tick_longer_than_the_slice_is_one_slice() -> None:
    """A slice has one tick at least."""
    assert Rhythm(0, 1, 0.3).slice_s == 0.3


def test_without_a_tick_all_is_exact() -> None:
    """Where nothing is known of ticks: 100 ms, from the start of the slice, what is owed."""
    rhythm = Rhythm(0, 4)
    assert rhythm.slice_s == SLICE_S
    assert rhythm.place(0.0393) == (0.0, 0.0393)
    assert rhythm.place(2 * SLICE_S) == (0.0, SLICE_S)


@pytest.mark.parametrize("owed_s", [0.0, -0.01, -1.0])
@pytest.mark.parametrize("tick_s", [0.0, 0.004])
def test_what_is_not_owed_is_not_worked(owed_s: float, tick_s: float) -> None:
    """After too much was used there is no burst, and none of negative length."""
    assert Rhythm(0, 1, tick_s).place(owed_s) == (0.0, 0.0)


@given(
    now_s=st.floats(0.0, 1e7),
    index=st.integers(0, 255),
    more=st.integers(1, 256),
    tick_s=ticks_s,
    phase=st.floats(0.0, 1.0),
)
def test_slices_begin_on_a_grid_that_all_workers_share(
    now_s: float, index: int, more: int, tick_s: float, phase: float
) -> None:
    """The next slice lies ahead by a slice at most, on the worker's place in the grid.

    Its place is that of worker 0 and i/N of a slice, at a tick where there are
    ticks. A microsecond is left for the rounding of large clocks.
    """
    workers, phase_s = index + more, phase * tick_s
    rhythm = Rhythm(index, workers, tick_s, phase_s)
    slice_s = rhythm.slice_s
    begins_s = rhythm.next_slice(now_s)
    assert now_s < begins_s + 1e-6
    assert begins_s <= now_s + slice_s + 1e-6
    late_s = (begins_s - phase_s) % slice_s
    stagger_s = slice_s * index / workers
    off_s = (stagger_s - late_s + 1e-6) % slice_s
    assert off_s <= (tick_s or 0.0) + 2e-6
    if tick_s > 0:
        at_tick = late_s / tick_s
        assert at_tick == pytest.approx(round(at_tick), abs=1e-3)
    assert rhythm.next_slice(begins_s + slice_s / 2) == pytest.approx(begins_s + slice_s, abs=1e-6)


@pytest.mark.parametrize("workers", [1, 2, 4, 25, 64, 256])
def test_workers_are_spread_evenly_over_the_slice(workers: int) -> None:
    """Of 25 ticks in a slice each is the beginning of as many workers, or of one more."""
    begins = [
        round(Rhythm(index, workers, 0.004).next_slice(-TINY_S) / 0.004) % 25
        for index in range(workers)
    ]
    counts = [begins.count(place) for place in range(25)]
    assert max(counts) - min(counts) <= 1


def seen_by(rhythm: Rhythm, after_s: float, burst_s: float) -> int:
    """How many ticks see a burst that begins so late in a slice; the slices begin at a tick."""
    return rhythm.tick_at(after_s + burst_s) - rhythm.tick_at(after_s)


@given(
    owed_s=st.floats(0.0, 0.12),
    index=st.integers(0, 7),
    tick_s=st.sampled_from(TICKS_S),
)
def test_a_burst_fits_its_slice_and_is_what_is_owed(
    owed_s: float, index: int, tick_s: float
) -> None:
    """To a fifth of a tick, for near to whole ticks it is made whole; in the last tick to half."""
    rhythm = Rhythm(index, 8, tick_s)
    after_s, burst_s = rhythm.place(owed_s)
    assert after_s >= 0
    assert after_s + burst_s <= rhythm.slice_s + TINY_S
    nearly_full = owed_s > rhythm.slice_s - tick_s
    off = (0.5 if nearly_full else EDGE) * tick_s
    assert abs(burst_s - min(owed_s, rhythm.slice_s)) <= off + TINY_S


@given(
    duty=st.floats(0.0, 0.9),
    index=st.integers(0, 7),
    tick_s=st.sampled_from((0.004, 0.01)),
    late=st.floats(0.0, 2.0),
)
def test_a_burst_is_seen_as_planned_however_late_the_wake_up_is(
    duty: float, index: int, tick_s: float, late: float
) -> None:
    """Between no lateness and twice the usual one, the same number of ticks sees a burst.

    A tick of 1 ms is too short for that: there what was seen tells in the next
    slice.
    """
    rhythm = Rhythm(index, 8, tick_s)
    after_s, burst_s = rhythm.place(duty * rhythm.slice_s)
    late_s = late * USUALLY_LATE_S
    planned = seen_by(rhythm, after_s + USUALLY_LATE_S, burst_s)
    assert seen_by(rhythm, after_s + late_s, burst_s) == planned


def drive(workers: int, duty: float, slices: int, tick_s: float) -> tuple[float, float]:
    """Seconds that all workers together were seen and have used; each wakes as late as usual."""
    rhythms = [Rhythm(index, workers, tick_s) for index in range(workers)]
    owed_s = duty * rhythms[0].slice_s
    all_seen, all_used_s, carried_s = 0, 0.0, [0.0] * workers
    for _ in range(slices):
        for index, rhythm in enumerate(rhythms):
            after_s, burst_s = rhythm.place(owed_s + carried_s[index])
            seen = seen_by(rhythm, after_s + USUALLY_LATE_S, burst_s)
            rhythm.worked(burst_s, seen)
            carried_s[index] += owed_s - burst_s
            all_seen += seen
            all_used_s += burst_s
    return all_seen * tick_s, all_used_s


@given(
    duty=st.floats(0.0, 0.95),
    workers=st.integers(1, 256),
    slices=st.integers(1, 12),
    tick_s=st.sampled_from(TICKS_S),
)
def test_what_is_counted_of_all_workers_is_what_they_used_to_a_tick(
    duty: float, workers: int, slices: int, tick_s: float
) -> None:
    """In whatever slice one stops counting: N workers together are off by one tick, not by N.

    What they use is what they owe, up to what was rounded off and is carried on.
    """
    seen_s, used_s = drive(workers, duty, slices, tick_s)
    assert abs(seen_s - used_s) <= tick_s + TINY_S
    owed_s = workers * slices * duty * Rhythm(0, 1, tick_s).slice_s
    off = 0.5 if duty * Rhythm(0, 1, tick_s).slice_s > 0.1 - 2 * tick_s else EDGE
    assert abs(used_s - owed_s) <= workers * off * tick_s + TINY_S


def test_one_slice_of_many_workers_is_seen_to_a_tick() -> None:
    """256 workers that each owe 9.6 ticks: 2457.6 are owed, and seen; not 2304 or 2560."""
    seen_s, _ = drive(256, 9.6 / 25, 1, 0.004)
    assert seen_s / 0.004 == pytest.approx(9.6 * 256, abs=1.0)
