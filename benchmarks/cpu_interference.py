"""What a tenant feels of a CPU filler: throughput, latency, wake-ups, beside each filler.

    python3 benchmarks/cpu_interference.py [--runs 5] [--arms ours stress-ng ...]
        [--placements same cgroup session] [--seconds 10] [--quick]
        [--json FILE] [--plot FILE.png]

The tenant is a redis server under an open-loop load (GET, and a script of about
150 us), a wake-up probe, and sysbench cpu, one after the other. Placements say
where it runs: `same`, in one CPU control group with the filler; `cgroup`, in a
group of its own at the top; `session`, in sessions of its own, which are other
autogroups. Each repetition measures all fillers in an order that rotates, and no
filler twice: what differs between those two is chance. Prints medians, their
ratios to no filler, and that band; asserts nothing. Linux; uses the CPUs for as
long as it says at its start, and ends by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import arms
import figures
import places
import tenants
from figures import AGAIN, REFERENCE, Figure
from holding import busy
from recorder import Recorder
from tenants import Spot

PAUSE_S = 1.5
"""Between two tenants, so that a filler that had made room is back at its level."""
OVERHEAD_S = 3.0
"""Starting and stopping in one visit, for the estimate."""
QUICK_S = 2.0
FIGURES = (
    Figure(name="sysbench_per_s", title="sysbench cpu, events/s"),
    Figure(name="get_p50", title="redis GET p50, µs"),
    Figure(name="get_p99", title="redis GET p99, µs"),
    Figure(name="get_p999", title="redis GET p99.9, µs"),
    Figure(name="script_p50", title="redis 150 µs script p50, µs"),
    Figure(name="script_p99", title="redis 150 µs script p99, µs"),
    Figure(name="script_p999", title="redis 150 µs script p99.9, µs"),
    Figure(name="wake_p50", title="wake-up p50, µs"),
    Figure(name="wake_p99", title="wake-up p99, µs"),
    Figure(name="wake_p999", title="wake-up p99.9, µs"),
    Figure(name="busy_get", title="host busy during GET, % (/proc/stat)", compared=False),
    Figure(name="busy_script", title="host busy during the script, %", compared=False),
    Figure(name="busy_wake", title="host busy during wake-ups, %", compared=False),
)
PLOTTED = tuple(one for one in FIGURES if not one.name.endswith("_p50"))
Results = dict[str, dict[str, list[dict[str, float]]]]


def visit(tools: tenants.Tools, spot: Spot, seconds: float, script: str) -> dict[str, float]:
    """All figures of one tenant beside whatever runs now.

    sysbench comes last, because a filler that makes room for it needs a while to
    come back. A measurement that fails is named and its figures are missing.
    """
    found: dict[str, float] = {}
    if tools.redis is not None:
        with attempt("redis"), tenants.redis(tools.redis, spot) as port:
            for name, measure in (
                ("get", lambda: tenants.redis_get(tools, spot, port, seconds)),
                ("script", lambda: tenants.redis_script(tools, spot, port, seconds, script)),
            ):
                found |= beside(name, measure)
    with attempt("wake-up probe"):
        found |= beside("wake", lambda: tenants.wake_up(tools, spot, seconds))
    if tools.sysbench is not None:
        with attempt("sysbench"):
            found |= tenants.throughput(tools.sysbench, spot, seconds)
    return found


def beside(name: str, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """A measurement, and how busy the host was while it ran; then a pause. Raises OSError."""
    with Recorder() as recorder:
        first = recorder.read()
        found = measure()
        found[f"busy_{name}"] = busy(first, recorder.read(), "stat")
    time.sleep(PAUSE_S)
    return found


@contextlib.contextmanager
def attempt(what: str) -> Iterator[None]:
    """Names what fails, and goes on."""
    try:
        yield
    except OSError as exc:
        print(f"{what}: no figures: {exc}", file=sys.stderr)


def measure_all(
    results: Results, tools: tenants.Tools, chosen: list[arms.Arm], args: argparse.Namespace
) -> None:
    """Fills the results, repetition by repetition; what is in them is valid at any time.

    The first of the chosen is the reference. Raises OSError when the script cannot
    be calibrated.
    """
    script = tenants.calibrated_script(tools.redis) if tools.redis else ""
    reference, *fillers = chosen
    labelled = [(REFERENCE, reference), *((arm.name, arm) for arm in fillers), (AGAIN, reference)]
    for run in range(args.runs):
        for place, runs in results.items():
            turn = run % len(labelled)
            for label, arm in labelled[turn:] + labelled[:turn]:
                found: dict[str, float] = {}
                with attempt(f"{label}, {place}"), places.placed(place) as spot, arm.running():
                    if spot is not None:
                        found = visit(tools, spot, args.seconds, script)
                runs.setdefault(label, []).append(found)
                if args.json:
                    Path(args.json).write_text(json.dumps(results), encoding="utf-8")
                print(f"run {run + 1}, {place}, {label}: done", file=sys.stderr)


def main() -> int:
    """Measure all arms in turns, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--arms", nargs="+", default=arms.all_names())
    parser.add_argument(
        "--placements", nargs="+", choices=places.PLACES, default=list(places.PLACES)
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of each tenant")
    parser.add_argument("--quick", action="store_true", help="one run of 2 s each")
    parser.add_argument("--json", help="write all figures there, after each visit")
    parser.add_argument("--plot", help="draw all ratios there")
    args = parser.parse_args()
    if args.quick:
        args.runs, args.seconds = 1, QUICK_S
    try:
        chosen, missing = arms.find(list(dict.fromkeys([REFERENCE, *args.arms])))
    except ValueError as exc:
        parser.error(str(exc))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    faults = places.faults(args.placements)
    results: Results = {place: {} for place in args.placements if place not in faults}
    print(arms.facts())
    for sentence in missing + [f"{place}: left out, {why}" for place, why in faults.items()]:
        print(sentence)
    code = 0
    with tempfile.TemporaryDirectory() as directory:
        try:
            tools = tenants.find_tools(Path(directory))
            for sentence in tools.missing():
                print(sentence)
            visits = args.runs * len(results) * (len(chosen) + 1)
            minutes = visits * visit_s(tools, args.seconds) / 60
            print(f"{args.runs} runs, {visits} visits: about {minutes:.1f} min", flush=True)
            measure_all(results, tools, chosen, args)
        except OSError as exc:
            print(exc, file=sys.stderr)
            code = 1
        except KeyboardInterrupt:
            print("interrupted: this is what was measured until then", file=sys.stderr)
            code = 128 + signal.SIGINT
    for place, runs in results.items():
        if any(any(found) for found in runs.values()):
            print(f"\nTenant placed `{place}`; medians (ratio to no filler)\n")
            print(figures.table(runs, FIGURES))
    if args.plot:
        try:
            figures.plot(args.plot, results, PLOTTED)
        except ImportError:
            print("no plot: pip install matplotlib", file=sys.stderr)
    return code


def visit_s(tools: tenants.Tools, seconds: float) -> float:
    """About how long one visit takes, in seconds."""
    paused = 3 if tools.redis else 1
    measured = paused + (1 if tools.sysbench else 0)
    return arms.SETTLE_S + OVERHEAD_S + measured * seconds + paused * PAUSE_S


if __name__ == "__main__":
    sys.exit(main())
