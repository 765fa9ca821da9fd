"""Slices of CPU time, with a simulated clock: what is used never depends on the real one."""

from __future__ import annotations

import pytest

from stressers.board import Board
from stressers.cpu import SLICE_S, burn, next_slice, stagger_s

CHUNK_S = 0.0004


class Machine:
    """A post on a simulated CPU; `share` of the time a chunk takes is ours, the rest a tenant's."""

    index = 0

    def __init__(self, duty: float, until_s: float) -> None:
        self.board = Board(1, 1e9)
        self.board.publish(duty, 1e9)
        self.now_s = 0.0
        self.used_s = 0.0
        self.share = 1.0
        self.sleeps: list[float] = []
        self.burst_begins_s: list[float] = []
        self.changes: list[tuple[float, float]] = []
        self._until_s = until_s
        self._awake = False

    @property
    def on_duty(self) -> bool:
        """Whether the simulated time is not over."""
        return self.now_s < self._until_s

    def monotonic(self) -> float:
        """The simulated clock."""
        return self.now_s

    def cpu_time(self) -> float:
        """What was worked until now."""
        return self.used_s

    def chunk(self) -> None:
        """Work for a moment."""
        if not self._awake:
            self.burst_begins_s.append(self.now_s)
        self._awake = True
        self.used_s += CHUNK_S
        self._pass(CHUNK_S / self.share)

    def wait(self, timeout_s: float) -> None:
        """Sleep."""
        self._awake = False
        self.sleeps.append(timeout_s)
        self._pass(timeout_s)

    def renew(self) -> None:
        """No alarm here."""

    def answered(self) -> None:
        """Nobody listens."""

    def _pass(self, seconds: float) -> None:
        self.now_s += seconds
        while self.changes and self.changes[0][0] <= self.now_s:
            self.board.publish(self.changes.pop(0)[1], 1e9)

    def run(self, stagger: float = 0.0) -> Machine:
        """Work until the time is over."""
        burn(
            self,  # type: ignore[arg-type]  # a Post by its doors, not by its class
            stagger,
            monotonic=self.monotonic,
            cpu_time=self.cpu_time,
            chunk=self.chunk,
        )
        return self


@pytest.mark.parametrize("duty", [0.001, 0.01, 0.18, 0.5, 0.999, 1.0])
def test_the_duty_is_used_to_a_chunk(duty: float) -> None:
    """Over 100 slices the CPU time is the duty's, off by a chunk at most: errors do not add up."""
    machine = Machine(duty, until_s=101 * SLICE_S - 0.001)
    machine.run()
    # The first slice begins at the first boundary after 0: 100 of the 101 are worked.
    assert machine.used_s == pytest.approx(duty * 100 * SLICE_S, abs=2 * CHUNK_S)


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
    # From the first boundary at 0.1 s to the end of the lease.
    assert machine.used_s == pytest.approx(3.05 - 0.1, abs=2 * CHUNK_S)


def test_a_lower_duty_counts_inside_the_slice() -> None:
    """When the duty falls to 0 in the middle of a slice, work stops within a chunk."""
    machine = Machine(1.0, until_s=2.0)
    machine.changes = [(0.55, 0.0)]
    machine.run()
    assert machine.used_s == pytest.approx(0.55 - 0.1, abs=2 * CHUNK_S)


def test_at_most_one_slice_is_caught_up() -> None:
    """After a tenant took the CPU for long, one slice of shortfall is made good, not all."""
    machine = Machine(0.5, until_s=10.0)
    machine.share = 0.1
    machine.changes = [(5.0, 0.5)]
    starved = machine.run().used_s
    # A tenth of the CPU is all it can get, at duty 0.5 in each slice.
    assert starved <= 0.1 * 10.0 + CHUNK_S
    machine = Machine(0.5, until_s=5.0)
    machine.share = 0.1
    machine.run()
    freed_from_s, used_s = machine.now_s, machine.used_s
    machine.share, machine._until_s = 1.0, freed_from_s + 5.0
    machine.run()
    assert machine.used_s - used_s <= 0.5 * 5.0 + SLICE_S + 2 * CHUNK_S


def test_a_shortfall_is_forgotten_when_the_duty_falls() -> None:
    """A lease is a ceiling: what was owed at a higher duty is not worked off at a lower one."""
    machine = Machine(0.5, until_s=20.0)
    machine.share = 0.1
    machine.changes = [(10.02, 0.01)]
    machine.run()
    # 10 s at a tenth of the CPU, then 10 s at duty 0.01; with the debt it would be 0.1 s more.
    assert machine.used_s <= 0.1 * 10.02 + 0.01 * 10.0 + 3 * CHUNK_S


def test_slices_begin_on_a_grid_moved_by_the_stagger() -> None:
    """Worker i of N begins i/N of a slice later, and all begin in step for good."""
    quarters = [0.0, SLICE_S / 4, SLICE_S / 2, 3 * SLICE_S / 4]
    assert [stagger_s(i, 4) for i in range(4)] == pytest.approx(quarters)
    machine = Machine(0.3, until_s=5.0).run(stagger=0.025)
    offsets = [begin % SLICE_S for begin in machine.burst_begins_s]
    assert len(offsets) > 40
    assert offsets == pytest.approx([0.025] * len(offsets), abs=1e-6)


def test_a_late_worker_keeps_its_place_on_the_grid() -> None:
    """However late it is, the next slice begins on the worker's own grid and in the future."""
    for now_s in (0.0, 1.234, 1e6 + 0.0251, 86400 * 365.0):
        begins_s = next_slice(now_s, 0.025)
        assert now_s < begins_s <= now_s + SLICE_S + 1e-6
        assert (begins_s - 0.025) / SLICE_S == pytest.approx(round((begins_s - 0.025) / SLICE_S))
