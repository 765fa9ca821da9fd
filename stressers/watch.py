"""Notices that the host is no longer as busy as the controller was told to expect.

A look costs some microseconds of a burst that is worked anyway, so it costs
the host nothing; the same look by the controller would be a wake-up.
"""

from __future__ import annotations

import os
import sys

_LAGS = (1, 2, 3, 5, 10)
"""Looks back at which a change is looked for: a large one shows at once, a small one later."""
_QUANTUM_S = 0.01
"""Counters are shown in hundredths of a second. Source: proc(5), USER_HZ."""
_QUANTA = 1.5
_CHANGE_RATIO = 0.0075
"""As in the controller: rounding, and what is a change beyond it."""
_STAT_BYTES = 256
_IDLE, _IOWAIT, _STEAL = 4, 5, 8
"""Places in the first line of /proc/stat, its name included. Source: proc(5)."""
WATCHERS = 2
"""How many workers of a crew look: each one in each slice, staggered."""


def watches(index: int, workers: int) -> bool:
    """Whether the worker of that place is one of those that look."""
    return index % max(1, -(-workers // WATCHERS)) == 0


class Watch:
    """Looks at the idle time of all CPUs, and compares it with a level."""

    def __init__(self, descriptor: int, cpus: int) -> None:
        self._descriptor = descriptor
        self._cpus = cpus
        self._seen: list[tuple[float, float]] = []

    def differs(self, level: float, now_s: float) -> bool:
        """Whether the host's utilisation is another one; what was seen is then forgotten."""
        if sys.platform == "win32":
            return False
        fields = os.pread(self._descriptor, _STAT_BYTES, 0).split(None, _STEAL + 1)
        away_s = (int(fields[_IDLE]) + int(fields[_IOWAIT]) + int(fields[_STEAL])) * _QUANTUM_S
        seen = self._seen
        if seen and now_s - seen[-1][0] > 1.0:
            seen.clear()
        seen.append((now_s, away_s))
        count = len(seen)
        for lag in _LAGS:
            if lag >= count:
                break
            before_s, before_away_s = seen[-1 - lag]
            capacity_s = (now_s - before_s) * self._cpus
            if capacity_s <= 0:
                continue
            busy = 1.0 - (away_s - before_away_s) / capacity_s
            if abs(busy - level) > _QUANTA * _QUANTUM_S / capacity_s + _CHANGE_RATIO:
                seen.clear()
                return True
        if count > _LAGS[-1]:
            del seen[0]
        return False


def open_watch() -> Watch | None:
    """A watch on this host; None where there is no such counter."""
    if sys.platform != "linux":
        return None
    try:
        return Watch(os.open("/proc/stat", os.O_RDONLY | os.O_CLOEXEC), os.cpu_count() or 1)
    except OSError:
        return None
