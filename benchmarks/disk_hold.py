"""How exactly, cheaply and gently disk space is held: ours beside stress-ng, on loop devices.

    python3 benchmarks/disk_hold.py [--runs 3] [--fs ext4 xfs btrfs] [--arms ours stress-ng]
        [--parts exact fill release tenant] [--folder DIRECTORY] [--hold-seconds 60]
        [--quick] [--json FILE]

`exact`: the whole daemon holds three targets, alone and beside a tenant that writes
and deletes 200 MB files; stress-ng is told its size once. `fill`: wall and CPU time
for each GiB, and bytes written to the device until it is held and while holding.
`release`: from the decision (a lease of 0; SIGTERM) or SIGKILL until statvfs shows
it. `tenant`: an unprivileged writer takes 95 % of what the filesystem has; `none`
runs twice, and the ratio of the two is what chance does. Each measurement has a new
filesystem on a sparse file of --image-gib, of which a tenant writes nearly all: so
much must be free in --folder. Repetitions are interleaved. Prints medians and
ranges, asserts nothing. Linux, root; ends by itself.
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
import disk_trials
import fillers
import loopfs
import runner
from disk_trials import GIB
from figures import AGAIN, REFERENCE
from runner import Part

PARTS = ("exact", "fill", "release", "tenant")
FILLS = 2
"""Images in use at a time, at most, with what is not yet discarded; for the room needed."""


def parts(args: argparse.Namespace, names: Sequence[str], program: Path | None) -> list[Part]:
    """What is asked for and possible."""
    found = []
    size = int(args.gib * GIB)
    for kind in args.fs:
        make = functools.partial(loopfs.mounted, kind, args.folder, int(args.image_gib * GIB))
        trials: dict[str, tuple[str, Callable[[str], dict[str, float]]]] = {
            "exact": (
                f"Exact, {kind}; points",
                functools.partial(
                    disk_trials.exact,
                    make=make,
                    targets=args.targets,
                    seconds=args.exact_seconds,
                    settings=args.set,
                ),
            ),
            "fill": (
                f"Filling {args.gib:g} GiB, holding {args.hold_seconds:g} s, {kind}",
                functools.partial(
                    disk_trials.fill, make=make, size_bytes=size, hold_s=args.hold_seconds
                ),
            ),
            "release": (
                f"Release, {kind}",
                functools.partial(disk_trials.release, make=make, size_bytes=size),
            ),
        }
        for part, (title, trial) in trials.items():
            if part in args.parts:
                arms_of = {name: functools.partial(trial, name) for name in names}
                found.append(Part(title=title, trials=arms_of))
        if "tenant" in args.parts and program is not None:
            target = args.targets[-1]
            trial = functools.partial(disk_trials.tenant, make=make, program=program, target=target)
            arms_of = {name: functools.partial(trial, name) for name in (REFERENCE, *names)}
            arms_of[AGAIN] = functools.partial(trial, REFERENCE)
            title = f"Tenant beside {target:g} %, {kind}"
            found.append(Part(title=title, trials=arms_of))
    return found


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--fs", nargs="+", choices=list(loopfs.MAKE), default=list(loopfs.MAKE))
    parser.add_argument("--arms", nargs="+", default=list(fillers.DISK_ARMS))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--folder", help="of the images, on a real disk")
    parser.add_argument("--image-gib", type=float, default=6.0)
    parser.add_argument("--gib", type=float, default=2.0, help="held for fill and release")
    parser.add_argument("--targets", nargs="+", type=float, default=(15, 30, 45), help="percent")
    parser.add_argument("--exact-seconds", type=float, default=20.0, help="recorded, each target")
    parser.add_argument("--hold-seconds", type=float, default=60.0, help="for fill")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="to the daemon")
    parser.add_argument("--quick", action="store_true", help="one short run")
    parser.add_argument("--json", help="write all figures there, after each trial")
    return parser


def left_out(args: argparse.Namespace) -> list[str]:
    """A sentence for each filesystem that cannot be measured; takes it out of the arguments."""
    faults = {kind: loopfs.fault(kind) for kind in args.fs}
    free = shutil.disk_usage(args.folder or "/var/tmp").free  # noqa: S108
    fault = boxes.fault()
    if fault is None and free < FILLS * args.image_gib * GIB:
        fault = f"{free / GIB:.0f} GiB free for images of {args.image_gib:g} GiB"
    faults = {kind: one or fault for kind, one in faults.items()}
    args.fs = [kind for kind in args.fs if faults[kind] is None]
    return [f"{kind}: left out, {one}" for kind, one in faults.items() if one is not None]


def main() -> int:
    """Measure all parts in turns, print the tables."""
    parser = arguments()
    args = parser.parse_args()
    if args.quick:
        args.runs, args.hold_seconds, args.exact_seconds = 1, 5.0, 5.0
        args.targets = (15.0, 30.0)
    try:
        names, missing = fillers.find(args.arms, fillers.DISK_ARMS)
    except ValueError as exc:
        parser.error(str(exc))
    missing += left_out(args)
    print(f"{arms.facts()}; images of {args.image_gib:g} GiB")
    print("\n".join(missing), flush=True)
    with tempfile.TemporaryDirectory() as directory:
        # The tenant, who is nobody, runs what is in it.
        Path(directory).chmod(0o755)
        program = None
        if "tenant" in args.parts and args.fs:
            try:
                program = build.build("writer", Path(directory))
            except OSError as exc:
                print(f"tenant: left out, {exc}", flush=True)
        return runner.run(parts(args, names, program), args.runs, args.json)


if __name__ == "__main__":
    sys.exit(main())
