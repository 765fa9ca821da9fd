"""A process is known by more than its pid, and only that very one is ever signalled."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from optimizer.adapters import identity
from optimizer.adapters.identity import identify, kill, runs

SLEEP = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A child that does nothing for a minute."""
    with subprocess.Popen(SLEEP) as process:
        yield process
        process.kill()


def test_a_process_is_the_same_however_often_it_is_asked(
    sleeper: subprocess.Popen[bytes],
) -> None:
    """Two looks give one identity, which runs; the process itself is another one."""
    who = identify(sleeper.pid)
    assert who is not None
    assert who == identify(sleeper.pid)
    assert runs(who)
    assert who != identify(os.getpid())


def test_only_a_child_of_the_given_parent_is_believed(sleeper: subprocess.Popen[bytes]) -> None:
    """What a crew tells of its workers is checked, for a pid may be anybody's."""
    assert identify(sleeper.pid, parent=os.getpid()) is not None
    assert identify(sleeper.pid, parent=sleeper.pid) is None


def test_a_killed_process_has_no_identity_even_before_it_is_reaped(
    sleeper: subprocess.Popen[bytes],
) -> None:
    """A zombie holds nothing and needs no signal."""
    who = identify(sleeper.pid)
    assert who is not None
    assert kill(who)
    until_s = time.monotonic() + 15
    while runs(who) and time.monotonic() < until_s:
        time.sleep(0.01)
    assert not runs(who)
    assert identify(sleeper.pid) is None
    assert not kill(who)
    assert sleeper.wait(15) != 0


@pytest.mark.parametrize("change", [{"start": 1}, {"pidfs": 7}])
def test_whoever_has_the_pid_now_is_not_signalled(
    sleeper: subprocess.Popen[bytes], change: dict[str, int]
) -> None:
    """An identity that differs in its start or its pidfd's inode was that of another process."""
    who = identify(sleeper.pid)
    assert who is not None
    if "pidfs" in change and who.pidfs is None:
        pytest.skip("pidfds have no inodes of their own here: Linux 6.9 or later has them")
    before = dataclasses.replace(who, **change)
    assert not runs(before)
    assert not kill(before)
    time.sleep(0.05)
    assert sleeper.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")
def test_without_pidfds_the_start_time_decides(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel before 5.3, or a sandbox: another start is not signalled, the right one is."""
    monkeypatch.setattr(identity, "_open", lambda _pid: None)
    who = identify(sleeper.pid)
    assert who is not None
    assert who.pidfs is None
    assert not kill(dataclasses.replace(who, start=who.start - 1))
    assert sleeper.poll() is None
    assert kill(who)
    assert sleeper.wait(15) != 0


def test_nobody_has_no_identity() -> None:
    """A pid beyond the largest that any kernel gives."""
    assert identify(1 << 30) is None


def test_an_inode_that_is_not_known_says_nothing(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a descriptor to spare a living process is not taken for gone."""
    who = identify(sleeper.pid)
    assert who is not None
    with monkeypatch.context() as full:
        full.setattr(identity, "_open", lambda _pid: None)
        assert runs(who)
        bare = identify(sleeper.pid)
    assert bare is not None
    assert bare.pidfs is None
    assert runs(bare)
    assert kill(bare)
    assert sleeper.wait(timeout=5) != 0
