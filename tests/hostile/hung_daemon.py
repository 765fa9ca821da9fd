"""A daemon that hangs when it is told to; only tests run this.

    python -m tests.hostile.hung_daemon FAULT PLACE FILE run [option ...]

After SIGUSR1 the next call of PLACE never returns. FILE gets the monotonic
time at which it began to hang. The daemon itself is the real one.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optimizer.__main__ import main
from optimizer.adapters.history import SqliteHistory
from optimizer.adapters.sensors import HostSensors
from optimizer.adapters.stresser_pool import StresserPool
from optimizer.adapters.switch import FileSwitch
from optimizer.publish import Publisher

PLACES: dict[str, tuple[type[Any], str]] = {
    "sensors": (HostSensors, "read"),
    "switch": (FileSwitch, "inhibit"),
    "stressers": (StresserPool, "apply"),
    "history": (SqliteHistory, "append"),
    "status": (Publisher, "publish"),
}
"""What the loop calls, and where it can hang."""


def deadlock(_: Path) -> None:
    """Wait for a lock that this thread has itself."""
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def blocked(file: Path) -> None:
    """Read a pipe that nobody writes to."""
    pipe = file.with_suffix(".pipe")
    os.mkfifo(pipe)
    pipe.read_bytes()


def deaf(_: Path) -> None:
    """Sleep in C with the interpreter's lock held, so that no Python code runs any more."""
    libc = ctypes.PyDLL(None)
    while True:
        libc.sleep(3600)


FAULTS: dict[str, Callable[[Path], None]] = {"deadlock": deadlock, "blocked": blocked, "deaf": deaf}


def arm(fault: str, place: str, file: Path) -> None:
    """Have that place hang in that way from SIGUSR1 on."""
    owner, name = PLACES[place]
    real, told = getattr(owner, name), threading.Event()

    def hanging(*args: object, **more: object) -> object:
        if told.is_set():
            file.write_text(repr(time.monotonic()), encoding="ascii")
            FAULTS[fault](file)
        return real(*args, **more)

    setattr(owner, name, hanging)
    signal.signal(signal.SIGUSR1, lambda *_: told.set())


if __name__ == "__main__":
    arm(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    sys.exit(main(sys.argv[4:]))
