"""Slices of CPU time, with a simulated clock: what is used never depends on the real one."""

from __future__ import annotations

import math
import random
from typing import Self

import pytest

from stressers.board import Board
from stressers.cpu import SLICE_S, WAKE_RATIO, Rhythm, burn

CHUNK_S = 0.0001
LATE_S = 0.0001
"""A wake-up comes that much late, as on an idle virtual machine."""
TICKS_S = (0.001, 0.004, 0.01)
"""The scheduler's ticks of kernels with 1,000, 250 and 100 a second."""
EDGE = 0.2
"""Of a tick: nearer to whole ticks a burst is made whole."""
TINY_S = 1e-9


class Machine:
    """A post on a simulated CPU, whose kernel looks at each tick who is running.

    `share` of the time that a chunk takes is ours, the rest a tenant's.
    `changes` are (time, duty, whether the worker is called).
    """

    index = 0

    def __init__(
        self,
        duty: float,
        until_s: float,
        *,
        rhythm: Rhythm | None = None,
        late_s: float = 0.0,
        tick_s: float = 0.0,
        phase_s: float = 0.0,
    ) -> None:
        self.board = Board(1, 1e9)
        self.board.publish(duty, 1e9)
        self.now_s = 0.0
        self.used_s = 0.0
        self.share = 1.0
        self.sleeps: list[float] = []
        self.bursts: list[tuple[float, float]] = []
        self.changes: list[tuple[float, float, bool]] = []
        self.ticks_seen = 0
        self.until_s = until_s
        self._rhythm = rhythm or Rhythm(0, 1)
        self._late_s = late_s
        self._tick_s = tick_s
        self._phase_s = phase_s
        self._began_s: float | None = None

    @property
    def on_duty(self) -> bool:
        """Whether the simulated time is not over."""
        return self.now_s < self.until_s

    @property
    def counted_s(self) -> float:
        """What the kernel has counted for us."""
        return self.ticks_seen * self._tick_s

    def monotonic(self) -> float:
        """The simulated clock."""
        return self.now_s

    def cpu_time(self) -> float:
        """What was worked until now."""
        return self.used_s

    def chunk(self) -> None:
        """Work for a moment."""
        if self._began_s is None:
            self._began_s = self.now_s
        self.used_s += CHUNK_S
        self.now_s += CHUNK_S / self.share
        if self.changes:
            self._change()

    def wait(self, timeout_s: float) -> None:
        """Sleep until then, or until a call."""
        self._rest()
        self.sleeps.append(timeout_s)
        until_s = self.now_s + timeout_s
        while self.changes and self.changes[0][0] <= until_s:
            at_s, _, called = self.changes[0]
            self.now_s = max(self.now_s, at_s)
            self._change()
            if called:
                until_s = self.now_s
        self.now_s = until_s + self._late_s

    def renew(self) -> None:
        """No alarm here."""

    def answered(self) -> None:
        """Nobody listens."""

    def run(self) -> Self:
        """Work until the time is over."""
        burn(
            self,  # type: ignore[arg-type]  # a Post by its doors, not by its class
            self._rhythm,
            monotonic=self.monotonic,
            cpu_time=self.cpu_time,
            chunk=self.chunk,
        )
        self._rest()
        return self

    def _change(self) -> None:
        while self.changes and self.changes[0][0] <= self.now_s:
            self.board.publish(self.changes.pop(0)[1], 1e9)

    def _rest(self) -> None:
        if self._began_s is None:
            return
        self.bursts.append((self._began_s, self.now_s))
        if self._tick_s > 0:
            self.ticks_seen += self._ticks_until(self.now_s) - self._ticks_until(self._began_s)
        self._began_s = None

    def _ticks_until(self, now_s: float) -> int:
        return math.floor((now_s - self._phase_s) / self._tick_s)


@pytest.mark.parametrize("tick_s", [0.0, *TICKS_S])
@pytest.mark.parametrize("duty", [0.001, 0.01, 0.18, 0.393, 0.5, 0.9, 0.999, 1.0])
def test_the_duty_is_used_to_a_chunk(duty: float, tick_s: float) -> None:
    """Over 10 s the CPU time is the duty's: what is rounded off in a slice comes in the next.

    A duty so small that it is no reason to begin at once begins a slice later.
    Off by what is not worked off yet at the end: a part of a tick, one late
    wake-up and one chunk; and by the slice under way when the time is over.
    """
    rhythm = Rhythm(0, 1, tick_s)
    machine = Machine(duty, until_s=100 * rhythm.slice_s - TINY_S, rhythm=rhythm, late_s=LATE_S)
    machine.run()
    waited_s = rhythm.slice_s if duty <= WAKE_RATIO else 0.0
    worked_s = duty * (machine.now_s - waited_s)
    end_s = EDGE * tick_s + LATE_S + CHUNK_S
    assert machine.used_s == pytest.approx(worked_s, abs=end_s + duty * 2 * tick_s)


DUTIES = (0.01, 0.1, 0.393, 0.5, 0.777, 0.9, 0.983, 1.0)


@pytest.mark.parametrize("tick_s", TICKS_S)
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("duty", DUTIES)
def test_what_is_counted_is_what_is_used(duty: float, phase: float, tick_s: float) -> None:
    """Counted by ticks and by the CPU clock, 10 s agree to 0.3 point, late wake-ups and all."""
    phase_s = phase * tick_s
    machine = Machine(
        duty,
        until_s=10.0,
        rhythm=Rhythm(0, 1, tick_s, phase_s),
        late_s=LATE_S,
        tick_s=tick_s,
        phase_s=phase_s,
    ).run()
    assert machine.counted_s / machine.now_s == pytest.approx(
        machine.used_s / machine.now_s, abs=0.003
    )


@pytest.mark.parametrize("tick_s", TICKS_S)
@pytest.mark.parametrize("seed", range(5))
def test_what_is_counted_is_what_is_used_while_the_duty_moves(seed: int, tick_s: float) -> None:
    """Beside a restless tenant the duty moves by some points each 0.1 s: they agree as well."""
    chance = random.Random(seed)
    phase_s = chance.random() * tick_s
    machine = Machine(
        0.4,
        until_s=10.0,
        rhythm=Rhythm(0, 1, tick_s, phase_s),
        late_s=LATE_S,
        tick_s=tick_s,
        phase_s=phase_s,
    )
    machine.changes = [
        (0.05 + 0.1 * number, chance.uniform(0.3, 0.5), True) for number in range(100)
    ]
    machine.run()
    assert machine.counted_s / machine.now_s == pytest.approx(
        machine.used_s / machine.now_s, abs=0.003
    )


def test_no_duty_means_no_work_and_long_sleep() -> None:
    """Without a lease above 0 the worker neither works nor wakes in each slice."""
    machine = Machine(0.0, until_s=600.0).run()
    assert machine.used_s == 0
    assert len(machine.sleeps) <= 600 / SLICE_S / 100


def test_an_expired_lease_is_no_duty() -> None:
    """Nothing is used after the end of the lease, also inside a slice."""
    machine = Machine(1.0, until_s=10.0)
    machine.board.publish(1.0, 3.05)
    machine.run()
    assert machine.used_s == pytest.approx(3.05, abs=2 * CHUNK_S)


def test_the_first_slice_is_not_waited_for() -> None:
    """A duty that begins between two slices is worked from then on, by the time that is left."""
    machine = Machine(0.0, until_s=0.5)
    machine.changes = [(0.225, 0.4, True)]
    machine.run()
    assert machine.bursts[0][0] == pytest.approx(0.225)
    # 0.4 of what is left until 0.3, then two slices.
    assert machine.used_s == pytest.approx(0.4 * (0.3 - 0.225) + 0.4 * 0.2, abs=2 * CHUNK_S)


@pytest.mark.parametrize("tick_s", [0.0, 0.004])
def test_a_raise_inside_a_slice_is_obeyed_at_once_when_called(tick_s: float) -> None:
    """From 20 to 60 % at 0.25 s: 40 points of the 50 ms left of the slice are worked at once."""
    machine = Machine(0.2, until_s=0.4 - TINY_S, rhythm=Rhythm(0, 1, tick_s))
    machine.changes = [(0.25, 0.6, True)]
    machine.run()
    assert any(begin == pytest.approx(0.25) for begin, _ in machine.bursts)
    expected_s = 0.2 * 0.3 + 0.4 * 0.05 + 0.6 * 0.1
    assert machine.used_s == pytest.approx(expected_s, abs=2 * CHUNK_S + EDGE * tick_s)


def test_a_raise_in_a_burst_is_obeyed_when_it_ends() -> None:
    """From 50 to 90 % at 0.22 s: the burst of 50 ms goes on until nothing is owed any more."""
    machine = Machine(0.5, until_s=0.3 - TINY_S)
    machine.changes = [(0.22, 0.9, True)]
    machine.run()
    # 40 points of what is left when the burst of 50 ms has ended.
    expected_s = 0.5 * 0.3 + 0.4 * 0.05
    assert machine.used_s == pytest.approx(expected_s, abs=3 * CHUNK_S)


def test_a_small_raise_waits_for_the_next_slice() -> None:
    """A point more is not worth a second burst in the slice."""
    machine = Machine(0.2, until_s=1.0 - TINY_S)
    machine.changes = [(0.25, 0.21, True)]
    machine.run()
    assert machine.used_s == pytest.approx(0.2 * 0.3 + 0.21 * 0.7, abs=2 * CHUNK_S)
    assert len(machine.bursts) == 10


@pytest.mark.parametrize("tick_s", [0.0, 0.004])
def test_the_end_of_the_duty_ends_the_burst(tick_s: float) -> None:
    """When the duty falls to 0 in the middle of a burst, work stops within a chunk."""
    machine = Machine(1.0, until_s=2.0, rhythm=Rhythm(0, 1, tick_s))
    machine.changes = [(0.55, 0.0, False)]
    machine.run()
    assert machine.bursts[-1][1] <= 0.55 + 2 * CHUNK_S
    assert machine.used_s == pytest.approx(0.55, abs=2 * CHUNK_S)


@pytest.mark.parametrize("tick_s", [0.0, 0.004])
def test_a_lower_duty_counts_inside_the_burst(tick_s: float) -> None:
    """From 80 to 30 % at 10 and at 50 ms of a burst: it ends at 30 ms, or within a chunk."""
    for at_s, ends_s in ((0.51, 0.53), (0.55, 0.55)):
        machine = Machine(0.8, until_s=0.6 - TINY_S, rhythm=Rhythm(0, 1, tick_s))
        machine.changes = [(at_s, 0.3, False)]
        machine.run()
        # The burst begins up to a tick after the start of its slice.
        assert ends_s - CHUNK_S <= machine.bursts[-1][1] <= ends_s + tick_s + 2 * CHUNK_S


def test_a_shortfall_is_forgotten_when_the_duty_falls() -> None:
    """A lease is a ceiling: what was owed at a higher duty is not worked off at a lower one."""
    machine = Machine(0.5, until_s=20.0)
    machine.share = 0.1
    machine.changes = [(10.02, 0.01, False)]
    machine.run()
    # 10 s at a tenth of the CPU, then 10 s at duty 0.01; with the debt it would be 0.1 s more.
    assert machine.used_s <= 0.1 * 10.02 + 0.01 * 10.0 + 3 * CHUNK_S


def test_at_most_one_slice_is_caught_up() -> None:
    """After a tenant took the CPU for long, one slice of shortfall is made good, not all."""
    machine = Machine(0.5, until_s=5.0)
    machine.share = 0.1
    machine.run()
    # A tenth of the CPU is all it can get.
    assert machine.used_s <= 0.1 * 5.0 + CHUNK_S
    freed = Machine(0.5, until_s=9.99)
    freed.share = 0.1
    freed.changes = [(5.0, 0.5, False)]
    free_from = freed.chunk

    def chunk() -> None:
        freed.share = 0.1 if freed.now_s < 5.0 else 1.0
        free_from()

    freed.chunk = chunk  # type: ignore[method-assign]  # a CPU that becomes free
    freed.run()
    assert freed.used_s <= 0.1 * 5.0 + 0.5 * 5.0 + SLICE_S + 3 * CHUNK_S


@pytest.mark.parametrize("index", range(4))
def test_bursts_begin_in_step_for_good(index: int) -> None:
    """Worker i of 4 begins i/4 of a slice later, in each slice alike."""
    machine = Machine(0.3, until_s=5.0, rhythm=Rhythm(index, 4)).run()
    # The first burst is what is left of the slice in which it starts.
    offsets = [(begin - index * SLICE_S / 4 + 1e-6) % SLICE_S for begin, _ in machine.bursts[1:]]
    assert len(offsets) > 40
    assert offsets == pytest.approx([1e-6] * len(offsets), abs=2e-6)


def test_a_late_worker_comes_back_to_its_place() -> None:
    """A second without the CPU: the next burst is on the old grid, and no slice is repeated."""
    machine = Machine(0.3, until_s=3.0, rhythm=Rhythm(1, 4, 0.004))
    first, longest_s = True, 0.0
    wait = machine.wait

    def lose_a_second(timeout_s: float) -> None:
        nonlocal first
        wait(timeout_s)
        if machine.now_s > 1.0 and first:
            first = False
            machine.now_s += 1.0

    machine.wait = lose_a_second  # type: ignore[method-assign]  # a CPU that is taken away
    machine.run()
    late = [burst for burst in machine.bursts if burst[0] > 2.3]
    slice_s = Rhythm(1, 4, 0.004).slice_s
    for begin, end in late:
        into_s = (begin - 0.024) % slice_s
        assert into_s <= 0.004
        longest_s = max(longest_s, end - begin)
    assert len(late) >= 6
    # One slice may be caught up, no more.
    assert machine.used_s <= 0.3 * 2.0 + slice_s + 3 * CHUNK_S
