"""However a stresser's controller, crew or worker ends or hangs: each way to die suffices alone.

The processes are watched by pidfd from outside; nothing relies on what they say.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from optimizer.adapters.stresser_process import StresserProcess
from optimizer.model import Resource
from tests.orphans import ALL_WAYS, controlled
from tests.paths import CODE
from tests.stresser_harness import PROGRAM, cpu_s, stresser, until, watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfd and /proc")

SHORT_S, LONG_S = 1.0, 60.0
STUCK = Path(__file__).parent.parent / "stuck_stresser.py"

SUBREAPER = """
import ctypes, os, subprocess, sys, time
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
controller = os.fork()
if controller == 0:
    read, write = os.pipe()
    # The shell stands for a slow start: its pid becomes the stresser's.
    command = [sys.executable, "-I", "-S", sys.argv[1], "cpu", "--leased"]
    command += ["--parent", str(os.getpid()), "--life-fd", str(read)]
    child = subprocess.Popen(
        ["/bin/sh", "-c", 'sleep 0.5; exec "$@"', "sh", *command],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=(read,))
    os.kill(os.getpid(), 9)
os.waitpid(controller, 0)
print("adopted", flush=True)
until = time.monotonic() + 9  # the alarm for a first lease rings after ten seconds
while time.monotonic() < until:
    if os.waitpid(-1, os.WNOHANG)[0]:
        print("ended", flush=True)
        break
    time.sleep(0.01)
"""

NOBODY = """
import fcntl, os, sys, time
sys.path.insert(0, sys.argv[1])
from stressers import worker
parent, (read, write) = os.getpid(), os.pipe()
if os.fork() == 0:
    os.close(write)
    worker.arm_pipe(read)
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    worker.arm_parent(parent)
    print(os.getpid(), flush=True)
    while True:
        time.sleep(1)
time.sleep(60)
"""


def alone(way: str) -> str:
    """All ways but that one, switched off."""
    return ",".join(sorted(ALL_WAYS - {way}))


@pytest.mark.parametrize("kind", ["cpu", "memory"])
@pytest.mark.parametrize("way", ["", "pdeathsig", "pipe", "eof", "alarm"])
def test_all_die_when_the_controller_is_killed(kind: str, way: str) -> None:
    """SIGKILL of the controller: with all ways, and with each of them alone, nobody is left."""
    # With a long lease the alarm cannot be what helps, except where it is what is tested.
    ttl_s = SHORT_S if way == "alarm" else LONG_S
    with controlled(kind, alone(way) if way else "", ttl_s) as (controller, watched):
        os.kill(controller, signal.SIGKILL)
        assert watched.all_dead(), watched.alive()


@pytest.mark.parametrize("stuck_in", ["busy", "asleep"])
@pytest.mark.parametrize("way", ["pdeathsig", "pipe", "alarm"])
def test_a_worker_that_is_stuck_in_c_dies_by_each_way_of_the_kernel(
    way: str, stuck_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the interpreter's lock held it reads nothing and runs no handler; it dies all the same.

    End of file cannot reach such a worker, so that way is not asked to.
    """
    monkeypatch.setenv("STUCK_IN", stuck_in)
    monkeypatch.setenv("STUCK_CODE", str(CODE))
    ttl_s = SHORT_S if way == "alarm" else LONG_S
    with controlled("cpu", alone(way), ttl_s, program=STUCK) as (controller, watched):
        worker = watched.pids[1]
        if stuck_in == "busy":
            assert until(lambda: cpu_s(worker) > 0.1)
        os.kill(controller, signal.SIGKILL)
        assert watched.all_dead(), watched.alive()


@pytest.mark.parametrize("stuck_in", ["busy", "asleep"])
def test_a_stuck_worker_ends_although_its_controller_lives(
    stuck_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crew goes on and its leases are renewed; the worker that does not renew its own ends."""
    monkeypatch.setenv("STUCK_IN", stuck_in)
    monkeypatch.setenv("STUCK_CODE", str(CODE))
    with controlled("cpu", alone("alarm"), SHORT_S, program=STUCK) as (_, watched):
        crew, worker = watched.pids
        assert until(lambda: worker not in watched.alive())
        assert crew in watched.alive()


@pytest.mark.parametrize("kind", ["cpu", "memory"])
def test_all_die_when_the_controller_hangs(kind: str) -> None:
    """SIGSTOP of the controller: the lease runs out, and its alarm alone ends everybody."""
    with controlled(kind, alone("alarm"), SHORT_S) as (controller, watched):
        os.kill(controller, signal.SIGSTOP)
        assert watched.all_dead(), watched.alive()


@pytest.mark.parametrize("way", ["", "pdeathsig", "eof", "alarm"])
def test_workers_die_when_their_crew_is_killed(way: str) -> None:
    """SIGKILL of the crew alone: its workers end by each way that concerns the crew."""
    ttl_s = SHORT_S if way == "alarm" else LONG_S
    with controlled("memory", alone(way) if way else "", ttl_s) as (_, watched):
        os.kill(watched.pids[0], signal.SIGKILL)
        assert watched.all_dead(), watched.alive()


def test_workers_of_a_stopped_crew_end_by_their_own_alarm() -> None:
    """SIGSTOP of the crew: no renewal reaches the workers, and they end."""
    with controlled("memory", alone("alarm"), SHORT_S) as (_, watched):
        os.kill(watched.pids[0], signal.SIGSTOP)
        assert until(lambda: watched.alive() == watched.pids[:1]), watched.alive()


def test_without_any_way_to_die_they_stay() -> None:
    """The switch of these tests works: with every way off, they outlive their controller."""
    with controlled("memory", ",".join(ALL_WAYS), LONG_S) as (controller, watched):
        os.kill(controller, signal.SIGKILL)
        assert not until(lambda: watched.alive() != watched.pids, deadline_s=0.5)


@pytest.mark.parametrize("kind", ["cpu", "memory"])
def test_a_worker_that_was_killed_ends_the_crew(kind: str) -> None:
    """One worker killed from outside: all end, exit code 3, the message names pid and signal."""
    with stresser(kind, "--workers" if kind == "cpu" else "--shards", "3") as held:
        held.lease(**({"duty": 0.05} if kind == "cpu" else {"bytes": 8 << 20}), ttl_s=3.0)
        with watch(held.pids()) as watched:
            victim = watched.pids[2]
            os.kill(victim, signal.SIGKILL)
            assert watched.all_dead(), watched.alive()
        assert held.end() == 3
        (error,) = held.said("error")
        assert f"worker {victim} was killed by SIGKILL" in str(error["message"])


def test_a_controller_that_has_gone_before_the_start_is_noticed() -> None:
    """Started with the pid of somebody who is not its parent, it ends at once."""
    command = [sys.executable, "-I", "-S", str(PROGRAM), "cpu", "--leased", "--parent", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.wait(15.0) == 0


@pytest.mark.parametrize("way", ["pdeathsig", "pipe", "eof"])
def test_a_subreaper_does_not_hide_that_the_controller_has_gone(way: str) -> None:
    """The controller is killed before the stresser arms; another parent than init adopts it.

    The lease alarm needs no test of its own here: it knows of no parent.
    """
    with subprocess.Popen(
        [sys.executable, "-c", SUBREAPER, str(PROGRAM)],
        stdout=subprocess.PIPE,
        env={**os.environ, "STRESSER_TEST_DISABLE": alone(way)},
    ) as subreaper:
        try:
            output, _ = subreaper.communicate(timeout=30)
        finally:
            subreaper.kill()
    assert output.split() == [b"adopted", b"ended"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root: setuid")
@pytest.mark.parametrize("way", ["pdeathsig", "pipe"])
def test_after_a_change_of_ids_the_kernel_still_kills(way: str) -> None:
    """A process that has become nobody dies with its parent, by each way alone.

    The kernel forgets the parent death signal at such a change, so it is armed
    after it; the pipe it remembers.
    """
    with subprocess.Popen(
        [sys.executable, "-c", NOBODY, str(PROGRAM.parent.parent)],
        stdout=subprocess.PIPE,
        env={**os.environ, "STRESSER_TEST_DISABLE": alone(way)},
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        with watch([pid]) as watched:
            parent.kill()
            assert watched.all_dead()


def test_a_thread_cannot_start_a_stresser() -> None:
    """The kernel sends the parent death signal when the starting thread ends, so none may."""
    told: list[str] = []

    def start() -> None:
        try:
            StresserProcess(Resource.CPU, ("--workers", "1"))
        except RuntimeError as exc:
            told.append(str(exc))

    thread = threading.Thread(target=start, name="metrics")
    thread.start()
    thread.join()
    (message,) = told
    assert "'metrics'" in message
    assert "main thread" in message


def limits(pid: int) -> dict[str, str]:
    """The soft limits of a process by name, as the kernel writes them."""
    lines = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()[1:]
    return {line[:25].strip(): line[25:].split()[0] for line in lines}


@pytest.mark.parametrize("kind", ["cpu", "memory", "disk"])
def test_resource_limits_bound_what_a_fault_could_do(kind: str, tmp_path: Path) -> None:
    """No core dumps and few files anywhere; no written file but a disk's; bounded memory."""
    arguments = {"cpu": ("--workers", "1"), "memory": ("--shards", "1")}
    with stresser(kind, *arguments.get(kind, ("--path", str(tmp_path)))) as held:
        crew, *workers = held.pids()
        bound, own = limits(crew), limits(os.getpid())
        assert bound["Max core file size"] == "0"
        assert int(bound["Max open files"]) < 80
        assert bound["Max data size"] == str(256 << 20)
        assert bound["Max file size"] == (own["Max file size"] if kind == "disk" else "65536")
        for pid in workers:
            bound = limits(pid)
            assert bound["Max core file size"] == "0"
            assert int(bound["Max open files"]) < 80
            assert bound["Max file size"] == "0"
            data = own["Max data size"] if kind == "memory" else str(256 << 20)
            assert bound["Max data size"] == data


@pytest.mark.parametrize(
    ("deed", "fault"),
    [
        ("bytearray(1 << 29)", "MemoryError"),
        ("[os.open('/dev/null', 0) for _ in range(99)]", "Too many open files"),
        ("open(sys.argv[2], 'wb', 0).write(b'x')", "File too large"),
    ],
)
def test_each_limit_of_a_worker_is_in_force(deed: str, fault: str, tmp_path: Path) -> None:
    """A worker that runs wild gets no memory, no descriptors and no file."""
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from stressers import worker\n"
        f"worker.limit_crew(0, writes=False); worker.limit_worker(holds=False)\n{deed}"
    )
    arguments = [str(PROGRAM.parent.parent), str(tmp_path / "file")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert fault in done.stderr


def test_a_controller_that_never_gives_a_lease_gets_no_load() -> None:
    """Without any lease there are workers, but they hold nothing."""
    with stresser("memory") as held:
        held.pids()
        assert held.held() is None
        assert held.end() == 0


def test_sigterm_ends_a_leased_stresser_in_good_order() -> None:
    """SIGTERM: exit code 0, the ledger told as 0, nobody left."""
    with stresser("memory") as held:
        held.lease(bytes=8 << 20, ttl_s=3.0)
        with watch(held.pids()) as watched:
            assert until(lambda: held.held() == 8 << 20)
            held.process.send_signal(signal.SIGTERM)
            assert watched.all_dead(), watched.alive()
        assert held.end() == 0
        assert held.held() == 0
