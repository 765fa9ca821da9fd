"""A real daemon with one fault, which begins when the file that FAULT_WHEN names appears.

FAULT says which: "fifo" blocks the loop in a read that nobody answers, "lock"
in a lock that nobody gives back, "raise" makes each full cycle fail, "memory"
makes the daemon's own limit one byte.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from pathlib import Path

from optimizer.__main__ import main
from optimizer.adapters import self_limits
from optimizer.adapters.sensors import HostSensors
from optimizer.counters import HostReading

_read = HostSensors.read


def faulty(sensors: HostSensors) -> HostReading:
    """The sensors' reading; with the fault, no reading."""
    if Path(os.environ["FAULT_WHEN"]).exists():
        fault = os.environ["FAULT"]
        if fault == "fifo":
            fifo = Path(tempfile.mkdtemp(), "fifo")
            os.mkfifo(fifo)
            fifo.read_bytes()
        elif fault == "lock":
            lock = threading.Lock()
            with lock, lock:
                pass
        elif fault == "raise":
            raise RuntimeError(fault)
        else:
            self_limits.MEMORY_BYTES = 1
    return _read(sensors)


HostSensors.read = faulty  # type: ignore[method-assign]
self_limits.CHECK_S = 0.5

if __name__ == "__main__":
    sys.exit(main())
