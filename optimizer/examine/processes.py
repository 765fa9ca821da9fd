"""Processes as /proc shows them: their state and age, which are ours, who listens on a port."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from optimizer.adapters.identity import boot_id, identify, stat_of
from optimizer.adapters.mark import read_mark
from optimizer.adapters.roster import ROSTER_NAME
from optimizer.report.doctor_daemon import Process

PROC = Path("/proc")
_MOST_BYTES = 65_536
_LOADS = frozenset({"stresser", "worker"})
_LISTEN = "0A"
"""Source: Linux include/net/tcp_states.h, TCP_LISTEN."""


def up_s(pid: int) -> float | None:
    """For how long a process runs by the clock that nobody can set; None where not known."""
    found = stat_of(pid)
    if found is None or sys.platform == "win32":
        return None
    try:
        since_boot_s = float((PROC / "uptime").read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return since_boot_s - found.start / os.sysconf("SC_CLK_TCK")


def known(runtime: Path) -> tuple[Process, ...]:
    """Our processes by their marks, and those that the roster of one daemon names besides."""
    found = marked()
    pids = {process.pid for process in found}
    return (*found, *(one for one in rostered(runtime) if one.pid not in pids))


def marked() -> tuple[Process, ...]:
    """All processes of ours that we may look into; proven by the mark that each of them holds."""
    marks = ((int(entry.name), read_mark(int(entry.name))) for entry in _pids())
    return tuple(_process(pid, mark) for pid, mark in marks if mark is not None)


def _process(pid: int, mark: Mapping[str, object]) -> Process:
    said, role = mark.get("controller"), str(mark.get("role"))
    controller = said if isinstance(said, int) else None
    return Process(
        pid=pid,
        role=role,
        kind=_text(mark.get("kind")),
        controller=controller,
        lost=controller is not None and identify(controller) is None,
        where=_text(mark.get("runtime")) if role == "controller" else None,
    )


def rostered(runtime: Path) -> tuple[Process, ...]:
    """The stressers in a daemon's roster that still run, of this boot and with the same start."""
    try:
        with open(os.open(runtime / ROSTER_NAME, os.O_RDONLY), "rb") as file:
            roster = json.loads(file.read(_MOST_BYTES))
        if roster["boot_id"] != boot_id():
            return ()
        controller = roster["controller"]["pid"]
        return tuple(
            Process(
                pid=one["pid"],
                role=str(one["role"]),
                kind=_text(one.get("kind")),
                controller=controller,
                lost=identify(controller) is None,
            )
            for one in roster["processes"]
            if one["role"] in _LOADS and _is(one["pid"], one["start"])
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()


def _is(pid: int, start: int) -> bool:
    found = identify(pid)
    return found is not None and found.start == start


def _pids() -> list[Path]:
    try:
        return [entry for entry in PROC.iterdir() if entry.name.isdecimal()]
    except OSError:
        return []


def _descriptors(entry: Path) -> list[str]:
    """What its descriptors lead to; empty for a process that we may not look into."""
    found: list[str] = []
    with contextlib.suppress(OSError):
        for link in (entry / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(os.readlink(link))
    return found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def listener(port: int) -> int | None:
    """The pid that listens on a TCP port, None where there is none or it cannot be seen.

    Source: proc(5), /proc/net/tcp.
    """
    inodes: set[str] = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / name).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == _LISTEN:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for entry in _pids():
        if any(link in inodes for link in _descriptors(entry)):
            return int(entry.name)
    return None


def described(pid: int) -> str:
    """`pid 4711 (nginx)`."""
    found = stat_of(pid)
    return f"pid {pid}" if found is None else f"pid {pid} ({found.name})"


def descends(pid: int, ancestor: int) -> bool:
    """Whether a process is that one or was started by it, through others or not."""
    for _ in range(16):
        if pid == ancestor:
            return True
        found = stat_of(pid)
        if found is None or found.parent <= 1:
            return False
        pid = found.parent
    return False
