"""The recovery tool against real daemons, and beside processes that only look like ours."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import NOBODY
from tests.recovering import (
    TOOL,
    child,
    old_python,
    recover,
    recover_only,
    results,
    snapshot,
    stop,
    workspace,
    write_lock,
    write_roster,
)
from tests.rig import DaemonRig, alive, daemon, descendants, environment, eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="becomes another user"
)
LOADS = {"TARGET_CPU": "60", "TARGET_MEMORY": "60", "MEMORY_RISE_MB_PER_MINUTE": "6000"}


def loaded(rig: DaemonRig) -> set[int]:
    """Its stressers once CPU and memory are both loaded; else empty."""
    found = descendants(rig.pid)
    return found if rig.status() and len(found) >= 3 else set()


def left_files(folder: Path) -> list[str]:
    """What is left of a daemon's files, its history and log aside."""
    files = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in files if not name.startswith(("state/history", "logs/")))


@pytest.mark.parametrize("how", ["well", "hangs"])
def test_all_load_goes_and_does_not_come_back(tmp_path: Path, how: str) -> None:
    """Dry run changes nothing; then all ends, second run finds nothing; resume lifts it."""
    work = tmp_path / "work"
    alone, python = TOOL, sys.executable
    if how == "hangs":
        # The worst case: one file on a host whose only Python is old.
        alone = Path(shutil.copy(TOOL, tmp_path))
        python = old_python() or python
    with daemon(work, **LOADS) as rig:
        stressers = eventually(lambda: loaded(rig), what="loaded")
        if how == "hangs":
            stop(rig.pid)
        planned = recover_only(work, "--dry-run", python=python, tool=alone)
        assert results(planned, "inhibit") == ["planned"]
        assert planned["exit_code"] >= 1
        assert not (work / "state" / "inhibit").exists()
        if how == "well":
            assert rig.process.poll() is None
            assert alive(stressers)

        stressers |= descendants(rig.pid)
        done = recover_only(work, python=python, tool=alone)
        assert done["exit_code"] == 0, done
        assert results(done, "inhibit") == ["done"]
        assert 0 <= done["after"]["memory"]["available"] <= 1
        assert 0 <= done["before"]["disks"]["/"] <= 1
        rig.process.wait(timeout=5)
        eventually(lambda: not alive(stressers), deadline_s=5.0, what="all stressers gone")
        assert left_files(work) == ["state/inhibit"]
        assert done["after"]["processes"] == 0

        before = snapshot(work)
        again = recover_only(work)
        assert (again["exit_code"], again["actions"]) == (0, [])
        assert snapshot(work) == before


def test_the_order_outlives_it_until_it_is_lifted(tmp_path: Path) -> None:
    """A daemon that starts after it holds nothing; --resume brings the load back."""
    work = workspace(tmp_path / "work")
    assert recover_only(work)["exit_code"] == 0
    with daemon(work, **LOADS) as rig:
        eventually(lambda: rig.resource("cpu").get("reason") == "inhibited", what="inhibited")
        resumed = recover("--only", "--workspace", work, "--resume")
        assert resumed.returncode == 0, resumed.stderr
        eventually(lambda: descendants(rig.pid), what="load is back")


def test_a_daemon_is_found_by_its_mark_alone(tmp_path: Path) -> None:
    """With its directories gone: who it is and what it started is told by the kernel."""
    work = tmp_path / "work"
    with daemon(work, **LOADS) as rig:
        stressers = eventually(lambda: loaded(rig), what="loaded")
        assert "controller" in marks_of(rig.pid)
        os.rename(work / "run", tmp_path / "elsewhere")
        done = recover_only(work)
        assert done["exit_code"] == 0, done
        rig.process.wait(timeout=5)
        assert not alive(stressers)


def marks_of(pid: int) -> str:
    """The content of all memfds of a process."""
    found = ""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(link).startswith("/memfd:CloudResourceOptimizer"):
                found += link.read_text(encoding="ascii")
    return found


@contextlib.contextmanager
def decoys(work: Path, folder: Path) -> Iterator[list[object]]:
    """Processes and files that only look like ours; yields those that live."""
    program = folder / "cpu_stresser.py"
    program.write_text("import time\ntime.sleep(60)\n")
    ours_by_words = ("/x/stressers/__main__.py", "cpu", "--leased", "--parent", "1")
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(child(words=ours_by_words))
        found = [
            plain,
            stack.enter_context(child({"role": "controller", "pid": 1})),
            stack.enter_context(child({"role": "controller", "start": 1})),
            stack.enter_context(child({"role": "controller", "boot_id": "of yesterday"})),
            stack.enter_context(child({"role": "controller"}, seal=False)),
            stack.enter_context(child({"role": "controller"}, name="CloudResource")),
            stack.enter_context(child(lock=folder / "a lock of its own")),
        ]
        named = subprocess.Popen([sys.executable, str(program)])
        stack.callback(named.wait)
        stack.callback(named.kill)
        # A roster of a process with another start, and a lock that nobody holds.
        write_roster(work, {"pid": plain.pid, "start": plain.start() + 1})
        write_lock(work, plain.pid)
        yield [*found, named]


def test_what_only_looks_like_ours_survives(tmp_path: Path) -> None:
    """Names, command lines, false marks, old rosters and locks, links: told of, not touched."""
    work, outside = workspace(tmp_path / "work"), tmp_path / "outside"
    outside.mkdir()
    (outside / "temp_cpu.dat").write_text("mine")
    (work / "temp_cpu.dat").write_text("mine")
    (work / "run" / "temp_cpu.dat").write_text("mine")
    (work / "run" / "status.txt").symlink_to(outside / "temp_cpu.dat")
    (work / "run" / "status.json").hardlink_to(outside / "temp_cpu.dat")
    with decoys(work, outside) as lives:
        before = snapshot(outside)
        done = recover_only(work)
        assert done["exit_code"] == 0, done
        for one in lives:
            assert one.poll() is None if isinstance(one, subprocess.Popen) else one.unhurt()
        assert snapshot(outside) == before
        assert (work / "run" / "temp_cpu.dat").read_text() == "mine"
        assert (work / "run" / "status.txt").is_symlink()
        text = "\n".join(done["not_ours"])
        for word in ("status.txt", "status.json", "another process", "does not hold that lock"):
            assert word in text


@needs_root
def test_a_foreign_roster_and_a_handed_mark_hit_nobody(tmp_path: Path) -> None:
    """A user's roster that lists root's process, and root's mark in a user's process."""
    work = workspace(tmp_path / "work")
    for path in (work, *work.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    says: dict[str, object] = {"role": "controller", "runtime": str(work / "run")}
    with child() as roots, child(says, uid=NOBODY, handed=True) as users:
        roster = write_roster(work, {"pid": roots.pid, "start": roots.start()})
        os.chown(roster, NOBODY, NOBODY)
        done = recover_only(work)
        assert roots.unhurt()
        assert users.unhurt()
        assert done["exit_code"] == 0, done
        text = "\n".join(done["not_ours"])
        assert "who owns the roster" in text
        assert "its mark is of user 0" in text


def test_what_is_proven_ours_ends_however_it_resists(tmp_path: Path) -> None:
    """By mark, by roster and by lock, though it ignores SIGTERM; a second run finds nothing."""
    work = workspace(tmp_path / "work")
    places = {"state": str(work / "state"), "runtime": str(work / "run")}
    lock = work / "run" / "lock"
    with (
        child({"role": "controller", **places}) as controller,
        child({"role": "worker", "kind": "cpu", "controller": controller.pid}) as worker,
        child() as listed,
        child(lock=lock) as holder,
    ):
        write_roster(work, {"pid": listed.pid, "start": listed.start()})
        write_lock(work, holder.pid)
        done = recover_only(work)
        assert done["exit_code"] == 0, done
        assert not any(one.lives() for one in (controller, worker, listed, holder))
        assert recover_only(work)["actions"] == []


@needs_root
def test_a_plain_user_is_told_what_root_could_do() -> None:
    """Nothing is claimed to be clean: what may be there counts, with its reason."""
    open_folder = Path("/tmp") / f"optimizer-test-{os.getpid()}"  # noqa: S108 - others must reach it
    work = workspace(open_folder)
    lock = work / "run" / "lock"
    tool = work / "recover_system.py"
    shutil.copy(TOOL, tool)
    try:
        with child(lock=lock) as holder:
            write_lock(work, holder.pid)
            python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
            done = recover_only(work, python=python, tool=tool, uid=NOBODY)
            assert holder.unhurt()
            assert done["exit_code"] >= 1
            assert "run this as root" in "\n".join(done["left"])
            assert results(done, "inhibit") == ["failed"]
    finally:
        shutil.rmtree(open_folder)


@needs_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_without_proc_the_roster_and_the_pidfd_suffice(tmp_path: Path) -> None:
    """In a mount namespace whose /proc is empty: ended by the inode of its pidfd, none other."""
    work = workspace(tmp_path / "work")
    hide = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
    with child() as listed, child() as recycled:
        inode = pidfs_of(listed.pid)
        if inode is None:
            pytest.skip("this kernel has no pidfs")
        write_roster(
            work,
            {"pid": listed.pid, "start": listed.start(), "pidfs": inode},
            {"pid": recycled.pid, "start": recycled.start(), "pidfs": inode},
        )
        time.sleep(1.1)  # younger than the boot by more than the clock may err
        done = recover_only(work, prefix=hide)
        assert not listed.lives()
        assert recycled.unhurt()
        assert "no /proc" in "\n".join(done["not_seen"])


def pidfs_of(pid: int) -> int | None:
    """The inode of a pidfd, None where it is that of all anonymous files."""
    descriptor = os.pidfd_open(pid)
    try:
        with select.epoll() as other:
            shared = os.fstat(other.fileno()).st_dev
        found = os.fstat(descriptor)
        return None if found.st_dev == shared else found.st_ino
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(("answer", "code"), [("n", 112), ("y", 0)])
def test_at_a_terminal_it_asks_once(tmp_path: Path, answer: str, code: int) -> None:
    """No is the default and does nothing."""
    work = workspace(tmp_path / "work")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-I", str(TOOL), "--only", "--workspace", str(work)]
    with child() as listed:
        write_roster(work, {"pid": listed.pid, "start": listed.start()})
        process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment()
        )
        os.close(theirs)
        try:
            eventually(lambda: b"[y/N]" in os.read(ours, 65536), what="asked")
            os.write(ours, f"{answer}\n".encode())
            drain(ours)
            assert process.wait(timeout=30) == code
        finally:
            os.close(ours)
        assert listed.lives() is (code != 0)


def drain(terminal: int) -> None:
    """Read until the program has closed its side."""
    with contextlib.suppress(OSError):
        while os.read(terminal, 65536):
            pass


def test_it_goes_on_when_nobody_reads_what_it_says(tmp_path: Path) -> None:
    """A closed pipe does not stop it half-way."""
    work = workspace(tmp_path / "work")
    reader, writer = os.pipe()
    os.close(reader)
    with child() as listed:
        write_roster(work, {"pid": listed.pid, "start": listed.start()})
        command = [sys.executable, "-I", str(TOOL), "--only", "--workspace", str(work)]
        done = subprocess.run(
            command, stdout=writer, stdin=subprocess.DEVNULL, check=False, timeout=60
        )
        os.close(writer)
        assert done.returncode == 0
        assert not listed.lives()
