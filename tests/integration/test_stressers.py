"""Real stressers on the real kernel: what they hold, and that it is theirs alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stressers.blocks import UNIT
from stressers.cpu import SLICE_S
from tests.loopdev import btrfs, ext4
from tests.stresser_harness import DEADLINE_S, PROGRAM, cpu_s, stresser, until, watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MIB = 1 << 20
PAUSES = 12
"""So many different ones between two leases that fall."""


def used_s(pids: list[int], seconds: float) -> tuple[float, float]:
    """CPU seconds that processes use within that time, and the time it really was."""
    from_s, used_from_s = time.monotonic(), sum(cpu_s(pid) for pid in pids)
    time.sleep(seconds)
    return sum(cpu_s(pid) for pid in pids) - used_from_s, time.monotonic() - from_s


def test_cpu_workers_use_their_duty_and_stop_with_it() -> None:
    """Two workers at 0.2 use 0.2 of two CPUs, never more; at 0 they use next to nothing."""
    with stresser("cpu", "--workers", "2") as held:
        held.lease(duty=0.2, ttl_s=3.0)
        crew, *workers = held.pids()
        assert len(workers) == 2
        used_s(workers, 0.5)
        # In the idle class a busy machine may leave less, so the duty is waited for.
        ratios = []

        def reached() -> bool:
            used, span_s = used_s(workers, 1.0)
            # A window may cut one slice of each worker more than it counts in its span.
            assert used <= 2 * (0.2 * (span_s + SLICE_S) + SLICE_S)
            ratios.append(used / span_s / 2)
            return 0.18 <= ratios[-1] <= 0.22

        assert until(reached), f"duty 0.2 asked, shares of the CPU used: {ratios}"
        assert all(os.sched_getscheduler(pid) == os.SCHED_IDLE for pid in workers)
        assert os.sched_getscheduler(crew) == os.SCHED_OTHER
        held.lease(duty=0.0, ttl_s=3.0)
        used_s(workers, 0.3)
        idle, _ = used_s(workers, 0.5)
        # Two workers that wake about once a second each; a slice of work would be 20 ms.
        assert idle < 0.01


def test_a_broken_line_ends_the_load_and_is_complained_of_once() -> None:
    """After a broken line nothing is used until a good lease comes; stderr names it once."""
    with stresser("cpu", "--workers", "1") as held:
        held.lease(duty=0.5, ttl_s=3.0)
        worker = held.pids()[1:]
        assert until(lambda: used_s(worker, 0.2)[0] > 0.01)
        held.silence()
        held.write(b"{nonsense}\n{more nonsense}\n")
        used_s(worker, 0.3)
        assert used_s(worker, 0.4)[0] < 0.01
        held.lease(duty=0.5, ttl_s=3.0)
        assert until(lambda: used_s(worker, 0.2)[0] > 0.01)
        assert held.errors().count("broken lease") == 1


def test_a_worker_that_was_starved_of_its_renewal_is_forked_again() -> None:
    """A worker that its own alarm ended while the crew's lease is good is replaced."""
    with stresser("cpu", "--workers", "2") as held:
        held.lease(duty=0.1, ttl_s=3.0)
        pids = held.pids()
        os.kill(pids[1], signal.SIGALRM)
        assert until(lambda: len(held.said("ready")) == 2)
        again = held.pids()
        assert again[0] == pids[0]
        assert pids[1] not in again
        assert len(again) == 3


@pytest.fixture
def idle_group() -> Iterator[Path]:
    """A cgroup of the test's own with cpu.idle=1; skips where there is none to be had."""
    for root in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")):
        group = root / f"stresser-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / "cpu.idle").write_text("1")
        except OSError:
            group.rmdir()
            continue
        try:
            yield group
        finally:
            assert until(lambda group=group: not (group / "cgroup.procs").read_text())  # type: ignore[misc]  # lambda
            group.rmdir()
        return
    pytest.skip("no cgroup with cpu.idle can be made here")


def test_workers_join_the_idle_group_and_the_crew_does_not(idle_group: Path) -> None:
    """The idle cgroup is reported as in force; the crew stays able to hear a lease."""
    with stresser("cpu", "--workers", "2", "--cgroup", str(idle_group)) as held:
        held.lease(duty=0.05, ttl_s=3.0)
        _, *workers = held.pids()
        inside = (idle_group / "cgroup.procs").read_text(encoding="ascii").split()
        assert sorted(map(int, inside)) == sorted(workers)
        means = held.said("ready")[0]["means"]
        assert isinstance(means, list)
        assert "idle cgroup" in means
        # Those in the group find it by themselves, too.
        command = f"echo 0 > {idle_group}/cgroup.procs; exec {sys.executable} -c '{IN_IDLE_GROUP}'"
        found = subprocess.run(
            ["sh", "-c", command], cwd=PROGRAM.parent.parent, capture_output=True, check=True
        )
        assert found.stdout == b"True\n"


IN_IDLE_GROUP = "from stressers import kernel; print(kernel.in_idle_group())"


def memory_of(pids: list[int], key: str) -> int:
    """A sum over processes, in bytes. Source: proc(5), smaps_rollup."""
    total = 0
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        found = re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)
        assert found is not None
        total += int(found.group(1)) * 1024
    return total


def shared_mappings(pid: int) -> list[str]:
    """Mappings of a process that are shared and larger than a page table of workers."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
        addresses, permissions, *_ = line.split()
        begin, end = (int(address, 16) for address in addresses.split("-"))
        if permissions.endswith("s") and end - begin >= 64 * 1024:
            found.append(line)
    return found


def test_memory_is_held_exactly_privately_and_in_balance() -> None:
    """Resident memory follows the lease up and down; private, balanced, first to be killed."""
    with stresser("memory") as held:
        held.lease(bytes=0, ttl_s=3.0)
        shards = held.pids()[1:]
        assert len(shards) == 4
        before = memory_of(shards, "Anonymous")

        def holds(whole: int) -> bool:
            each = [memory_of([pid], "Anonymous") for pid in shards]
            exact = abs(sum(each) - before - whole) <= max(whole // 50, 4 * MIB)
            return exact and max(each) - min(each) <= UNIT + MIB

        for wanted in (258 * MIB + 5, 100 * MIB, 302 * MIB, 0):
            whole = wanted // UNIT * UNIT
            held.lease(bytes=wanted, ttl_s=3.0)
            assert until(lambda whole=whole: held.held() == whole)  # type: ignore[misc]  # lambda
            # The last step is told before it is taken, so the kernel's count may lag.
            assert until(lambda whole=whole: holds(whole)), (  # type: ignore[misc]  # lambda
                whole,
                memory_of(shards, "Anonymous") - before,
            )
            assert memory_of(shards, "ShmemPmdMapped") == 0
        assert [line for pid in shards for line in shared_mappings(pid)] == []
        scores = {Path(f"/proc/{pid}/oom_score_adj").read_text().strip() for pid in held.pids()}
        assert scores == {"1000"}
        assert held.end() == 0


@pytest.mark.parametrize("metric", ["available", "nocache", "free"])
def test_the_metric_says_what_kind_of_memory_is_held(metric: str) -> None:
    """What need not count as available is marked as the kernel's to take, and reported so."""
    with stresser("memory", "--metric", metric) as held:
        held.lease(bytes=64 * MIB, ttl_s=3.0)
        assert until(lambda: held.held() == 64 * MIB)
        shards = held.pids()[1:]
        lazy = 0 if metric == "available" else 64 * MIB
        assert until(lambda: memory_of(shards, "LazyFree") == lazy)
        means = held.said("ready")[0]["means"]
        assert isinstance(means, list)
        assert ("MADV_FREE" in means) is (metric != "available")
        held.lease(bytes=0, ttl_s=3.0)
        assert until(lambda: held.held() == 0)
        assert until(lambda: memory_of(shards, "LazyFree") == 0)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """An ext4 of 4 GiB of the test's own; skips where that cannot be mounted."""
    with ext4(tmp_path, size_mb=4096) as mount:
        yield mount


def file_of(pid: int, below: Path) -> os.stat_result | None:
    """The one file that a process holds open below a directory."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(link).startswith(f"{below}/"):
            return link.stat()
    return None


def free_bytes(path: Path) -> int:
    """What an unprivileged writer can take."""
    fs = os.statvfs(path)
    return fs.f_bavail * fs.f_frsize


def test_disk_space_is_held_exactly_and_free_again_after_sigkill(volume: Path) -> None:
    """Size as leased, no name, nothing written, the floor kept; all free after SIGKILL."""
    before = free_bytes(volume)
    with stresser("disk", "--path", str(volume)) as held:
        held.lease(bytes=300 * MIB, ttl_s=3.0)
        assert until(lambda: held.held() == 300 * MIB)
        assert until(lambda: before - free_bytes(volume) >= 300 * MIB)
        assert before - free_bytes(volume) <= 301 * MIB  # a few blocks for the extents
        file = file_of(held.process.pid, volume)
        assert file is not None
        assert (file.st_nlink, file.st_size) == (0, 300 * MIB)
        assert [entry.name for entry in volume.iterdir()] == ["lost+found"]
        written = Path(f"/proc/{held.process.pid}/io").read_text(encoding="ascii")
        wchar = re.search(r"^write_bytes: (\d+)", written, re.MULTILINE)
        assert wchar is not None
        assert int(wchar.group(1)) < MIB
        # 4 GiB ask for 2 GiB to stay, so about 1.7 GiB may be taken.
        held.lease(bytes=3 << 30, ttl_s=3.0)
        assert until(lambda: bool(held.said("limited")))
        assert held.said("limited")[-1]["by"] == "floor"
        assert free_bytes(volume) >= 2 << 30
        os.kill(held.process.pid, signal.SIGKILL)
        assert until(lambda: free_bytes(volume) == before)


@pytest.fixture
def btrfs_volume(tmp_path: Path) -> Iterator[Path]:
    """A btrfs of 4 GiB of the test's own; skips where that cannot be mounted."""
    with btrfs(tmp_path, size_mb=4096) as mount:
        yield mount


def test_on_btrfs_what_is_held_shows_at_once_and_exactly(btrfs_volume: Path) -> None:
    """Long before the commit interval of 30 s, up and down, and cut inside an extent."""
    before = free_bytes(btrfs_volume)
    with stresser("disk", "--path", str(btrfs_volume)) as held:
        for wanted in (500 * MIB, 501 * MIB, 201 * MIB + 4096, 0):
            held.lease(bytes=wanted, ttl_s=3.0)
            assert until(lambda wanted=wanted: held.held() == wanted)  # type: ignore[misc]  # lambda
            # The kernel's counters hold some MiB of chunks; a piece of 4 GiB is 4 MiB.
            assert until(  # type: ignore[misc]  # lambda
                lambda wanted=wanted: abs(before - free_bytes(btrfs_volume) - wanted) <= MIB,
                deadline_s=5.0,
            ), (wanted, before - free_bytes(btrfs_volume))


def test_on_btrfs_delayed_writes_of_tenants_are_no_room(btrfs_volume: Path) -> None:
    """What statvfs does not show yet stays free: the floor of 2 GiB holds after the commit."""
    (btrfs_volume / "tenant").write_bytes(os.urandom(MIB) * 400)
    with stresser("disk", "--path", str(btrfs_volume)) as held:
        held.lease(bytes=3 << 30, ttl_s=3.0)
        assert until(lambda: bool(held.said("limited")))
        assert held.said("limited")[-1]["by"] == "floor"
        os.sync()
        assert until(lambda: free_bytes(btrfs_volume) <= (2 << 30) + 16 * MIB)
        assert free_bytes(btrfs_volume) >= (2 << 30) - 16 * MIB


def test_a_filesystem_gone_read_only_is_named_and_tried_again(volume: Path) -> None:
    """Growth is limited by its name, and goes on once it can be written again."""
    with stresser("disk", "--path", str(volume)) as held:
        held.lease(bytes=0, ttl_s=3.0)
        held.pids()
        subprocess.run(["mount", "-o", "remount,ro", str(volume)], check=True)
        held.lease(bytes=MIB, ttl_s=3.0)
        assert until(lambda: bool(held.said("limited")))
        assert held.said("limited")[-1]["by"] == "read-only"
        with by_hand("disk", "--path", str(volume), "--size", "1MB") as process:
            _, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 1
        assert "read-only" in errors
        subprocess.run(["mount", "-o", "remount,rw", str(volume)], check=True)
        assert until(lambda: held.held() == MIB)


def test_nothing_is_open_while_nothing_is_held(volume: Path) -> None:
    """With a lease of 0 the filesystem can be unmounted."""
    with stresser("disk", "--path", str(volume)) as held:
        held.lease(bytes=MIB, ttl_s=3.0)
        assert until(lambda: held.held() == MIB)
        held.lease(bytes=0, ttl_s=3.0)
        assert until(lambda: held.held() == 0)
        assert file_of(held.process.pid, volume) is None


def by_hand(*arguments: str, own_group: bool = False) -> subprocess.Popen[str]:
    """A stresser as a person starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "stressers", *arguments],
        cwd=PROGRAM.parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=own_group,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("cpu", "--workers", "2", "--duty", "0.1", "--duration", "0.5"),
        ("memory", "8MB", "--duration", "0.5"),
        ("memory", "8MB", "--metric", "free", "--duration", "0.5"),
        ("disk", "--path", ".", "--size", "1MB", "--duration", "0.5", "--allow", "overlay,tmpfs"),
    ],
)
def test_by_hand_it_ends_by_itself(arguments: tuple[str, ...]) -> None:
    """After the duration: exit code 0, and it says that it has begun and released."""
    with by_hand(*arguments) as process:
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors
    assert errors.startswith("started: ")
    assert errors.endswith("released\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_by_hand_a_signal_releases_everything(number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM: exit code 0, "released", no process left."""
    with by_hand("memory", "8MB", own_group=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("started: ")
        text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii")
        shards = [int(pid) for pid in text.split()]
        assert len(shards) == 4
        with watch(shards) as watched:
            # To the whole group, as a terminal does.
            os.killpg(process.pid, number) if number is signal.SIGINT else process.send_signal(
                number
            )
            _, errors = process.communicate(timeout=DEADLINE_S)
            assert process.returncode == 0, errors
            assert errors.endswith("released\n")
            assert watched.all_dead()


def test_on_a_terminal_it_shows_progress() -> None:
    """Each second what is held and the time left."""
    shown, terminal = os.openpty()
    command = [sys.executable, "-m", "stressers", "memory", "8MB", "--duration", "0.7"]
    with subprocess.Popen(command, cwd=PROGRAM.parent.parent, stderr=terminal) as process:
        os.close(terminal)
        text = b""
        try:
            while chunk := os.read(shown, 4096):
                text += chunk
        except OSError:
            pass  # the terminal has been closed
        finally:
            os.close(shown)
    assert process.returncode == 0
    assert b"8.0 MiB" in text
    assert b" s left" in text
    assert text.rstrip().endswith(b"released")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("memory", "900TB"), 1, "asked for, but only"),
        (("disk", "--path", "/nonexistent", "--size", "1MB"), 1, "no such directory"),
        (("disk", "--path", ".", "--size", "900TB"), 1, "asked for, but only"),
        (("memory", "1XB"), 2, "write for example 100MB"),
        (("cpu", "--duty", "1.5"), 2, "a ratio from 0 to 1"),
        (("cpu", "--duty", "0.1", "--workers", "0"), 2, "number of workers"),
        (("cpu", "--leased"), 2, "usage"),
        (("gpu", "--leased", "--parent", "1"), 2, "usage"),
        (("memory", "--leased", "--parent", "1", "--metric", "used"), 2, "available, nocache"),
        (("memory", "8MB", "--metric", "used"), 2, "available"),
    ],
)
def test_a_refusal_names_the_value_and_the_remedy(
    arguments: tuple[str, ...], code: int, words: str
) -> None:
    """Exit code 1 for what cannot be done, 2 for wrong words, each with what to do."""
    with by_hand(*arguments) as process:
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == code, errors
    assert words in errors


@pytest.mark.parametrize("arguments", [("--help",), ("cpu", "--help"), ("disk", "--help")])
def test_help_says_what_it_is_for(arguments: tuple[str, ...]) -> None:
    """Help of the program and of each kind, exit code 0."""
    with by_hand(*arguments) as process:
        text, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors
    assert text.startswith("usage: stressers")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own counters are compared")
@pytest.mark.parametrize("turns", [PAUSES, pytest.param(20 * PAUSES, marks=pytest.mark.long)])
def test_leases_that_fall_in_quick_succession_are_not_taken_for_the_kernel(turns: int) -> None:
    """A shard that has shrunk since the ledger was read has less, and nobody has taken it."""
    falls = ((256, 0.12), (128, 0.0), (126, 0.0), (64, 0.01))
    with stresser("memory") as held:
        for turn in range(turns):
            for size, pause_s in falls:
                held.lease(bytes=size * MIB, ttl_s=3.0)
                time.sleep(pause_s or 0.0007 * (turn % PAUSES))
        held.lease(bytes=64 * MIB, ttl_s=3.0)
        assert until(lambda: held.held() == 64 * MIB)
        assert not held.said("taken")
