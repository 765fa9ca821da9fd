"""How a stresser is started on Windows, and what its exit code there tells."""

from __future__ import annotations

import signal
import subprocess
import sys

from optimizer.model import ExitCause, Resource

_CODES_GIVEN_FROM_OUTSIDE = {1, signal.SIGTERM}
"""What ends a process from outside leaves; see windows_end()."""
_LARGEST_CODE = 255
"""Codes beyond this are NTSTATUS values, which people know in hexadecimal."""


def python() -> str:
    """The interpreter itself: on Windows that of a venv only starts another, and waits for it.

    A stresser needs nothing of the venv. Source: multiprocessing.spawn does the same.
    """
    found: str = getattr(sys, "_base_executable", sys.executable)
    return found if sys.platform == "win32" else sys.executable


def creation_flags(resource: Resource) -> int:
    """On Windows: no console window of its own, and for CPU the idle class from the first moment.

    The others stay in the normal class: they must hear beside a busy tenant to give back.
    """
    if sys.platform != "win32":
        return 0
    idle = subprocess.IDLE_PRIORITY_CLASS if resource is Resource.CPU else 0
    return subprocess.CREATE_NO_WINDOW | idle


def windows_end(code: int, *, told: bool) -> tuple[ExitCause, str]:
    """Cause and words for an exit code on Windows, which has no signals to tell it.

    1 is what the lease's timer and those who end a process from outside leave (15,
    if they are Python), a stresser also when it gives up; but then it has `told` why.
    """
    if code == 0:
        return ExitCause.FAILED, "ended by itself"
    if code in _CODES_GIVEN_FROM_OUTSIDE and not told:
        return ExitCause.KILLED, "killed from outside, or its lease ran out"
    return ExitCause.FAILED, f"exit code {code:#x}" if code > _LARGEST_CODE else f"exit code {code}"
