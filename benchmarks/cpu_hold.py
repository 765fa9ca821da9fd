"""How exactly a CPU filler holds a host at a target, alone and beside a tenant that steps.

    python3 benchmarks/cpu_hold.py [--runs 5] [--arms ours stress-ng ...] [--quick]
        [--placement session] [--json FILE] [--csv DIRECTORY] [--plot FILE.png]

Repetitions are interleaved: each one runs all arms, in an order that rotates.
The first part is an idle host; in the second a tenant works 0, 20, 60, 10, 90
and 0 % of the host for 15 s each, and what is held is compared with the larger
of target and tenant. Two clocks, see benchmarks/recorder.py. Prints medians and
the range seen; asserts nothing. Linux; uses the CPUs for as long as it says at
its start, and ends by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import arms
import build
import figures
import places
from holding import Row, Slot, busy, edges, holding, read_slots, trace_figures, worked
from recorder import CPUS, Recorder, beat, write_csv
from tenants import SLACK_S, Spot

STEPS = (0, 20, 60, 10, 90, 0)
START_S = 0.5
START_PER_CPU_S = 0.02
"""How long starting one process of the tenant may take."""
SHORTEST_STEP_S = 3.0
"""An answer takes a second to be seen and another to stay."""
Curve = tuple[list[Row], list[float]]
Measured = dict[str, list[dict[str, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """By arm: one measurement for each repetition of both parts, and the last trace."""

    idle: Measured = field(default_factory=dict)
    trace: Measured = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)


def idle_hold(seconds: float) -> list[Row]:
    """The counters of a host where nobody else works."""
    with Recorder() as recorder:
        return recorder.record(seconds)


def beside_tenant(
    program: Path, spot: Spot, step_s: float, target: float
) -> tuple[dict[str, float], Curve]:
    """Hold beside a tenant that steps: the figures; rows and tenant's percent by second.

    Raises OSError when the tenant fails.
    """
    start_s = beat(time.monotonic() + START_S + START_PER_CPU_S * CPUS)
    trace = ",".join(f"{step_s}:{percent}" for percent in STEPS)
    with contextlib.ExitStack() as stack:
        tenants = [
            stack.enter_context(
                spot.program(str(program), str(number), str(int(start_s * 1e9)), trace)
            )
            for number in range(CPUS)
        ]
        with Recorder() as recorder:
            rows = recorder.record(step_s * len(STEPS), start_s)
        processes = [slots_of(tenant) for tenant in tenants]
    seconds = round(step_s * len(STEPS))
    used = [100 * worked(processes, second, second + 1) / CPUS for second in range(seconds)]
    found = trace_figures(rows, used, steps=STEPS, step_s=step_s, target=target)
    late_ms = [slot.late_ms for one in processes for slot in one if slot.late_ms is not None]
    if late_ms:
        found["tenant_late_p50_ms"] = figures.percentile(late_ms, 0.5)
        found["tenant_late_p99_ms"] = figures.percentile(late_ms, 0.99)
    return found, (rows, used)


def slots_of(tenant: subprocess.Popen[str]) -> list[Slot]:
    """What one process of the tenant did, once it has ended. Raises OSError."""
    try:
        out, err = tenant.communicate(timeout=SLACK_S)
    except subprocess.TimeoutExpired as exc:
        message = f"the tenant is more than {SLACK_S:g} s late"
        raise OSError(message) from exc
    if tenant.returncode != 0:
        message = f"the tenant ended with code {tenant.returncode}: {err.strip()[:300]}"
        raise OSError(message)
    return read_slots(out)


def plot(path: str, curves: Mapping[str, Curve], target: float) -> None:
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
    plt.close(figure)


def measure_all(
    results: Results, program: Path, chosen: Sequence[arms.Arm], args: argparse.Namespace
) -> None:
    """Fills the results, repetition by repetition; what is in them is valid at any time.

    An arm or a tenant that fails is named, and its figures of that repetition are missing.
    """
    for run in range(args.runs):
        turn = run % len(chosen)
        for arm in [*chosen[turn:], *chosen[:turn]]:
            try:
                with places.placed(args.placement) as spot, arm.running():
                    rows = idle_hold(args.idle_seconds)
                    results.idle[arm.name].append(holding(rows, args.target))
                    if args.csv:
                        write_csv(Path(args.csv) / f"{arm.name}-{run + 1}-idle.csv", rows)
                    if spot is not None:
                        found, curve = beside_tenant(program, spot, args.step_seconds, args.target)
                        results.trace[arm.name].append(found)
                        results.curves[arm.name] = curve
                        if args.csv:
                            write_csv(Path(args.csv) / f"{arm.name}-{run + 1}-trace.csv", curve[0])
            except OSError as exc:
                print(f"run {run + 1}, {arm.name}: {exc}", file=sys.stderr)
            if args.json:
                both = {
                    "idle": figures.finite(results.idle),
                    "trace": figures.finite(results.trace),
                }
                Path(args.json).write_text(json.dumps(both, allow_nan=False), encoding="utf-8")
            print(f"run {run + 1}, {arm.name}: done", file=sys.stderr)


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--arms", nargs="+", default=arms.all_names())
    parser.add_argument("--placement", choices=places.PLACES, default=places.SESSION)
    parser.add_argument("--target", type=float, default=40.0, help="percent")
    parser.add_argument("--idle-seconds", type=float, default=60.0)
    parser.add_argument("--step-seconds", type=float, default=15.0)
    parser.add_argument("--quick", action="store_true", help="one run of 11 s and 5 s a step")
    parser.add_argument("--json", help="write all figures there, after each arm")
    parser.add_argument("--csv", help="write the raw counters into that directory")
    parser.add_argument("--plot", help="draw the last run beside the tenant there")
    return parser


def main() -> int:
    """Run all arms in turns, print the tables."""
    parser = arguments()
    args = parser.parse_args()
    if args.quick:
        args.runs, args.idle_seconds, args.step_seconds = 1, 11.0, 5.0
    if args.step_seconds < SHORTEST_STEP_S:
        parser.error(f"--step-seconds must be {SHORTEST_STEP_S:g} or more")
    try:
        chosen, missing = arms.find(args.arms, args.target)
    except ValueError as exc:
        parser.error(str(exc))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    one_s = arms.SETTLE_S + 2 + args.idle_seconds + args.step_seconds * len(STEPS)
    with Recorder() as recorder:
        clock = recorder.true_clock
    print(f"{arms.facts()}\ntrue clock: {clock}; target {args.target:g} %")
    print("\n".join([f"the tenant is placed: {args.placement}", *missing]))
    minutes = args.runs * len(chosen) * one_s / 60
    print(f"{args.runs} runs of {len(chosen)} arms: about {minutes:.1f} min", flush=True)
    results = Results()
    for arm in chosen:
        results.idle[arm.name], results.trace[arm.name] = [], []
    code = 0
    with tempfile.TemporaryDirectory() as directory:
        try:
            if args.csv:
                Path(args.csv).mkdir(parents=True, exist_ok=True)
            measure_all(results, build.build("tenant", Path(directory)), chosen, args)
        except OSError as exc:
            print(exc, file=sys.stderr)
            code = 1
        except KeyboardInterrupt:
            print("interrupted: this is what was measured until then", file=sys.stderr)
            code = 128 + signal.SIGINT
    print(f"\nIdle host, {args.idle_seconds:g} s; medians (range), percent and points\n")
    print(figures.spread(results.idle))
    print(f"\nTenant at {STEPS} %, {args.step_seconds:g} s each; medians (range)\n")
    print(figures.spread(results.trace))
    if args.plot and results.curves:
        try:
            plot(args.plot, results.curves, args.target)
        except ImportError:
            print("no plot: pip install matplotlib", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
