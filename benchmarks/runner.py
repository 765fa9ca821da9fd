"""Repeats parts of a benchmark with their arms in turns, and prints what came out.

A part is a question with one measurement for each arm; each repetition does all
parts, and within a part the arms in an order that rotates. What fails is named
and missing from the figures.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import figures

Trial = Callable[[], dict[str, float]]
FAULTS = (OSError, ValueError, subprocess.SubprocessError)
"""What a measurement may end with: a device, a report that is none, a program that is late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One table: its title, and how each arm is measured once."""

    title: str
    trials: Mapping[str, Trial]


def run(parts: Sequence[Part], runs: int, path: str | None) -> int:
    """Measures, then prints the tables; the exit code. Writes JSON there after each trial.

    An interrupt ends the measurement, not the tables.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    code = 0
    try:
        for repetition in range(runs):
            for part in parts:
                names = list(part.trials)
                measured = results.setdefault(part.title, {name: [] for name in names})
                turn = repetition % max(len(names), 1)
                for name in names[turn:] + names[:turn]:
                    what = f"run {repetition + 1}, {part.title}, {name}"
                    try:
                        measured[name].append(part.trials[name]())
                        print(f"{what}: done", file=sys.stderr, flush=True)
                    except FAULTS as exc:
                        print(f"{what}: no figures: {exc}", file=sys.stderr, flush=True)
                    if path is not None:
                        _write(Path(path), results)
    except KeyboardInterrupt:
        print("interrupted: this is what was measured until then", file=sys.stderr)
        code = 128 + signal.SIGINT
    for title, measured in results.items():
        if any(measured.values()):
            print(f"\n{title}; medians (range)\n\n{figures.spread(measured)}")
    return code


def _write(path: Path, results: Mapping[str, figures.Runs]) -> None:
    found = {title: figures.finite(runs) for title, runs in results.items()}
    path.write_text(json.dumps(found, allow_nan=False), encoding="utf-8")
