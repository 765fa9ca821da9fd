"""The loop of every stresser: hear leases, do one small step, sleep until something happens."""

from __future__ import annotations

import os
import signal
import sys
import time

from stressers.board import Board
from stressers.lease import RENEW_S, TTL_S, Lease, LeaseError, Standing, decode
from stressers.worker import FIRST_LEASE_S, orphaned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stressers.teller import Teller
    from stressers.threaded import ThreadCrew, ThreadDoor, ThreadPost

    if sys.platform == "win32":
        AnyCrew = ThreadCrew
        AnyDoor = ThreadDoor
        AnyPost = ThreadPost
    else:
        from stressers.crew import ForkCrew, Post
        from stressers.door import Door

        AnyCrew = ForkCrew | ThreadCrew
        AnyDoor = Door | ThreadDoor
        AnyPost = Post | ThreadPost

DONE, FAILED, USAGE, WORKER_KILLED = 0, 1, 2, 3
"""Exit codes; WORKER_KILLED: a worker was killed from outside, the others were ended."""
LOOK_S = 1.0
"""How long the loop sleeps at most; what matters wakes it earlier."""
_REPLACE_S = 1.0
_READY_S = 2.0
"""How long workers may take to arm themselves before the report is sent without them."""


class Work:
    """What one kind of stresser does with a lease; this one has workers that need no orders."""

    def __init__(self, workers: int, join: Callable[[Board], AnyCrew]) -> None:
        self.workers = workers
        self.board = Board(workers, time.monotonic() + FIRST_LEASE_S)
        self.crew = join(self.board)
        self.place: str | None = None
        self.changed = True
        """Whether the set of processes is another one than last asked."""
        self._starved: set[int] = set()
        self._replaced_s = float("-inf")

    @property
    def held_bytes(self) -> int:
        """What is held, growth that has begun included."""
        return 0

    def start(self) -> None:
        """Start the workers. Raises OSError."""
        self.crew.start(self.workers)

    def pids(self) -> list[int]:
        """The crew itself and its workers."""
        return [os.getpid(), *self.crew.pids.values()]

    def obey(self, value: float, expires_s: float, now_s: float) -> float:  # noqa: ARG002  # some kinds need it
        """Do one small step towards the lease; seconds until the next one at the latest."""
        self.board.publish(value, expires_s)
        denied = self.crew.denied
        self.crew.attend()
        # One that was forked again, and was told of before it was armed.
        self.changed = self.changed or self.crew.denied != denied
        return LOOK_S

    def stirred(self) -> bool:
        """Whether a worker has seen, since last asked, that the host has changed."""
        return False

    def death(self) -> tuple[int, str] | None:
        """Exit code and message when a worker has ended that should not have."""
        for index, pid, code in self.crew.deaths():
            if self._may_starve and code == -_ALARM:
                self._starved.add(index)
            elif code < 0:
                return WORKER_KILLED, f"worker {pid} was killed by {_name(-code)} from outside"
            else:
                return FAILED, f"worker {pid} ended by itself with code {code}"
        return None

    @property
    def _may_starve(self) -> bool:
        """Whether workers run in the idle class, so that a busy tenant can starve them."""
        return False

    def _replace_starved(self, now_s: float) -> None:
        """Fork those again whose lease ran out only because they got no CPU to renew it.

        At most once a second, for a worker may also be stuck, or ended by somebody.
        """
        if not self._starved or now_s - self._replaced_s < _REPLACE_S:
            return
        self._replaced_s = now_s
        for index in self._starved:
            self.crew.start_one(index)
            self.changed = True
        self._starved.clear()

    def close(self) -> None:
        """Give everything back."""
        self.crew.end()


_ALARM = 14
"""SIGALRM, a name that Windows does not have."""


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time signals have no names
        return f"signal {number}"


class Source:
    """Where leases come from; this one gives a fixed one, renewed until a time is over."""

    def __init__(self, door: AnyDoor, value: float, until_s: float | None) -> None:
        self._door = door
        self._value = value
        self._until_s = until_s
        self._next_s = 0.0

    def leases(self, now_s: float) -> list[Lease | None]:
        """The leases that have come in, oldest first; None stands for a broken one."""
        if now_s < self._next_s:
            return []
        self._next_s = now_s + RENEW_S
        return [Lease(self._value, TTL_S)]

    def over(self, now_s: float) -> bool:
        """Whether to end in good order."""
        return self._door.stop or (self._until_s is not None and now_s >= self._until_s)

    def wait(self, timeout_s: float) -> None:
        """Sleep until something happens."""
        left_s = self._next_s - time.monotonic()
        if self._until_s is not None:
            left_s = min(left_s, self._until_s - time.monotonic())
        self._door.wait(max(0.0, min(timeout_s, left_s)))


class Leased(Source):
    """Leases from a controller, one on each line of the input."""

    def __init__(self, door: AnyDoor, kind: str, parent: int) -> None:
        super().__init__(door, 0.0, None)
        self._kind = kind
        self._parent = parent
        self._complained = False

    def leases(self, now_s: float) -> list[Lease | None]:  # noqa: ARG002  # the interface has it
        """See Source; complains of the first broken line on stderr."""
        found: list[Lease | None] = []
        for line in self._door.lines():
            try:
                found.append(decode(self._kind, line))
            except LeaseError as exc:
                found.append(None)
                if not self._complained:
                    self._complained = True
                    print(f"stresser: broken lease, holding nothing: {exc}", file=sys.stderr)
        return found

    def over(self, now_s: float) -> bool:  # noqa: ARG002  # the interface has it
        """At end of file, at a signal, or when the controller has gone."""
        return self._door.stop or self._door.closed or orphaned(self._parent)

    def wait(self, timeout_s: float) -> None:
        """Sleep until something happens."""
        self._door.wait(timeout_s)


def run(
    work: Work,
    source: Source,
    teller: Teller,
    *,
    renew_alarm: Callable[[float], None],
    means_of: Callable[[int], tuple[list[str], list[str]]],
) -> int:
    """Work until over; the exit code. Everything is released when this returns or raises."""
    now_s = started_s = time.monotonic()
    standing = Standing(now_s + FIRST_LEASE_S)
    try:
        work.start()
        while True:
            for lease in source.leases(now_s):
                if lease is None:
                    standing.revoke()
                else:
                    standing.take(lease, now_s)
                    renew_alarm(lease.ttl_s)
            if source.over(now_s):
                return DONE
            end = work.death()
            if end is not None:
                teller.error(end[1])
                return end[0]
            work.board.watch(standing.level)
            pause_s = work.obey(standing.value(now_s), standing.expires_s, now_s)
            if work.stirred():
                teller.stirred()
            if work.changed and (work.crew.complete or now_s > started_s + _READY_S):
                have, lack = means_of(work.crew.denied)
                work.changed = not teller.ready(work.pids(), have, lack, work.place)
            teller.tick(now_s)
            source.wait(pause_s)
            now_s = time.monotonic()
    finally:
        work.close()
