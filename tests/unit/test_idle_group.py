"""The workers' control group: where it is made, what is written, and that it goes again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizer.adapters.idle_group import NAME, IdleGroup
from stressers import kernel
from tests.fakes import FakeLog
from tests.orphans import orphans
from tests.stresser_harness import Watch, until

V1 = Path("/sys/fs/cgroup/cpu")
PID = 4242


def host(tmp_path: Path, *, kind: str, options: str, own: str) -> tuple[Path, Path]:
    """A /proc with one mounted hierarchy, and the hierarchy's top."""
    proc, top = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    top.mkdir()
    line = f"30 1 0:30 / {top} rw - {kind} {kind} {options}\n"
    (proc / "self/mountinfo").write_text(line, encoding="ascii")
    (proc / "self/cgroup").write_text(own, encoding="ascii")
    return proc, top


def made(proc: Path) -> tuple[IdleGroup, FakeLog]:
    """A group that was tried to be made on that host."""
    log = FakeLog()
    group = IdleGroup(log=log, proc=proc, pid=PID, linux=True)
    group.make()
    return group, log


def test_the_group_is_made_at_the_top_and_idle(tmp_path: Path) -> None:
    """Not below our own group: there it would yield to our siblings only."""
    proc, top = host(tmp_path, kind="cgroup", options="rw,cpu,cpuacct", own="2:cpu,cpuacct:/a/b\n")
    group, _ = made(proc)
    assert group.directory == top / f"{NAME}.{PID}"
    assert (group.directory / "cpu.idle").read_text(encoding="ascii") == "1"


def test_version_2_hands_the_controller_down_first(tmp_path: Path) -> None:
    """Without `cpu` in subtree_control the group would have no cpu.idle."""
    proc, top = host(tmp_path, kind="cgroup2", options="rw", own="0::/system.slice/x.service\n")
    (top / "cgroup.subtree_control").write_text("memory pids", encoding="ascii")
    group, _ = made(proc)
    assert group.directory == top / f"{NAME}.{PID}"
    assert (top / "cgroup.subtree_control").read_text(encoding="ascii") == "+cpu"


def test_what_is_handed_down_already_is_left_alone(tmp_path: Path) -> None:
    """A second daemon, or systemd, has switched it on."""
    proc, top = host(tmp_path, kind="cgroup2", options="rw", own="0::/\n")
    (top / "cgroup.subtree_control").write_text("cpu memory", encoding="ascii")
    made(proc)
    assert (top / "cgroup.subtree_control").read_text(encoding="ascii") == "cpu memory"


BROKER = ("--cgroup-socket", "/run/broker")


def test_where_no_group_can_be_made_at_the_top_the_broker_is_asked(tmp_path: Path) -> None:
    """Not below our own group, though it could be made there: that yields to siblings only."""
    proc, top = host(tmp_path, kind="cgroup", options="rw,cpu", own="2:cpu:/a\n")
    (top / f"{NAME}.{PID}").touch()  # nothing can be made of that name there
    (top / "a").mkdir()
    group = IdleGroup(log=FakeLog(), socket="/run/broker", proc=proc, pid=PID, linux=True)
    group.make()
    assert group.directory is None
    assert list((top / "a").iterdir()) == []
    assert group.arguments == BROKER
    alone = IdleGroup(log=FakeLog(), proc=proc, pid=PID, linux=True)
    alone.make()
    assert alone.arguments == ("--cgroup", str(top / f"a/{NAME}.{PID}"))


def test_a_group_of_our_own_at_the_top_comes_before_the_broker(tmp_path: Path) -> None:
    """Root's daemon changes nothing about itself because a socket is named."""
    proc, top = host(tmp_path, kind="cgroup", options="rw,cpu", own="2:cpu:/a\n")
    group = IdleGroup(log=FakeLog(), socket="/run/broker", proc=proc, pid=PID, linux=True)
    group.make()
    assert group.arguments == ("--cgroup", str(top / f"{NAME}.{PID}"))


def test_a_broker_that_did_not_answer_is_asked_again_less_and_less_often(tmp_path: Path) -> None:
    """At once, after 60 s, 120 s and so on; once it was had, from the beginning."""
    log = FakeLog()
    group = IdleGroup(log=log, socket="/run/broker", proc=tmp_path, pid=PID, linux=True)
    lack = ("x: y", "idle cgroup: it costs; /run/broker: no answer within 1 s")
    turns = []
    for now_s in (0.0, 59.0, 60.0, 179.0, 180.0):
        group.reconsider(lack, now_s)
        turns.append(group.turn)
    assert turns == [1, 1, 2, 2, 3]
    assert [fields["next_try_s"] for _, _, fields in log.events] == [60.0, 120.0, 240.0]
    group.reconsider(("x: y",), 500.0)
    group.reconsider(lack, 501.0)
    group.reconsider(lack, 561.0)
    assert group.turn == 5


def test_without_a_broker_nobody_is_asked_again(tmp_path: Path) -> None:
    """The workers are not started anew for what cannot be had."""
    group = IdleGroup(log=FakeLog(), proc=tmp_path, pid=PID, linux=True)
    group.reconsider(("idle cgroup: as root it can be had",), 0.0)
    assert group.turn == 0


def test_without_a_hierarchy_there_is_no_group(tmp_path: Path) -> None:
    """The workers then stay where they are, and say what that costs."""
    proc, top = host(tmp_path, kind="tmpfs", options="rw", own="")
    group, _ = made(proc)
    assert group.directory is None
    assert list(top.iterdir()) == []
    group.remove(0.0)


def test_another_system_has_no_groups(tmp_path: Path) -> None:
    """Windows and macOS: nothing is tried."""
    group = IdleGroup(log=FakeLog(), proc=tmp_path, pid=PID, linux=False)
    group.make()
    assert group.directory is None


def test_groups_of_dead_daemons_are_removed_and_of_living_ones_kept(tmp_path: Path) -> None:
    """A killed daemon leaves an empty group; the next start clears it away."""
    proc, top = host(tmp_path, kind="cgroup", options="rw,cpu", own="2:cpu:/\n")
    (top / f"{NAME}.11").mkdir()
    (top / f"{NAME}.12").mkdir()
    (proc / "12").mkdir()
    (top / f"{NAME}.notes").mkdir()
    group, _ = made(proc)
    names = {path.name for path in top.iterdir()}
    assert names == {f"{NAME}.12", f"{NAME}.notes", f"{NAME}.{PID}"}
    assert group.directory is not None


def test_a_dead_daemons_group_that_is_in_use_stays_and_is_named(tmp_path: Path) -> None:
    """A directory that is not empty stands for a group with processes: rmdir refuses both."""
    proc, top = host(tmp_path, kind="cgroup", options="rw,cpu", own="2:cpu:/\n")
    (top / f"{NAME}.11/below").mkdir(parents=True)
    group, log = made(proc)
    assert (top / f"{NAME}.11").is_dir()
    assert [event for _, event, _ in log.events] == ["cgroup.left_behind"]
    assert group.directory is not None


@pytest.fixture
def real() -> Iterator[IdleGroup]:
    """A real group of this machine."""
    if sys.platform != "linux" or not os.access(V1, os.W_OK) or not (V1 / "cpu.idle").exists():
        pytest.skip("needs root, and version 1 of the cpu controller with idle groups")
    group = IdleGroup(log=FakeLog())
    group.make()
    yield group
    group.remove(2.0)


def test_a_real_group_yields_to_all_and_goes_when_its_process_has_gone(real: IdleGroup) -> None:
    """The kernel takes the value; the group cannot go while a process is in it."""
    directory = real.directory
    assert directory is not None
    assert (directory / "cpu.idle").read_text(encoding="ascii").strip() == "1"
    assert kernel.yields_to_all(str(directory))
    with subprocess.Popen(["sleep", "30"]) as sleeper:
        (directory / "cgroup.procs").write_text(str(sleeper.pid), encoding="ascii")
        real.remove(0.0)
        assert directory.is_dir()
        sleeper.kill()
    real.directory = directory
    real.remove(5.0)
    assert not directory.exists()


@pytest.mark.usefixtures("real")
def test_a_group_below_one_that_is_not_idle_does_not_yield_to_all() -> None:
    """Its parent competes for it like any other."""
    parent = V1 / f"idle-group-test-{os.getpid()}"
    below = parent / "below"
    below.mkdir(parents=True)
    try:
        (below / "cpu.idle").write_text("1", encoding="ascii")
        assert kernel.idle_group(str(below))
        assert not kernel.yields_to_all(str(below))
        assert not kernel.yields_to_all(str(V1))
    finally:
        below.rmdir()
        parent.rmdir()


@pytest.fixture
def left() -> Iterator[tuple[int, Watch, subprocess.Popen[bytes]]]:
    """A dead controller's pid, its stressers that live on, and a process of somebody else."""
    if sys.platform != "linux":
        pytest.skip("marks and pidfds are Linux's")
    with orphans() as (pid, watched), subprocess.Popen(["sleep", "60"]) as other:
        yield pid, watched, other
        other.kill()


def test_what_a_dead_daemon_left_in_its_group_is_killed_and_nobody_else(
    tmp_path: Path, left: tuple[int, Watch, subprocess.Popen[bytes]]
) -> None:
    """Their marks prove them; a program that somebody put there lives, and the group is named."""
    pid, watched, other = left
    proc, top = host(tmp_path, kind="cgroup", options="rw,cpu", own="2:cpu:/\n")
    stale = top / f"{NAME}.{pid}"
    stale.mkdir()
    members = [*watched.pids, other.pid, os.getpid()]
    (stale / "cgroup.procs").write_text("\n".join(map(str, members)), encoding="ascii")
    _, log = made(proc)
    assert watched.all_dead()
    assert other.poll() is None
    assert [event for _, event, _ in log.events] == ["cgroup.orphans_killed", "cgroup.left_behind"]
    assert sorted(watched.pids) == sorted(log.events[0][2]["pids"])  # type: ignore[call-overload] # a list


def test_stressers_of_another_controller_are_not_killed(
    tmp_path: Path, left: tuple[int, Watch, subprocess.Popen[bytes]]
) -> None:
    """Whoever was moved into a stale group by mistake belongs to a daemon that may live."""
    _, watched, _ = left
    proc, top = host(tmp_path, kind="cgroup", options="rw,cpu", own="2:cpu:/\n")
    stale = top / f"{NAME}.11"
    stale.mkdir()
    text = "\n".join(map(str, watched.pids))
    (stale / "cgroup.procs").write_text(text, encoding="ascii")
    made(proc)
    assert not until(lambda: watched.alive() != watched.pids, deadline_s=0.3)


@pytest.mark.parametrize("beside", ["nobody", "other", "unknown", "group"])
def test_cgroup_kill_is_used_only_where_all_are_ours(
    tmp_path: Path, left: tuple[int, Watch, subprocess.Popen[bytes]], beside: str
) -> None:
    """On a copy: "1" is written where the kernel offers it, never beside somebody else.

    Nor beside one who cannot be identified (pid 0 is of another namespace), nor
    where there is a group below: the kernel kills in that as well.
    """
    pid, watched, other = left
    group = IdleGroup(log=FakeLog(), pid=pid)
    group.directory = tmp_path
    members = [*watched.pids, *{"other": [other.pid], "unknown": [0]}.get(beside, [])]
    if beside == "group":
        (tmp_path / "neighbour").mkdir()
    (tmp_path / "cgroup.procs").write_text("\n".join(map(str, members)), encoding="ascii")
    (tmp_path / "cgroup.kill").touch()
    group.kill()
    at_once = beside == "nobody"
    assert (tmp_path / "cgroup.kill").read_text(encoding="ascii") == ("1" if at_once else "")
    # A copy kills nobody, so who is dead now was killed by pidfd.
    assert watched.alive() == watched.pids if at_once else watched.all_dead()
    assert other.poll() is None


HERE = [
    top
    for top in (V1, Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
    if (top / "cgroup.procs").exists() and os.access(top, os.W_OK)
]
"""The hierarchies in which this user may make groups: of version 1, hybrid, version 2."""


@pytest.mark.skipif(not HERE, reason="no control groups that this user may write to")
@pytest.mark.parametrize("top", HERE)
def test_the_group_alone_suffices_to_end_them(
    left: tuple[int, Watch, subprocess.Popen[bytes]], top: Path
) -> None:
    """A real group of version 1 (one by one) or 2 (cgroup.kill), every other way switched off."""
    pid, watched, other = left
    directory = top / f"optimizer-test.{os.getpid()}"
    directory.mkdir()
    try:
        for one in watched.pids:
            (directory / "cgroup.procs").write_text(str(one), encoding="ascii")
        log = FakeLog()
        group = IdleGroup(log=log, pid=pid)
        group.directory = directory
        group.kill()
        assert watched.all_dead()
        group.remove(5.0)
        assert not directory.exists()
        assert log.events == []
        assert other.poll() is None
    finally:
        if directory.exists():
            watched.kill()
            directory.rmdir()


def test_what_was_killed_gets_the_cpu_to_die(tmp_path: Path) -> None:
    """At the end the group is no longer idle; what a kernel does not have is left out."""
    for name, value in (("cpu.idle", "1"), ("cpu.shares", "2")):
        (tmp_path / name).write_text(value, encoding="ascii")
    group = IdleGroup(log=FakeLog(), pid=1)
    group.hurry()
    group.directory = tmp_path
    group.hurry()
    assert (tmp_path / "cpu.idle").read_text(encoding="ascii")[0] == "0"
    assert (tmp_path / "cpu.shares").read_text(encoding="ascii") == "1024"
    assert not (tmp_path / "cpu.weight").exists()
