"""A real broker on the real kernel: workers of another user get into a root's idle group."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.stresser_harness import PROGRAM, Stresser, cpu_s, stresser, until

SYSFS = Path("/sys/fs/cgroup")
NOBODY, STRANGER = 65534, 65533
PYTHON = "/usr/bin/python3"
"""One that another user can start; ours may be in a home directory."""


def hierarchies() -> list[Path]:
    """Where this machine's root may make groups: all of version 1, or version 2."""
    here = [SYSFS, *(SYSFS / name for name in ("cpu", "memory", "pids", "systemd", "unified"))]
    return [top for top in here if (top / "cgroup.procs").exists() and os.access(top, os.W_OK)]


TOPS = hierarchies() if sys.platform == "linux" and os.geteuid() == 0 else []
TRACKED = [top for top in TOPS if top.name in {"systemd", "unified", "cgroup"}]


def is_recent() -> bool:
    """Whether the system has a Python that the stressers run on."""
    code = "import sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([PYTHON, "-I", "-c", code], check=False).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(
    not TRACKED or not is_recent(), reason="needs root, control groups and a Python 3.11 for all"
)


class Load:
    """A group of a test's own in each hierarchy, and a broker for it, as its unit starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(PROGRAM.parent, folder / "stressers")
        self.group = f"broker-test-{os.getpid()}.slice/load.service"
        self.folders = [top / self.group for top in TOPS]
        self.path = str(folder / "load.socket")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(self.path)
        os.chown(self.path, NOBODY, NOBODY)
        os.chmod(self.path, 0o600)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # PassCredentials=yes
        self._listener.listen(64)
        for top, one in zip(TOPS, self.folders, strict=True):
            if top == SYSFS:
                (top / "cgroup.subtree_control").write_text("+cpu", encoding="ascii")
            one.mkdir(parents=True)
        self.broker = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """A broker, to which the socket is passed as a service manager does."""
        passed = self._listener.fileno()
        code = f"import os, sys; os.dup2({passed}, 3); "
        code += "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); "
        code += f"sys.path.append({str(self.folder)!r}); "
        code += "from stressers import broker; sys.exit(broker.main(sys.argv[1:]))"
        words = ["--user", str(NOBODY), "--group", self.group]
        return subprocess.Popen([PYTHON, "-I", "-c", code, *words], pass_fds=(passed,))

    def crew(self, workers: int, user: int = NOBODY) -> AbstractContextManager[Stresser]:
        """CPU workers of that user, who ask this broker."""
        words = (PYTHON, "-I", "-S", str(self.folder / "stressers/__main__.py"))
        place = ("--workers", str(workers), "--cgroup-socket", self.path)
        return stresser("cpu", *place, user=user, words=words)

    def members(self) -> dict[str, set[int]]:
        """Who is in the group, by hierarchy."""
        return {
            str(one): set(map(int, (one / "cgroup.procs").read_text(encoding="ascii").split()))
            for one in self.folders
        }

    def close(self) -> None:
        """End the broker and remove the groups."""
        self.broker.kill()
        self.broker.wait()
        self._listener.close()
        assert until(lambda: not any(self.members().values()))
        for one in self.folders:
            one.rmdir()
            one.parent.rmdir()


@pytest.fixture
def load() -> Iterator[Load]:
    """The group and its broker, in a folder that other users can enter."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)  # noqa: S103  # another user looks into it
        made = Load(Path(name))
        try:
            yield made
        finally:
            made.close()


def means_of(held: Stresser) -> tuple[list[str], list[str]]:
    """What its workers have and what they lack, as last reported."""
    held.pids()
    report = held.said("ready")[-1]
    have, lack = report["means"], report["missing"]
    assert isinstance(have, list)
    assert isinstance(lack, list)
    return have, [text for text in lack if text.startswith("idle cgroup")]


def test_an_unprivileged_crews_workers_are_moved_and_it_is_not(load: Load) -> None:
    """Each worker, in each hierarchy, and nobody else; the slice is idle where there is such."""
    with load.crew(3) as held:
        held.lease(duty=0.05, ttl_s=3.0)
        _, *workers = held.pids()
        assert len(workers) == 3
        assert load.members() == {str(one): set(workers) for one in load.folders}
        have, lack = means_of(held)
        idle = [one.parent / "cpu.idle" for one in load.folders]
        if any(file.exists() for file in idle):
            assert "idle cgroup" in have
            assert lack == []
            assert {f.read_text(encoding="ascii").strip() for f in idle if f.exists()} == {"1"}
        # A worker that is forked again asks again.
        os.kill(workers[0], signal.SIGALRM)
        assert until(lambda: len(held.said("ready")) == 2)
        again = set(held.pids()[1:])
        assert until(lambda: load.members() == {str(one): again for one in load.folders})


def test_another_user_is_refused_by_the_socket_and_by_the_broker(load: Load) -> None:
    """Load runs all the same, and says why it is not in the group."""
    for mode, cause in ((0o600, "Permission denied"), (0o666, f"user {STRANGER} may not ask")):
        os.chmod(load.path, mode)
        with load.crew(1, STRANGER) as held:
            held.lease(duty=0.3, ttl_s=3.0)
            have, lack = means_of(held)
            assert "idle cgroup" not in have
            assert [text.rsplit(": ", 1)[1] for text in lack] == [cause]
            assert load.members() == {str(one): set() for one in load.folders}
            _, worker = held.pids()
            assert until(lambda: cpu_s(worker) > 0.05)  # noqa: B023  # called in the loop


def test_a_broker_that_is_killed_with_the_request_costs_a_moment(load: Load) -> None:
    """Stopped it answers nobody, killed it hangs up: the crew is ready either way, and says so."""
    load.broker.send_signal(signal.SIGSTOP)
    with load.crew(2) as held:
        held.lease(duty=0.05, ttl_s=3.0)
        have, lack = means_of(held)
        assert "idle cgroup" not in have
        assert lack[0].endswith("no answer within 1 s")
        load.broker.kill()
        load.broker.wait()
        assert load.members() == {str(one): set() for one in load.folders}
    # The next broker finds two who have hung up, and serves who is there.
    load.broker = load.start()
    with load.crew(2) as held:
        held.lease(duty=0.05, ttl_s=3.0)
        _, *workers = held.pids()
        assert load.members() == {str(one): set(workers) for one in load.folders}


def test_garbage_does_not_end_it(load: Load) -> None:
    """Who may speak to it, and says nonsense, moves nobody and stops nobody else."""
    words = "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); "
    words += "s.connect(sys.argv[1]); s.send(b'move 1'); print(s.recv(256).decode())"
    command = [PYTHON, "-I", "-c", words, load.path]
    said = subprocess.run(command, user=NOBODY, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("not a request")
    assert load.members() == {str(one): set() for one in load.folders}
    assert load.broker.poll() is None


def test_the_moved_workers_end_with_their_crew(load: Load) -> None:
    """Another group changes nothing of how they die: here their controller's pipe is closed."""
    with load.crew(2) as held:
        held.lease(duty=0.05, ttl_s=3.0)
        held.pids()
        held.process.kill()
        assert until(lambda: not any(load.members().values()))
