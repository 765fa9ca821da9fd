"""Exactly one daemon holds the lock, and death gives it back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from optimizer.adapters import instance_lock
from optimizer.adapters.instance_lock import InstanceLock, holder
from optimizer.errors import AlreadyRunningError, OptimizerError
from tests.paths import CODE

CONTENDER = """
import sys, time
from pathlib import Path
from optimizer.adapters.instance_lock import InstanceLock
from optimizer.errors import AlreadyRunningError
lock = InstanceLock(Path(sys.argv[1]))
sys.stdin.read()
try:
    lock.acquire()
except AlreadyRunningError as exc:
    print("lost", exc, flush=True)
else:
    print("won", flush=True)
    time.sleep(60)
"""


@contextmanager
def contender(path: Path, stdin: int) -> Iterator[subprocess.Popen[str]]:
    """A process that goes for the lock at the end of its standard input, and keeps it."""
    process = subprocess.Popen(
        [sys.executable, "-c", CONTENDER, str(path)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CODE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the lock is."""
    return tmp_path / "lock"


def test_free_lock_has_no_holder(path: Path) -> None:
    """Without a file, and with a file that nobody has locked, nobody holds it."""
    assert holder(path) is None
    path.write_text('{"pid": 1}')
    assert holder(path) is None


def test_holder_is_named_and_nothing_is_left(path: Path) -> None:
    """While it is held the file says by whom; afterwards there is no file."""
    before_s = time.time()
    lock = InstanceLock(path)
    lock.acquire()
    lock.acquire()
    found = holder(path)
    assert found is not None
    assert found.pid == os.getpid()
    assert found.started_utc_s is not None
    assert before_s - 1 <= found.started_utc_s <= time.time() + 1
    if sys.platform == "linux":
        assert found.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    lock.release()
    lock.release()
    assert os.listdir(path.parent) == []
    lock.acquire()
    lock.release()


def test_second_is_refused_with_the_pid_of_the_first(path: Path) -> None:
    """The error names the holder, since when, and what to do; the first keeps the lock."""
    first, second = InstanceLock(path), InstanceLock(path)
    first.acquire()
    expected = rf"pid {os.getpid()}, started 20\d\d-.* UTC, holds {re.escape(str(path))}; stop"
    with pytest.raises(AlreadyRunningError, match=expected):
        second.acquire()
    second.release()
    assert holder(path) is not None
    first.release()
    second.acquire()
    second.release()


def test_two_looks_at_once_are_no_daemon(path: Path) -> None:
    """Whoever asks for the holder shares the lock with others who ask: none of them runs."""
    path.write_bytes(b"")
    with path.open("rb") as look:
        assert instance_lock._lock(look.fileno(), shared=True)
        assert holder(path) is None


def test_a_look_at_the_lock_is_not_a_daemon(path: Path) -> None:
    """A lock that is gone at the second try was somebody who asked for the holder."""
    with path.open("w") as look:
        assert instance_lock._lock(look.fileno(), shared=True)
        lock = InstanceLock(path, pause=lambda _: look.close())
        lock.acquire()
    assert holder(path) is not None
    lock.release()


@pytest.mark.parametrize(
    "content", [b"", b"rubbish", b"[]", b'{"pid": "x", "started_utc_s": 1e300}']
)
def test_content_of_an_earlier_holder_does_not_matter(path: Path, content: bytes) -> None:
    """Only the lock counts: a file that stayed behind is taken over."""
    path.write_bytes(content)
    lock = InstanceLock(path)
    lock.acquire()
    assert json.loads(path.read_bytes())["pid"] == os.getpid()
    path.write_bytes(content)
    found = holder(path)
    assert found is not None
    assert (found.pid, found.started_utc_s, found.boot_id) == (None, None, None)
    with pytest.raises(AlreadyRunningError, match="has not written its pid"):
        InstanceLock(path).acquire()
    lock.release()


def test_unusable_path_is_named(tmp_path: Path) -> None:
    """A directory that is missing is an error with the path, not a running daemon."""
    with pytest.raises(OptimizerError, match="cannot take the instance lock") as caught:
        InstanceLock(tmp_path / "missing" / "lock").acquire()
    assert not isinstance(caught.value, AlreadyRunningError)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed on Windows")
def test_release_leaves_the_file_of_another_alone(path: Path) -> None:
    """When somebody removed our file and another has locked a new one, that one stays."""
    first, second = InstanceLock(path), InstanceLock(path)
    first.acquire()
    path.unlink()
    second.acquire()
    first.release()
    assert path.exists()
    assert holder(path) is not None
    second.release()


@pytest.mark.skipif(sys.platform == "win32", reason="locks are released late on Windows")
def test_child_of_the_holder_does_not_hold(path: Path) -> None:
    """A program that the holder started keeps nothing locked after the holder has gone."""
    script = (
        "import subprocess, sys; from pathlib import Path;"
        "from optimizer.adapters.instance_lock import InstanceLock;"
        f"InstanceLock(Path({str(path)!r})).acquire();"
        "child = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'],"
        " stdin=0, close_fds=False);"
        "print(child.pid, flush=True); import os; os._exit(0)"
    )
    read_end, write_end = os.pipe()
    try:
        subprocess.run(
            [sys.executable, "-c", script],
            stdin=read_end,
            stdout=subprocess.DEVNULL,
            cwd=CODE,
            check=True,
            timeout=30,
        )
        # The child still runs: it waits for the end of its input, which is in our hand.
        assert holder(path) is None
    finally:
        os.close(read_end)
        os.close(write_end)


def test_killed_holder_frees_the_lock(path: Path) -> None:
    """SIGKILL is enough, and the file that stays behind is in nobody's way."""
    with contender(path, subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "won\n"
        found = holder(path)
        assert found is not None
        assert found.pid == process.pid
        with pytest.raises(AlreadyRunningError, match=f"pid {process.pid},"):
            InstanceLock(path).acquire()
        process.kill()
        process.wait()
        lock = InstanceLock(path)
        lock.acquire()
        lock.release()


@pytest.mark.skipif(sys.platform == "win32", reason="one pipe for all needs POSIX")
@pytest.mark.parametrize("count", [20, pytest.param(50, marks=pytest.mark.long)])
def test_many_at_once_leave_one(path: Path, count: int) -> None:
    """Of many processes that start together exactly one gets the lock; the others name it."""
    read_end, write_end = os.pipe()
    processes: list[subprocess.Popen[str]] = []
    try:
        for _ in range(count):
            processes.append(  # noqa: PERF401 - what was started must be ended when one fails
                subprocess.Popen(
                    [sys.executable, "-S", "-c", CONTENDER, str(path)],
                    stdin=read_end,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=CODE,
                )
            )
        os.close(write_end)
        write_end = -1
        answers = {}
        for process in processes:
            assert process.stdout is not None
            answers[process.pid] = process.stdout.readline()
    finally:
        if write_end >= 0:
            os.close(write_end)
        os.close(read_end)
        for process in processes:
            process.kill()
            process.communicate()
    winners = [pid for pid, answer in answers.items() if answer == "won\n"]
    assert len(winners) == 1
    losers = [answer for answer in answers.values() if answer.startswith("lost")]
    assert len(losers) == count - 1
    assert all(f"pid {winners[0]}," in answer for answer in losers)


@pytest.mark.skipif(sys.platform == "win32", reason="files are not removed while locked on Windows")
def test_holding_and_releasing_in_turns_never_overlaps(path: Path) -> None:
    """Processes that take, release and remove the file over and over are never two at a time."""
    script = """
import os, sys, time
from pathlib import Path
from optimizer.adapters.instance_lock import InstanceLock
from optimizer.errors import AlreadyRunningError
path = Path(sys.argv[1])
inside = path.with_name("inside")
held, end_s = 0, time.monotonic() + 1.5
while time.monotonic() < end_s:
    lock = InstanceLock(path)
    try:
        lock.acquire()
    except AlreadyRunningError:
        continue
    os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
    inside.unlink()
    lock.release()
    held += 1
print(held)
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-S", "-c", script, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=CODE,
        )
        for _ in range(4)
    ]
    held = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sum(int(count) for count in held) > 50
    assert os.listdir(path.parent) == []
