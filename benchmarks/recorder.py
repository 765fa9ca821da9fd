"""An independent recorder of the host's utilisation, to check what the daemon claims.

    python3 benchmarks/recorder.py [--seconds 60] [--target 40] [--path /] [--csv FILE]

Standard library only; shares no code with the daemon. Reads the counters ten
times a second and prints one JSON object. Two clocks, always named:
`stat` is (total - idle - iowait - steal) / total of /proc/stat, what monitoring
agents compute; `true` is the CPU time of all tasks (the root's cpuacct.usage)
over CPUs times wall time, or where that is missing 1 - (idle + iowait + steal)
of the CPUs times wall time. mae_1s and so on are the mean absolute errors of
means over 1 s, 10 s and 1.37 s against the target, in points.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import meminfo
from holding import ODD_WINDOW_S, Row, holding

RATE_HZ = 10
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
CPUS = os.cpu_count() or 1
AFTER_TICK_S = 0.0026
"""Readings are taken between two ticks, so that the recorder is not counted by chance."""
CPUACCT = tuple(
    Path("/sys/fs/cgroup") / name / "cpuacct.usage" for name in ("cpuacct", "cpu,cpuacct")
)


class Recorder:
    """Reads /proc/stat and the CPU time of all tasks; `true_clock` names where from.

    Holds two files open until it is closed.
    """

    def __init__(self) -> None:
        self._stat = os.open("/proc/stat", os.O_RDONLY)
        path = next((path for path in CPUACCT if path.exists()), None)
        self._used = -1 if path is None else os.open(path, os.O_RDONLY)
        self.true_clock = "idle against wall time" if path is None else "cpuacct.usage"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._stat)
        if self._used >= 0:
            os.close(self._used)

    def read(self) -> Row:
        """All counters now."""
        fields = os.pread(self._stat, 512, 0).split(b"\n", 1)[0].split()[1:9]
        at_s = time.monotonic()
        ticks = [int(field) for field in fields]
        away_s = (ticks[3] + ticks[4] + ticks[7]) / TICKS_PER_S
        used_s = at_s * CPUS - away_s
        if self._used >= 0:
            used_s = int(os.pread(self._used, 64, 0)) / 1e9
        total_s = sum(ticks) / TICKS_PER_S
        return Row(at_s=at_s, total_s=total_s, away_s=away_s, used_s=used_s, cpus=CPUS)

    def record(self, seconds: float, start_s: float | None = None) -> list[Row]:
        """Rows from `start_s` (monotonic; now if None) for that time, on a beat without drift.

        Each tenth of a second and each 1.37 s, so that both windows have exact ends.
        """
        first_s = start_s if start_s is not None else beat(time.monotonic())
        beats = round(seconds * RATE_HZ) + 1
        due = {round(first_s + k / RATE_HZ, 6) for k in range(beats)}
        odd = math.floor(seconds / ODD_WINDOW_S) + 1
        due |= {round(first_s + k * ODD_WINDOW_S, 6) for k in range(odd)}
        rows = []
        for due_s in sorted(due):
            time.sleep(max(0.0, due_s - time.monotonic()))
            rows.append(self.read())
        return rows


def beat(now_s: float) -> float:
    """The next instant that is between two ticks, if those are at multiples of their length."""
    return math.floor(now_s * RATE_HZ + 1) / RATE_HZ + AFTER_TICK_S


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """The raw counters, in seconds as in a Row."""
    with path.open("w", encoding="ascii") as file:
        file.write("at_s,total_s,away_s,used_s\n")
        file.writelines(f"{r.at_s},{r.total_s},{r.away_s},{r.used_s}\n" for r in rows)


def main() -> int:
    """Record, then print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--target", type=float, default=40.0, help="percent, for the errors")
    parser.add_argument("--path", default="/", help="the filesystem to watch")
    parser.add_argument("--csv", help="write the raw counters there")
    args = parser.parse_args()
    memory_first = memory_percent()
    with Recorder() as recorder:
        rows = recorder.record(args.seconds)
    if args.csv:
        write_csv(Path(args.csv), rows)
    disk = os.statvfs(args.path)
    used = disk.f_blocks - disk.f_bfree
    result = {
        "seconds": rows[-1].at_s - rows[0].at_s,
        **holding(rows, args.target),
        "memory_first": memory_first,
        "memory_last": memory_percent(),
        "disk_last": 100 * used / (used + disk.f_bavail),
    }
    # A recording shorter than a window has no value for it, and JSON no NaN.
    rounded = {k: None if math.isnan(v) else round(v, 3) for k, v in result.items()}
    print(json.dumps({"true_clock": recorder.true_clock, **rounded}))
    return 0


def memory_percent() -> float:
    """Share of the memory that is not available, in percent."""
    return meminfo.percent(meminfo.read(), "available")


if __name__ == "__main__":
    sys.exit(main())
