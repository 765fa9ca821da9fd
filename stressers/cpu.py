"""Uses CPU time in long fixed slices that are staggered over the workers.

In slices of 100 ms by a fixed schedule, unpinned, a neighbour's wake-ups stay
as they are and the load is exact to a tenth of a point; with 20 ms the
neighbour's p99 rises two to ten times. Short regular bursts are also seen
wrongly by tick-based accounting: 1.6 ms in every 4 ms shows as nothing at all.
"""

from __future__ import annotations

import math
import time

from stressers.run import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stressers.board import Board
    from stressers.run import AnyCrew, AnyPost

SLICE_S = 0.1001
"""Length of a slice: 100 ms, and a thousandth more.

That thousandth lets the slices drift through the scheduler's tick, by a
millisecond in a second. In step with the tick each burst would be counted as
9 or 10 ticks for good, which hid 0.6 point of 39.3; drifting it is 0.3.
"""
_IDLE_S = 60.0
"""How long an idle worker sleeps at most; its lease wakes it earlier."""
_CHUNK = range(10_000)
"""Rounds between two looks at the clock: 0.2 to 0.5 ms at 20 to 50 ns a round."""


def stagger_s(index: int, workers: int) -> float:
    """How much later than the first worker's a worker's slices begin."""
    return SLICE_S * index / workers


def next_slice(now_s: float, stagger: float) -> float:
    """When the next slice begins: on a grid that all workers share, moved by the stagger."""
    return (math.floor((now_s - stagger) / SLICE_S) + 1) * SLICE_S + stagger


def spin() -> None:
    """Integer work that fits the registers: no cache or memory bandwidth is taken."""
    for _ in _CHUNK:
        pass


def burn(
    post: AnyPost,
    stagger: float,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    cpu_time: Callable[[], float] = time.thread_time,
    chunk: Callable[[], None] = spin,
) -> None:
    """Use the leased share of one CPU, by this thread's own CPU clock, until told to leave.

    What a slice used too much or too little is carried to the next one, by one
    slice at most. The share is read at the start of each slice; a lower one
    counts at once, a higher one from the next slice on.
    """
    board, carried_s = post.board, 0.0
    begins_s = next_slice(monotonic(), stagger)
    while post.on_duty:
        now_s = monotonic()
        if board.value_at(now_s) <= 0:
            post.wait(_IDLE_S)
            carried_s, begins_s = 0.0, next_slice(monotonic(), stagger)
        elif now_s < begins_s:
            post.wait(begins_s - now_s)
        else:
            post.renew()
            carried_s = _one_slice(board, begins_s, carried_s, monotonic, cpu_time, chunk)
            begins_s += SLICE_S
            now_s = monotonic()
            if now_s - begins_s > SLICE_S / 2:
                begins_s = next_slice(now_s, stagger)


def _one_slice(
    board: Board,
    begins_s: float,
    carried_s: float,
    monotonic: Callable[[], float],
    cpu_time: Callable[[], float],
    chunk: Callable[[], None],
) -> float:
    """Work through one slice; how much CPU time it fell short (negative: was too long)."""
    now_s, used_from_s, used_s = monotonic(), cpu_time(), 0.0
    duty = board.value_at(now_s)
    while used_s < duty * SLICE_S + carried_s and now_s < begins_s + SLICE_S:
        chunk()
        now_s, used_s = monotonic(), cpu_time() - used_from_s
        leased = board.value_at(now_s)
        if leased < duty:
            # The shortfall was owed at the higher share; the lower one is a ceiling.
            duty, carried_s = leased, min(carried_s, 0.0)
    return max(-SLICE_S, min(SLICE_S, duty * SLICE_S + carried_s - used_s))


class Cpu(Work):
    """A crew of workers that all obey the same duty."""

    def __init__(self, workers: int, join: Callable[[Board], AnyCrew]) -> None:
        super().__init__(workers, join)
        self._last = 0.0

    @property
    def _may_starve(self) -> bool:
        return True

    def obey(self, value: float, expires_s: float, now_s: float) -> float:
        """Publish the duty; wakes the workers only when they sleep."""
        pause_s = super().obey(value, expires_s, now_s)
        if value > 0:
            self._replace_starved()
            if self._last <= 0:
                for index in range(self.workers):
                    self.crew.wake(index)
        self._last = value
        return pause_s
