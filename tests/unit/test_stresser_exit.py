"""The pipe to a stresser and the end of one on Windows, where no signal tells it."""

from __future__ import annotations

import pytest

from optimizer.adapters.stresser_reports import never_wait
from optimizer.adapters.stresser_windows import windows_end
from optimizer.model import ExitCause
from tests.windows_calls import FakeKernel32


@pytest.mark.parametrize(
    ("code", "told", "cause", "words"),
    [
        (0, False, ExitCause.FAILED, "ended by itself"),
        # The lease's timer, taskkill and the Task Manager all leave 1.
        (1, False, ExitCause.KILLED, "killed from outside, or its lease ran out"),
        (15, False, ExitCause.KILLED, "killed from outside, or its lease ran out"),
        (1, True, ExitCause.FAILED, "exit code 1"),
        (2, False, ExitCause.FAILED, "exit code 2"),
        (0xC0000005, False, ExitCause.FAILED, "exit code 0xc0000005"),
    ],
)
def test_an_end_has_a_cause(code: int, told: bool, cause: ExitCause, words: str) -> None:
    """A kill backs off, what gives up by itself is a fault, a crash has its NTSTATUS."""
    assert windows_end(code, told=told) == (cause, words)


def test_a_full_pipe_is_not_waited_for() -> None:
    """PIPE_NOWAIT for that handle; where it is denied the stresser is not kept."""
    kernel32 = FakeKernel32()
    never_wait(kernel32, 7)
    assert kernel32.named("SetNamedPipeHandleState") == [(7, 1)]
    kernel32.failing["SetNamedPipeHandleState"] = 5
    with pytest.raises(OSError, match="never waits"):
        never_wait(kernel32, 7)
