"""Gives a worker's pid to an innocent process at the worst moments; run by test_pid_reuse.py.

    unshare --pid --fork --mount-proc python -m tests.hostile.reuse_trials ROUNDS

In a pid namespace of its own, so that no pid of the host is used again and
nobody else takes the one that is wanted. Prints one JSON object: how many
`rounds`, how many pids were `reused`, how many innocent processes were `hurt`,
how many of our own `ended`, and how often the pool took an innocent for its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from optimizer.adapters import identity
from optimizer.adapters.stresser_process import StresserProcess
from optimizer.model import Resource

MOMENTS = {
    "never": "",
    "before the look": "",
    "after the pidfd": "_open",
    "after the look": "stat_of",
}
"""When the pid is used again, and the step of identity.kill() after which that is."""
_TICK_S = 0.02
"""Without pidfs two processes of one pid and one clock tick look alike."""


def fork(wanted: int | None = None) -> int:
    """A process that waits; it has the pid that is wanted."""
    if wanted is not None:
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(wanted - 1), encoding="ascii")
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    return pid


def end(pid: int) -> None:
    """Kill and reap a child."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@contextlib.contextmanager
def after(step: str, act: Callable[[], None]) -> Iterator[None]:
    """Something happens after each call of that step, or before all when there is none."""
    if not step:
        act()
        yield
        return
    real: Callable[..., Any] = getattr(identity, step)

    def stepped(*args: object) -> object:
        result = real(*args)
        act()
        return result

    setattr(identity, step, stepped)
    try:
        yield
    finally:
        setattr(identity, step, real)


def trial(pool: StresserProcess, moment: str, counted: Counter[str]) -> None:
    """The pool kills its worker again, whose pid changes hands at that moment."""
    worker = fork()
    known = identity.identify(worker)
    assert known is not None
    pool.known = (known,)
    if known.pidfs is None:
        time.sleep(_TICK_S)
    innocent: list[int] = []

    def reuse() -> None:
        if not innocent and moment != "never":
            end(worker)
            innocent.append(fork(worker))

    with after(MOMENTS[moment], reuse):
        pool.kill_again()
    counted["rounds"] += 1
    if not innocent:
        counted["ended"] += os.waitpid(worker, 0)[0] == worker
        return
    counted["reused"] += innocent[0] == worker
    counted["mistaken"] += pool.left() != {} or not pool.gone()
    # A signal that was sent is pending by now; the kernel ends the process before it runs again.
    time.sleep(0.002)
    hurt = os.waitpid(innocent[0], os.WNOHANG)[0] != 0
    counted["hurt"] += hurt
    if not hurt:
        end(innocent[0])


def main() -> None:
    """So many rounds, all moments in turn, with one stresser that has ended."""
    counted = Counter(rounds=0, reused=0, hurt=0, ended=0, mistaken=0)
    pool = StresserProcess(Resource.MEMORY, ("--shards", "1", "--metric", "available"))
    pool.kill()
    while not pool.gone():
        time.sleep(0.01)
    for number in range(int(sys.argv[1])):
        trial(pool, list(MOMENTS)[number % len(MOMENTS)], counted)
    pool.close()
    print(json.dumps(counted))


if __name__ == "__main__":
    main()
