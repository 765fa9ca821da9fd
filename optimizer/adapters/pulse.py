"""The CPU clocks of a stresser's processes: what they have used, and that each still runs."""

from __future__ import annotations

import sys
import time

from optimizer.adapters.identity import state

SILENT_S = 4.0
"""Each process of a stresser wakes once a second, and ends when its lease of 3 s runs out.

So a clock that stands still for longer is that of one that cannot end.
"""


class Pulse:
    """Remembers for each process its clock, and when that was last seen to move."""

    def __init__(self) -> None:
        self._used_s: dict[int, float] = {}
        self._moved: dict[int, tuple[float, float]] = {}

    def count(self, pids: tuple[int, ...]) -> float:
        """CPU seconds used until now by these and all that were counted before; never falls."""
        used = self._used_s
        for pid in pids:
            now = process_cpu_s(pid)
            # A clock that has fallen is that of another process with the same pid.
            if now is not None and now >= used.get(pid, 0.0):
                used[pid] = now
        return sum(used.values())

    def silent(self, pids: tuple[int, ...], now_s: float) -> str | None:
        """Which of these was stopped (SIGSTOP, a debugger), by what was counted; None when all run.

        Neither what waits in the kernel (state D) is told of, nor what a busy
        tenant starves (R): that one's alarm rings as soon as it may run.
        """
        if sys.platform != "linux":
            return None  # elsewhere clocks are too coarse to tell
        for pid in pids:
            used_s = self._used_s.get(pid)
            if used_s is None:
                continue  # its clock cannot be read: that says nothing
            before_s, since_s = self._moved.get(pid, (-1.0, now_s))
            if used_s != before_s:
                self._moved[pid] = used_s, now_s
            elif now_s - since_s >= SILENT_S and (letter := state(pid)) not in {"D", "R", ""}:
                return f"process {pid} has not run for {now_s - since_s:.0f} s, state {letter}"
        return None


def process_cpu_s(pid: int) -> float | None:
    """CPU seconds that a process has used; None when it is gone.

    On Linux from its CPU clock, exact to the nanosecond and without opening a
    file: clock_getcpuclockid(3) makes the id by this formula.
    """
    if sys.platform == "linux":
        try:
            return time.clock_gettime((~pid << 3) | 2)
        except OSError:
            return None
    import psutil  # noqa: PLC0415  # not needed on Linux

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)
