"""A process that was stopped is told from one that waits, by its CPU clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from optimizer.adapters.pulse import SILENT_S, Pulse
from tests.rig import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads CPU clocks by pid")

WAKES = "import time\nwhile True: time.sleep(0.01)"


@pytest.fixture
def pid() -> Iterator[int]:
    """A process that wakes a hundred times a second."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", WAKES]) as process:
        yield process.pid
        process.kill()


def test_one_that_runs_is_never_silent(pid: int) -> None:
    """Its clock moves between two looks, whatever time has passed by another clock."""
    pulse, now_s = Pulse(), 0.0
    for _ in range(5):
        before_s = pulse.count((pid,))
        eventually(lambda before_s=before_s: pulse.count((pid,)) > before_s)
        assert pulse.silent((pid,), now_s) is None
        now_s += SILENT_S


def test_a_stopped_one_is_named_after_a_lease(pid: int) -> None:
    """Not before, and no longer once it goes on."""
    pulse = Pulse()
    eventually(lambda: pulse.count((pid,)) > 0)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.1)
    pulse.count((pid,))
    assert pulse.silent((pid,), 100.0) is None
    pulse.count((pid,))
    assert pulse.silent((pid,), 100.0 + SILENT_S - 0.1) is None
    why = pulse.silent((pid,), 100.0 + SILENT_S)
    assert why == f"process {pid} has not run for 4 s, state T"
    os.kill(pid, signal.SIGCONT)
    eventually(lambda: (pulse.count((pid,)), pulse.silent((pid,), 200.0) is None)[1])


def test_one_that_has_gone_is_not_silent() -> None:
    """Its end is seen by other means."""
    pulse = Pulse()
    nobody = 1 << 22  # one beyond the largest of Linux
    for now_s in (0.0, 100.0, 200.0):
        pulse.count((nobody,))
        assert pulse.silent((nobody,), now_s) is None


def test_the_count_does_not_fall_with_a_process(pid: int) -> None:
    """What an ended process has used stays in the sum."""
    pulse = Pulse()
    eventually(lambda: pulse.count((pid,)) > 0.001)
    before_s = pulse.count((pid,))
    assert pulse.count(()) == before_s


def test_a_clock_that_cannot_be_read_says_nothing(
    pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a sandbox hides the clocks of others nobody is taken for stopped."""
    monkeypatch.setattr("optimizer.adapters.pulse.process_cpu_s", lambda _: None)
    pulse = Pulse()
    for now_s in (0.0, 100.0, 200.0):
        pulse.count((pid,))
        assert pulse.silent((pid,), now_s) is None
