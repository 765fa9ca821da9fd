"""What a service manager is told, on a socket that stands for its own."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizer.adapters.systemd_notify import SystemdNotify
from tests.fakes import FakeLog

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets")


class Manager:
    """The receiving side, and a clock."""

    def __init__(self, address: str) -> None:
        self.now_s = 100.0
        self.log = FakeLog()
        self._senders: list[SystemdNotify] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self._socket.setblocking(False)
        self.environ = {"NOTIFY_SOCKET": address, "OTHER": "x"}

    def notify(self, **environ: str) -> SystemdNotify:
        """A sender with these variables beside the socket."""
        self.environ.update(environ)
        made = SystemdNotify(self.environ, log=self.log, monotonic=lambda: self.now_s, pid=4242)
        self._senders.append(made)
        return made

    def heard(self) -> list[str]:
        """All messages since last asked."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        """Be gone, and the senders too."""
        for sender in self._senders:
            sender.close()
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A service manager that listens in the file system, and one in the abstract namespace."""
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("the abstract namespace is Linux's")
    address = str(tmp_path / "notify") if request.param == "path" else f"@optimizer-{os.getpid()}"
    found = Manager(address)
    yield found
    found.close()


def test_it_is_ready_after_the_first_whole_cycle_and_not_before(manager: Manager) -> None:
    """What is shown before that comes with it; each change of it comes by itself later."""
    notify = manager.notify()
    notify.show("cpu 40\nmemory 20")
    assert manager.heard() == []
    notify.verified()
    assert manager.heard() == ["READY=1\nSTATUS=cpu 40; memory 20"]
    notify.verified()
    notify.show("cpu 40\nmemory 20")
    assert manager.heard() == []
    notify.show("cpu 41")
    assert manager.heard() == ["STATUS=cpu 41"]
    notify.close()
    assert manager.heard() == ["STOPPING=1"]
    notify.show("cpu 42")
    notify.verified()
    assert manager.heard() == []


def test_the_watchdog_hears_each_quarter_of_its_period_at_most(manager: Manager) -> None:
    """Ten seconds: cycles each 0.125 s make a ping each 2.5 s, and no cycles make none."""
    notify = manager.notify(WATCHDOG_USEC="10000000", WATCHDOG_PID="4242")
    notify.verified()
    manager.heard()
    pings_s = []
    for _ in range(80):
        manager.now_s += 0.125
        notify.verified()
        pings_s += [manager.now_s for _ in manager.heard()]
    assert pings_s == [102.5, 105.0, 107.5, 110.0]
    manager.now_s += 100
    assert manager.heard() == []


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "soon"},
    ],
)
def test_without_a_watchdog_of_ours_there_are_no_pings(
    manager: Manager, environ: dict[str, str]
) -> None:
    """Not switched on, meant for another process, or not a number."""
    notify = manager.notify(**environ)
    notify.verified()
    manager.heard()
    manager.now_s += 1000
    notify.verified()
    assert manager.heard() == []


def test_no_program_that_we_start_can_speak_in_our_name(manager: Manager) -> None:
    """The variables are taken out of the environment, the others stay."""
    manager.notify(WATCHDOG_USEC="1", WATCHDOG_PID="4242")
    assert manager.environ == {"OTHER": "x"}


def test_a_full_queue_delays_and_never_blocks(manager: Manager) -> None:
    """A manager that does not listen: no wait, no warning, and the ping is tried again."""
    notify = manager.notify(WATCHDOG_USEC="4")
    notify.verified()
    for count in range(10_000):
        notify.show(str(count))
    manager.now_s += 1
    notify.verified()
    manager.heard()
    notify.verified()
    assert manager.heard() == ["WATCHDOG=1"]
    assert manager.log.events == []


def test_a_manager_that_has_gone_is_one_warning(manager: Manager, tmp_path: Path) -> None:
    """And no exception; readiness is said again in each cycle until it is heard."""
    manager.environ["NOTIFY_SOCKET"] = str(tmp_path / "nobody")
    notify = manager.notify()
    notify.verified()
    notify.verified()
    assert manager.log.names() == ["notify.failed"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as late:
        late.bind(str(tmp_path / "nobody"))
        notify.verified()
        assert late.recv(4096) == b"READY=1\nSTATUS=running"


@pytest.mark.parametrize("address", ["", "relative", "@", "vsock:2:1234"])
def test_without_a_socket_of_ours_nothing_happens(address: str) -> None:
    """Run by hand, or by a manager that speaks over something else."""
    log = FakeLog()
    notify = SystemdNotify({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"}, log=log)
    notify.show("x")
    notify.verified()
    notify.verified()
    notify.close()
    assert log.events == []
