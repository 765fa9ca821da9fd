"""A pid of ours is given to an innocent process at the worst moments: it is never signalled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import CODE

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="needs root, Linux and unshare for a pid namespace of its own",
)

_DRIVER = """
import json, os, select, signal, sys, time
sys.path.insert(0, sys.argv[1])
from recover import ending, facts, kernel, processes, repairs
from recover.diagnose import diagnose
from recover.places import Asked
folder, rounds = sys.argv[2], int(sys.argv[3])

def fork(wanted=None):
    '''A process that counts its signals, with the pid that is wanted.'''
    if wanted is not None:
        with open("/proc/sys/kernel/ns_last_pid", "w") as file:
            file.write(str(wanted - 1))
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        for number in range(1, 32):
            if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD):
                signal.signal(number, lambda *_: os.write(writer, b"s"))
        os.write(writer, b"r")
        while True:
            signal.pause()
    os.close(writer)
    assert os.read(reader, 1) == b"r"
    return pid, reader

def entry(pid):
    descriptor = os.pidfd_open(pid)
    inode = os.fstat(descriptor).st_ino
    os.close(descriptor)
    start = int(open(f"/proc/{pid}/stat").read().rpartition(") ")[2].split()[19])
    return {"pid": pid, "start": start, "pidfs": inode, "role": "stresser", "kind": "cpu"}

def end(one):
    pid, reader = one
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reader)

asked = Asked(workspaces=(folder,), only=True)
boot = open("/proc/sys/kernel/random/boot_id").read().strip()
counted = {"reused": 0, "hurt": 0, "ended": 0, "rounds": 0}
real_open, real_read = ending.open_process, ending.read_process
for index in range(rounds):
    moment = ("never", "before", "after the look", "after the pidfd", "after the proof")[index % 5]
    ours = fork()
    with open(os.path.join(folder, "run", "roster.json"), "w") as file:
        json.dump({"boot_id": boot, "controller": None, "processes": [entry(ours[0])]}, file)
    innocent = []
    def recycle():
        if not innocent:
            end(ours)
            innocent.append(fork(ours[0]))
    if moment == "before":
        recycle()
    known = facts.read_facts(asked)
    found = diagnose(known)
    if moment == "after the look":
        recycle()
    def opened(pid):
        handle = real_open(pid)
        if moment == "after the pidfd":
            recycle()
        return handle
    def read(pid):
        now = real_read(pid)
        if moment == "after the proof":
            recycle()
        return now
    ending.open_process, ending.read_process = opened, read
    repairs.repair(found, known, lambda act: None)
    ending.open_process, ending.read_process = real_open, real_read
    counted["rounds"] += 1
    if innocent:
        pid, reader = innocent[0]
        counted["reused"] += pid == ours[0]
        hurt = os.waitpid(pid, os.WNOHANG)[0] != 0 or select.select([reader], [], [], 0)[0]
        counted["hurt"] += bool(hurt)
        if not hurt:
            end(innocent[0])
    else:
        counted["ended"] += os.waitpid(ours[0], os.WNOHANG)[0] == ours[0]
        os.close(ours[1])
print(json.dumps(counted))
"""


@pytest.mark.parametrize("rounds", [15, pytest.param(375, marks=pytest.mark.long)])
def test_who_gets_the_pid_of_one_of_ours_is_never_signalled(tmp_path: Path, rounds: int) -> None:
    """Before the look, after it, after the pidfd was opened, after the proof; else ours ends.

    In a pid namespace of its own, so that no pid of the host is used again. The
    innocent process counts its signals itself. Four of five rounds reuse a pid.
    """
    for name in ("state", "run"):
        (tmp_path / name).mkdir(mode=0o755)
    inside = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    done = subprocess.run(
        [*inside, sys.executable, "-c", _DRIVER, str(CODE), str(tmp_path), str(rounds)],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    if "Operation not permitted" in done.stderr and "unshare" in done.stderr:
        pytest.skip("this host allows no pid namespace")
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout)
    print(counted)
    assert counted == {
        "rounds": rounds,
        "reused": rounds // 5 * 4,
        "ended": rounds // 5,
        "hurt": 0,
    }
