"""Holds private, zero-filled memory in several processes, 2 MiB at a time.

Private, because the kernel cannot take shared pages back from a process that
it kills for lack of memory, and then kills a tenant's instead (14 of 40 trials;
none of 360 with two or more processes). Zero-filled, because such pages need
no disk when they are swapped. Never locked. Where the metric counts such pages,
they are marked as free to be taken back by the kernel at any time.
"""

from __future__ import annotations

import errno
import mmap
import sys

from stressers import free, kernel, reclaim, resident
from stressers.blocks import BLOCK, COLD, HUGEPAGE, POPULATE_WRITE, UNIT, Blocks
from stressers.lookout import UNREADABLE_S, Lookout
from stressers.run import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stressers.board import Board
    from stressers.run import AnyCrew, AnyPost
    from stressers.teller import Teller

_IDLE_S = 60.0
_RETRY_S = 1.0
"""How long after a refused growth the next one is tried."""
_TAKEN_S = 300.0
"""How long nothing is taken after the kernel has taken pages; a lease of 0 ends it earlier."""


def split(total_bytes: float, shards: int) -> list[int]:
    """A lease cut into equal parts of whole units; the sum never exceeds the lease."""
    units = int(total_bytes) // UNIT
    return [(units // shards + (index < units % shards)) * UNIT for index in range(shards)]


def hold(post: AnyPost, *, lazy: bool = False) -> None:
    """Hold what the orders on the board say until told to leave; lazily: see Block."""
    blocks = Blocks(lazy=lazy)
    while post.on_duty:
        order = post.board.order(post.index)
        if order is None:
            post.wait(_IDLE_S)
            continue
        number, target = order
        code = blocks.resize(int(target))
        post.board.answer(post.index, number, blocks.held, code)
        post.answered()
        post.renew()


class Memory(Work):
    """Splits the lease over the shards; orders one growth step at a time.

    Before each step it reads what is free, and tells the ledger, so that a
    controller that reads the host first and the ledger second never takes our
    pages for the tenant's. A ledger that cannot be told stops the growth.
    `lazy` says that what is free includes what we hold, see Block.

    While it holds it looks at what is free as often as a burst of a tenant makes
    it necessary, and gives back what is lacking without being told.

    When the kernel takes pages of a shard it is short of memory: then all is
    given back, and nothing taken for a while, for to fill up again would be a
    tug of war.
    """

    def __init__(
        self,
        shards: int,
        join: Callable[[Board], AnyCrew],
        teller: Teller,
        room: Callable[[], int] | None = None,
        *,
        lazy: bool = False,
        watch: resident.Resident | None = None,
    ) -> None:
        super().__init__(shards, join)
        self._lazy = lazy
        self._watch = resident.Resident() if watch is None else watch
        self._taken = 0
        self._refused_until_s = 0.0
        self._teller = teller
        self._room = free.MemoryRoom() if room is None else room
        self._orders = [0] * shards
        self._ledger = [0] * shards
        self._told = 0
        self._limited: str | None = None
        self._retry_s = 0.0
        self._lookout = Lookout()

    @property
    def held_bytes(self) -> int:
        """What is held, growth that has begun included; 0 once the shards have ended."""
        return sum(self._ledger)

    def obey(self, value: float, expires_s: float, now_s: float) -> float:
        """Shrink at once, or grow by one step."""
        pause_s = super().obey(value, expires_s, now_s)
        at_work = self._hear(now_s)
        busy = bool(at_work)
        self._look(at_work, now_s)
        if value <= 0:
            self._refused_until_s = 0.0
        refused = now_s < self._refused_until_s
        if self.held_bytes and now_s >= self._lookout.due_s:
            self._look_out(busy, now_s)
        parts = split(0 if refused else self._lookout.within(value, now_s), self.workers)
        for index, part in enumerate(parts):
            if self._orders[index] > part:
                self._order(index, part)
                busy = True
        if not busy and refused:
            self._limit("taken", now_s)
        elif not busy and now_s >= self._retry_s:
            self._grow(parts, now_s)
        held = self.held_bytes
        if held != self._told and self._teller.held(held):
            self._told = held
        pause_s = min(pause_s, max(self._retry_s - now_s, 0.0) or pause_s)
        return min(pause_s, self._lookout.pause_s(now_s)) if held else pause_s

    def _look_out(self, busy: bool, now_s: float) -> None:
        """Whether others need what is held; while a shard is at work the ledger does not tell."""
        if busy:
            self._lookout.later(now_s)
            return
        try:
            self._lookout.look(self._room_now(), self.held_bytes, now_s)
        except OSError:  # said when it is to grow
            self._lookout.later(now_s, UNREADABLE_S)

    def _room_now(self) -> int:
        """How much more may be taken. Raises OSError."""
        # Lazy pages are on the list of inactive file pages, and so in MemAvailable.
        return self._room() - (self.held_bytes if self._lazy else 0)

    def _hear(self, now_s: float) -> set[int]:
        """Take the answers into the ledger; the shards whose answer is still outstanding."""
        at_work = set()
        for index in range(self.workers):
            if self.board.order(index) is not None:
                at_work.add(index)
                continue
            held, code = self.board.held(index)
            self._ledger[index] = int(held)
            if self._orders[index] != held:
                self._orders[index] = int(held)
                if code:
                    self._limit(errno.errorcode.get(code, str(code)).lower(), now_s)
        return at_work

    def _look(self, at_work: set[int], now_s: float) -> None:
        """Whether the kernel has taken pages of shards that are not at work.

        Not asked of the board once more: a shard that has shrunk in between has
        less than the ledger says, and nobody has taken it.
        """
        taken = sum(
            self._watch.missing(index, held)
            for index, held in enumerate(self._ledger)
            if held and index not in at_work
        )
        if taken and now_s >= self._refused_until_s:
            self._refused_until_s = now_s + _TAKEN_S
            self._taken += taken
        if self._taken and self._teller.taken(self._taken):
            self._taken = 0

    def _grow(self, parts: list[int], now_s: float) -> None:
        """One step for the shard that lacks most, so that they stay balanced."""
        lack, index = max((part - self._orders[i], -i) for i, part in enumerate(parts))
        index = -index
        if lack <= 0:
            self._limited = None
            return
        try:
            room = self._room_now()
        except OSError:
            self._limit("unknown", now_s)
            return
        step = min(BLOCK, lack, room // UNIT * UNIT)
        if step <= 0:
            self._limit("floor", now_s)
        elif self._teller.held(self.held_bytes + step):
            self._told = self.held_bytes + step
            self._order(index, self._orders[index] + step)
        else:
            self._retry_s = now_s + _RETRY_S

    def _order(self, index: int, target: int) -> None:
        if self._ledger[index] == 0 and index in self.crew.pids:
            self._watch.begin(index, self.crew.pids[index])
        self._orders[index] = target
        self._ledger[index] = max(self._ledger[index], target)
        self.board.command(index, target)
        self.crew.wake(index)

    def _limit(self, by: str, now_s: float) -> None:
        self._retry_s = now_s + _RETRY_S
        if by != self._limited and self._teller.limited(by, self.held_bytes):
            self._limited = by

    def close(self) -> None:
        """End the shards; their memory goes with them."""
        super().close()
        if not self.crew.pids:
            self._ledger = [0] * self.workers
        self._teller.held(self.held_bytes)


def means(metric: str = "available") -> tuple[kernel.Mean, ...]:
    """What this kernel offers for memory, tried on one page, and how it takes ours back.

    No idle class and no nice value: giving memory back needs CPU time too, and
    must not wait for a busy tenant to leave some.
    """
    huge = _probe(HUGEPAGE)
    cold = kernel.Mean("MADV_COLD", "the kernel swaps others' pages first", _probe(COLD))
    return (
        kernel.Mean("MADV_POPULATE_WRITE", "taking memory costs more CPU", _probe(POPULATE_WRITE)),
        kernel.Mean(
            "MADV_HUGEPAGE",
            "taking memory and giving it back is slower",
            lambda pid: huge(pid) and reclaim.huge_pages(),
        ),
        *(() if reclaim.works_lazily(metric) else (cold,)),
        *reclaim.ways(metric),
    )


def _probe(advice: int) -> Callable[[int], bool]:
    def works(_: int) -> bool:
        if sys.platform != "linux":
            return False
        with mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
            page.madvise(advice, 0, mmap.PAGESIZE)
        return True

    return works
