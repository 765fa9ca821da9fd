"""A daemon that hangs, fails or grows: no load beyond a lease, no sign of life, no leftovers."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig import DaemonRig, alive, daemon, descendants, eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc; abstract sockets")

FAULTY = ("-m", "tests.faulty_daemon")
LOADS = {"TARGET_CPU": "0", "TARGET_MEMORY": "60", "MEMORY_RISE_MB_PER_MINUTE": "6000"}


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Stands for systemd: its socket, and a watchdog of two seconds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        name = f"optimizer-hangs-{os.getpid()}"
        found.bind(f"\0{name}")
        found.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        monkeypatch.setenv("WATCHDOG_USEC", "2000000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield found


def heard(manager: socket.socket) -> list[str]:
    """All messages since last asked."""
    found = []
    while select.select([manager], [], [], 0)[0]:
        found.append(manager.recv(4096).decode())
    return found


def loaded(rig: DaemonRig) -> set[int]:
    """The stressers once memory is held; else empty."""
    holds = rig.resource("memory").get("own") or 0
    return descendants(rig.pid) if holds > 0 else set()


@pytest.mark.parametrize("fault", ["fifo", pytest.param("lock", marks=pytest.mark.long)])
def test_a_loop_that_blocks_loses_its_load_and_says_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manager: socket.socket, fault: str
) -> None:
    """No cure from within: the leases end the load, the missing pings let systemd restart it."""
    begin = tmp_path / "begin"
    monkeypatch.setenv("FAULT", fault)
    monkeypatch.setenv("FAULT_WHEN", str(begin))
    messages: list[str] = []
    with daemon(tmp_path / "work", program=FAULTY, **LOADS) as rig:
        stressers = eventually(lambda: loaded(rig), what="loaded")
        eventually(lambda: (messages.extend(heard(manager)), "WATCHDOG=1" in messages)[1])
        assert messages[0].startswith("READY=1\nSTATUS=")
        begin.touch()
        start_s = time.monotonic()
        eventually(lambda: not alive(stressers), deadline_s=15, what="leases ran out")
        print(f"gone after {time.monotonic() - start_s:.2f} s")
        # The last full cycle may have begun just before the fault; nothing comes after it.
        heard(manager)
        time.sleep(1.5)
        assert heard(manager) == []
        assert rig.process.poll() is None


def test_cycles_that_fail_end_the_daemon_with_all_its_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three in a row: exit 1, nobody left, so that a service manager starts it anew."""
    begin = tmp_path / "begin"
    monkeypatch.setenv("FAULT", "raise")
    monkeypatch.setenv("FAULT_WHEN", str(begin))
    with daemon(tmp_path / "work", program=FAULTY, **LOADS) as rig:
        stressers = eventually(lambda: loaded(rig), what="loaded")
        begin.touch()
        assert rig.process.wait(timeout=20) == 1
        assert alive(stressers) == set()
    assert "cycle.failed" in rig.said()


def test_a_daemon_beyond_its_own_limit_ends_in_good_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1, the value named, nobody left, nothing left in the runtime directory."""
    begin = tmp_path / "begin"
    monkeypatch.setenv("FAULT", "memory")
    monkeypatch.setenv("FAULT_WHEN", str(begin))
    with daemon(tmp_path / "work", program=FAULTY, **LOADS) as rig:
        stressers = eventually(lambda: loaded(rig), what="loaded")
        begin.touch()
        assert rig.process.wait(timeout=20) == 1
        assert alive(stressers) == set()
        assert list((tmp_path / "work/run").iterdir()) == []
    assert "daemon.limit_exceeded" in rig.said()
    assert "resident memory in bytes" in rig.said()


@pytest.mark.parametrize(
    "index", [1, pytest.param(0, marks=pytest.mark.long)], ids=["worker", "crew"]
)
def test_a_stresser_that_was_stopped_is_replaced(tmp_path: Path, index: int) -> None:
    """SIGSTOP: no alarm ends it and it would hold its memory for ever; the daemon kills it."""
    with daemon(tmp_path / "work", **LOADS) as rig:
        eventually(lambda: loaded(rig), what="loaded")
        pids = rig.resource("memory")["pids"]
        os.kill(pids[index], signal.SIGSTOP)
        eventually(lambda: not alive(set(pids)), what="all of them gone")
        eventually(lambda: set(rig.resource("memory")["pids"]) - set(pids), what="new ones")
        assert f"process {pids[index]} has not run for" in rig.said()
        assert rig.stop() == 0
