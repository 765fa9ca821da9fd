"""How the end of a stresser is told on Windows, where no signal says it."""

from __future__ import annotations

import pytest

from optimizer.adapters.stresser_process import windows_end
from optimizer.model import ExitCause


@pytest.mark.parametrize(
    ("code", "told", "cause", "words"),
    [
        (0, False, ExitCause.FAILED, "ended by itself"),
        # The lease's timer, taskkill and the Task Manager all leave 1.
        (1, False, ExitCause.KILLED, "killed from outside, or its lease ran out"),
        (1, True, ExitCause.FAILED, "exit code 1"),
        (2, False, ExitCause.FAILED, "exit code 2"),
        (0xC0000005, False, ExitCause.FAILED, "exit code 0xc0000005"),
    ],
)
def test_an_end_has_a_cause(code: int, told: bool, cause: ExitCause, words: str) -> None:
    """A kill backs off, what gives up by itself is a fault, a crash has its NTSTATUS."""
    assert windows_end(code, told=told) == (cause, words)
