"""The tether: a program that is not ours ends when its starter does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from optimizer.tether import EXIT_NO_PROGRAM, EXIT_ORPHAN

DEADLINE_S = 20.0
TETHER = [sys.executable, "-m", "optimizer.tether"]

STARTER = """
import os, subprocess, sys, time
stdin = subprocess.PIPE if "--stdin" in sys.argv else subprocess.DEVNULL
command = [sys.executable, "-m", "optimizer.tether", "--parent", str(os.getpid()), *sys.argv[1:]]
child = subprocess.Popen(command, stdin=stdin)
print(child.pid, flush=True)
time.sleep(120)
"""
SAY_PID = "import os, time; print(os.getpid(), flush=True); time.sleep(120)"


def gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has collected yet has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(pid: int) -> bool:
    """Wait for the end of a process that may not be our child."""
    end = time.monotonic() + DEADLINE_S
    while not gone(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return gone(pid)


@pytest.mark.parametrize("watch", [(), ("--stdin",)], ids=["kernel", "stdin"])
def test_the_program_ends_when_its_starter_is_killed(watch: tuple[str, ...]) -> None:
    """SIGKILL leaves the starter no time for anything; the program is gone all the same."""
    command = [sys.executable, "-c", STARTER, *watch, "--", sys.executable, "-c", SAY_PID]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        tether = int(starter.stdout.readline())
        program = int(starter.stdout.readline())
        assert not gone(program)
        starter.kill()
        starter.wait(DEADLINE_S)
        assert wait_until_gone(program)
        assert wait_until_gone(tether)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the program is a child")
def test_on_linux_the_tether_becomes_the_program() -> None:
    """No process stays between starter and program, so signals and exit codes are the program's."""
    command = [*TETHER, "--parent", str(os.getpid()), "--", sys.executable, "-c", SAY_PID]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.terminate()
        assert process.wait(DEADLINE_S) == -15


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux compares the parent")
def test_a_program_whose_starter_is_gone_already_is_not_run(tmp_path: Path) -> None:
    """When the parent is not who it should be, nothing is started."""
    mark = tmp_path / "ran"
    # Process 1 is nobody's test runner.
    done = subprocess.run(
        [*TETHER, "--parent", "1", "--", "touch", str(mark)], timeout=DEADLINE_S, check=False
    )
    assert done.returncode == EXIT_ORPHAN
    assert not mark.exists()


@pytest.mark.parametrize("watch", [(), ("--stdin",)], ids=["kernel", "stdin"])
def test_the_exit_code_is_the_programs(watch: tuple[str, ...]) -> None:
    """A program that ends by itself hands its code through."""
    command = [*TETHER, "--parent", str(os.getpid()), *watch, "--"]
    with subprocess.Popen([*command, sys.executable, "-c", "exit(7)"], stdin=subprocess.PIPE) as it:
        assert it.wait(DEADLINE_S) == 7


@pytest.mark.parametrize("watch", [(), ("--stdin",)], ids=["kernel", "stdin"])
def test_a_missing_program_is_told(watch: tuple[str, ...]) -> None:
    """The message names the program; the code is the shell's for a command not found."""
    done = subprocess.run(
        [*TETHER, "--parent", str(os.getpid()), *watch, "--", "/nowhere/at-all"],
        timeout=DEADLINE_S,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == EXIT_NO_PROGRAM
    assert "cannot start /nowhere/at-all" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there is no polite signal on Windows")
def test_a_request_to_end_reaches_the_program_through_the_tether() -> None:
    """Where the program is a child, the tether passes SIGTERM on and ends after it."""
    command = [*TETHER, "--parent", "1", "--stdin", "--", sys.executable, "-c", SAY_PID]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        program = int(process.stdout.readline())
        assert program != process.pid
        process.terminate()
        process.wait(DEADLINE_S)
        assert wait_until_gone(program)


def test_importing_it_does_nothing() -> None:
    """Neither the import of the package nor of the module parses, prints or changes anything."""
    done = subprocess.run(
        [sys.executable, "-c", "import optimizer, optimizer.tether"],
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
