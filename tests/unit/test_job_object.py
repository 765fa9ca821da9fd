"""On Windows all that the daemon starts dies with it, whatever ends it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from optimizer.adapters import job_object
from optimizer.adapters.stresser_windows import creation_flags
from optimizer.model import Resource

ROOT = Path(__file__).resolve().parents[2]
FAMILY = """
import os, subprocess, sys
sys.path.insert(0, {root!r})
from optimizer.adapters.job_object import enter_job
denied = enter_job()
child = subprocess.Popen(
    [sys.executable, "-c", "import sys, time; print(flush=True); time.sleep(60)"],
    stdout=subprocess.PIPE,
)
child.stdout.readline()
print(denied, child.pid, flush=True)
os.abort()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has jobs")
def test_elsewhere_there_is_no_job() -> None:
    """Nothing is denied where there is nothing to have."""
    assert job_object.enter_job() is None
    assert job_object.in_job(os.getpid()) is None


@pytest.mark.skipif(sys.platform != "win32", reason="needs Windows, or wine")
def test_a_child_dies_with_a_crashed_process() -> None:
    """The kernel ends the child: its parent could not, for it was aborted."""
    import psutil  # noqa: PLC0415 - only where it is needed

    told = subprocess.run(
        [sys.executable, "-c", FAMILY.format(root=str(ROOT))],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    denied, pid = told.stdout.split()
    assert denied == "None"
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(pid)).wait(timeout=20)


@pytest.mark.parametrize("resource", list(Resource))
def test_a_stresser_gets_no_window(resource: Resource) -> None:
    """CREATE_NO_WINDOW for each on Windows, and the idle class for the one that burns CPU."""
    if sys.platform == "win32":
        idle = subprocess.IDLE_PRIORITY_CLASS if resource is Resource.CPU else 0
        assert creation_flags(resource) == subprocess.CREATE_NO_WINDOW | idle
    else:
        assert creation_flags(resource) == 0
