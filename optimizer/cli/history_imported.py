"""What `optimizer history import` says of what it has done."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optimizer.adapters.history_import import Sifted
    from optimizer.adapters.history_sources import Found
    from optimizer.upkeep import Derived

SHOWN_FAULTS = 5


def counts(
    args: argparse.Namespace, sifted: Sifted, count: int, faulty: int, days: int
) -> list[str]:
    """How many rows were read, stored and left out, and of which time those stored are."""
    from optimizer.report.fields import time as shown

    stored = "would be stored" if args.dry_run else "stored"
    span = ""
    if sifted.rows:
        span = f"  {shown(sifted.rows[0].utc_s)} to {shown(sifted.rows[-1].utc_s)}"
    return [
        f"read                {count:>8}",
        f"{stored:<20}{len(sifted.rows):>8}{span}",
        f"left out: known     {sifted.known:>8}  the history has rows of that time",
        f"          too old   {sifted.too_old:>8}  before the {days} days that are kept",
        f"          faulty    {faulty:>8}",
    ]


def how(args: argparse.Namespace, derived: Derived, read: Found) -> list[str]:
    """What was taken for our own load, which figures for the memory, and which disk."""
    from optimizer.orders import MemoryMetric
    from optimizer.report.fields import clean

    said = [
        f"{clean(name)} has no column {' and none '.join(columns)}: own load counts as 0 there."
        for name, columns in read.without_own
    ]
    if not read.sysstat and not args.prometheus:
        return said
    metric = derived.settled.policy.memory_metric
    nearest = read.sysstat and metric is MemoryMetric.NOCACHE
    nearly = " (sar tells neither shared nor reclaimable memory, so nearly)" if nearest else ""
    rows = [row for source in read.sources for row in source]
    said.append(f"Memory is that of MEMORY_METRIC={metric.value}{nearly}; own load counts as 0.")
    mounts = args.mount or [place.mount for place in derived.scope.places]
    if all(row.disk is None for row in rows):
        of = f"of {', '.join(map(clean, mounts))}" if mounts else "that the daemon would hold"
        said.append(f"No figures of the disk {of}: it stays unknown; --mount names another.")
    else:
        said.append(f"The disk is {', '.join(map(clean, mounts))}.")
    return said


def say(faults: list[str], *, skip: bool) -> None:
    """Print the first faults, and what to do unless they are skipped."""
    from optimizer.report.fields import clean

    for fault in faults[:SHOWN_FAULTS]:
        print(f"optimizer: {clean(fault)}", file=sys.stderr)
    if len(faults) > SHOWN_FAULTS:
        print(f"optimizer: ... and {len(faults) - SHOWN_FAULTS} more faults", file=sys.stderr)
    if not skip:
        print(
            "optimizer: nothing was imported; correct the source, or import its good rows with "
            "--skip-faulty",
            file=sys.stderr,
        )
