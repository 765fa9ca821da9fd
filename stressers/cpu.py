"""Uses CPU time in long fixed slices, staggered over the workers and placed between the ticks.

In slices of 100 ms by a fixed schedule, unpinned, a neighbour's wake-ups stay
as they are; with 20 ms the neighbour's p99 rises two to ten times.

Most kernels count CPU time by looking, at each tick, who is running. A burst of
39.3 ms that always begins at the same place is seen as 9 ticks of 4 ms for
good, or as 10. So each burst begins where it is seen as the one or the other,
in turns that make what is counted equal to what is used.
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
    from stressers.watch import Watch

SLICE_S = 0.1
"""Length of a slice, as near as whole ticks come to it."""
WAKE_RATIO = 0.02
"""A duty raised by more than this is obeyed at once, a smaller raise from the next slice on."""
_IDLE_S = 60.0
"""How long an idle worker sleeps at most; its lease wakes it earlier."""
_CHUNK = range(5_000)
"""Rounds between two looks at the clock: 0.1 to 0.25 ms at 20 to 50 ns a round."""
_CHUNK_S = 0.00015
"""About what they take: a burst ends within half of it."""
_LATE_S = 0.00015
"""How late a sleeping worker usually wakes up: timer slack and the way out of idle."""
_MOST_UNSEEN = 2.0
"""Ticks: more is not made good, for a burst can be placed for one tick more or less only."""
_EDGE = 0.2
"""Nearer than this to a whole number of ticks, a burst is made whole: a late wake-up shows."""


class Rhythm:
    """When the slices of one worker begin, and where in a slice a burst is placed.

    `tick_s` is the length of the scheduler's tick, 0 where it is not known or
    does not count; ticks are at `phase_s` plus multiples of it on the
    monotonic clock. The workers take turns, so that what is counted of them
    together is off by a tick at most: floor(x) + floor(x + 1/2) = floor(2 x).
    """

    __slots__ = ("_offset_s", "_phase_s", "_unseen", "slice_s", "tick_s")

    def __init__(self, index: int, workers: int, tick_s: float = 0.0, phase_s: float = 0.0) -> None:
        self.tick_s = tick_s
        self.slice_s = SLICE_S
        late_s = SLICE_S * index / workers
        if tick_s > 0:
            self.slice_s = max(1, round(SLICE_S / tick_s)) * tick_s
            late_s = math.floor(self.slice_s * index / workers / tick_s) * tick_s
        self._phase_s = phase_s
        self._offset_s = phase_s + late_s
        self._unseen = (index + 0.5) / workers - 0.5

    def next_slice(self, now_s: float) -> float:
        """When the next slice begins: on a grid that all workers share, moved by the stagger."""
        slices = math.floor((now_s - self._offset_s) / self.slice_s) + 1
        return slices * self.slice_s + self._offset_s

    def following(self, begins_s: float, now_s: float) -> float:
        """When the slice after that one begins; one that is half over is left out."""
        begins_s += self.slice_s
        return self.next_slice(now_s) if now_s - begins_s > self.slice_s / 2 else begins_s

    def place(self, owed_s: float) -> tuple[float, float]:
        """How late in its slice to work off what is owed, and for how long."""
        tick_s = self.tick_s
        burst_s = min(owed_s, self.slice_s)
        if tick_s <= 0 or burst_s <= 0:
            return 0.0, max(0.0, burst_s)
        ticks = math.floor(burst_s / tick_s)
        rest = burst_s / tick_s - ticks
        if not _EDGE < rest < 1 - _EDGE or burst_s > self.slice_s - tick_s:
            burst_s, after_s = (ticks + round(rest)) * tick_s, tick_s / 2
        elif self._unseen + rest >= 1 / 2:
            after_s = tick_s * (1 - rest / 2)
        else:
            after_s = tick_s * (1 - rest) / 2
        return max(0.0, min(after_s - _LATE_S, self.slice_s - burst_s)), burst_s

    def tick_at(self, now_s: float) -> int:
        """The number of the last tick; 0 where ticks do not count."""
        return math.floor((now_s - self._phase_s) / self.tick_s) if self.tick_s > 0 else 0

    def worked(self, used_s: float, seen: int) -> None:
        """A burst is over, and so many ticks have seen it: remember what was used and not seen."""
        if self.tick_s > 0:
            unseen = self._unseen + used_s / self.tick_s - seen
            self._unseen = max(-_MOST_UNSEEN, min(_MOST_UNSEEN, unseen))


def spin() -> None:
    """Integer work that fits the registers: no cache or memory bandwidth is taken."""
    for _ in _CHUNK:
        pass


def burn(
    post: AnyPost,
    rhythm: Rhythm,
    watch: Watch | None = None,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    cpu_time: Callable[[], float] = time.thread_time,
    chunk: Callable[[], None] = spin,
) -> None:
    """Use the leased share of one CPU, by this thread's own CPU clock, until told to leave.

    What a slice used too much or too little is carried to the next one, by one
    slice at most. `watch` looks at each slice whether the host is as busy as
    the board says.
    """
    board, slice_s = post.board, rhythm.slice_s
    duty, carried_s, mark_s = 0.0, 0.0, cpu_time()
    begins_s = rhythm.next_slice(monotonic())

    def work(burst_s: float, now_s: float, ends_s: float) -> float:
        """Work from now until then at the latest; the CPU time used since the last work ended."""
        nonlocal mark_s
        used_s, left_s, seen = cpu_time() - mark_s, burst_s - _CHUNK_S / 2, 0
        while used_s < left_s:
            chunk()
            before_s, used_before_s = now_s, used_s
            used_s, now_s = cpu_time() - mark_s, monotonic()
            # A tick that came while others had the CPU has not seen us.
            if now_s - before_s < used_s - used_before_s + _CHUNK_S:
                seen += rhythm.tick_at(now_s) - rhythm.tick_at(before_s)
            leased = board.value_at(now_s)
            if leased <= 0 or now_s >= ends_s:
                break
            if leased < duty:
                left_s = min(left_s, leased * slice_s)
        mark_s += used_s
        rhythm.worked(used_s, seen)
        return used_s

    while post.on_duty:
        now_s = monotonic()
        leased = board.value_at(now_s)
        if leased <= 0:
            post.wait(_IDLE_S)
            duty, carried_s, begins_s = 0.0, 0.0, rhythm.next_slice(monotonic())
            mark_s = cpu_time()
            continue
        if leased > duty + WAKE_RATIO and now_s < begins_s:
            # Raised by much: what that makes until the next slice is worked at once.
            carried_s += (leased - duty) * (begins_s - now_s)
            duty = leased
            carried_s -= work(carried_s, now_s, begins_s)
            continue
        if leased < duty:
            # A shortfall was owed at the higher share; only what was rounded off is still.
            carried_s = min(carried_s, rhythm.tick_s)
        duty = leased
        owed_s = duty * slice_s + carried_s
        after_s, burst_s = rhythm.place(owed_s)
        if now_s < begins_s + after_s - _CHUNK_S / 2:
            post.wait(begins_s + after_s - now_s)
            continue
        post.renew()
        if watch is not None and board.level >= 0 and watch.differs(board.level, now_s):
            board.stir(post.index)
            post.answered()
        used_s = work(burst_s, now_s, begins_s + slice_s)
        carried_s = max(-slice_s, min(slice_s, owed_s - used_s))
        begins_s = rhythm.following(begins_s, monotonic())


class Cpu(Work):
    """A crew of workers that all obey the same duty."""

    def __init__(self, workers: int, join: Callable[[Board], AnyCrew]) -> None:
        super().__init__(workers, join)
        self._last = 0.0
        self._stirs = 0.0

    def stirred(self) -> bool:
        """Whether a worker has seen, since last asked, that the host has changed."""
        before, self._stirs = self._stirs, self.board.stirs(self.workers)
        return self._stirs != before

    @property
    def _may_starve(self) -> bool:
        return True

    def obey(self, value: float, expires_s: float, now_s: float) -> float:
        """Publish the duty; wakes the workers only when it has risen by much."""
        pause_s = super().obey(value, expires_s, now_s)
        if value > 0:
            self._replace_starved(now_s)
            if self._last <= 0 or value > self._last + WAKE_RATIO:
                for index in range(self.workers):
                    self.crew.wake(index)
        self._last = value
        return pause_s
