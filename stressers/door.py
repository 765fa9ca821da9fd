"""Waits for leases, workers and signals at once, on POSIX."""

from __future__ import annotations

import os
import select
import signal
import sys

from stressers import worker
from stressers.lease import LineBuffer

if sys.platform == "win32":
    message = "there is no poll(2) on pipes here; see threaded.py"
    raise ImportError(message)

_READ_BYTES = 1 << 16


class Door:
    """Everything that can wake a crew.

    `stop` is set by SIGTERM, SIGINT and SIGHUP, `closed` at end of file.
    `own` are the descriptors that a forked worker must not keep.
    """

    def __init__(self, stdin_fd: int | None) -> None:
        self.stop = False
        self.closed = False
        self._lines = LineBuffer()
        self._stdin = stdin_fd
        self._poll = select.poll()
        self._signals, signals_write = os.pipe()
        self.own = (self._signals, signals_write)
        for descriptor in self.own:
            os.set_blocking(descriptor, False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stopped)
        signal.signal(signal.SIGCHLD, self._child_ended)
        signal.set_wakeup_fd(signals_write, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        self.watch(self._signals)
        if stdin_fd is not None:
            os.set_blocking(stdin_fd, False)
            self.watch(stdin_fd)

    def watch(self, descriptor: int) -> None:
        """Wake also when that can be read."""
        self._poll.register(descriptor, select.POLLIN)

    def wait(self, timeout_s: float) -> None:
        """Sleep until something has happened or until the timeout."""
        self._poll.poll(max(0.0, timeout_s * 1000))
        try:
            os.read(self._signals, _READ_BYTES)
        except BlockingIOError:
            return

    def lines(self) -> list[bytes]:
        """The whole lines that have come in since last asked; notices end of file."""
        if self._stdin is None or self.closed:
            return []
        try:
            chunk = os.read(self._stdin, _READ_BYTES)
        except BlockingIOError:
            return []
        if not chunk:
            self._poll.unregister(self._stdin)
            self.closed = "eof" not in worker.DISABLED
            self._stdin = None
        return self._lines.feed(chunk)

    def _stopped(self, *_: object) -> None:
        self.stop = True

    def _child_ended(self, *_: object) -> None:
        """Only to wake the poll; who ended is asked of the kernel."""
