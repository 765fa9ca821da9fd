"""What a tenant feels of a memory filler when memory runs out, and what is written to swap.

Filler and tenant share a control group whose limit they exceed together, so that
the rest of the host feels nothing.
"""

from __future__ import annotations

import contextlib
import json
import math
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import fillers
import leased
import levels
import meminfo
import swaps
from boxes import Box
from memory_trials import filled

MIB = 1 << 20
HOLDER_RATIO = 0.7
"""Of the limit; with the tenant's half it is exceeded by a fifth."""
TENANT_RATIO = 0.5
BURST_S = 60.0
SWAP_BYTES = 1 << 30
"""Or the limit, if that is more: all that is forced out finds room."""
COOL_S = 1.0
"""From full to the tenant's begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """One burst of a tenant: the longest time for one MiB in ms, None when it was killed."""

    worst_ms: float | None
    oom_kills: int


def burst(program: Path, box: Box, limit_bytes: int) -> Burst:
    """Half of the limit at full speed in that box. Raises OSError when it cannot start."""
    before = box.oom_kills()
    command = (str(program), str(int(TENANT_RATIO * limit_bytes) // MIB))
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=box.join,  # noqa: PLW1509  # one thread
    ) as tenant:
        try:
            out, _ = tenant.communicate(timeout=BURST_S)
        except subprocess.TimeoutExpired:
            tenant.kill()
            out = b""
    worst_ms = json.loads(out)["max"] / 1000 if tenant.returncode == 0 else None
    return Burst(worst_ms=worst_ms, oom_kills=box.oom_kills() - before)


def summary(bursts: Sequence[Burst]) -> dict[str, float]:
    """Tenants killed, OOM kills, and the tenant's worst MiB in ms, over all bursts."""
    worst = [one.worst_ms for one in bursts if one.worst_ms is not None]
    found = {
        "bursts": float(len(bursts)),
        "tenants_killed": float(len(bursts) - len(worst)),
        "oom_kills": float(sum(one.oom_kills for one in bursts)),
    }
    if worst:
        found["worst_mib_ms"] = max(worst)
        found["median_worst_mib_ms"] = statistics.median(worst)
    return found


def one_burst(
    name: str, program: Path, limit_bytes: int, then: Callable[[], None] = lambda: None
) -> Burst:
    """A filler in a box of that limit (none: nobody), then a burst. Raises OSError.

    `then` is called while the filler still holds what it can.
    """
    with contextlib.ExitStack() as stack:
        box = stack.enter_context(Box(limit_bytes))
        if name != "none":
            filler = stack.enter_context(fillers.memory(name, box))
            if math.isinf(filled(filler, int(HOLDER_RATIO * limit_bytes))[0]):
                message = "it never held its part"
                raise OSError(message)
            time.sleep(COOL_S)
            filler.renew()
        found = burst(program, box, limit_bytes)
        then()
        return found


def stall(name: str, program: Path, limit_bytes: int, trials: int) -> dict[str, float]:
    """So many bursts, each with a new filler. Raises OSError."""
    return summary([one_burst(name, program, limit_bytes) for _ in range(trials)])


def swap(
    kind: str,
    name: str,
    program: Path,
    *,
    folder: str | None,
    size_bytes: int,
    hold_s: float,
    limit_bytes: int,
) -> dict[str, float]:
    """What is written to swap in MiB: while a size is held without pressure, then by a burst.

    For zram also the memory that it takes. Other programs' swapping is in the
    figures: swap is the whole host's. Raises OSError.
    """
    with swaps.swap(kind, folder, max(SWAP_BYTES, limit_bytes)) as usage:
        first = _out(usage)
        with Box() as box, fillers.memory(name, box) as filler:
            if math.isinf(filled(filler, size_bytes)[0]):
                message = f"it never held {size_bytes / MIB:g} MiB"
                raise OSError(message)
            until_s = time.monotonic() + hold_s
            while (left_s := until_s - time.monotonic()) > 0:
                time.sleep(min(left_s, leased.RENEW_S))
                filler.renew()
        calm = _out(usage)
        pressed = dict(calm)
        one = one_burst(name, program, limit_bytes, lambda: pressed.update(_out(usage)))
    return {
        **{f"calm_{key}_mib": (calm[key] - first[key]) / MIB for key in first},
        **{f"pressed_{key}_mib": (pressed[key] - calm[key]) / MIB for key in first},
        **levels.named(summary([one]), "pressed"),
    }


def _out(usage: swaps.Usage) -> dict[str, int]:
    return meminfo.swapped_out() | {f"zram_{key}": value for key, value in usage().items()}
