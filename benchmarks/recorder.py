"""An independent recorder: utilisation of this host from the kernel's own counters.

Shares no code with the daemon. Reads /proc/stat, /proc/meminfo and one
filesystem ten times a second and prints means and errors, as JSON:

    python3 benchmarks/recorder.py --seconds 60 --target 40 [--path /data] [--csv F]

`cpu_stat` is (total - idle - iowait - steal) / total of /proc/stat, `cpu_wall`
is 1 - (idle + iowait + steal) / (CPUs x wall time); mae_1s and mae_10s are the
mean absolute errors of means over 1 s and 10 s against the target, in points.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time

RATE_HZ = 10
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
CPUS = os.cpu_count() or 1


def snapshot(path: str) -> dict[str, float]:
    """All counters now."""
    with open("/proc/stat", "rb") as file:
        at_s = time.monotonic()
        fields = [int(word) for word in file.readline().split()[1:9]]
    memory = {}
    with open("/proc/meminfo", "rb") as file:
        for line in file:
            name, value = line.split()[:2]
            memory[name] = int(value)
    disk = os.statvfs(path)
    used = disk.f_blocks - disk.f_bfree
    return {
        "at_s": at_s,
        "total": sum(fields),
        "idle": fields[3] + fields[4],
        "steal": fields[7],
        "memory": 1 - memory[b"MemAvailable:"] / memory[b"MemTotal:"],
        "disk": used / (used + disk.f_bavail),
    }


def busy(first: dict[str, float], last: dict[str, float]) -> tuple[float, float]:
    """Busy percent between two snapshots by both clocks."""
    total = last["total"] - first["total"]
    away = last["idle"] - first["idle"] + last["steal"] - first["steal"]
    wall = (last["at_s"] - first["at_s"]) * CPUS * TICKS_PER_S
    return 100 * (1 - away / total), 100 * (1 - away / wall)


def errors(rows: list[dict[str, float]], seconds: float, target: float, clock: int) -> float:
    """Mean absolute error in points of means over `seconds`, window after window."""
    step = round(seconds * RATE_HZ)
    means = [
        busy(rows[start], rows[start + step])[clock] for start in range(0, len(rows) - step, step)
    ]
    return statistics.fmean(abs(mean - target) for mean in means)


def main() -> int:
    """Record, then print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--target", type=float, default=40.0, help="percent, for the errors")
    parser.add_argument("--path", default="/", help="the filesystem to watch")
    parser.add_argument("--csv", help="write the raw counters there")
    args = parser.parse_args()
    rows, due_s = [], time.monotonic()
    end_s = due_s + args.seconds
    while due_s <= end_s + 0.5 / RATE_HZ:
        rows.append(snapshot(args.path))
        due_s += 1 / RATE_HZ
        time.sleep(max(0.0, due_s - time.monotonic()))
    if args.csv:
        with open(args.csv, "w", encoding="ascii") as file:
            file.write(",".join(rows[0]) + "\n")
            file.writelines(",".join(f"{value}" for value in row.values()) + "\n" for row in rows)
    stat, wall = busy(rows[0], rows[-1])
    print(
        json.dumps(
            {
                "seconds": round(rows[-1]["at_s"] - rows[0]["at_s"], 2),
                "cpu_stat": round(stat, 3),
                "cpu_wall": round(wall, 3),
                "mae_1s_stat": round(errors(rows, 1, args.target, 0), 3),
                "mae_1s_wall": round(errors(rows, 1, args.target, 1), 3),
                "mae_10s_stat": round(errors(rows, 10, args.target, 0), 3),
                "mae_10s_wall": round(errors(rows, 10, args.target, 1), 3),
                "memory_first": round(100 * rows[0]["memory"], 3),
                "memory_last": round(100 * rows[-1]["memory"], 3),
                "disk_last": round(100 * rows[-1]["disk"], 3),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
