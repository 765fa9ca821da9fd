"""Looks which means the kernel gives this user, and whether the clock was set."""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from pathlib import Path

from optimizer.adapters.cgroups import Hierarchy, hierarchy, text_of
from optimizer.adapters.idle_group import SOCKET_VARIABLE
from optimizer.adapters.job_object import COST as JOB_COST
from optimizer.adapters.job_object import in_job
from optimizer.adapters.mountinfo import parse_mounts
from optimizer.examine import log_lines, processes
from optimizer.examine.history import last_utc_s
from optimizer.examine.rivals import rivals
from optimizer.examine.subject import PACKAGE, Subject
from optimizer.report.doctor import Finding
from optimizer.report.doctor_daemon import STALE_S
from optimizer.report.doctor_kernel import Clock, Kernel, Lack, clock, kernel

_USUAL_SOCKET = "/run/optimizer-load.socket"
"""Where the broker of systemd/optimizer-load.socket listens."""
_FILES_NEEDED = 256
"""Open files of a daemon with some dozens of stressers."""
_PROCESSES_NEEDED = 64
_UNSYNCHRONISED = 0x0040
"""Source: adjtimex(2), linux/timex.h, STA_UNSYNC."""
_TIMEX_BYTES = 256
"""More than struct timex has; its status comes after modes, offset, freq, maxerror, esterror."""


def examine_kernel(subject: Subject) -> list[Finding]:
    """Control groups, descriptors of processes, pressure figures, limits."""
    if sys.platform != "linux":
        lack = Lack(
            name="idle control group, parent-death signal and pressure figures",
            cost="load competes with the tenant's at low priority, and a shortage of memory is "
            "seen by what is available alone",
        )
        jobless = subject.pid is not None and in_job(subject.pid) is False
        no_job = (Lack(name="kill-on-close job", cost=JOB_COST),) if jobless else ()
        return kernel(Kernel(release=sys.platform, is_root=True, lacks=(lack, *no_job)))
    mounts = parse_mounts(text_of(processes.PROC / "self/mountinfo"))
    found = hierarchy("cpu", mounts, text_of(processes.PROC / "self/cgroup"))
    return kernel(
        Kernel(
            release=os.uname().release,
            is_root=os.geteuid() == 0,
            daemon_is_root=_owner(subject.pid) == 0,
            groups=_groups(found),
            denied=_denied(found),
            brokered=brokered(subject),
            lacks=(*_lacks(subject.settings.host_proc), *_rivals(subject)),
            limits=tuple(_limits()),
        )
    )


def _owner(pid: int | None) -> int | None:
    """The user of a process; None where there is none."""
    try:
        return None if pid is None else os.stat(processes.PROC / str(pid)).st_uid
    except OSError:
        return None


def _groups(found: Hierarchy | None) -> str:
    if found is None:
        return "no control groups with a CPU controller"
    return f"control groups version {2 if found.unified else 1} at {found.top}"


def _denied(found: Hierarchy | None) -> str | None:
    """Why no group can be made where adapters/idle_group.py makes it; nothing is tried."""
    if found is None or sys.platform == "win32":
        return "no hierarchy with a CPU controller is mounted"
    reasons = []
    for parent in dict.fromkeys((found.top, found.groups[-1])):
        if os.statvfs(parent).f_flag & os.ST_RDONLY:
            reasons.append(f"{parent} is mounted read-only")
        elif not os.access(parent, os.W_OK):
            reasons.append(f"{parent} may not be written to")
        else:
            return None
    return "; ".join(reasons)


def brokered(subject: Subject) -> str | None:
    """Whose idle group the daemon's CPU workers are in, or could be: a broker's.

    What runs counts more than a socket, which may be another daemon's.
    """
    status = subject.live_status(STALE_S)
    cpu = {} if status is None else status["resources"].get("cpu", {})
    if cpu.get("means"):
        return "the daemon's CPU workers are in it" if "idle cgroup" in cpu["means"] else None
    path = os.environ.get(SOCKET_VARIABLE) or _USUAL_SOCKET
    try:
        return f"the broker at {path}" if stat.S_ISSOCK(os.stat(path).st_mode) else None
    except OSError:
        return None


def _lacks(host_proc: Path | None) -> list[Lack]:
    found: list[Lack] = []
    if sys.platform != "linux":
        return found
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        cost = "a signal is preceded by a look at the start time instead of being exact"
        found.append(Lack(name="pidfd (Linux 5.3)", cost=cost))
    try:
        os.close(os.memfd_create("doctor", os.MFD_CLOEXEC))
    except (AttributeError, OSError):
        cost = "the recovery tool knows our processes only by the roster"
        found.append(Lack(name="memfd (Linux 3.17)", cost=cost))
    try:
        ((host_proc or processes.PROC) / "pressure/memory").read_bytes()
    except OSError:
        cost = "a shortage of memory is seen by what is available alone"
        found.append(Lack(name="PSI", cost=cost, remedy="boot the kernel with psi=1"))
    hidden = [
        mount.point
        for mount in parse_mounts(text_of(processes.PROC / "self/mountinfo"))
        if mount.kind == "proc" and mount.point == "/proc"
    ]
    if hidden and not (processes.PROC / "1/stat").exists():
        cost = "other users' processes are hidden, so who takes a port cannot be told"
        found.append(Lack(name="full view of /proc", cost=cost))
    return found


def _rivals(subject: Subject) -> list[Lack]:
    """Others whom the kernel would kill as readily as us, where ours can be told from them."""
    if sys.platform == "win32":
        return []
    if os.geteuid() != 0 and _owner(subject.pid) not in {None, os.geteuid()}:
        return []
    ours = {process.pid for process in processes.known(subject.directories.runtime)}
    found = rivals(processes.PROC, ours, os.environ)
    return [] if found is None else [found]


def _limits() -> list[tuple[str, int, int]]:
    if sys.platform == "win32":
        return []
    import resource  # noqa: PLC0415 - does not exist on Windows

    found = []
    for name, which, needed in (
        ("open files (RLIMIT_NOFILE)", resource.RLIMIT_NOFILE, _FILES_NEEDED),
        ("processes (RLIMIT_NPROC)", resource.RLIMIT_NPROC, _PROCESSES_NEEDED),
        ("size of a file in bytes (RLIMIT_FSIZE)", resource.RLIMIT_FSIZE, 1 << 40),
        ("address space in bytes (RLIMIT_AS)", resource.RLIMIT_AS, 1 << 40),
    ):
        _, hard = resource.getrlimit(which)
        if hard != resource.RLIM_INFINITY and hard < needed:
            found.append((name, hard, needed))
    return found


def examine_clock(subject: Subject) -> list[Finding]:
    """The clock against the start of the daemon, and against what was written before."""
    now_utc_s, places = subject.now_utc_s, subject.directories
    written = (
        ("the status", _number(subject.status.get("updated_utc_s"))),
        ("the last sample", last_utc_s(places.state)),
        ("the log", log_lines.latest_utc_s(places.log)),
    )
    return clock(
        Clock(
            now_utc_s=now_utc_s,
            stepped_s=_stepped_s(subject),
            ahead=tuple((what, at - now_utc_s) for what, at in written if at is not None),
            oldest_s=_newest_file_s(),
            synchronised=synchronised(),
        )
    )


def _stepped_s(subject: Subject) -> float | None:
    """How much the clock was set forward since the daemon wrote down when it started.

    The kernel tells the age of a process by a clock that nobody can set.
    """
    pid, found = subject.pid, subject.holder
    if pid is None or found is None or found.started_utc_s is None:
        return None
    age_s = processes.up_s(pid)
    return None if age_s is None else subject.now_utc_s - age_s - found.started_utc_s


def _newest_file_s() -> float:
    try:
        return (PACKAGE / "__init__.py").stat().st_mtime
    except OSError:
        return 0.0


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def synchronised() -> bool | None:
    """Whether the kernel's clock follows others; None where it does not tell.

    Source: adjtimex(2), which only reads with modes 0.
    """
    if sys.platform != "linux":
        return None
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    if ctypes.CDLL(None).adjtimex(buffer) < 0:
        return None
    word = ctypes.sizeof(ctypes.c_long)
    status = int.from_bytes(buffer.raw[5 * word : 5 * word + 4], sys.byteorder)
    return not status & _UNSYNCHRONISED
