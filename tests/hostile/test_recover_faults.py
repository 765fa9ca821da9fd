"""The recovery tool where the host is at its worst: disks, /proc, groups, whole host."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recover import command, repairs
from recover.ending import Act
from recover.model import Group
from tests.conftest import NOBODY
from tests.loopdev import volume
from tests.recovering import (
    TOOL,
    child,
    recover,
    recover_only,
    results,
    workspace,
    write_lock,
    write_roster,
)
from tests.rig import alive, daemon, descendants, eventually

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs root and Linux"
)
LOADS = {"TARGET_MEMORY": "60", "MEMORY_RISE_MB_PER_MINUTE": "6000"}
needs_unshare = pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")


def fill(folder: Path) -> None:
    """Take all space of a filesystem, down to the last byte."""
    with contextlib.suppress(OSError), (folder / "full").open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_disk_that_takes_nothing_does_not_stop_it(tmp_path: Path, fault: str) -> None:
    """Full: an empty order suffices. Read-only: it says so, and ends everything all the same."""
    with volume("ext4", tmp_path, size_mb=16, options=("-m", "0")) as disk:
        work = disk.mount / "work"
        with daemon(work, **LOADS) as rig:
            stressers = eventually(lambda: descendants(rig.pid), what="loaded")
            # Hung, for a daemon that runs would open files here again and again.
            os.kill(rig.pid, 19)
            if fault == "full":
                fill(disk.mount)
                with pytest.raises(OSError, match="No space") as denied:
                    (work / "state" / "more").write_bytes(b"x" * 8192)
                assert denied.value.errno == errno.ENOSPC
            else:
                # What is open for writing would prevent a remount; an error does not ask.
                disk.break_it()
            done = recover_only(work)
            rig.process.wait(timeout=5)
            assert not alive(stressers)
            assert done["after"]["processes"] == 0
            if fault == "full":
                assert (work / "state" / "inhibit").exists()
                assert done["exit_code"] == 0, done
            else:
                assert results(done, "inhibit")[:1] == ["failed"]
                assert not done["inhibited"]
                # Its files cannot be removed there, and that counts; so does the order.
                assert any("could not be set" in line for line in done["left"])
                assert {act["result"] for act in done["actions"] if act["step"] == "remove"} == {
                    "failed"
                }
                assert 2 <= done["exit_code"] <= 6


@contextlib.contextmanager
def open_workspace() -> Iterator[Path]:
    """One that every user can reach, with a copy of the tool beside it."""
    folder = Path(f"/tmp/optimizer-test-{os.getpid()}")  # noqa: S108 - others must reach it
    try:
        work = workspace(folder)
        shutil.copy(TOOL, folder)
        yield work
    finally:
        shutil.rmtree(folder)


@needs_unshare
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_a_hidden_daemon_of_root_is_not_taken_for_gone() -> None:
    """hidepid=2 as a plain user: the lock says that one runs, so it is not clean."""
    become = f"exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups"
    hide = f'mount -t proc -o hidepid=2 proc /proc && {become} "$@"'
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    with open_workspace() as work, child(lock=work / "run" / "lock") as holder:
        write_lock(work, holder.pid)
        done = recover_only(
            work,
            python=python,
            tool=work / "recover_system.py",
            prefix=("unshare", "--mount", "sh", "-c", hide, "sh"),
        )
        assert holder.unhurt()
        assert "hidepid" in "\n".join(done["not_seen"])
        assert any("is held" in line for line in done["left"])
        assert done["exit_code"] >= 1


HIERARCHIES = [
    top
    for top in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/cpu")
    if os.access(f"{top}/cgroup.procs", os.W_OK)
]


@pytest.mark.skipif(not HIERARCHIES, reason="no control groups that root may write to")
@pytest.mark.parametrize("top", HIERARCHIES)
@pytest.mark.parametrize("stranger", [False, True])
def test_a_group_goes_only_with_none_but_ours_in_it(
    tmp_path: Path, top: str, *, stranger: bool
) -> None:
    """Killed at once where the kernel can, else one by one; with a stranger in it, it stays."""
    work = workspace(tmp_path / "work")
    with child() as listed, child() as innocent:
        write_roster(work, {"pid": listed.pid, "start": listed.start()})
        group = Path(top) / f"optimizer-load.{listed.pid}"
        group.mkdir()
        try:
            for one in (listed, innocent) if stranger else (listed,):
                (group / "cgroup.procs").write_text(str(one.pid), encoding="ascii")
            done = recover_only(work)
            assert not listed.lives()
            assert innocent.unhurt()
            assert group.exists() is stranger
            if stranger:
                assert "not proven ours" in "\n".join(done["not_ours"])
            else:
                assert done["exit_code"] == 0, done
                killed = (Path(top) / "cgroup.controllers").exists()
                assert ("killed with its 1" in json.dumps(done["actions"])) is killed
        finally:
            if group.exists():
                innocent.process.kill()
                innocent.process.wait(timeout=5)
                eventually(lambda: removed(group), what="the group is empty")


@pytest.mark.skipif(not HIERARCHIES, reason="no control groups that root may write to")
@pytest.mark.parametrize("top", HIERARCHIES)
def test_a_group_below_ours_is_neither_killed_nor_removed(tmp_path: Path, top: str) -> None:
    """cgroup.kill would reach it, and the list of our group does not name who is in it."""
    work = workspace(tmp_path / "work")
    with child() as listed, child() as innocent:
        roster = write_roster(work, {"pid": listed.pid, "start": listed.start()})
        document = json.loads(roster.read_text(encoding="ascii"))
        document["controller"] = {"pid": listed.pid, "start": listed.start(), "pidfs": None}
        roster.write_text(json.dumps(document), encoding="ascii")
        group = Path(top) / f"optimizer-load.{listed.pid}"
        (group / "below").mkdir(parents=True)
        try:
            (group / "cgroup.procs").write_text(str(listed.pid), encoding="ascii")
            (group / "below" / "cgroup.procs").write_text(str(innocent.pid), encoding="ascii")
            repairs._kill_group(
                Group(str(group), listed.pid, None, True), frozenset({listed.pid}), print
            )
            assert listed.lives()
            done = recover_only(work)
            assert not listed.lives()
            assert innocent.unhurt()
            assert (group / "below").exists()
            assert "group below it" in "\n".join(done["not_ours"])
        finally:
            innocent.process.kill()
            innocent.process.wait(timeout=5)
            eventually(lambda: removed(group / "below"), what="the group below is empty")
            eventually(lambda: removed(group), what="the group is empty")


@pytest.mark.skipif(not HIERARCHIES, reason="no control groups that root may write to")
def test_a_group_that_could_not_be_removed_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though the lock, which alone said whose it is, is removed in the same round."""
    work = workspace(tmp_path / "work")
    with child() as gone:
        pid = gone.pid
    write_lock(work, pid)
    group = Path(HIERARCHIES[0]) / f"optimizer-load.{pid}"
    busy = Act("group", str(group), "failed", "Device or resource busy")
    monkeypatch.setattr(repairs, "_remove_group", lambda _: busy)
    group.mkdir()
    try:
        code = command.main(["--only", "--workspace", str(work), "--json"])
    finally:
        group.rmdir()
    assert not (work / "run" / "lock").exists()
    assert code == 1
    assert str(group) in json.loads(capsys.readouterr().out)["left"][0]


@pytest.mark.skipif(shutil.which("chattr") is None, reason="needs chattr")
def test_an_order_that_cannot_be_set_is_not_called_clean(tmp_path: Path) -> None:
    """An immutable state directory: nothing of ours is left, but a daemon could start again."""
    with volume("ext4", tmp_path, size_mb=16) as disk:
        work = workspace(disk.mount / "work")
        subprocess.run(["chattr", "+i", work / "state"], check=True)
        try:
            done = recover_only(work)
            told = recover("--only", "--workspace", work)
        finally:
            subprocess.run(["chattr", "-i", work / "state"], check=True)
        assert done["exit_code"] == told.returncode == 1
        assert not done["inhibited"]
        assert "Clean" not in told.stdout
        assert "could not be set" in told.stdout


def removed(group: Path) -> bool:
    """Remove a group; whether it is gone."""
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


@needs_unshare
def test_on_a_whole_host_it_finds_everything_by_itself(tmp_path: Path) -> None:
    """Without arguments: marked processes, the usual directories, those that a daemon names.

    In pid and mount namespaces of its own, which stand for a host: this one's
    daemons are left alone.
    """
    private = (
        "for d in /var/lib /run /etc /root /sys/fs/cgroup; do "
        "mount -t tmpfs none $d || exit 99; done; "
        'mkdir -p /var/lib/optimizer /run/optimizer; exec "$@"'
    )
    prefix = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", private)
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    done = subprocess.run(
        [*prefix, "sh", python, "-c", _HOST, str(TOOL), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode == 99 or "unshare:" in done.stderr:
        pytest.skip(f"no namespaces here: {done.stderr}")
    assert done.returncode == 0, done.stdout + done.stderr


_HOST = """
import fcntl, json, os, subprocess, sys, time
tool, work = sys.argv[1:]
boot = open("/proc/sys/kernel/random/boot_id").read().strip()
state, run = work + "/state", work + "/run"
os.mkdir(state); os.mkdir(run)
open("/var/lib/optimizer/history.sqlite3", "w").close()
json.dump({"pid": 4711, "started_utc_s": 1.0, "boot_id": boot}, open("/run/optimizer/lock", "w"))
CHILD = '''
import ctypes, fcntl, json, os, sys, time
said = json.loads(sys.argv[1])
said["pid"] = os.getpid()
said["boot_id"] = open("/proc/sys/kernel/random/boot_id").read().strip()
said["start"] = int(open("/proc/self/stat").read().rpartition(") ")[2].split()[19])
mark = ctypes.CDLL(None).memfd_create(b"CloudResourceOptimizer", 3)
os.write(mark, json.dumps(said).encode())
fcntl.fcntl(mark, 1033, 15)
os.write(1, b"r")
time.sleep(60)
'''
def start(**said):
    one = subprocess.Popen([sys.executable, "-c", CHILD, json.dumps(said)], stdout=subprocess.PIPE)
    assert one.stdout.read(1) == b"r"
    return one
ours = [
    start(role="controller", state=state, runtime=run),
    start(role="stresser", kind="cpu", controller=None),
    start(role="worker", kind="memory", controller=3),
]
innocent = subprocess.Popen(["sleep", "60"])
os.makedirs("/run/systemd/system")
os.mkdir("/run/bin")
with open("/run/bin/systemctl", "w") as file:
    shown = f"LoadState=loaded\\nActiveState=$state\\nMainPID={ours[0].pid}\\nExecStart=x\\n"
    file.write(f'''#!/bin/sh
state=active
[ -e /run/stopped ] && state=inactive
case " $* " in
*" show "*) printf "{shown}" ;;
*" stop optimizer.service "*) : >/run/stopped ;;
esac
''')
os.chmod("/run/bin/systemctl", 0o755)
environ = dict(os.environ, PATH="/run/bin:" + os.environ["PATH"])
done = subprocess.run([sys.executable, tool, "--json"], stdout=subprocess.PIPE, env=environ)
document = json.loads(done.stdout.decode())
print(json.dumps(document, indent=1))
for one in ours:
    assert one.wait(timeout=5) < 0
assert innocent.poll() is None
assert os.path.exists("/run/stopped")
for folder in ("/var/lib/optimizer", state):
    assert os.path.exists(folder + "/inhibit"), folder
assert os.listdir("/run/optimizer") == []
assert document["left"] == [], document["left"]
innocent.kill()
"""


def test_a_broken_configuration_does_not_hide_its_directory(tmp_path: Path) -> None:
    """The order is set where the configuration says, though the daemon would refuse it."""
    work = workspace(tmp_path / "work")
    file = tmp_path / "optimizer.env"
    file.write_bytes(f"TARGET_CPU=\xff\xfe\n\x00\nWORKSPACE_DIR={work}\n".encode("latin-1"))
    done = recover("--dry-run", "--config", file)
    assert f"{work}/state/inhibit" in done.stdout
