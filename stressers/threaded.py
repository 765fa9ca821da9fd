"""What stands in for fork, poll and the lease alarm where there are none: on Windows."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import deque

from stressers import kernel, worker
from stressers.board import Board
from stressers.lease import LineBuffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stressers.windows import Windows

    ThreadBody = Callable[["ThreadPost"], None]

_LOOK_S = 0.2
"""How often signals and the watchdog are looked at, for waiting is not interrupted here."""
EXPIRED_CODE = 1


class ThreadPost:
    """Where a worker stands that is a thread of the crew's own process."""

    __slots__ = ("_called", "_crew_called", "board", "index", "on_duty")

    def __init__(self, board: Board, index: int, crew_called: threading.Event) -> None:
        self.board = board
        self.index = index
        self.on_duty = True
        self._called = threading.Event()
        self._crew_called = crew_called

    def renew(self) -> None:
        """Nothing to do: the crew's watchdog ends the whole process."""

    def wait(self, timeout_s: float) -> None:
        """Sleep until woken or until the timeout."""
        self._called.wait(max(0.0, timeout_s))
        self._called.clear()

    def answered(self) -> None:
        """Wake the crew: an answer is on the board."""
        self._crew_called.set()

    def call(self) -> None:
        """Wake this worker."""
        self._called.set()


class ThreadCrew:
    """Workers as threads; the same doors as ForkCrew, but no deaths: they all die together."""

    def __init__(
        self,
        board: Board,
        body: ThreadBody,
        means: tuple[kernel.Mean, ...],
        called: threading.Event,
    ) -> None:
        self.board = board
        self.pids: dict[int, int] = {}
        self.denied = 0
        self.complete = True
        self._body = body
        self._means = means
        self._called = called
        self._posts: dict[int, ThreadPost] = {}
        self._threads: list[threading.Thread] = []

    def start(self, workers: int) -> None:
        """Take the means for the whole process and start the threads."""
        self.denied = kernel.take_all(self._means)
        for index in range(workers):
            self.start_one(index)

    def start_one(self, index: int) -> None:
        """Start the worker of that place."""
        post = self._posts[index] = ThreadPost(self.board, index, self._called)
        thread = threading.Thread(target=self._body, args=(post,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def wake(self, index: int) -> None:
        """Make a waiting worker look at the board."""
        self._posts[index].call()

    def attend(self) -> None:
        """Nothing to hear: the workers have set the event that the door waits for."""

    def deaths(self) -> list[tuple[int, int, int]]:
        """None: a thread does not end before its process."""
        return []

    def end(self) -> None:
        """Tell all threads to leave and wait a little for them."""
        for post in self._posts.values():
            post.on_duty = False
            post.call()
        for thread in self._threads:
            thread.join(_LOOK_S)


class ThreadDoor:
    """Waits for lines, workers and signals with threads instead of poll(2)."""

    def __init__(self, stdin_fd: int | None) -> None:
        self.stop = False
        self.closed = False
        self.called = threading.Event()
        self.own: tuple[int, ...] = ()
        self._lines: deque[bytes] = deque(maxlen=1024)
        names = ("SIGTERM", "SIGINT", "SIGBREAK", "SIGHUP")
        for number in [getattr(signal, name) for name in names if hasattr(signal, name)]:
            signal.signal(number, self._stopped)
        if stdin_fd is not None:
            threading.Thread(target=self._pump, args=(stdin_fd,), daemon=True).start()

    def watch(self, descriptor: int) -> None:
        """Nothing: the workers call by themselves."""

    def wait(self, timeout_s: float) -> None:
        """Sleep until something has happened or until the timeout."""
        until_s = time.monotonic() + timeout_s
        while not self.stop and (left_s := until_s - time.monotonic()) > 0:
            if self.called.wait(min(left_s, _LOOK_S)):
                break
        self.called.clear()

    def lines(self) -> list[bytes]:
        """The whole lines that have come in since last asked."""
        return [self._lines.popleft() for _ in range(len(self._lines))]

    def _pump(self, stdin_fd: int) -> None:
        buffer = LineBuffer()
        while chunk := os.read(stdin_fd, 4096):
            self._lines.extend(buffer.feed(chunk))
            self.called.set()
        self.closed = "eof" not in worker.DISABLED
        self.called.set()

    def _stopped(self, *_: object) -> None:
        self.stop = True


def lease_alarm(in_s: float, calls: Windows) -> tuple[Callable[[float], None], bool]:
    """How to renew the lease, and whether the kernel's own timer ends the process without it.

    Where there is none to be had, a thread of the interpreter does.
    """
    if "alarm" in worker.DISABLED:
        return (lambda _: None), False
    try:
        return Timer(in_s, calls).renew, True
    except OSError:
        return Watchdog(in_s).renew, False


class Timer:
    """Ends the process when the lease has run out, without the interpreter. Raises OSError."""

    def __init__(self, in_s: float, calls: Windows) -> None:
        self._calls = calls
        self._timer = calls.end_in(in_s)

    def renew(self, in_s: float) -> None:
        """Let the lease end `in_s` seconds from now; at once when that has passed.

        What cannot be renewed stays as it is, and ends the process in time.
        """
        with contextlib.suppress(OSError):
            self._calls.end_later(self._timer, in_s)


class Watchdog:
    """Ends the process when the lease has run out, by a thread of its own."""

    def __init__(self, in_s: float) -> None:
        self._expires_s = time.monotonic() + in_s
        threading.Thread(target=self._watch, daemon=True).start()

    def renew(self, in_s: float) -> None:
        """Let the lease end `in_s` seconds from now."""
        self._expires_s = time.monotonic() + in_s

    def _watch(self) -> None:
        while (left_s := self._expires_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _LOOK_S))
        os._exit(EXPIRED_CODE)
