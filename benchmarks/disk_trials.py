"""Disk fillers measured once: how exact, how dear, how fast back, and what a tenant feels."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import arms
import fillers
import leased
import levels
import meminfo
import memory_trials
from boxes import Box
from loopfs import Place

GIB = 1 << 30
MIB = 1 << 20
NEAR = 0.98
"""Share of a size that must be seen to have come or gone."""
SLACK_BYTES = 8 << 20
"""What a filesystem may keep for itself (trees, a log) of what is given back."""
SEEN_S = 60.0
"""A filesystem may show a change as late as its commit interval, 30 s on btrfs."""
SETTLE_S = 120.0
OTHER_SETTLE_S = 40.0
AFTER_S = 3.0
WRITER_S = 300.0
SPARE_BYTES = 8 << 30
"""Memory that stays available while what the tenant's cache will be in is warmed."""
NOBODY = 65534
"""The tenant has no right to the reserve of root."""
FILLED_RATIO = 0.95
TENANT_MIB = 200
TENANT = """
import os, time
while True:
    with open({path!r}, "wb") as file:
        for _ in range({mib}): file.write(b"1" * 2**20)
    time.sleep({seconds})
    os.unlink({path!r})
    time.sleep({seconds})
"""
"""A tenant that writes a file and deletes it by turns, at full speed."""
MOVES_S = 3.0

Make = Callable[[], contextlib.AbstractContextManager[Place]]
"""Makes a new filesystem; it is gone after the with statement."""


@contextlib.contextmanager
def holding(name: str, place: Place, target: float, settings: Sequence[str] = ()) -> Iterator[None]:
    """That arm, on its way to a target in percent; `none` does nothing. Raises OSError."""
    if name == "none":
        yield
    elif name == "ours":
        wanted = ("TARGET_CPU=0", "TARGET_MEMORY=0", f"TARGET_DISK={target:g}")
        where = (f"DISK_STRESS_PATH={place.mount}", "DISK_RISE_MB_PER_SECOND=1048576")
        command = arms.daemon(*wanted, *where, *settings)
        with arms.Arm(name=name, command=command, target=target).running():
            yield
    else:
        size = _missing_bytes(place, target)
        with Box() as box, fillers.disk(name, box, place.mount) as filler:
            filler.begin(size)
            time.sleep(AFTER_S)
            filler.renew()
            yield


def started_s(name: str) -> float:
    """How long an arm has run already when its settling begins to be watched."""
    return arms.SETTLE_S if name == "ours" else AFTER_S


def _missing_bytes(place: Place, target: float) -> int:
    """Raises OSError when the target is exceeded already."""
    used = place.used_bytes()
    size = int(target / 100 * (used + place.available_bytes())) - used
    if size <= 0:
        message = f"{target:g} % is in use already"
        raise OSError(message)
    return size


def exact(
    name: str, make: Make, targets: Sequence[float], seconds: float, settings: Sequence[str]
) -> dict[str, float]:
    """How far from each target the filesystem was, alone and beside a tenant. Raises OSError."""
    found: dict[str, float] = {}
    for target in targets:
        with make() as place, holding(name, place, target, settings):
            deadline_s = SETTLE_S if name == "ours" else OTHER_SETTLE_S
            settle_s = started_s(name) + levels.settle(place.percent, target, deadline_s)
            figures = levels.errors(levels.record(place.percent, seconds), target)
            found |= levels.named(figures | {"settle_s": settle_s}, f"{target:g}")
            with _tenant(place.mount / "tenant"):
                values = levels.record(place.percent, seconds)
            found |= levels.named(levels.errors(values, target), f"{target:g}_tenant")
    return found


@contextlib.contextmanager
def _tenant(path: Path) -> Iterator[None]:
    program = TENANT.format(path=str(path), mib=TENANT_MIB, seconds=MOVES_S)
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program], stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.kill()


def fill(name: str, make: Make, size_bytes: int, hold_s: float) -> dict[str, float]:
    """Wall and CPU time until the size is seen, for each GiB, and MiB written to the device.

    Written until then, and while holding for `hold_s`; `least_mib` is what was held at
    the least meanwhile. `told_ms` is when our own stresser said so. Raises OSError.
    """
    with make() as place, Box() as box, fillers.disk(name, box, place.mount) as filler:
        before, written = place.used_bytes(), place.written_bytes()
        cpu_s, first_s = box.cpu_s(), time.monotonic()
        filler.begin(size_bytes)
        told_s = None
        if isinstance(filler, leased.Ours):
            told_s = _told_s(filler, size_bytes)
        goal = before + NEAR * size_bytes
        seen_s = levels.until(lambda: place.used_bytes() >= goal, SEEN_S, 0.002)
        if math.isinf(seen_s):
            message = f"{size_bytes / MIB:g} MiB were not seen within {SEEN_S:g} s"
            raise OSError(message)
        wall_s, used_s = time.monotonic() - first_s, box.cpu_s() - cpu_s
        then = place.written_bytes()
        cpu_s, at_s = box.cpu_s(), time.monotonic()
        least = _least_bytes(filler, place, hold_s) - before
        found = {
            "wall_ms_per_gib": levels.per_gib(1000 * wall_s, size_bytes),
            "cpu_ms_per_gib": levels.per_gib(1000 * used_s, size_bytes),
            "written_filling_mib": (then - written) / MIB,
            "then_percent_of_a_core": 100 * (box.cpu_s() - cpu_s) / (time.monotonic() - at_s),
            "written_holding_mib": (place.written_bytes() - then) / MIB,
            "least_mib": least / MIB,
        }
        return found if told_s is None else found | {"told_ms": 1000 * told_s}


def _told_s(filler: leased.Ours, size_bytes: int) -> float:
    def told() -> bool:
        filler.listen()
        return filler.held_bytes >= NEAR * size_bytes

    return levels.until(told, SEEN_S)


def _least_bytes(filler: fillers.Filler, place: Place, seconds: float) -> int:
    until_s = time.monotonic() + seconds
    least = place.used_bytes()
    renewed_s = time.monotonic()
    while time.monotonic() < until_s:
        time.sleep(1 / levels.RATE_HZ)
        least = min(least, place.used_bytes())
        if time.monotonic() - renewed_s > leased.RENEW_S:
            filler.renew()
            renewed_s = time.monotonic()
    return least


def release(name: str, make: Make, size_bytes: int) -> dict[str, float]:
    """Milliseconds from the decision until statvfs shows the space, asked and killed.

    Raises OSError.
    """
    found = {}
    for how in ("asked", "killed"):
        with make() as place, Box() as box, fillers.disk(name, box, place.mount) as filler:
            goal = place.used_bytes() + NEAR * size_bytes
            filler.begin(size_bytes)
            if math.isinf(levels.until(functools.partial(_reached, place, goal), SEEN_S, 0.01)):
                message = f"{size_bytes / MIB:g} MiB were not seen within {SEEN_S:g} s"
                raise OSError(message)
            time.sleep(AFTER_S)
            bound = goal - NEAR * size_bytes + SLACK_BYTES
            back = functools.partial(_back, place, bound, None if name == "ours" else box)
            with levels.prompt():
                first_s = time.monotonic()
                (filler.release if how == "asked" else box.kill)()
                said_s = time.monotonic() - first_s
                waited_s = levels.until(back, SEEN_S)
            found[f"{how}_{size_bytes / GIB:g}_gib_ms"] = 1000 * (said_s + waited_s)
    return found


def _reached(place: Place, goal_bytes: float) -> bool:
    return place.used_bytes() >= goal_bytes


def _back(place: Place, bound_bytes: float, box: Box | None) -> bool:
    """Whether the space is free; a filler that rewrites frees it by turns, so it must be gone."""
    return place.used_bytes() <= bound_bytes and (box is None or not box.pids())


def tenant(name: str, make: Make, program: Path, target: float) -> dict[str, float]:
    """A tenant fills FILLED_RATIO of what a new filesystem has, beside a filler at a target.

    `refused` is 1 where it saw ENOSPC. Raises OSError when it cannot start.
    """
    with make() as place:
        goal = int(FILLED_RATIO * place.available_bytes())
        spare = meminfo.read()["MemAvailable"] - SPARE_BYTES
        memory_trials.warm(max(MIB, min(goal, spare)))
        with holding(name, place, target):
            deadline_s = SETTLE_S if name == "ours" else OTHER_SETTLE_S
            settled_s = 0.0 if name == "none" else levels.settle(place.percent, target, deadline_s)
            done = subprocess.run(
                [str(program), str(place.mount / "tenant"), str(goal)],
                user=NOBODY,
                capture_output=True,
                check=False,
                timeout=WRITER_S,
            )
    if done.returncode != 0:
        message = f"the tenant ended with code {done.returncode}: {done.stderr.decode()[:300]}"
        raise OSError(message)
    return tenant_figures(done.stdout, goal) | {"settle_s": settled_s}


def tenant_figures(text: bytes, goal_bytes: int) -> dict[str, float]:
    """What the writer printed, as figures. Raises OSError for a refusal that is not ENOSPC."""
    found = json.loads(text)
    if found["errno"] not in {0, errno.ENOSPC}:
        raise OSError(found["errno"], os.strerror(found["errno"]))
    return {
        "refused": float(found["errno"] == errno.ENOSPC),
        "written_percent": 100 * found["written"] / goal_bytes,
        "mib_per_s": found["written"] / MIB / found["seconds"],
        "worst_write_ms": found["worst_ms"],
    }
