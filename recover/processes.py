"""Reads processes from /proc, and without it what a pidfd tells."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from typing import Mapping

from recover.kernel import open_process
from recover.model import MARK_NAME, FileId, Mark, Process

_LINK = f"/memfd:{MARK_NAME} (deleted)"
_GET_SEALS, _ALL_SEALS = 1034, 0xF
"""Source: fcntl(2): sealed against seals, shrinking, growing and writing."""
_MOST_MARK_BYTES = 16 * 1024
_MOST_WORDS_BYTES = 64 * 1024


def read_processes() -> dict[int, Process]:
    """All processes that /proc shows, this one left out; empty where there is no /proc."""
    if sys.platform != "linux":
        return {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return {}
    pids = (int(name) for name in names if name.isdigit())
    read = (read_process(pid) for pid in pids if pid != os.getpid())
    return {process.pid: process for process in read if process is not None}


def read_process(pid: int) -> Process | None:
    """One process with its marks; None when /proc does not show it."""
    if sys.platform != "linux":
        return None
    folder = f"/proc/{pid}"
    try:
        fields = _text(f"{folder}/stat").rpartition(") ")[2].split()
        status = _status(_text(f"{folder}/status"))
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError as exc:
        return Process(pid, opaque=f"/proc does not show it ({exc.strerror})")
    if len(fields) < 20:
        return None
    uids = tuple(int(word) for word in status.get("Uid", "").split()[:3])
    inner = status.get("NSpid", "").split() or [str(pid)]
    marks, opaque = _marks(folder)
    return Process(
        pid,
        start=int(fields[19]),
        uids=uids if len(uids) == 3 else None,
        parent=int(fields[1]),
        inner_pid=int(inner[-1]),
        state=fields[0],
        words=_words(folder),
        marks=marks,
        opaque=opaque,
    )


def probe(pid: int) -> Process | None:
    """A process that /proc does not show, from its descriptor alone; None when there is none."""
    try:
        handle = open_process(pid)
    except OSError:
        return None
    os.close(handle.descriptor)
    return Process(
        pid, uids=handle.uids, pidfs=handle.pidfs, opaque="/proc does not show this process"
    )


def with_pidfs(process: Process) -> Process:
    """The same with the inode of its pidfd, which tells a pid that was used again."""
    try:
        handle = open_process(process.pid)
    except OSError:
        return process
    os.close(handle.descriptor)
    return process._replace(pidfs=handle.pidfs)


def with_locks(process: Process) -> Process:
    """The same with the files on which it holds a lock. Source: proc(5), /proc/pid/fdinfo."""
    found: set[FileId] = set()
    for name in _names(f"/proc/{process.pid}/fdinfo")[0]:
        with contextlib.suppress(OSError):  # closed since
            lines = _text(f"/proc/{process.pid}/fdinfo/{name}").splitlines()
            if any(_is_lock_of(process.pid, line) for line in lines):
                status = os.stat(f"/proc/{process.pid}/fd/{name}")
                found.add((status.st_dev, status.st_ino))
    return process._replace(locks=frozenset(found))


def _is_lock_of(pid: int, line: str) -> bool:
    words = line.split()
    return words[:1] == ["lock:"] and words[2:6] == ["FLOCK", "ADVISORY", "WRITE", str(pid)]


def boot_id() -> str | None:
    """Linux's name for this boot; None where it is not told. Source: random(4).

    Asked on Linux only: elsewhere anybody may have made a folder /proc.
    """
    if sys.platform != "linux":
        return None
    try:
        return _text("/proc/sys/kernel/random/boot_id").strip() or None
    except OSError:
        return None


def _marks(folder: str) -> tuple[tuple[Mark, ...], str]:
    """The memfds of our name in a process, and why they cannot be seen."""
    names, opaque = _names(f"{folder}/fd")
    found = []
    for name in names:
        link = f"{folder}/fd/{name}"
        try:
            if os.readlink(link) == _LINK:
                mark = _mark(link)
                if mark is not None:
                    found.append(mark)
        except OSError:
            continue  # closed since
    return tuple(found), opaque


def _mark(link: str) -> Mark | None:
    if sys.platform != "linux":
        return None
    import fcntl

    status = os.stat(link)
    if not stat.S_ISREG(status.st_mode):
        return None
    descriptor = os.open(link, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # Another file may have come to that number since.
        same = os.readlink(f"/proc/self/fd/{descriptor}") == _LINK
        status = os.fstat(descriptor)
        if not same or not stat.S_ISREG(status.st_mode) or status.st_nlink:
            return None
        try:
            seals = fcntl.fcntl(descriptor, _GET_SEALS)
        except OSError:
            return None  # a file on a disk, which somebody has named so
        return Mark(status.st_uid, seals & _ALL_SEALS == _ALL_SEALS, _fields(descriptor))
    finally:
        os.close(descriptor)


def _fields(descriptor: int) -> Mapping[str, object]:
    if sys.platform == "win32":
        return {}
    # By offset: the position is shared with whoever has the descriptor.
    try:
        found = json.loads(os.pread(descriptor, _MOST_MARK_BYTES, 0))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _names(folder: str) -> tuple[list[str], str]:
    try:
        return os.listdir(folder), ""
    except PermissionError:
        return [], "this user may not look into it"
    except OSError:
        return [], ""  # it has just ended


def _words(folder: str) -> tuple[str, ...]:
    try:
        with open(f"{folder}/cmdline", "rb") as file:
            content = file.read(_MOST_WORDS_BYTES)
    except OSError:
        return ()
    return tuple(content.decode("utf-8", "replace").rstrip("\0").split("\0"))


def _status(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {key: value.strip() for key, _, value in pairs}


def _text(path: str) -> str:
    with open(path, "rb") as file:
        return file.read().decode("utf-8", "replace")


def is_shown(processes: Mapping[int, Process]) -> bool:
    """Whether /proc shows processes of others, as far as can be told by the first one."""
    return 1 in processes or os.getpid() == 1


def looked_at_closely(processes: Mapping[int, Process], pids: frozenset[int]) -> dict[int, Process]:
    """The processes of these pids with all that can be told of them, hidden ones too."""
    found = {}
    for pid in pids:
        process = processes.get(pid)
        closer = probe(pid) if process is None else with_pidfs(with_locks(process))
        if closer is not None:
            found[pid] = closer
    return found
