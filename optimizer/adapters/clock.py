"""The real clock: the only place where the daemon waits."""

from __future__ import annotations

import select
import signal
import socket
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
        ready, _, _ = select.select([self._reader], [], [], left_s)
        if ready:
            self._reader.recv(256)

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
