"""The real clock: the only place where the daemon waits."""

from __future__ import annotations

import contextlib
import math
import select
import signal
import socket
import sys
import time
from types import TracebackType
from typing import Self

_MONOTONIC_COARSE = 6
"""A clock that is set forward at each tick. Source: clock_getres(2), linux/time.h."""
_LONGEST_TICK_S = 0.0101
_AFTER_TICK_S = 0.0003
_PHASE_LOOKS = 3


def tick_phase_s() -> float:
    """How much later than a multiple of its length the tick comes; 0 where it is not known.

    Seen by waiting for the coarse clock to be set forward; takes some ticks.
    """
    if sys.platform != "linux":
        return 0.0
    length_s = time.clock_getres(_MONOTONIC_COARSE)
    if length_s > _LONGEST_TICK_S:
        return 0.0
    looks: list[float] = []
    now_s, coarse = time.monotonic(), time.clock_gettime_ns(_MONOTONIC_COARSE)
    until_s = now_s + 2 * _PHASE_LOOKS * length_s
    while now_s < until_s and len(looks) < _PHASE_LOOKS:
        now_s, before = time.monotonic(), coarse
        coarse = time.clock_gettime_ns(_MONOTONIC_COARSE)
        if coarse != before:
            looks.append(now_s % length_s)
    if not looks:
        return 0.0
    # An interrupt can be late, so the earliest counts: on a circle, seen from the first.
    first, half_s = looks[0], length_s / 2
    earliest_s = min((look - first + half_s) % length_s for look in looks) - half_s
    return (first + earliest_s) % length_s


class WakeableClock:
    """Monotonic and UTC time, and a wait that any signal ends.

    While the clock is open it owns Python's signal wake-up descriptor: a
    signal writes a byte into a socket pair, on which the wait selects. Open
    it in the main thread.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        # poll(2) costs two thirds of select(2) here, at ten waits a second.
        self._poll = None
        if sys.platform != "win32":
            self._poll = select.poll()
            self._poll.register(self._reader, select.POLLIN)
        self._previous = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def call(self, descriptor: int, begin: bool) -> None:  # on or off, as select
        """From now on (or no longer) a wait ends as well when that descriptor can be read."""
        if self._poll is None:
            return
        if begin:
            self._poll.register(descriptor, select.POLLIN)
        else:
            self._poll.unregister(descriptor)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def utc(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def beat(self, period_s: float) -> float:
        """The next instant of a rhythm of that period, just after a tick of the scheduler.

        CPU time is counted by looking, at each tick, who is running. What runs
        for less than a tick, always at the same distance from it, is seen
        either each time or never: never is nearer to the truth.
        """
        after_s = tick_phase_s() + _AFTER_TICK_S
        return (math.floor((time.monotonic() - after_s) / period_s) + 1) * period_s + after_s

    def wait_until(self, monotonic_s: float) -> None:
        """Return at that time, or at once after a signal; at once when it has passed."""
        left_s = monotonic_s - time.monotonic()
        if left_s <= 0:
            return
        if self._wait_s(left_s):
            with contextlib.suppress(BlockingIOError):
                self._reader.recv(256)

    def _wait_s(self, seconds: float) -> bool:
        """Whether a signal came within that time."""
        if self._poll is None:
            return bool(select.select([self._reader], [], [], seconds)[0])
        # Rounded up: waking early would cost a second wake-up.
        return bool(self._poll.poll(math.ceil(seconds * 1000)))

    def close(self) -> None:
        """Give the wake-up descriptor back."""
        signal.set_wakeup_fd(self._previous)
        self._reader.close()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
