"""Real stressers on Windows: what they hold, how they stand back, and each way they end."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from optimizer.adapters.stresser_process import StresserProcess
from optimizer.model import ExitCause, Resource
from stressers import free, holder, windows
from stressers.lease import encode
from tests.paths import CODE

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="needs Windows, or wine")

MIB = 1 << 20
DEADLINE_S = 20.0
PROGRAM = CODE / "stressers" / "__main__.py"


def until(fulfilled: Callable[[], bool]) -> bool:
    """Whether a condition came true before the deadline."""
    end_s = time.monotonic() + DEADLINE_S
    while not fulfilled():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.05)
    return True


def emulated() -> bool:
    """Whether this is wine, which says so itself."""
    return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


@pytest.fixture
def start() -> Iterator[Callable[..., StresserProcess]]:
    """Starts stressers as the daemon does; ends them at the latest when the test ends."""
    started: list[StresserProcess] = []

    def started_one(resource: Resource, *arguments: str) -> StresserProcess:
        started.append(StresserProcess(resource, arguments))
        return started[-1]

    yield started_one
    for one in started:
        one.kill()
        assert until(lambda one=one: one.ended() is not None)
        one.close()


def renewed(
    stresser: StresserProcess, lease: float, fulfilled: Callable[[], bool]
) -> Callable[[], bool]:
    """A condition, asked while the lease is renewed and the reports are heard."""

    def asked() -> bool:
        stresser.renew(lease, time.monotonic())
        stresser.listen()
        return fulfilled()

    return asked


def test_every_call_is_there() -> None:
    """Windows has all that is called by name."""
    assert isinstance(windows.system(), windows.Windows)


def test_memory_is_private_and_given_back(start: Callable[..., StresserProcess]) -> None:
    """100 MiB of lease are 100 MiB of memory that is really there, and none afterwards."""
    stresser = start(Resource.MEMORY, "--shards", "2")
    process = psutil.Process(stresser.pid)

    def resident() -> int:
        return process.memory_info().rss

    assert until(renewed(stresser, 0.0, lambda: bool(stresser.means)))
    before = resident()
    assert until(renewed(stresser, 100 * MIB, lambda: stresser.held == 100 * MIB))
    assert until(renewed(stresser, 100 * MIB, lambda: resident() > before + 90 * MIB))
    assert until(renewed(stresser, 0.0, lambda: resident() < before + 20 * MIB))
    assert {"lease alarm", "parent death signal"} <= set(stresser.means)


def test_the_room_is_that_of_memory_and_commit_limit() -> None:
    """No more than what psutil says is available, less the floor."""
    (total, _), (limit, left) = windows.system().memory()
    assert total == psutil.virtual_memory().total
    assert 0 < left <= limit
    floor = max(0.05 * total, 512 * MIB)
    # Others take and give back meanwhile, by far less than a fifth of the memory.
    assert free.MemoryRoom()() <= psutil.virtual_memory().available - floor + 0.2 * total


def test_cpu_load_is_in_the_idle_class_and_memory_is_not(
    start: Callable[..., StresserProcess],
) -> None:
    """From its first moment on, and by its own word; who gives memory back does not wait."""
    cpu, memory = start(Resource.CPU, "--workers", "1"), start(Resource.MEMORY, "--shards", "1")
    at_birth = psutil.Process(cpu.pid).nice()
    assert emulated() or at_birth == psutil.IDLE_PRIORITY_CLASS  # wine starts all in the normal one
    assert until(renewed(cpu, 0.1, lambda: "IDLE_PRIORITY_CLASS" in cpu.means))
    assert psutil.Process(cpu.pid).nice() == psutil.IDLE_PRIORITY_CLASS
    assert psutil.Process(memory.pid).nice() == psutil.NORMAL_PRIORITY_CLASS


@pytest.mark.parametrize("code", [1, signal.SIGTERM])
def test_a_stresser_that_is_killed_is_told_as_killed(
    start: Callable[..., StresserProcess], code: int
) -> None:
    """By the Task Manager or taskkill (1), or by Python (15), without a word of its own."""
    stresser = start(Resource.MEMORY, "--shards", "1")
    assert until(renewed(stresser, 0.0, lambda: bool(stresser.means)))
    if code == 1:
        stresser._process.kill()
    else:
        os.kill(stresser.pid, code)
    assert until(lambda: stresser.ended() is not None)
    exit_ = stresser.ended()
    assert exit_ is not None
    assert exit_.cause is ExitCause.KILLED


def test_a_lease_to_one_that_hears_nothing_is_not_waited_for(
    start: Callable[..., StresserProcess],
) -> None:
    """Ten thousand leases to a suspended stresser, and one to a dead one: none waits or raises."""
    stresser = start(Resource.MEMORY, "--shards", "1")
    assert until(renewed(stresser, 0.0, lambda: bool(stresser.means)))
    psutil.Process(stresser.pid).suspend()
    for number in range(10_000):
        stresser.renew(float(number % 2) * 64 * MIB, time.monotonic())
    assert stresser.unleased_s(time.monotonic() + 5.0) >= 5.0
    stresser.kill()
    assert until(lambda: stresser.ended() is not None)
    stresser.renew(64 * MIB, time.monotonic() + 60.0)


@contextlib.contextmanager
def stresser_that_lacks(disabled: str) -> Iterator[subprocess.Popen[bytes]]:
    """One that holds 16 MiB, is our child, and cannot die in the ways named."""
    command = [sys.executable, "-I", "-S", str(PROGRAM), "memory", "--shards", "1"]
    command += ["--leased", "--parent", str(os.getpid())]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "STRESSER_TEST_DISABLE": disabled},
        bufsize=0,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(encode("memory", 16 * MIB, ttl_s=3.0))
        told = b""
        while b'"bytes": 16777216' not in told:
            chunk = child.stdout.read(4096)
            assert chunk, f"it ended: {told!r}"
            told += chunk
        yield child
    finally:
        child.kill()
        child.wait(DEADLINE_S)
        child.stdin.close()
        child.stdout.close()


def test_the_lease_alone_ends_it() -> None:
    """Input open, parent alive: the kernel's timer, three seconds after the last lease."""
    with stresser_that_lacks("eof,pdeathsig") as child:
        assert child.wait(DEADLINE_S) == 1


def test_the_end_of_its_input_alone_ends_it() -> None:
    """No timer, parent alive."""
    with stresser_that_lacks("alarm,pdeathsig") as child:
        assert child.stdin is not None
        child.stdin.close()
        child.wait(DEADLINE_S)


def test_without_all_three_it_lives_on() -> None:
    """The switches of these tests do what they say, so that each way is tested alone."""
    with stresser_that_lacks("alarm,pdeathsig,eof") as child:
        assert child.stdin is not None
        child.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(5.0)


PARENT = """
    import os, subprocess, sys, time
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", sys.argv[1], "memory", "--shards", "1",
         "--leased", "--parent", str(os.getpid())],
        stdin=0, stdout=subprocess.PIPE,
        env={**os.environ, "STRESSER_TEST_DISABLE": sys.argv[2]},
    )
    print(child.pid, flush=True)
    print(child.stdout.readline().decode(), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("disabled", ["alarm,eof", ""])
def test_the_end_of_its_parent_ends_it(disabled: str) -> None:
    """Also when nothing else would: its input is ours, and stays open; it has no timer."""
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(PROGRAM), disabled],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=CODE,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    try:
        stresser = psutil.Process(int(parent.stdout.readline()))
        ready = json.loads(parent.stdout.readline())
        assert "parent death signal" in ready["means"]
        assert stresser.is_running()
        parent.kill()
        parent.wait(DEADLINE_S)
        assert until(lambda: not stresser.is_running())
    finally:
        parent.kill()
        parent.wait(DEADLINE_S)
        parent.stdin.close()
        parent.stdout.close()


def test_a_hung_interpreter_does_not_outlive_its_lease() -> None:
    """A call that never gives the interpreter back: no thread of Python could end that."""
    program = """
        import ctypes
        from stressers import windows
        from stressers.threaded import lease_alarm
        lease_alarm(1.0, windows.system())
        ctypes.PyDLL("kernel32").Sleep(600_000)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=CODE)
    try:
        assert child.wait(DEADLINE_S) == 1
    finally:
        child.kill()
        child.wait(DEADLINE_S)


HOLDER = """
    import sys, time
    from stressers import holder
    holder.open_unnamed(sys.argv[1])
    print("open", flush=True)
    time.sleep(600)
"""


def test_a_held_file_is_ours_alone_and_goes_with_us(tmp_path: Path) -> None:
    """Nobody else opens or removes it while it is held; a killed holder leaves nothing."""
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=CODE,
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline().strip() == b"open"
        (name,) = os.listdir(tmp_path)
        with pytest.raises(PermissionError):
            (tmp_path / name).read_bytes()
        assert holder.sweep(str(tmp_path)) == []
        assert os.listdir(tmp_path) == [name]
        child.kill()
        child.wait(DEADLINE_S)
        assert until(lambda: not os.listdir(tmp_path))
    finally:
        child.kill()
        child.wait(DEADLINE_S)
        child.stdout.close()


def test_space_is_taken_at_once_and_never_written(tmp_path: Path) -> None:
    """64 MiB less are free while they are held; the file stays empty."""
    if sys.platform != "win32" or emulated():
        pytest.skip("wine reserves no space: FileAllocationInfo is not implemented there")
    descriptor, unnamed = holder.open_unnamed(str(tmp_path))
    try:
        assert not unnamed
        before = psutil.disk_usage(str(tmp_path)).free
        holder.extend(descriptor, 0, 64 * MIB)
        # Others write meanwhile, by far less.
        assert psutil.disk_usage(str(tmp_path)).free < before - 48 * MIB
        assert os.fstat(descriptor).st_size == 0
        holder.cut(descriptor, MIB)
        assert psutil.disk_usage(str(tmp_path)).free > before - 16 * MIB
    finally:
        os.close(descriptor)
    assert os.listdir(tmp_path) == []


def test_a_disk_that_cannot_reserve_is_named(
    start: Callable[..., StresserProcess], tmp_path: Path
) -> None:
    """Under wine: nothing is held, and the stresser says why; it never pretends."""
    if sys.platform != "win32" or not emulated():
        pytest.skip("a real Windows reserves")
    stresser = start(Resource.DISK, "--path", str(tmp_path))
    assert until(renewed(stresser, 64 * MIB, lambda: stresser.ended() is not None))
    exit_ = stresser.ended()
    assert exit_ is not None
    assert "cannot reserve space without writing it" in exit_.detail
    assert os.listdir(tmp_path) == []
