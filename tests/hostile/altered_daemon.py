"""The real daemon, but for one thing that no test can do to it from outside.

    python -m tests.hostile.altered_daemon ALTERATION run [option ...]

ALTERATION is a JSON object with one or more of these keys:
    {"hang": {"fault": F, "place": P, "sign": FILE}}
        After SIGUSR1 the next call of P never returns; FILE gets the monotonic
        time at which it began to hang. F "failing": each call of P raises.
    {"limit": true}
        After SIGUSR1 its own resident memory may be one byte, looked at twice a second.
    {"clock": FILE}
        After SIGUSR2 the UTC clock is so many seconds ahead as FILE says.
    {"roomy": true}
        No tenant uses any CPU, whatever runs beside.
    {"retry_s": S}
        A disk that failed is tried again after so many seconds.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def deadlock(_: Path) -> None:
    """Wait for a lock that this thread has itself."""
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def blocked(sign: Path) -> None:
    """Read a pipe that nobody writes to."""
    pipe = sign.with_suffix(".pipe")
    os.mkfifo(pipe)
    pipe.read_bytes()


def deaf(_: Path) -> None:
    """Sleep in C with the interpreter's lock held, so that no Python code runs any more."""
    libc = ctypes.PyDLL(None)
    while True:
        libc.sleep(3600)


def failing(_: Path) -> None:
    """Raise what nobody expects. Raises RuntimeError."""
    raise RuntimeError("altered")


FAULTS: dict[str, Callable[[Path], None]] = {
    "deadlock": deadlock,
    "blocked": blocked,
    "deaf": deaf,
    "failing": failing,
}


def places() -> dict[str, tuple[type[Any], str]]:
    """What the loop calls in each full cycle, and where it can hang."""
    from optimizer.adapters.history import SqliteHistory  # noqa: PLC0415 - after set_clock()
    from optimizer.adapters.sensors import HostSensors  # noqa: PLC0415
    from optimizer.adapters.stresser_pool import StresserPool  # noqa: PLC0415
    from optimizer.adapters.switch import FileSwitch  # noqa: PLC0415
    from optimizer.publish import Publisher  # noqa: PLC0415

    return {
        "sensors": (HostSensors, "read"),
        "switch": (FileSwitch, "inhibit"),
        "stressers": (StresserPool, "apply"),
        "history": (SqliteHistory, "append"),
        "status": (Publisher, "publish"),
    }


def arm(fault: str, place: str, sign: Path) -> None:
    """Have that place hang in that way from SIGUSR1 on."""
    owner, name = places()[place]
    real, told = getattr(owner, name), threading.Event()

    def hanging(*args: object, **more: object) -> object:
        if told.is_set():
            sign.write_text(repr(time.monotonic()), encoding="ascii")
            FAULTS[fault](sign)
        return real(*args, **more)

    setattr(owner, name, hanging)
    signal.signal(signal.SIGUSR1, lambda *_: told.set())


def limit() -> None:
    """Have the daemon exceed its own limit from SIGUSR1 on."""
    from optimizer.adapters import self_limits  # noqa: PLC0415 - after set_clock()

    def lower(*_: object) -> None:
        self_limits.MEMORY_BYTES = 1

    self_limits.CHECK_S = 0.5
    signal.signal(signal.SIGUSR1, lower)


def set_clock(file: Path) -> None:
    """Have the UTC clock step at SIGUSR2; to be called before the daemon's modules are loaded."""
    real, real_ns, ahead = time.time, time.time_ns, [0]

    def step(*_: object) -> None:
        ahead[0] = int(file.read_text(encoding="ascii"))

    time.time = lambda: real() + ahead[0]
    time.time_ns = lambda: real_ns() + ahead[0] * 10**9
    signal.signal(signal.SIGUSR2, step)


def make_room() -> None:
    """Have the CPU sensor see an idle host."""
    from optimizer.adapters.sensors import HostSensors  # noqa: PLC0415 - after set_clock()
    from optimizer.counters import CpuCounters  # noqa: PLC0415

    cpus = os.cpu_count() or 1

    def idle(_: object, *, look: bool) -> CpuCounters:  # noqa: ARG001 - the sensor's interface
        up_s = time.monotonic() * cpus
        return CpuCounters(up_s, up_s, 0.0, cpus, watchable=False)

    HostSensors._read_cpu = idle  # type: ignore[method-assign]


def set_retry(seconds: float) -> None:
    """Have a disk that failed be tried again after so long."""
    from optimizer.control import spread  # noqa: PLC0415 - after set_clock()

    spread.RETRY_S = seconds


def main() -> int:
    """Alter what is asked for, and run the daemon."""
    alteration = json.loads(sys.argv[1])
    if "clock" in alteration:
        set_clock(Path(alteration["clock"]))
    if "hang" in alteration:
        hang = alteration["hang"]
        arm(hang["fault"], hang["place"], Path(hang["sign"]))
    if alteration.get("limit"):
        limit()
    if alteration.get("roomy"):
        make_room()
    if "retry_s" in alteration:
        set_retry(alteration["retry_s"])
    from optimizer.__main__ import main as optimizer  # noqa: PLC0415 - after set_clock()

    return optimizer(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
