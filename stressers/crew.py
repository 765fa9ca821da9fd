"""A crew: one process that reads leases, and the workers that it forks.

Forked workers share the interpreter's pages with the crew: hundreds of them do
not need hundreds of interpreters. Where there is no fork, see threaded.py.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time
import traceback

from stressers import kernel, mark, worker
from stressers.board import Board

if sys.platform == "win32":
    message = "there is no fork here; see threaded.py"
    raise ImportError(message)

# Loaded before any fork: each worker that loads them itself has its own copy of half a megabyte.
import fcntl  # noqa: F401  # for worker.arm_pipe()
import resource  # noqa: F401  # for worker.limit_worker()

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Body = Callable[["Post"], None]
    """What a worker does at its post until it is told to leave."""

_LOOK_S = 1.0
"""How long a worker sleeps at most before it looks for a fresh lease."""
_END_S = 2.0
"""How long to wait for killed workers; one in an uninterruptible sleep is not waited for."""


class Post:
    """Where a worker stands: its board, and how it waits. This one is for a forked worker."""

    __slots__ = ("_back", "_expires_s", "_wake", "board", "index")

    def __init__(self, board: Board, index: int, wake: int, back: int) -> None:
        self.board = board
        self.index = index
        self._wake = wake
        self._back = back
        self._expires_s = 0.0

    @property
    def on_duty(self) -> bool:
        """Whether to go on; a forked worker is killed instead of being told."""
        return True

    def renew(self) -> None:
        """Set the lease alarm again if the crew has heard a fresh lease since."""
        expires_s = self.board.expires_s
        if expires_s != self._expires_s:
            self._expires_s = expires_s
            worker.renew_alarm(expires_s - time.monotonic())

    def wait(self, timeout_s: float) -> None:
        """Sleep until woken, until the timeout, or until it is time to look for a fresh lease."""
        self.renew()
        left_s = self._expires_s - time.monotonic()
        # A third of the lease: one late wake-up does not let it run out. And no longer than
        # _LOOK_S, for a shorter lease may have come after a longer one.
        timeout_s = max(0.0, min(timeout_s, max(left_s / 3, 0.01), _LOOK_S))
        if self._wake < 0:
            time.sleep(timeout_s)
        elif select.select([self._wake], [], [], timeout_s)[0] and not os.read(self._wake, 4096):
            if "eof" not in worker.DISABLED:
                os._exit(0)  # the crew's end of the pipe is closed: the crew has gone
            self._wake = -1
        self.renew()

    def answered(self) -> None:
        """Wake the crew: an answer is on the board."""
        try:
            os.write(self._back, b".")
        except BlockingIOError:
            return  # the pipe is full, so the crew will wake anyway


class ForkCrew:
    """Forks and ends the workers; POSIX only.

    `means` are taken for each worker once it is armed; only then it begins.
    `own` are descriptors of the crew that a worker must not keep. `life_fd` is
    the controller's life pipe, if any. `holds` tells that workers hold much memory,
    `write_mark` makes a descriptor of mark.open_mark() that of a worker's pid,
    `enter` is called by each worker once it can die, before it says so.
    """

    def __init__(
        self,
        board: Board,
        body: Body,
        means: tuple[kernel.Mean, ...],
        *,
        life_fd: int | None = None,
        own: tuple[int, ...] = (),
        holds: bool = False,
        enter: Callable[[], object] = lambda: None,
        write_mark: Callable[[int, int], object] = lambda _descriptor, _pid: None,
    ) -> None:
        self.board = board
        self.pids: dict[int, int] = {}
        """Pid of each worker, by its place in the crew."""
        self.denied = 0
        """Means that any worker lacks, one bit each."""
        self._arming: set[int] = set()
        self._body = body
        self._means = means
        self._life_fd = life_fd
        self._own = own
        self._holds = holds
        self._enter = enter
        self._write_mark = write_mark
        self._wakes: dict[int, int] = {}
        self._marks: dict[int, int] = {}
        self.back_fd, self._back_write = os.pipe()
        os.set_blocking(self.back_fd, False)
        os.set_blocking(self._back_write, False)

    def start(self, workers: int) -> None:
        """Fork all workers. Raises OSError when the host denies one."""
        gc.disable()
        gc.freeze()  # a collection in a worker would write to pages that it shares
        for index in range(workers):
            self.start_one(index)

    def start_one(self, index: int) -> None:
        """Fork the worker of that place."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        # A signal in between would run the crew's handler in the worker.
        signals = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
        crew = os.getpid()
        self.board.enlist(index)
        own_mark = mark.open_mark()
        self._forget_mark(index)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                self._become(crew, index, wake_read, wake_write)
                code = 0
            except (OSError, ValueError, MemoryError):
                traceback.print_exc()
            finally:
                os._exit(code)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(wake_read)
        if index in self._wakes:
            os.close(self._wakes[index])
        self._wakes[index] = wake_write
        self.pids[index] = pid
        self._marks[index] = own_mark
        self._arming.add(index)

    def _forget_mark(self, index: int) -> None:
        """Of a worker that has ended before it was armed."""
        if self._marks.get(index, -1) >= 0:
            os.close(self._marks.pop(index))

    def _become(self, crew: int, index: int, wake: int, wake_write: int) -> None:
        """The life of a worker, from its fork to its end."""
        worker.arm_alarm(self.board.expires_s - time.monotonic())
        signal.set_wakeup_fd(-1)
        # Ctrl-C goes to the whole group; the crew alone answers it, and ends the workers.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        # A worker that kept these would hide the crew's end from the others and the controller.
        others = (*self._own, *self._wakes.values(), *self._marks.values())
        for descriptor in (*others, wake_write, self.back_fd):
            if descriptor >= 0:
                os.close(descriptor)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        os.close(nothing)
        low = os.dup(wake)  # select(2) takes small numbers only
        os.close(wake)
        if self._life_fd is not None:
            # Not told to the crew: what it could arm for itself, a worker can.
            worker.arm_pipe(self._life_fd)
            os.close(self._life_fd)
        worker.limit_worker(holds=self._holds)
        worker.arm_parent(crew)
        self._enter()
        self.board.arm(index)
        post = Post(self.board, index, low, self._back_write)
        post.answered()
        while not self.board.may_go(index):
            post.wait(_LOOK_S)
        self._body(post)

    def wake(self, index: int) -> None:
        """Make a waiting worker look at the board."""
        try:
            os.write(self._wakes[index], b".")
        except (BlockingIOError, BrokenPipeError):
            return  # it has not read earlier calls, or has gone; both are seen elsewhere

    def attend(self) -> None:
        """Hear the workers' calls, and let those go that are armed."""
        try:
            while os.read(self.back_fd, 4096):
                pass
        except BlockingIOError:
            pass  # all calls are heard; what they are about is on the board
        for index in [i for i in self._arming if self.board.armed(i)]:
            self._arming.remove(index)
            own_mark = self._marks.pop(index)
            if index in self.pids:
                # Only now: what is written between two forks is shared by none of the workers.
                self._write_mark(own_mark, self.pids[index])
                self.denied |= kernel.take_all(self._means, self.pids[index])
                self.board.let_go(index)
                self.wake(index)
            if own_mark >= 0:
                os.close(own_mark)

    @property
    def complete(self) -> bool:
        """Whether all workers have been let go."""
        return not self._arming

    def deaths(self) -> list[tuple[int, int, int]]:
        """Place, pid and exit code (negative: signal) of workers that ended since last asked.

        A worker that somebody has stopped is killed: it would keep what it
        holds, and its lease alarm does not reach a stopped process.
        """
        found: list[tuple[int, int, int]] = []
        while self.pids:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if os.WIFSTOPPED(status):
                os.kill(pid, worker.KILL)  # not reaped yet, so the pid is still its own
                continue
            index = next((i for i, known in self.pids.items() if known == pid), None)
            if index is not None:  # else a child of what this process was before its exec
                del self.pids[index]
                found.append((index, pid, os.waitstatus_to_exitcode(status)))
        return found

    def end(self) -> None:
        """Kill all workers and wait a little for them."""
        for pid in self.pids.values():
            os.kill(pid, worker.KILL)  # not reaped yet, so the pid is still theirs
        until_s = time.monotonic() + _END_S
        while self.pids and time.monotonic() < until_s:
            if not self.deaths():
                time.sleep(0.001)
