"""How exactly a CPU filler holds a host at a target, alone and beside a tenant that steps.

    python3 benchmarks/cpu_hold.py [--runs 5] [--arms ours stress-ng ...] [--quick]
                                   [--json FILE] [--plot FILE.png]

Repetitions are interleaved: each one runs all arms, in an order that rotates.
The first part is an idle host; in the second a tenant works 0, 20, 60, 10, 90
and 0 % of the host for 15 s each, and what is held is compared with the larger
of target and tenant. Two clocks, see benchmarks/recorder.py. Prints medians and
the range seen; asserts nothing. Linux; uses the CPUs for as long as it says at
its start, and ends by itself.
"""

from __future__ import annotations

import argparse
import bisect
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import arms
import build
from recorder import CLOCKS, CPUS, Recorder, Row, beat, busy, edges, holding

STEPS = (0, 20, 60, 10, 90, 0)
BACK_POINTS = 3.0
STAYS_S = 1.0
"""How long the trailing second must stay near for a step to count as answered."""


def idle_hold(seconds: float, target: float) -> dict[str, float]:
    """Hold on a host where nobody else works."""
    return holding(Recorder().record(seconds), target)


def beside_tenant(
    program: Path, step_s: float, target: float
) -> tuple[dict[str, float], list[Row], list[float]]:
    """Hold beside a tenant that steps: the figures, the rows, the tenant's percent by second."""
    start_s = beat(time.monotonic() + 0.5)
    trace = ",".join(f"{step_s}:{percent}" for percent in STEPS)
    tenants = [
        subprocess.Popen(
            [str(program), str(number), str(int(start_s * 1e9)), trace],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        for number in range(CPUS)
    ]
    rows = Recorder().record(step_s * len(STEPS), start_s)
    slots = [read_slots(tenant.communicate(timeout=30)[0]) for tenant in tenants]
    seconds = round(step_s * len(STEPS))
    tenant = [100 * worked(slots, second, second + 1) / CPUS for second in range(seconds)]
    figures = trace_figures(rows, tenant, step_s, target)
    late_ms = sorted(late / 1e6 for one in slots for _, _, late in one if late >= 0)
    figures["tenant_late_p99_ms"] = late_ms[int(0.99 * len(late_ms))]
    return figures, rows, tenant


def read_slots(text: bytes) -> list[tuple[float, float, float]]:
    """End in s, CPU time until then in s, lateness in ns of each slot of a tenant."""
    found = []
    for line in text.decode("ascii").splitlines():
        end, used, late = line.split()
        found.append((float(end), int(used) / 1e9, float(late)))
    return found


def worked(
    slots: Sequence[Sequence[tuple[float, float, float]]], begin_s: float, end_s: float
) -> float:
    """CPU seconds that all tenants used between two times, interpolated between slot ends."""
    return sum(used_until(one, end_s) - used_until(one, begin_s) for one in slots)


def used_until(slots: Sequence[tuple[float, float, float]], at_s: float) -> float:
    """CPU seconds of one tenant until a time."""
    place = bisect.bisect_right(slots, (at_s, math.inf, math.inf))
    before = slots[place - 1] if place else (0.0, 0.0, 0.0)
    if place == len(slots):
        return before[1]
    after = slots[place]
    return before[1] + (after[1] - before[1]) * (at_s - before[0]) / (after[0] - before[0])


def trace_figures(
    rows: Sequence[Row], tenant: Sequence[float], step_s: float, target: float
) -> dict[str, float]:
    """Error, answer to each step and worst shortfall, by both clocks."""
    wanted = [max(target, percent) for percent in tenant]
    tenths = edges(rows, 0.1)
    figures: dict[str, float] = {}
    for clock in CLOCKS:
        seconds = [busy(tenths[k * 10], tenths[k * 10 + 10], clock) for k in range(len(wanted))]
        figures[f"mae_1s_{clock}"] = statistics.fmean(
            abs(value - want) for value, want in zip(seconds, wanted, strict=True)
        )
        worst = min(busy(tenths[k], tenths[k + 100], clock) for k in range(len(tenths) - 100))
        figures[f"below_10s_{clock}"] = max(0.0, target - worst)
        for step, percent in enumerate(STEPS[1:], 1):
            back_s = answered_s(tenths, step * step_s, step_s, max(target, percent), clock)
            figures[f"back_{step}_{clock}"] = back_s
    return figures


def answered_s(
    tenths: Sequence[Row], begin_s: float, step_s: float, level: float, clock: str
) -> float:
    """Seconds after a step until the trailing second is near the level and stays; inf if never."""
    first = round(begin_s * 10)
    last = min(first + round(step_s * 10), len(tenths) - 1)
    near = [
        abs(busy(tenths[k - 10], tenths[k], clock) - level) <= BACK_POINTS
        for k in range(first + 1, last + 1)
    ]
    stays = round(STAYS_S * 10)
    for place in range(len(near) - stays + 1):
        if all(near[place : place + stays]):
            return (place + 1) / 10
    return math.inf


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Median and range of each figure for each arm, in Markdown."""
    names = list(next(iter(results.values()))[0])
    lines = ["| figure | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for name in names:
        cells = []
        for runs in results.values():
            values = [run[name] for run in runs]
            middle = statistics.median(values)
            cells.append(f"{middle:.3f} ({min(values):.2f} to {max(values):.2f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(path: str, curves: dict[str, tuple[list[Row], list[float]]], target: float) -> None:
    """The utilisation beside the tenant, one panel for each arm. Raises ImportError."""
    import matplotlib as mpl  # noqa: PLC0415  # only for a plot

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415  # after use()

    figure, panels = plt.subplots(
        len(curves), 1, figsize=(10, 2.4 * len(curves)), sharex=True, squeeze=False
    )
    for panel, (name, (rows, tenant)) in zip(panels[:, 0], curves.items(), strict=True):
        tenths = edges(rows, 0.1)
        times = [row.at_s - tenths[0].at_s for row in tenths[10:]]
        values = [busy(a, b, "true") for a, b in zip(tenths, tenths[10:], strict=False)]
        panel.plot(times, values, label=f"{name}, trailing second")
        seconds = [k + 1 for k in range(len(tenant))]
        panel.step(seconds, tenant, label="tenant", linewidth=0.8)
        panel.axhline(target, linestyle=":", linewidth=0.8, color="black")
        panel.set_ylim(0, 105)
        panel.set_ylabel("% of the host")
        panel.legend(loc="upper left", fontsize=8)
    panels[-1, 0].set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    """Run all arms in turns, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--arms", nargs="+", default=arms.all_names())
    parser.add_argument("--target", type=float, default=40.0, help="percent")
    parser.add_argument("--idle-seconds", type=float, default=60.0)
    parser.add_argument("--step-seconds", type=float, default=15.0)
    parser.add_argument("--quick", action="store_true", help="one run of 10 s and 5 s a step")
    parser.add_argument("--json", help="write all figures there")
    parser.add_argument("--plot", help="draw the last run beside the tenant there")
    args = parser.parse_args()
    if args.quick:
        args.runs, args.idle_seconds, args.step_seconds = 1, 11.0, 5.0
    try:
        chosen, missing = arms.find(args.arms, args.target)
    except ValueError as exc:
        parser.error(str(exc))
    one_s = 2 * (arms.SETTLE_S + 2) + args.idle_seconds + args.step_seconds * len(STEPS)
    print(arms.facts())
    print(f"true clock: {Recorder().true_clock}; target {args.target:g} %")
    minutes = args.runs * len(chosen) * one_s / 60
    print(f"{args.runs} runs of {len(chosen)} arms: about {minutes:.0f} min")
    for sentence in missing:
        print(sentence)
    idle: dict[str, list[dict[str, float]]] = {arm.name: [] for arm in chosen}
    trace: dict[str, list[dict[str, float]]] = {arm.name: [] for arm in chosen}
    curves = {}
    with tempfile.TemporaryDirectory() as directory:
        try:
            program = build.build("tenant", Path(directory))
        except OSError as exc:
            print(exc, file=sys.stderr)
            return 1
        for run in range(args.runs):
            for arm in chosen[run % len(chosen) :] + chosen[: run % len(chosen)]:
                with arm.running():
                    idle[arm.name].append(idle_hold(args.idle_seconds, args.target))
                    figures, rows, tenant = beside_tenant(program, args.step_seconds, args.target)
                    trace[arm.name].append(figures)
                    curves[arm.name] = (rows, tenant)
                print(f"run {run + 1}, {arm.name}: idle and trace done", file=sys.stderr)
    print(f"\nIdle host, {args.idle_seconds:g} s; medians (range), percent and points\n")
    print(table(idle))
    print(f"\nTenant at {STEPS} %, {args.step_seconds:g} s each; medians (range)\n")
    print(table(trace))
    if args.json:
        Path(args.json).write_text(json.dumps({"idle": idle, "trace": trace}), encoding="utf-8")
    if args.plot:
        try:
            plot(args.plot, curves, args.target)
        except ImportError:
            print("no plot: pip install matplotlib", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
