"""What a daemon has left once all its processes are gone; standard library only."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from tests.hostile.observer import text

KNOWN = re.compile(
    r"run/(status\.json|status\.txt|lock|roster\.json)"
    r"|state/(history\.sqlite3(-wal|-shm|-journal)?|inhibit|released|resumed)"
    r"|logs/optimizer[-.\d]*\.log"
)
"""Files that a killed daemon may leave in its folder: the next start takes them over."""
FRAGMENT = re.compile(r"(run|state)/\.[\w.]+\.[0-9a-f]{16}\.tmp")
"""A file that was about to replace another one at that moment."""
_MEMORY = Path("/sys/fs/cgroup/memory")
_CPU = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))
_SETTLE_S = 2.0
"""How long a filesystem may take to tell what is free."""


def counts_memory() -> bool:
    """Whether there can be a memory_group(): root, and version 1 of the memory controller."""
    return os.access(_MEMORY, os.W_OK) and (_MEMORY / "memory.stat").exists()


@contextlib.contextmanager
def memory_group() -> Iterator[Path | None]:
    """A control group without a limit in which the kernel counts memory; None where it cannot."""
    group = _MEMORY / f"optimizer-observed-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cgroup.procs").read_text(encoding="ascii")
    except OSError:
        yield None
        return
    try:
        yield group
    finally:
        group.rmdir()


def memory_bytes(group: Path | None) -> int | None:
    """Private and shared memory charged to the group, cached files left out; None: unknown."""
    if group is None:
        return None
    found = dict(line.split() for line in text(group / "memory.stat").splitlines())
    return int(found["rss"]) + int(found["shmem"])


def free_bytes(mount: Path) -> int:
    """What is free on a filesystem, the part for root included."""
    fs = os.statvfs(mount)
    return fs.f_bfree * fs.f_frsize


def disk_bytes(mount: Path | None, before_bytes: int) -> int | None:
    """What is less free than before, once that does not fall any more; None: no filesystem."""
    if mount is None:
        return None
    end_s = time.monotonic() + _SETTLE_S
    while (left := before_bytes - free_bytes(mount)) > 0 and time.monotonic() < end_s:
        time.sleep(0.005)
    return left


def files(folder: Path, *others: Path) -> tuple[list[str], list[str]]:
    """Files that have no business there any more, and fragments of those that have."""
    odd, fragments = [], []
    for path in (path for path in folder.rglob("*") if not path.is_dir()):
        name = path.relative_to(folder).as_posix()
        if FRAGMENT.fullmatch(name):
            fragments.append(name)
        elif not KNOWN.fullmatch(name):
            odd.append(name)
    for other in others:
        odd += [str(path) for path in other.rglob("*") if path.name != "lost+found"]
    return odd, fragments


def groups(pid: int) -> tuple[int, int]:
    """Control groups of that daemon that are still there, and the processes in them."""
    left = [base / f"optimizer-load.{pid}" for base in _CPU]
    there = [group for group in left if group.is_dir()]
    return len(there), sum(len(text(group / "cgroup.procs").split()) for group in there)
