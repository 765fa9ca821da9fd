"""What the daemon itself costs: memory (PSS) and CPU of the controller, without its stressers.

    python3 benchmarks/daemon_cost.py [--seconds 60] [-- KEY=VALUE ...]

Starts a daemon with Glances off in folders of its own (history and log on the
disk, status in memory, as /run is), lets it settle, and reads
/proc/PID/smaps_rollup and the CPU clock of its process only. Prints one JSON
object. Linux; ends by itself and stops the daemon.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTLE_S = 5.0


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


def main() -> int:
    """Start, measure, stop, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as disk,
        tempfile.TemporaryDirectory(dir="/dev/shm") as memory,
    ):
        options = ["GLANCES_ENABLED=false", *args.settings]
        places = {"STATE_DIRECTORY": disk, "LOGS_DIRECTORY": disk, "RUNTIME_DIRECTORY": memory}
        command = [sys.executable, "-m", "optimizer", "run"]
        for option in options:
            command += ["--set", option]
        with subprocess.Popen(
            command, stderr=subprocess.DEVNULL, env={**os.environ, **places}
        ) as daemon:
            try:
                time.sleep(SETTLE_S)
                start_s, used_s = time.monotonic(), cpu_s(daemon.pid)
                time.sleep(args.seconds)
                used_s = cpu_s(daemon.pid) - used_s
                wall_s = time.monotonic() - start_s
                stressers = descendants(daemon.pid)
                result = {
                    "seconds": round(wall_s, 1),
                    "daemon_pss_mb": round(pss_mb(daemon.pid), 1),
                    "daemon_cpu_percent_of_one_core": round(100 * used_s / wall_s, 3),
                    "stresser_processes": len(stressers),
                    # The shards' own memory is the load itself; what is left is their cost.
                    "stresser_private_mb": {
                        str(pid): round(private_mb(pid), 2) for pid in stressers
                    },
                }
            finally:
                os.kill(daemon.pid, signal.SIGTERM)
    print(json.dumps(result, indent=2))
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
