"""Life and death of a stresser process: each way to die suffices alone.

1. The lease alarm ends it when the lease is not renewed, also inside a system
   call or with a hung interpreter, for no Python handler is involved.
2. The kernel kills it when its parent ends.
3. The kernel kills it when the controller's end of the life pipe is closed.
4. End of file on its input ends it, where its loop still turns.
Beside these, resource limits bound what a fault could do.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import sys

from stressers import kernel, windows
from stressers.lease import TEST_SWITCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_LEASE_S = 10.0
"""How long a stresser waits for its first lease. Long, for it holds nothing yet."""
_SPARE_FILES = 64
_PAGE_BYTES = 1 << 16
"""A crew and its workers write no files but their marks; the largest page of any kernel."""
_DATA_BYTES = 256 << 20
"""Many times what a crew or a CPU worker needs, some 10 MB: a fault cannot take the memory."""

DISABLED = frozenset(os.environ.get(TEST_SWITCH, "").split(","))
"""Ways to die that a test has switched off: alarm, pdeathsig, pipe, eof."""


def renew_alarm(in_s: float) -> None:
    """Let the lease end `in_s` seconds from now; at once when that has passed."""
    if sys.platform != "win32" and "alarm" not in DISABLED:
        signal.setitimer(signal.ITIMER_REAL, max(in_s, 0.001))


def arm_alarm(in_s: float) -> bool:
    """Make the lease alarm deadly, whatever was inherited, and set it."""
    if sys.platform == "win32":
        return False
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    renew_alarm(in_s)
    return True


def arm_pipe(life_fd: int) -> bool:
    """Be killed by the kernel when the life pipe's only write end is closed.

    Opens a file description of its own, because each has one owner to signal
    and a forked worker shares that of its crew. The descriptor stays open for
    good. False when that is denied, or `life_fd` is no pipe.
    """
    if sys.platform != "linux" or "pipe" in DISABLED:
        return False
    import fcntl  # noqa: PLC0415  # does not exist on Windows

    try:
        own = os.open(f"/proc/self/fd/{life_fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISFIFO(os.fstat(own).st_mode):
            os.close(own)
            return False
        fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | os.O_ASYNC)
    except OSError:
        return False
    # The write end may have been closed before the pipe was armed.
    watch = select.poll()
    watch.register(own, select.POLLIN)
    if watch.poll(0):
        os._exit(0)
    return True


def arm_parent(parent: int) -> bool:
    """Be killed by the kernel when the parent ends; ends here when it already has.

    To be called last, for the kernel forgets it when ids change or at fork.
    """
    if sys.platform == "win32":
        return "pdeathsig" not in DISABLED and end_with(windows.system(), parent)
    armed = "pdeathsig" not in DISABLED and kernel.die_with_parent(KILL)
    if orphaned(parent):
        os._exit(0)
    return armed


def end_with(
    calls: windows.Windows, parent: int, leave: Callable[[int], object] = os._exit
) -> bool:
    """The same on Windows; False where the parent may not be watched."""
    try:
        if not calls.end_with(parent):
            leave(0)
    except OSError:
        return False
    return True


def orphaned(parent: int) -> bool:
    """Whether the parent has gone; compared with its pid, for init need not be who adopts."""
    if sys.platform == "win32" or "pdeathsig" in DISABLED:
        return False
    return os.getppid() != parent


def limit_crew(files: int, *, writes: bool) -> None:
    """No core dumps, bounded memory, and room for `files` descriptors but not for many more.

    Unless it `writes` files, none grows beyond a page. Its workers inherit
    all that; see limit_worker().
    """
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415  # does not exist on Windows

    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, _SPARE_FILES + files)
    if not writes:
        _lower(resource.RLIMIT_FSIZE, _PAGE_BYTES)
    if sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (_least(_DATA_BYTES, hard), hard))


def limit_worker(*, holds: bool) -> None:
    """A worker opens hardly a file and never writes one; only one that holds memory gets more."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415  # does not exist on Windows

    _lower(resource.RLIMIT_NOFILE, _SPARE_FILES)
    _lower(resource.RLIMIT_FSIZE, 0)
    if sys.platform == "linux" and holds:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _least(wanted: int, hard: int) -> int:
    infinite = -1  # RLIM_INFINITY, also where it is a very large number
    return wanted if hard == infinite else min(wanted, hard)


def _lower(which: int, to: int) -> None:
    """For good: the hard limit too."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415  # does not exist on Windows

        to = _least(to, resource.getrlimit(which)[1])
        resource.setrlimit(which, (to, to))


KILL = 9
"""SIGKILL, a name that Windows does not have."""

ALARM_COST = "a hung controller is noticed only by a thread of the interpreter"
PARENT_COST = "end of the parent is noticed by end of file on a pipe only"
PIPE_COST = "end of the controller is noticed by other means only"
