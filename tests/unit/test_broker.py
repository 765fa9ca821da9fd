"""The broker of the load group: whom it moves, whom it refuses, and that it is bounded."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stressers import joining
from tests.stresser_harness import DEADLINE_S, until

if sys.platform != "linux":
    pytest.skip("control groups are Linux's", allow_module_level=True)

from stressers import broker, moving

GROUP = "some.slice/load.service"
HERE = os.getuid()


class Rig:
    """A broker in a thread, with copies of the control groups in which nobody is moved."""

    def __init__(self, folder: Path, *, uid: int = HERE, idle_s: float = DEADLINE_S) -> None:
        self.path = str(folder / "socket")
        self.sysfs = folder / "cgroup"
        self.points = {name: self.sysfs / name for name in ("cpu", "pids", "systemd", "unified")}
        for name in ("pids", "cpu", "unified", "systemd"):
            (self.points[name] / GROUP).mkdir(parents=True)
        (self.points["cpu"] / "some.slice/cpu.idle").write_text("0\n", encoding="ascii")
        (folder / "mountinfo").write_text(
            f"1 0 0:1 / /proc rw - proc proc rw\n{mounts(self.points)}", encoding="ascii"
        )
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(self.path)
        self._listener.listen(4)
        serving = broker.Serving(
            self._listener,
            GROUP,
            uid,
            idle_s=idle_s,
            sysfs=str(self.sysfs),
            mountinfo=str(folder / "mountinfo"),
        )
        self.over = threading.Event()

        def serve() -> None:
            serving.run()
            self.over.set()

        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()

    def moved(self, name: str) -> str | None:
        """What was written where one hierarchy takes processes."""
        file = self.points[name] / GROUP / "cgroup.procs"
        return file.read_text(encoding="ascii") if file.exists() else None

    def connect(self) -> socket.socket:
        """A connection of this process, on which nothing was said."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(DEADLINE_S)
        connection.connect(self.path)
        return connection

    def answer(self, request: bytes) -> str:
        """What the broker says to that."""
        with self.connect() as connection:
            connection.send(request)
            return connection.recv(256).decode()

    def close(self) -> None:
        """End it as when the socket is shut down."""
        self._listener.shutdown(socket.SHUT_RDWR)
        assert self.over.wait(DEADLINE_S)
        self._thread.join()
        self._listener.close()


def mounts(points: dict[str, Path]) -> str:
    """The lines of a mount table; the CPU comes first there, as on most hosts."""
    kinds = {
        "cpu": "cgroup cgroup rw,cpu,cpuacct",
        "pids": "cgroup cgroup rw,pids",
        "systemd": "cgroup cgroup rw,xattr,name=systemd",
        "unified": "cgroup2 cgroup2 rw,nsdelegate",
    }
    return "".join(f"30 1 0:30 / {points[name]} rw - {kinds[name]}\n" for name in kinds)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Makes a rig, which is closed in the end."""
    with contextlib.ExitStack() as stack:

        def made(**options: float) -> Rig:
            rig = Rig(tmp_path, **options)  # type: ignore[arg-type]  # uid is a whole number
            stack.callback(rig.close)
            return rig

        yield made


def test_who_asks_is_moved_in_every_hierarchy_and_the_slice_is_made_idle(
    make: Callable[..., Rig],
) -> None:
    """The asker's own pid is written, once in each; cpu.idle of the topmost group is 1."""
    rig = make()
    assert joining.ask(rig.path) is None
    assert {name: rig.moved(name) for name in rig.points} == dict.fromkeys(
        rig.points, str(os.getpid())
    )
    assert (rig.points["cpu"] / "some.slice/cpu.idle").read_text(encoding="ascii")[-1] == "1"


def test_the_service_manager_knows_of_a_process_before_it_leaves_the_cpus_group(
    make: Callable[..., Rig],
) -> None:
    """What is moved in part is killed with the unit: those that are tracked come first."""
    rig = make()
    text = (rig.sysfs.parent / "mountinfo").read_text(encoding="ascii")
    found = moving.folders(text, GROUP, str(rig.sysfs))
    names = [Path(folder.path).relative_to(rig.sysfs).parts[0] for folder in found]
    assert set(names[:2]) == {"systemd", "unified"}
    assert names[2:] == ["pids", "cpu"]
    assert [folder.tracked for folder in found] == [True, True, False, False]


def test_another_user_is_refused_and_nobody_is_moved(make: Callable[..., Rig]) -> None:
    """The user is the one that the kernel tells, and the answer names him."""
    rig = make(uid=HERE + 1)
    assert joining.ask(rig.path) == f"user {HERE} may not ask"
    assert rig.moved("systemd") is None


@pytest.mark.parametrize("request_", [b"", b"joi", b"join\n", b"join" * 5000, b"\xff\0"])
def test_garbage_is_refused(make: Callable[..., Rig], request_: bytes) -> None:
    """Only the one word counts, whole and alone."""
    rig = make()
    assert rig.answer(request_).startswith("not a request")
    assert rig.moved("systemd") is None
    assert joining.ask(rig.path) is None


def test_descriptors_that_are_sent_along_are_not_kept(make: Callable[..., Rig]) -> None:
    """A request with descriptors is no request, and none of them stays open."""
    rig = make()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(8):
        with rig.connect() as connection:
            socket.send_fds(connection, [b"join"], [0, 1, 2])
            assert connection.recv(256).startswith(b"not a request")
    assert until(lambda: len(os.listdir("/proc/self/fd")) <= before)
    assert rig.moved("systemd") is None


def test_a_connection_that_was_handed_on_proves_nothing(make: Callable[..., Rig]) -> None:
    """A child asks through the connection of its parent: neither is moved."""
    rig = make()
    with rig.connect() as connection:
        child = os.fork()
        if child == 0:
            connection.send(b"join")
            os._exit(0)
        os.waitpid(child, 0)
        answer = connection.recv(256).decode()
    assert answer == f"process {child} asks through a connection of {os.getpid()}"
    assert rig.moved("systemd") is None


def test_who_has_hung_up_is_not_moved() -> None:
    """His pid may be somebody else's by now."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    left.send(b"join")
    left.close()
    asker = broker.Asker(right, 0.0)
    with pytest.raises(moving.Refusal, match="has gone"):
        asker.pid(HERE)
    right.close()


def test_a_process_of_another_user_is_not_moved_whoever_asks(tmp_path: Path) -> None:
    """The pid's own user counts too: it may have been given to somebody else since."""
    (tmp_path / str(os.getpid())).mkdir()
    status = tmp_path / str(os.getpid()) / "status"
    status.write_text(f"Name:\tx\nUid:\t{HERE + 7}\t0\t0\t0\n", encoding="ascii")
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    right.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    with left, right:
        left.send(b"join")
        with pytest.raises(moving.Refusal, match=f"is user {HERE + 7}'s"):
            broker.Asker(right, 0.0).pid(HERE, proc=str(tmp_path))


def test_without_the_units_group_the_cause_is_told(make: Callable[..., Rig]) -> None:
    """A group that the service manager does not know would not be killed with the unit."""
    rig = make()
    for name in ("systemd", "unified"):
        (rig.points[name] / GROUP).rmdir()
    cause = joining.ask(rig.path)
    assert cause is not None
    assert "its unit is not active" in cause
    assert rig.moved("cpu") is None


def test_a_group_that_takes_nobody_is_named(make: Callable[..., Rig]) -> None:
    """The answer names the path and why."""
    rig = make()
    (rig.points["pids"] / GROUP / "cgroup.procs").mkdir()
    cause = joining.ask(rig.path)
    assert cause == f"{rig.points['pids'] / GROUP}: Is a directory"


def test_who_says_nothing_is_sent_away_and_keeps_nobody_waiting(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent client is answered when its time is over, another one is served meanwhile."""
    monkeypatch.setattr(broker, "ASK_S", 0.3)
    monkeypatch.setattr(broker, "MOST_CLIENTS", 2)
    rig = make()
    with rig.connect() as silent:
        assert joining.ask(rig.path, DEADLINE_S) is None
        assert silent.recv(256) == b"nothing was asked"
    with rig.connect(), rig.connect(), rig.connect():
        assert joining.ask(rig.path, DEADLINE_S) is None, "those beyond the most wait their turn"


def test_too_many_requests_are_refused(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one second; later there is room again."""
    monkeypatch.setattr(broker, "MOST_A_SECOND", 3)
    rig = make()

    def refused() -> bool:
        return "requests in a second" in (joining.ask(rig.path) or "")

    assert until(refused)
    assert until(lambda: joining.ask(rig.path) is None)


def test_it_ends_when_nobody_asks(make: Callable[..., Rig]) -> None:
    """So that no process stays that nobody needs; the socket outlives it."""
    rig = make(idle_s=0.2)
    assert joining.ask(rig.path) is None
    assert rig.over.wait(DEADLINE_S)


def test_a_missing_or_a_silent_broker_costs_a_moment_and_a_cause(tmp_path: Path) -> None:
    """No socket: at once. One that nobody serves: when the time is over, also with a full queue."""
    path = str(tmp_path / "socket")
    assert joining.ask(path) == "No such file or directory"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        assert joining.ask(path) == "Connection refused"
        listener.listen(0)
        for _ in range(3):
            from_s = time.monotonic()
            assert joining.ask(path, 0.2) == "no answer within 0.2 s"
            assert time.monotonic() - from_s < DEADLINE_S


def test_a_broker_that_ends_in_between_costs_a_cause(tmp_path: Path) -> None:
    """It was killed with the request in its hands: hung up, no answer."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(1)
        causes: list[str | None] = []
        asking = threading.Thread(target=lambda: causes.append(joining.ask(path, DEADLINE_S)))
        asking.start()
        listener.accept()[0].close()
        asking.join()
    assert causes[0] in {"hung up", "Connection reset by peer", "Broken pipe"}


def test_the_cause_is_told_with_the_lack(tmp_path: Path) -> None:
    """What a worker was told, its crew can tell; shared over the fork."""
    own = joining.Broker(str(tmp_path / "none"))
    child = os.fork()
    if child == 0:
        own.enter()
        os._exit(0)
    os.waitpid(child, 0)
    lack = joining.Entered(own).lack()
    assert lack.startswith("idle cgroup: ")
    assert lack.endswith(f"{tmp_path}/none: No such file or directory")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--user", "x"],
        ["--user", "0", "--group", "/a/b"],
        ["--user", "0", "--group", "a/../../b"],
        ["--user", "0", "--group", "a"],
    ],
)
def test_a_bad_call_is_refused(words: list[str]) -> None:
    """Exit code 2; no group outside the hierarchy can be named."""
    assert broker.main(words) == 2


def test_it_does_not_start_without_a_socket_of_its_service_manager() -> None:
    """Exit code 1: what is descriptor 3 otherwise is not its own."""
    assert broker.main(["--user", "0", "--group", GROUP]) == 1
