"""Runs trials in an observer process, checks what each has left, and tells the figures."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.hostile import leftovers
from tests.loopdev import volume
from tests.rig import environment

ROOT = Path(__file__).resolve().parents[2]
DAEMON = [sys.executable, "-m", "optimizer", "run"]
"""How a daemon is started; the working directory has the package."""
DISK_LEFT_BYTES = 64 << 10
"""What an ext4 may take for itself meanwhile: a block of a directory, of extents, of a bitmap."""
SIZE_MB = 4096
IDLE_RATIO = 0.1
"""A host that idles so much of a trial does not keep anybody waiting who is to end."""

Trial = dict[str, Any]


@contextlib.contextmanager
def disk(folder: Path, *, size_mb: int = SIZE_MB) -> Iterator[str | None]:
    """A filesystem for the daemon to hold, None where there can be none."""
    with contextlib.ExitStack() as stack:
        mount = None
        with contextlib.suppress(pytest.skip.Exception):
            mount = str(stack.enter_context(volume("ext4", folder, size_mb=size_mb)).mount)
        yield mount


def run_trials(module: str, folder: Path, count: int, **more: object) -> list[Trial]:
    """Have a module of this folder make so many trials; see scene.py for the order."""
    order = {"command": DAEMON, "folder": str(folder), "disk": None, "trials": count, **more}
    with subprocess.Popen(
        [sys.executable, "-m", f"tests.hostile.{module}", json.dumps(order)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(),
    ) as observer:
        try:
            assert observer.stdout is not None
            results = [json.loads(line) for line in observer.stdout]
            assert observer.wait(timeout=60) == 0, f"{module} failed, see above"
        finally:
            observer.kill()
    return results


def check_left(trial: Trial) -> None:
    """After a trial nobody lives and nothing is held; files are those of the next start."""
    assert trial["orphans"] == 0, trial
    assert not trial["memory_left"], trial
    assert (trial["disk_left"] or 0) <= DISK_LEFT_BYTES, trial
    assert trial["files"] == [], trial
    assert trial["in_groups"] == 0, trial
    assert trial["groups"] <= 1, trial


def check_end(trial: Trial) -> None:
    """Ended in good order; on a host without idle time a stresser may need longer to die."""
    assert trial["code"] == 0 or trial["left_behind"], trial
    check_left(trial)


def must_be_counted(trials: list[Trial]) -> None:
    """Nothing left was counted, not merely unknown; skips the rest where that cannot be."""
    mounts = os.geteuid() == 0 and shutil.which("mkfs.ext4") and Path("/dev/loop-control").exists()
    for key, can, needs in (
        ("memory_left", leftovers.counts_memory(), "root and version 1 of the memory controller"),
        ("disk_left", mounts, "root, mkfs.ext4 and loop devices"),
    ):
        unknown = sum(one[key] is None for one in trials)
        assert not (unknown and can), f"{key}: not counted in {unknown} of {len(trials)} trials"
        if unknown:
            pytest.skip(f"all else holds; {key} cannot be counted here: needs {needs}")


def roomy(trials: list[Trial]) -> list[Trial]:
    """Those in which the host had idle time."""
    return [one for one in trials if one["idle"] >= IDLE_RATIO]


def told_left(trials: list[Trial]) -> str:
    """What all of them have left, in a line."""
    return (
        f"  left: {sum(one['orphans'] for one in trials)} processes, "
        f"memory {_most(trials, 'memory_left')} bytes, "
        f"disk {_most(trials, 'disk_left')} bytes, "
        f"{sum(len(one['files']) for one in trials)} files, "
        f"{sum(len(one['fragments']) for one in trials)} fragments of state files, "
        f"{sum(one['groups'] for one in trials)} empty control groups until the next start"
    )


def told_held(trials: list[Trial]) -> str:
    """What they held on average when it happened, and how long a trial takes."""
    memory, space, took_s = (
        sum(one[key] for one in trials) / len(trials)
        for key in ("memory_held", "disk_held", "seconds")
    )
    return (
        f"  held: {memory / 2**20:.0f} MiB of memory and {space / 2**20:.0f} MiB of disk "
        f"on average; {took_s:.2f} s a trial"
    )


def ms(values: Sequence[float]) -> str:
    """Median, 99th percentile (nearest rank) and largest of so many milliseconds."""
    if not values:
        return "nothing to tell"
    p50, p99 = percentile(values, 50), percentile(values, 99)
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, at most {max(values):.1f} ms"


def percentile(values: Sequence[float], share: int) -> float:
    """By nearest rank; at least one value, `share` in percent."""
    return sorted(values)[-(-len(values) * share // 100) - 1]


def _most(trials: list[Trial], key: str) -> int | str:
    """The largest, for what was left once would stay; "unknown" where nobody could count."""
    known = [one[key] for one in trials if one[key] is not None]
    return max(known) if known else "unknown"
