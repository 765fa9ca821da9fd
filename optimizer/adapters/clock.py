"""The real clock: the only place where the daemon waits."""

from __future__ import annotations

import math
import select
import signal
import socket
import sys
import time
from types import TracebackType
from typing import Self


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

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def utc(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def wait_until(self, monotonic_s: float) -> None:
        """Return at that time, or at once after a signal; at once when it has passed."""
        left_s = monotonic_s - time.monotonic()
        if left_s <= 0:
            return
        if self._wait_s(left_s):
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
