"""The recovery tool run from outside, and small processes that are ours or only look so."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.paths import CODE
from tests.rig import environment

TOOL = CODE / "recover" / "recover_system.py"

_CHILD = """
import fcntl, json, os, signal, sys
asked = json.loads(sys.argv[1])
signals = 0
def count(*_):
    global signals
    signals += 1
    os.write(1, b"s")
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, count)
descriptors = []
def become():
    if asked["uid"]:
        os.setgroups([])
        os.setresgid(asked["uid"], asked["uid"], asked["uid"])
        os.setresuid(asked["uid"], asked["uid"], asked["uid"])
if not asked["handed"]:
    become()
if asked["mark"] is not None:
    own = {
        "pid": os.getpid(),
        "start": int(open("/proc/self/stat").read().rpartition(") ")[2].split()[19]),
        "boot_id": open("/proc/sys/kernel/random/boot_id").read().strip(),
    }
    descriptor = os.memfd_create(asked["name"], os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, json.dumps({**own, **asked["mark"]}).encode())
    if asked["seal"]:
        fcntl.fcntl(descriptor, 1033, 15)
become()
if asked["lock"]:
    descriptor = os.open(asked["lock"], os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
os.write(1, b"r")
while True:
    signal.pause()
"""


class Child:
    """A process that waits; it tells each signal that it gets."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.pid = process.pid

    def lives(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def signals(self) -> int:
        """How many signals it got since last asked, those apart that end it."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        os.set_blocking(descriptor, False)
        with contextlib.suppress(BlockingIOError):
            return len(os.read(descriptor, 4096))
        return 0

    def start(self) -> int:
        """Its start time in clock ticks."""
        return start_of(self.pid)

    def unhurt(self) -> bool:
        """Whether it lives and was never signalled."""
        return self.lives() and self.signals() == 0


def start_of(pid: int) -> int:
    """Field 22 of /proc/PID/stat."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return int(text.rpartition(") ")[2].split()[19])


def boot_id() -> str:
    """Linux's name for this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@contextlib.contextmanager
def child(
    mark: dict[str, object] | None = None,
    *,
    name: str = "CloudResourceOptimizer",
    seal: bool = True,
    uid: int = 0,
    handed: bool = False,
    lock: Path | None = None,
    words: tuple[str, ...] = (),
) -> Iterator[Child]:
    """A process; with a mark that tells who it is, changed by what `mark` says.

    `uid` is who it becomes, after the mark was made if that is to be `handed`.
    """
    asked = {
        "mark": mark,
        "name": name,
        "seal": seal,
        "uid": uid,
        "handed": handed,
        "lock": None if lock is None else str(lock),
    }
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _CHILD, json.dumps(asked), *words],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"r", "the child could not be made ready"
        yield Child(process)
    finally:
        process.kill()
        process.wait(timeout=10)
        assert process.stdout is not None
        process.stdout.close()


def workspace(folder: Path) -> Path:
    """The directories of a daemon that is not there."""
    for name in ("state", "run", "logs"):
        (folder / name).mkdir(parents=True, mode=0o755)
        (folder / name).chmod(0o755)
    return folder


def write_roster(folder: Path, *listed: dict[str, object], boot: str | None = None) -> Path:
    """A roster that lists these processes, as a daemon would write it."""
    path = folder / "run" / "roster.json"
    entries = [{"role": "stresser", "kind": "cpu", "pidfs": None, **one} for one in listed]
    content = {"boot_id": boot or boot_id(), "controller": None, "processes": entries}
    path.write_text(json.dumps(content), encoding="ascii")
    path.chmod(0o600)
    return path


def write_lock(folder: Path, pid: int) -> Path:
    """A lock file that names a pid; nobody holds it."""
    path = folder / "run" / "lock"
    path.write_text(
        json.dumps({"pid": pid, "started_utc_s": 1.0, "boot_id": boot_id()}), encoding="ascii"
    )
    return path


def recover(
    *words: str | Path,
    python: str = sys.executable,
    tool: Path = TOOL,
    uid: int | None = None,
    prefix: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """Run the tool to its end, not at a terminal."""
    return subprocess.run(
        [*prefix, python, "-I", "-B", str(tool), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment(),
        user=uid,
        cwd="/",
    )


def recover_only(folder: Path, *words: str | Path, **how: Any) -> dict[str, Any]:
    """Run it on one workspace alone; its JSON document, whose exit code is the real one."""
    done = recover("--only", "--workspace", folder, "--json", *words, **how)
    assert done.stderr == "", done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == document["exit_code"]
    return document


def results(document: dict[str, Any], step: str) -> list[str]:
    """How the acts of one step went, in order."""
    return [act["result"] for act in document["actions"] if act["step"] == step]


def old_python() -> str | None:
    """The oldest interpreter from 3.7 on and before ours that is installed; None without one."""
    roots = [os.environ.get("PYENV_ROOT", ""), str(Path.home() / ".pyenv")]
    for minor in range(7, sys.version_info.minor):
        candidates = [shutil.which(f"python3.{minor}")]
        for root in filter(None, roots):
            candidates += map(str, Path(root).glob(f"versions/3.{minor}.*/bin/python"))
        for candidate in filter(None, candidates):
            if _runs(candidate, minor):
                return candidate
    return None


def _runs(python: str, minor: int) -> bool:
    check = f"import sys; sys.exit(sys.version_info[:2] != (3, {minor}))"
    with contextlib.suppress(OSError):
        return subprocess.run([python, "-I", "-c", check], check=False).returncode == 0
    return False


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that is below a folder, with content and times, to see whether anything changed."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(folder))] = (
            status.st_mode,
            status.st_uid,
            status.st_ino,
            status.st_mtime_ns,
            content,
        )
    return found


def stop(pid: int) -> None:
    """SIGSTOP, as a hang."""
    os.kill(pid, signal.SIGSTOP)
