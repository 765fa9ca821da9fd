"""Runs trials in an observer process and puts their figures into words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.rig import environment

ROOT = Path(__file__).resolve().parents[2]
DAEMON = [sys.executable, "-m", "optimizer", "run"]
"""How a daemon is started; the working directory has the package."""


def run_trials(module: str, order: dict[str, Any]) -> list[dict[str, Any]]:
    """Have a module of this folder do what the order says: one result for each trial."""
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


def ms(values: Sequence[float]) -> str:
    """Median, 99th percentile (nearest rank) and largest of so many milliseconds."""
    if not values:
        return "nothing to tell"
    ranked = sorted(values)
    p50, p99 = (ranked[-(-len(ranked) * share // 100) - 1] for share in (50, 99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, at most {ranked[-1]:.1f} ms"
