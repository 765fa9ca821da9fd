"""Kernel means by which a stresser stands back, one function each, and their cost if denied.

Those that name a process can be taken for another one of the same user: a crew
takes them for its workers, because a worker that has entered the idle class
beside a busy tenant may not get the CPU to say so. Pid 0 is the caller.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import time

from stressers import windows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
"""System call numbers of ioprio_set(2), which the C library does not wrap."""
_IOPRIO_IDLE = 3 << 13
"""IOPRIO_CLASS_IDLE in the class bits. Source: linux/ioprio.h."""
_PR_SET_PDEATHSIG = 1
"""Source: prctl(2), linux/prctl.h."""
_MONOTONIC_COARSE = 6
"""Source: linux/time.h; Python has no name for it."""
_TICKS_S = (0.0005, 0.0101)
"""Kernels are built with 100 to 1,000 ticks a second."""
_PHASE_LOOKS = 3
_SYSFS = "/sys/fs/cgroup"
_LIBC: ctypes.CDLL
if sys.platform == "linux":
    # Loaded and looked up before any fork: done in a worker, each would pay for its own copy.
    _LIBC = ctypes.CDLL(None, use_errno=True)
    _CALLS = _LIBC.prctl, _LIBC.syscall


class Mean:
    """One kernel means: its name, what its lack costs, and how it is taken.

    `take` gets the pid of the process, and returns whether it is in force
    afterwards; an OSError means it is not.
    """

    __slots__ = ("_take", "cost", "name")

    def __init__(self, name: str, cost: str, take: Callable[[int], bool]) -> None:
        self.name = name
        self.cost = cost
        self._take = take

    def taken(self, pid: int) -> bool:
        """Take it; whether it is in force."""
        try:
            return self._take(pid)
        except OSError:
            return False

    def lack(self) -> str:
        """Its name and what its lack costs."""
        return f"{self.name}: {self.cost}"


def take_all(means: tuple[Mean, ...], pid: int = 0) -> int:
    """Take each; one bit is set for each that is denied, the first means in the lowest bit."""
    return sum(1 << place for place, mean in enumerate(means) if not mean.taken(pid))


def named(means: tuple[Mean, ...], denied: int) -> tuple[list[str], list[str]]:
    """Names of the means in force, and name and cost of those that are denied."""
    have = [mean.name for place, mean in enumerate(means) if not denied >> place & 1]
    lack = [mean.lack() for place, mean in enumerate(means) if denied >> place & 1]
    return have, lack


def first_to_kill() -> bool:
    """Volunteer for the OOM killer; inherited by forked workers."""
    if sys.platform != "linux":
        return False
    descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    try:
        return os.write(descriptor, b"1000") > 0
    finally:
        os.close(descriptor)


def idle_class(pid: int) -> bool:
    """SCHED_IDLE and nice 19: runs only when nobody else in its group wants the CPU."""
    if sys.platform == "win32":
        return windows.system().idle()
    os.setpriority(os.PRIO_PROCESS, pid, 19)
    if sys.platform == "linux":
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    return True


def idle_io(pid: int) -> bool:
    """I/O only when the disk is idle, as far as the I/O scheduler knows of priorities."""
    if sys.platform != "linux":
        return False
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is None:
        return False
    who_process = 1  # IOPRIO_WHO_PROCESS. Source: ioprio_set(2).
    return int(_LIBC.syscall(number, who_process, pid, _IOPRIO_IDLE)) == 0


def die_with_parent(signal_number: int) -> bool:
    """The kernel sends that signal when the thread that made this process ends.

    Forgotten at fork, and when user or group ids change.
    """
    if sys.platform != "linux":
        return False
    return int(_LIBC.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)) == 0


def join_group(directory: str, pid: int) -> bool:
    """Move a process into a cgroup. Raises OSError."""
    with open(os.path.join(directory, "cgroup.procs"), "w", encoding="ascii") as procs:
        procs.write(str(pid))
    return True


def idle_group(directory: str) -> bool:
    """Whether a cgroup is idle (cpu.idle=1). Raises OSError where the kernel has no such thing."""
    with open(os.path.join(directory, "cpu.idle"), encoding="ascii") as file:
        return file.read().strip() == "1"


def in_idle_group(pid: int = 0) -> bool:
    """Whether the group of a process yields to all others; see yields_to_all().

    Priority counts only inside a group, so SCHED_IDLE alone does not protect
    programs in other groups: their p99 wake-up was measured at 4,400 µs
    instead of 40.
    """
    if sys.platform != "linux":
        return False
    with open(f"/proc/{pid or 'self'}/cgroup", encoding="ascii", errors="replace") as table:
        lines = table.read().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for root in (controllers or "unified", ""):
            if yields_to_all(os.path.join(_SYSFS, root, path.lstrip("/"))):
                return True
    return False


def yields_to_all(directory: str) -> bool:
    """Whether a group is idle at the top of its hierarchy, where it meets all others.

    An idle group below one that is not idle yields only to its siblings there.
    """
    directory = os.path.abspath(directory)
    while True:
        parent = os.path.dirname(directory)
        if parent == directory or os.path.ismount(directory):
            return False
        if os.path.ismount(parent):
            break
        directory = parent
    try:
        return idle_group(directory)
    except OSError:
        return False


def tick_s() -> float:
    """Length of the scheduler's tick, by which CPU time is counted; 0 where it is not known.

    The coarse clock is set forward at each tick, so its resolution is the tick.

    Source: clock_getres(2), CLOCK_MONOTONIC_COARSE.
    """
    if sys.platform != "linux":
        return 0.0
    try:
        length_s = time.clock_getres(_MONOTONIC_COARSE)
    except OSError:
        return 0.0
    return length_s if _TICKS_S[0] <= length_s <= _TICKS_S[1] else 0.0


def tick_phase_s(length_s: float) -> float:
    """How much later than a multiple of its length the tick comes, on the monotonic clock.

    Seen by watching the coarse clock for some ticks; the earliest counts, for
    an interrupt can be late. 0 where there is nothing to see.
    """
    if sys.platform != "linux" or length_s <= 0:
        return 0.0
    seen: list[float] = []
    now_s = time.monotonic()
    until_s = now_s + _PHASE_LOOKS * 2 * length_s
    before = time.clock_gettime_ns(_MONOTONIC_COARSE)
    while now_s < until_s and len(seen) < _PHASE_LOOKS:
        now_s = time.monotonic()
        coarse = time.clock_gettime_ns(_MONOTONIC_COARSE)
        if coarse != before:
            before = coarse
            seen.append(now_s % length_s)
    if not seen:
        return 0.0
    # On a circle, seen from the first: 0.1 ms comes after 3.9 ms.
    first = seen[0]
    return first + min((phase - first + length_s / 2) % length_s for phase in seen) - length_s / 2


def fallocate(descriptor: int, offset: int, length: int) -> None:
    """Reserve blocks without writing any. Raises OSError; EOPNOTSUPP where there is none.

    fallocate(2) itself and not posix_fallocate(3), which the C library
    imitates by writing into each block where a filesystem has no such thing.
    """
    if sys.platform != "linux":
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    call = _LIBC.fallocate64 if hasattr(_LIBC, "fallocate64") else _LIBC.fallocate
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if call(descriptor, 0, offset, length) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


OOM = Mean(
    "oom_score_adj 1000",
    "the kernel may kill a tenant's process before ours when memory runs out",
    lambda _: first_to_kill(),
)
IDLE_CLASS = Mean(
    "IDLE_PRIORITY_CLASS" if sys.platform == "win32" else "SCHED_IDLE",
    "our CPU load competes with the tenant's",
    idle_class,
)
GROUP_COST = "programs in other groups may wait 4 ms and more for a CPU"
IDLE_IO = Mean("ioprio idle", "our few metadata writes compete with the tenant's", idle_io)


def idle_group_of(directory: str | None) -> Mean:
    """The means of being in an idle cgroup: in that one, or in our own."""
    return Mean(
        "idle cgroup",
        f"{GROUP_COST}, as root it can be had",
        lambda _: in_idle_group() if directory is None else yields_to_all(directory),
    )
