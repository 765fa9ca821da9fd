"""Processes of others that the kernel would kill as readily as our memory shards.

When memory runs out it kills the process with the highest sum of its memory
and its oom_score_adj. Our shards have 1000, the most; of equals the largest
goes first. A kubelet gives 1000 to all containers of BestEffort pods.

Source: Linux mm/oom_kill.c, oom_badness(); Kubernetes, node-pressure eviction.
"""

from __future__ import annotations

import mmap
from collections.abc import Collection, Mapping
from pathlib import Path

from optimizer.report.doctor_kernel import Lack

_HIGHEST = 1000
_COST = "when memory runs out the kernel kills the largest of equals first, which may be theirs"
_REMEDY = "give pods that matter a memory request: only BestEffort pods have 1000"


def rivals(proc: Path, ours: Collection[int], environ: Mapping[str, str]) -> Lack | None:
    """What to say of them; None where there are none. `ours` are the pids of our processes.

    In a pod other pods cannot be seen, so that it is said of each.
    """
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return Lack(
            name="lead over BestEffort pods in the kernel's choice of whom to kill",
            cost=f"they have oom_score_adj 1000 as our shards, and {_COST}",
            remedy=_REMEDY,
        )
    sizes = {
        int(entry.name): _resident_bytes(entry)
        for entry in proc.glob("[0-9]*")
        if int(entry.name) not in ours and _adjustment(entry) == _HIGHEST
    }
    if not sizes:
        return None
    largest = max(sizes, key=lambda pid: sizes[pid])
    counted = "1 process" if len(sizes) == 1 else f"{len(sizes)} processes"
    return Lack(
        name="lead in the kernel's choice of whom to kill",
        cost=f"of {counted} of others with oom_score_adj 1000, as our shards have, the largest "
        f"is pid {largest} with {sizes[largest] / 2**20:.0f} MB, and {_COST}",
        remedy=_REMEDY,
    )


def _adjustment(entry: Path) -> int | None:
    try:
        return int((entry / "oom_score_adj").read_bytes())
    except (OSError, ValueError):
        return None


def _resident_bytes(entry: Path) -> int:
    """Source: proc(5), /proc/pid/statm, field 2. 0 where it is not told."""
    try:
        return int((entry / "statm").read_bytes().split()[1]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        return 0
