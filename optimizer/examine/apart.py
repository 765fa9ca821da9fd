"""Examines each area in a process of its own.

A filesystem that hangs, a library that crashes or is missing costs that area, not the
others; and nobody waits for a process that the kernel does not let go.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from optimizer.report.doctor import Area, Code, Finding, Severity, from_json

DEADLINE_S = 10.0
"""After so long an area is given up; the slowest takes two seconds."""
AT_ONCE = 4
"""Areas that are examined at the same time."""
_KILLED_S = 0.5
_ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import json, sys
asked = json.loads(sys.argv[1])
sys.path[:] = asked["path"]
from optimizer.cli.doctor import answer
answer(asked)
"""
"""It sees just what this process sees, however that came by its path."""


def examine(
    areas: Sequence[Area],
    config: str | None,
    overrides: Sequence[str],
    *,
    deadline_s: float = DEADLINE_S,
    program: str = CHILD,
) -> list[Finding]:
    """The findings of those areas; `config` and `overrides` are --config and --set.

    `program` is what each process runs.
    """
    path = [*(os.path.abspath(one) for one in sys.path), str(_ROOT)]

    def one(area: Area) -> list[Finding]:
        asked = {"area": area.value, "path": path, "config": config, "overrides": list(overrides)}
        command = [sys.executable, "-I", "-S", "-c", program, json.dumps(asked)]
        return _findings(area, command, deadline_s)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [finding for found in pool.map(one, areas) for finding in found]


def _findings(area: Area, command: list[str], deadline_s: float) -> list[Finding]:
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as exc:
        return [failed(area, f"no process can be started: {exc}")]
    try:
        output, errors = child.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=_KILLED_S)
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
        found = _hangs(area, child, deadline_s)
        # Whenever the kernel lets it go.
        threading.Thread(target=child.wait, daemon=True).start()
        return [found]
    try:
        return [from_json(one) for one in json.loads(output)]
    except (ValueError, KeyError, TypeError):
        last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return [failed(area, f"{last or 'no message'} (exit code {child.returncode})")]


def _hangs(area: Area, child: subprocess.Popen[bytes], deadline_s: float) -> Finding:
    stays = "" if child.poll() is not None else f"; pid {child.pid} waits in the kernel (state D)"
    return Finding(
        area=area,
        code=Code.EXAMINATION_HANGS,
        severity=Severity.WARNING,
        found=f"the look at {area.value} had not ended after {deadline_s:g} s and was given up"
        f"{stays}",
        remedy="a filesystem that does not answer is the usual cause: see `dmesg` and `mount`; "
        "a very busy host is another",
    )


def failed(area: Area, why: str) -> Finding:
    """An area could not be examined."""
    return Finding(
        area=area,
        code=Code.EXAMINATION_FAILED,
        severity=Severity.WARNING,
        found=f"the look at {area.value} failed: {why}",
        remedy="mend what the other findings say first, and look again",
    )
