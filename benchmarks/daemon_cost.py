"""What the daemon itself costs: memory and CPU of the controller, without its stressers.

    python3 benchmarks/daemon_cost.py [--seconds 60] [--settle 60] [KEY=VALUE ...]

Starts a daemon with Glances off in folders of its own (history and log on the
disk, status in memory, as /run is) that takes its memory at once, and lets it
settle. Then it reads the CPU clock of the daemon's process alone: while nothing
moves; beside a tenant that works 30 % of one CPU in every second second, so that
the governor never comes to rest; and beside one that takes all CPUs. Memory is
read from /proc/PID/smaps_rollup. Prints one JSON object. Linux; ends by itself
and stops the daemon.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

OPTIONS = ("GLANCES_ENABLED=false", "MEMORY_RISE_MB_PER_MINUTE=60000")
PAUSE_S = 5.0
"""From the begin of a tenant to the begin of the measurement beside it."""
MOVING = """
import time
while True:
    now = time.monotonic()
    while int(now) % 2 and time.monotonic() < now + 0.006: pass
    time.sleep(max(0.0, now + 0.02 - time.monotonic()))
"""
BUSY = "while True: pass"


@contextlib.contextmanager
def tenants(program: str, count: int) -> Iterator[None]:
    """So many Python processes; ended by their pids at the end."""
    running = [
        subprocess.Popen([sys.executable, "-I", "-S", "-c", program], start_new_session=True)
        for _ in range(count)
    ]
    try:
        time.sleep(PAUSE_S)
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def pss_mb(pid: int) -> float:
    """Proportional set size in MB (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    message = f"no Pss in /proc/{pid}/smaps_rollup"
    raise ValueError(message)


def cpu_s(pid: int) -> float:
    """CPU seconds of one process, from its clock; see clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def descendants(pid: int) -> list[int]:
    """All processes below one, from /proc."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    children = [int(word) for word in path.read_text(encoding="ascii").split()]
    return children + [below for child in children for below in descendants(child)]


def private_mb(pid: int) -> float:
    """Memory of one process that it shares with nobody, in MB (10^6 bytes)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return (
        sum(
            int(line.split()[1])
            for line in text.splitlines()
            if line.startswith(("Private_Clean:", "Private_Dirty:"))
        )
        * 1024
        / 1e6
    )


def percent_of_a_core(pid: int, seconds: float) -> float:
    """What a process uses over that time from now."""
    start_s, used_s = time.monotonic(), cpu_s(pid)
    time.sleep(seconds)
    used_s = cpu_s(pid) - used_s
    return round(100 * used_s / (time.monotonic() - start_s), 3)


def measure(pid: int, seconds: float) -> dict[str, object]:
    """The three loads, then the memory; `pid` is a daemon that has settled."""
    cpus = os.cpu_count() or 1
    cost = {"nothing_moves": percent_of_a_core(pid, seconds)}
    with tenants(MOVING, 1):
        cost["tenant_moves_each_second"] = percent_of_a_core(pid, seconds)
    with tenants(BUSY, cpus):
        cost["tenant_takes_all"] = percent_of_a_core(pid, seconds)
    time.sleep(PAUSE_S)
    stressers = {}
    for child in descendants(pid):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            kind = next((w.decode() for w in words if w in (b"cpu", b"memory", b"disk")), "?")
            # The memory shards' own memory is the load itself.
            memory = {"pss_mb": round(pss_mb(child), 2), "own_mb": round(private_mb(child), 2)}
            stressers[f"{kind} {child}"] = memory
    return {
        "seconds_each": seconds,
        "cpu_percent_of_one_core": cost,
        "daemon_pss_mb": round(pss_mb(pid), 1),
        "stressers": stressers,
    }


def main() -> int:
    """Start, settle, measure, stop, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each of the three loads")
    parser.add_argument("--settle", type=float, default=60.0, help="seconds after the start")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as disk,
        tempfile.TemporaryDirectory(dir="/dev/shm") as memory,
    ):
        places = {"STATE_DIRECTORY": disk, "LOGS_DIRECTORY": disk, "RUNTIME_DIRECTORY": memory}
        command = [sys.executable, "-m", "optimizer", "run"]
        for option in (*OPTIONS, *args.settings):
            command += ["--set", option]
        with subprocess.Popen(
            command, stderr=subprocess.DEVNULL, env={**os.environ, **places}
        ) as daemon:
            try:
                time.sleep(args.settle)
                if daemon.poll() is not None:
                    print(f"the daemon ended with code {daemon.returncode}", file=sys.stderr)
                    return 1
                result = measure(daemon.pid, args.seconds)
            finally:
                daemon.terminate()
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
