"""A daemon that hangs, fails or grows: no sign of life, and it ends with all its load.

That a hang costs the load too, test_controller_hang.py tells.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
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

LOADED_BYTES = 128 << 20
"""More than stressers take that hold nothing."""
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


def altered(**alteration: object) -> tuple[str, ...]:
    """What Python runs: altered_daemon.py, with the fault from SIGUSR1 on."""
    return ("-m", "tests.hostile.altered_daemon", json.dumps(alteration))


def hang(fault: str, sign: Path) -> dict[str, str]:
    """The sensors do this in each full cycle; the sign says since when."""
    return {"fault": fault, "place": "sensors", "sign": str(sign)}


def heard(manager: socket.socket) -> list[str]:
    """All messages since last asked."""
    found = []
    while select.select([manager], [], [], 0)[0]:
        found.append(manager.recv(4096).decode())
    return found


def loaded(rig: DaemonRig) -> set[int]:
    """The stressers once memory is held, by the kernel's count; else empty."""
    found = descendants(rig.pid)
    return found if sum(map(anonymous_bytes, found)) > LOADED_BYTES else set()


def anonymous_bytes(pid: int) -> int:
    """Resident memory of a process that belongs to no file; 0 when it has ended."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
        found = re.search(r"^RssAnon:\s+(\d+)", status, re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0


def test_a_loop_that_blocks_gives_no_sign_of_life_any_more(
    tmp_path: Path, manager: socket.socket
) -> None:
    """No cure from within: the missing pings let systemd restart it, while the process lives on."""
    sign, messages = tmp_path / "sign", list[str]()
    program = altered(hang=hang("blocked", sign))
    with daemon(tmp_path / "work", program=program, TARGET_CPU="0") as rig:
        eventually(lambda: (messages.extend(heard(manager)), "WATCHDOG=1" in messages)[1])
        assert messages[0].startswith("READY=1\nSTATUS=")
        rig.process.send_signal(signal.SIGUSR1)
        eventually(sign.exists, what="blocked")
        # The last full cycle may have begun just before the fault; nothing comes after it.
        heard(manager)
        time.sleep(1.5)
        assert heard(manager) == []
        assert rig.process.poll() is None


def test_cycles_that_fail_end_the_daemon_with_all_its_load(tmp_path: Path) -> None:
    """Three in a row: exit 1, nobody left, so that a service manager starts it anew."""
    program = altered(hang=hang("failing", tmp_path / "sign"))
    with daemon(tmp_path / "work", program=program, **LOADS) as rig:
        stressers = eventually(lambda: loaded(rig), what="loaded")
        rig.process.send_signal(signal.SIGUSR1)
        assert rig.process.wait(timeout=20) == 1
        assert alive(stressers) == set()
    assert "cycle.failed" in rig.said()


def test_a_daemon_beyond_its_own_limit_ends_in_good_order(tmp_path: Path) -> None:
    """Exit 1, the value named, nobody left, nothing left in the runtime directory."""
    with daemon(tmp_path / "work", program=altered(limit=True), **LOADS) as rig:
        stressers = eventually(lambda: loaded(rig), what="loaded")
        rig.process.send_signal(signal.SIGUSR1)
        assert rig.process.wait(timeout=20) == 1
        assert alive(stressers) == set()
        assert list((tmp_path / "work/run").iterdir()) == []
    assert "daemon.limit_exceeded" in rig.said()
    assert "resident memory in bytes" in rig.said()
