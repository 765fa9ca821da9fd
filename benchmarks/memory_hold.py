"""How exactly, cheaply and gently memory is held: ours beside stress-ng, lookbusy, ChaosBlade.

    python3 benchmarks/memory_hold.py [--runs 3] [--arms ours stress-ng ...] [--gib 2]
        [--parts exact fill release stall swap] [--hold-seconds 60] [--quick] [--json FILE]

`exact`: the whole daemon holds three targets, and one beside a tenant that takes
5 % of all memory and gives it back each 5 s; others are told their size once.
`fill`: wall and CPU time for each GiB; ours gets its lease at once. `release`:
from the decision (a lease of 0; SIGTERM) or SIGKILL until the memory is free.
`stall`: a control group is overfilled by a tenant's burst. `swap`: what is
written to a swap file and to zram, while holding and under pressure. `ours-4k` is
ours without huge pages; `stress-ng` fills once and sleeps (--vm-hang 0),
`stress-ng-busy` goes on writing (--vm-method zero-one). Repetitions are
interleaved. Prints medians and ranges, asserts nothing. Linux, root; ends by
itself and leaves --spare-gib of memory available.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import arms
import boxes
import build
import fillers
import meminfo
import memory_pressure
import memory_trials
import runner
import swaps
from memory_trials import GIB
from runner import Part

PARTS = ("exact", "fill", "release", "stall", "swap")
SIZES_GIB = (1, 4, 8)
ONCE = ("ours", "stress-ng", "lookbusy", "blade")
"""What differs in how it fills, not in how exactly, is left out of `exact`."""
MIB = 1 << 20


def parts(args: argparse.Namespace, names: Sequence[str], program: Path | None) -> list[Part]:
    """What is asked for and possible."""
    found = []
    if "exact" in args.parts:
        found += exact_parts(args, [name for name in names if name in ONCE])
    if "fill" in args.parts:
        size = int(args.gib * GIB)
        title = f"Filling {args.gib:g} GiB"
        found.append(_part(title, names, lambda name: memory_trials.fill(name, size)))
    if "release" in args.parts:
        sizes = [int(size * GIB) for size in args.sizes]
        for where, busy in (("idle", False), (f"beside {arms.CPUS} busy loops", True)):
            trial = functools.partial(
                memory_trials.release,
                sizes_bytes=sizes,
                spare_bytes=int(args.spare_gib * GIB),
                busy=busy,
            )
            found.append(_part(f"Release, {where}", names, trial))
    if program is not None:
        found += pressure_parts(args, names, program)
    return found


def _part(title: str, names: Sequence[str], trial: Callable[[str], dict[str, float]]) -> Part:
    return Part(title=title, trials={name: functools.partial(trial, name) for name in names})


def exact_parts(args: argparse.Namespace, names: Sequence[str]) -> list[Part]:
    """Three targets of the default metric, the middle one of the others and beside a tenant."""
    middle = [args.targets[len(args.targets) // 2]]
    cases = [
        ("available", args.targets, False),
        ("available", middle, True),
        ("nocache", middle, False),
        ("free", middle, False),
    ]
    found = []
    for metric, targets, tenant in cases:
        trial = functools.partial(
            memory_trials.exact,
            targets=targets,
            metric=metric,
            seconds=args.exact_seconds,
            tenant=tenant,
            settings=args.set,
        )
        beside = ", beside a tenant that moves" if tenant else ""
        title = f"Exact, metric {metric}{beside}; points"
        found.append(_part(title, names, trial))
    return found


def pressure_parts(args: argparse.Namespace, names: Sequence[str], program: Path) -> list[Part]:
    """What needs a control group with a limit."""
    limit = args.limit_mib * MIB
    found = []
    if "stall" in args.parts:
        trial = functools.partial(
            memory_pressure.stall, program=program, limit_bytes=limit, trials=args.trials
        )
        found.append(_part(f"Stall, limit {args.limit_mib} MiB", ["none", *names], trial))
    if "swap" in args.parts:
        for kind in args.swaps:
            trial = functools.partial(
                memory_pressure.swap,
                kind,
                program=program,
                folder=args.folder,
                size_bytes=int(args.gib * GIB),
                hold_s=args.hold_seconds,
                limit_bytes=limit,
            )
            title = f"Swap to {kind}, holding {args.gib:g} GiB for {args.hold_seconds:g} s"
            found.append(_part(title, names, trial))
    return found


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--arms", nargs="+", default=list(fillers.MEMORY_ARMS))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--gib", type=float, default=2.0, help="held for fill and swap")
    parser.add_argument("--sizes", nargs="+", type=float, default=SIZES_GIB, help="GiB, release")
    parser.add_argument("--targets", nargs="+", type=float, default=(15, 25, 40), help="percent")
    parser.add_argument("--exact-seconds", type=float, default=20.0, help="recorded, each target")
    parser.add_argument("--limit-mib", type=int, default=2048, help="of the control group")
    parser.add_argument("--trials", type=int, default=10, help="bursts in each run")
    parser.add_argument("--swaps", nargs="+", choices=swaps.KINDS, default=list(swaps.KINDS))
    parser.add_argument("--hold-seconds", type=float, default=60.0, help="for swap")
    parser.add_argument("--folder", help="of the swap file; on a real disk")
    parser.add_argument("--spare-gib", type=float, default=8.0, help="left available, release")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="to the daemon")
    parser.add_argument("--quick", action="store_true", help="one short run")
    parser.add_argument("--json", help="write all figures there, after each trial")
    return parser


def left_out(args: argparse.Namespace) -> list[str]:
    """A sentence for each part that cannot be measured here; takes it out of the arguments."""
    said = []
    fault = boxes.fault()
    if fault is not None:
        said.append(f"all parts: left out, {fault}")
        args.parts = []
    fault = boxes.fault(limit=True) if args.parts else None
    if fault is not None:
        said.append(f"stall and swap: left out, {fault}")
        args.parts = [part for part in args.parts if part not in {"stall", "swap"}]
    for tool in ("mkswap", "swapon", "swapoff"):
        if "swap" in args.parts and shutil.which(tool) is None:
            said.append(f"swap: left out, {tool} is not on the PATH")
            args.parts.remove("swap")
    available = meminfo.read()["MemAvailable"]
    for size in list(args.sizes) if "release" in args.parts else []:
        if available < (size + args.spare_gib) * GIB:
            said.append(f"release of {size:g} GiB: left out, {available / GIB:.1f} GiB available")
            args.sizes = [one for one in args.sizes if one != size]
    return said


def main() -> int:
    """Measure all parts in turns, print the tables."""
    parser = arguments()
    args = parser.parse_args()
    if args.quick:
        args.runs, args.trials, args.hold_seconds, args.exact_seconds = 1, 3, 5.0, 5.0
        args.targets, args.sizes = (10.0, 15.0), (1.0,)
    try:
        names, missing = fillers.find(args.arms, fillers.MEMORY_ARMS)
    except ValueError as exc:
        parser.error(str(exc))
    missing += left_out(args)
    huge = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    pages = huge.read_text(encoding="ascii").strip() if huge.exists() else "none"
    total_gib = meminfo.read()["MemTotal"] / GIB
    print(f"{arms.facts()}\n{total_gib:.1f} GiB of memory, huge pages: {pages}")
    print("\n".join(missing), flush=True)
    with tempfile.TemporaryDirectory() as directory:
        program = None
        if {"stall", "swap"} & set(args.parts):
            try:
                program = build.build("burst", Path(directory))
            except OSError as exc:
                print(f"stall and swap: left out, {exc}", flush=True)
        return runner.run(parts(args, names, program), args.runs, args.json)


if __name__ == "__main__":
    sys.exit(main())
