"""How a memory lease is split and reached, with a crew and a kernel of the test's own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stressers import resident
from stressers.blocks import BLOCK, UNIT, Blocks
from stressers.board import Board
from stressers.memory import Memory, split
from tests.stresser_fakes import FakeCrew, Heard

GIB = 1 << 30


class Taker:
    """A kernel that takes pages of shards: `taken` bytes by place."""

    def __init__(self) -> None:
        self.taken: dict[int, int] = {}
        self.begun: list[tuple[int, int]] = []

    def begin(self, index: int, pid: int) -> None:
        """See Resident."""
        self.begun.append((index, pid))

    def missing(self, index: int, held_bytes: int) -> int:
        """See Resident."""
        return min(self.taken.get(index, 0), held_bytes)


class Bench:
    """A Memory with its fake crew and teller, and a clock that the test turns."""

    def __init__(self, shards: int = 4, room: int = 64 * GIB, *, lazy: bool = False) -> None:
        self.heard = Heard()
        self.room = room
        self.now_s = 0.0
        self._lazy = lazy
        self.taker = Taker()
        self.memory = Memory(
            shards,
            self._join,  # type: ignore[arg-type]  # by its doors
            self.heard,
            self._room,
            lazy=lazy,
            watch=self.taker,  # type: ignore[arg-type]  # by its doors
        )
        self.memory.crew.start(shards)

    def _join(self, board: Board) -> FakeCrew:
        self.crew = FakeCrew(board, self.heard)
        return self.crew

    def _room(self) -> int:
        return self.room - (0 if self._lazy else int(sum(self.crew.real)))

    def rounds(self, value: float, count: int = 200) -> int:
        """Turn the loop, a millisecond a round; bytes really held afterwards."""
        for _ in range(count):
            self.memory.obey(value, self.now_s + 3.0, self.now_s)
            self.crew.obey_all()
            self.now_s += 0.001
        return int(sum(self.crew.real))


@given(st.integers(0, 1 << 45), st.integers(1, 64))
def test_a_split_never_exceeds_the_lease_and_is_balanced(total: int, shards: int) -> None:
    """Whole units, no more than the lease in sum, less than a unit lost, at most a unit apart."""
    parts = split(total, shards)
    assert len(parts) == shards
    assert all(part % UNIT == 0 for part in parts)
    assert total - UNIT < sum(parts) <= total
    assert max(parts) - min(parts) <= UNIT


def test_a_lease_is_reached_in_steps_and_told_before_each() -> None:
    """Steps of at most a block; FakeCrew checks that each was in the ledger before it began."""
    bench = Bench()
    assert bench.rounds(GIB) == GIB
    told = [value for kind, value in bench.heard.lines if kind == "held"]
    steps = [b - a for a, b in zip([0, *told], told, strict=False)]  # type: ignore[operator]  # ints
    # 1 GiB in blocks of 64 MiB.
    assert steps == [BLOCK] * 16


def test_shrinking_is_told_after_it_has_ended() -> None:
    """The ledger keeps what a shard has not given back yet."""
    bench = Bench()
    bench.rounds(GIB)
    bench.memory.obey(0.0, bench.now_s + 3.0, bench.now_s)
    assert bench.memory.held_bytes == GIB
    bench.crew.obey_all()
    bench.memory.obey(0.0, bench.now_s + 3.0, bench.now_s)
    assert bench.heard.lines[-1] == ("held", 0)


def test_a_lease_that_falls_during_a_growth_keeps_the_growth_in_the_ledger() -> None:
    """Pages of a step that has begun count as ours until the shard has given them back."""
    bench = Bench()
    bench.memory.obey(GIB, 3.0, 0.0)
    bench.memory.obey(0.0, 3.0, 0.001)
    assert bench.memory.held_bytes == BLOCK
    assert bench.rounds(0.0, 2) == 0
    assert bench.memory.held_bytes == 0


def test_growth_stops_at_the_floor_and_says_so_once() -> None:
    """No step beyond what may be taken, however often the lease is renewed."""
    bench = Bench(room=100 * UNIT + 5)
    assert bench.rounds(GIB, 5000) == 100 * UNIT
    limited = [value for kind, value in bench.heard.lines if kind == "limited"]
    assert limited == [("floor", 100 * UNIT)]


def test_memory_that_still_counts_as_free_is_subtracted_by_the_ledger() -> None:
    """MemAvailable does not fall by what the kernel may take back, and the floor holds still."""
    bench = Bench(room=100 * UNIT, lazy=True)
    assert bench.rounds(GIB, 5000) == 100 * UNIT


def test_growth_goes_on_when_there_is_room_again() -> None:
    """A refused growth is tried again by itself, and a later limit is told anew."""
    bench = Bench(room=10 * UNIT)
    bench.rounds(GIB)
    bench.room = 64 * GIB
    assert bench.rounds(GIB, 1500) == GIB
    bench.rounds(0.0, 2000)  # a pace is not told over so long
    bench.room = 10 * UNIT
    bench.rounds(GIB, 1500)
    assert sum(kind == "limited" for kind, _ in bench.heard.lines) == 2


def test_a_kernel_that_denies_memory_is_told_by_its_errno() -> None:
    """ENOMEM of a shard ends the growth and leaves the ledger at what is really held."""
    bench = Bench()
    bench.rounds(GIB)
    bench.crew.errno = 12  # ENOMEM
    bench.rounds(2 * GIB, 20)
    assert bench.heard.lines[-1] == ("held", GIB)
    assert ("limited", ("enomem", GIB)) in bench.heard.lines


def test_nothing_grows_while_the_ledger_cannot_be_told() -> None:
    """A controller that does not read would take our pages for the tenant's."""
    bench = Bench()
    bench.heard.deaf = True
    assert bench.rounds(GIB) == 0
    bench.heard.deaf = False
    bench.now_s += 1.0
    assert bench.rounds(GIB) == GIB


def test_nothing_grows_when_what_is_free_is_unknown() -> None:
    """A reading that fails is no reason to take more."""
    bench = Bench()

    def fails() -> int:
        raise OSError

    bench.memory._room = fails
    assert bench.rounds(GIB) == 0
    assert bench.heard.lines == [("limited", ("unknown", 0))]


def test_pages_that_the_kernel_has_taken_end_all_holding() -> None:
    """It is told once with the bytes of all shards, everything goes back, nothing comes again."""
    bench = Bench()
    bench.rounds(GIB)
    before = len(bench.heard.lines)
    bench.taker.taken = {1: 30 * UNIT, 3: 5 * UNIT}
    assert bench.rounds(GIB, 5000) == 0
    assert bench.heard.lines[before] == ("taken", 35 * UNIT)
    assert [kind for kind, _ in bench.heard.lines].count("taken") == 1
    assert ("held", 0) in bench.heard.lines
    assert ("limited", ("taken", 0)) in bench.heard.lines


def test_after_a_lease_of_nothing_memory_is_taken_again() -> None:
    """A controller that has seen it and waited is obeyed at once."""
    bench = Bench()
    bench.rounds(GIB)
    bench.taker.taken = {0: 10 * UNIT}
    bench.rounds(GIB)
    bench.taker.taken = {}
    assert bench.rounds(GIB) == 0
    bench.rounds(0.0, 1)
    bench.now_s += 1.0  # a refusal is tried again after a second
    assert bench.rounds(GIB) == GIB


def test_without_a_controller_a_pause_is_enough() -> None:
    """By hand the lease never falls: 300 s after the kernel took pages it goes on."""
    bench = Bench()
    bench.rounds(GIB)
    bench.taker.taken = {0: 10 * UNIT}
    bench.rounds(GIB)
    bench.taker.taken = {}
    # 0.4 s of rounds have passed since the first one.
    bench.now_s = 299.0
    assert bench.rounds(GIB) == 0
    bench.now_s = 302.0
    assert bench.rounds(GIB) == GIB


def test_what_was_taken_is_told_as_soon_as_somebody_hears() -> None:
    """The release does not wait for that."""
    bench = Bench()
    bench.rounds(GIB)
    bench.taker.taken = {0: 10 * UNIT}
    bench.heard.deaf = True
    assert bench.rounds(GIB) == 0
    bench.heard.deaf = False
    bench.rounds(GIB, 2)
    assert ("taken", 10 * UNIT) in bench.heard.lines


def test_the_watch_begins_anew_whenever_a_shard_holds_nothing() -> None:
    """What a shard has besides may have changed since it last held something."""
    bench = Bench(shards=2)
    bench.crew.pids = {0: 70, 1: 71}
    bench.rounds(4 * BLOCK)
    assert bench.taker.begun == [(0, 70), (1, 71)]
    bench.rounds(0.0)
    bench.rounds(BLOCK)
    assert bench.taker.begun[2:] == [(0, 70), (1, 71)]


def test_only_own_pages_of_a_shard_count() -> None:
    """Resident less shared pages, as proc(5) orders them."""
    assert resident.anonymous_pages(b"4096 2600 600 1 0 900 0\n") == 2000
    # Two readings, each wrong by up to 32 pages on each of 4 CPUs, and 4 MiB.
    assert resident.tolerance_bytes(4, 4096) == 2 * 32 * 4 * 4096 + (4 << 20)
    # With 64 CPUs each may keep 128 pages to itself.
    assert resident.tolerance_bytes(64, 4096) == 2 * 128 * 64 * 4096 + (4 << 20)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_that_go_behind_our_back_are_missed() -> None:
    """Nothing is missing while the ledger is right; then exactly what went."""
    watch, pid, blocks = resident.Resident(), os.getpid(), Blocks()
    watch.begin(0, pid)
    blocks.resize(40 * UNIT)
    assert watch.missing(0, 40 * UNIT) == 0
    blocks.resize(10 * UNIT)
    assert watch.missing(0, 40 * UNIT) == pytest.approx(30 * UNIT, abs=UNIT)
    blocks.resize(0)
    watch.forget(0)
    assert watch.missing(0, 40 * UNIT) == 0


def resident_bytes() -> int:
    """Anonymous pages of this process, huge ones included. Source: proc(5), smaps_rollup."""
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise AssertionError


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("units", [[1], [40, 3], [5, 70, 33, 32, 31, 0], [64, 65, 64, 1]])
@pytest.mark.parametrize("lazy", [False, True])
def test_blocks_hold_exactly_what_was_asked(units: list[int], *, lazy: bool) -> None:
    """After each resize the kernel counts what the ledger says, up and down, across blocks."""
    blocks = Blocks(lazy=lazy)
    before = resident_bytes()
    for count in units:
        assert blocks.resize(count * UNIT) == 0
        assert blocks.held == count * UNIT
        # A unit of slack for what the interpreter itself takes meanwhile.
        assert resident_bytes() - before == pytest.approx(count * UNIT, abs=UNIT)
    blocks.resize(0)
