"""Processes as /proc shows them: their state and age, which are ours, who listens on a port."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from optimizer.report.doctor_daemon import Process

MARK = "/memfd:CloudResourceOptimizer (deleted)"
"""What a descriptor of each process of ours links to."""
PROC = Path("/proc")
ROSTER_NAME = "roster.json"
"""In the runtime directory: the processes that a daemon has started."""
_MOST_BYTES = 65_536
_LISTEN = "0A"
"""Source: Linux include/net/tcp_states.h, TCP_LISTEN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """A line of /proc/PID/stat: name, state, parent, and start in ticks after the boot."""

    name: str
    state: str
    parent: int
    start_ticks: int


def stat_of(pid: int, proc: Path = PROC) -> Stat | None:
    """What the kernel says of a process, None where there is none. Source: proc(5)."""
    try:
        text = (proc / str(pid) / "stat").read_text("utf-8", "replace")
        head, _, tail = text.rpartition(")")
        fields = tail.split()
        return Stat(
            name=head.partition("(")[2],
            state=fields[0],
            parent=int(fields[1]),
            start_ticks=int(fields[19]),
        )
    except (OSError, ValueError, IndexError):
        return None


def up_s(pid: int, proc: Path = PROC) -> float | None:
    """For how long a process runs by the clock that nobody can set; None where not known."""
    found = stat_of(pid, proc)
    if found is None or sys.platform == "win32":
        return None
    try:
        since_boot_s = float((proc / "uptime").read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return since_boot_s - found.start_ticks / os.sysconf("SC_CLK_TCK")


def boot_id(proc: Path = PROC) -> str | None:
    """The kernel's name for this boot. Source: random(4)."""
    try:
        return (proc / "sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return None


def known(runtime: Path, proc: Path = PROC) -> tuple[Process, ...]:
    """Our processes by their marks, and those that the roster of one daemon names besides."""
    found = marked(proc)
    pids = {process.pid for process in found}
    return (*found, *(one for one in rostered(runtime, proc) if one.pid not in pids))


def rostered(runtime: Path, proc: Path = PROC) -> tuple[Process, ...]:
    """The stressers in a daemon's roster that still run, of this boot and with the same start."""
    try:
        with open(os.open(runtime / ROSTER_NAME, os.O_RDONLY), "rb") as file:
            roster = json.loads(file.read(_MOST_BYTES))
        if roster["boot_id"] != boot_id(proc):
            return ()
        controller, entries = roster["controller"]["pid"], roster["processes"]
        return tuple(
            Process(
                pid=one["pid"],
                role=str(one["role"]),
                kind=_text(one.get("kind")),
                controller=controller,
                lost=not _runs(controller, proc),
            )
            for one in entries
            if one["role"] in {"stresser", "worker"} and _is(one["pid"], one["start"], proc)
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()


def _is(pid: int, start_ticks: int, proc: Path) -> bool:
    found = stat_of(pid, proc)
    return found is not None and found.start_ticks == start_ticks and found.state not in "ZX"


def _runs(pid: int, proc: Path) -> bool:
    found = stat_of(pid, proc)
    return found is not None and found.state not in "ZX"


def marked(proc: Path = PROC) -> tuple[Process, ...]:
    """All processes of ours that we may look into; proven by the mark that each of them holds."""
    boot = boot_id(proc)
    found = []
    for entry in _pids(proc):
        for link in _descriptors(entry):
            if link[1] == MARK:
                process = _proven(entry, link[0], boot, proc)
                if process is not None:
                    found.append(process)
                    break
    return tuple(found)


def _pids(proc: Path) -> list[Path]:
    try:
        return [entry for entry in proc.iterdir() if entry.name.isdecimal()]
    except OSError:
        return []


def _descriptors(entry: Path) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    with contextlib.suppress(OSError):
        for link in (entry / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.append((link, os.readlink(link)))
    return found


def _proven(entry: Path, link: Path, boot: str | None, proc: Path) -> Process | None:
    """The process, where mark, owner, start and boot agree; None where they do not."""
    try:
        with open(os.open(link, os.O_RDONLY), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_nlink:
                return None
            said = json.loads(file.read(_MOST_BYTES))
        owner = os.stat(entry).st_uid
    except (OSError, ValueError, RecursionError):
        return None
    pid, seen = int(entry.name), stat_of(int(entry.name), proc)
    if not isinstance(said, dict) or seen is None or status.st_uid != owner:
        return None
    if said.get("start") != seen.start_ticks or said.get("boot_id") != boot:
        return None
    controller, role = said.get("controller"), str(said.get("role"))
    controller = controller if isinstance(controller, int) else None
    return Process(
        pid=pid,
        role=role,
        kind=_text(said.get("kind")),
        controller=controller,
        lost=controller is not None and not _runs(controller, proc),
        where=_text(said.get("runtime")) if role == "controller" else None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def listener(port: int, proc: Path = PROC) -> int | None:
    """The pid that listens on a TCP port, None where there is none or it cannot be seen.

    Source: proc(5), /proc/net/tcp.
    """
    inodes: set[str] = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / name).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == _LISTEN:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for entry in _pids(proc):
        if any(link in inodes for _, link in _descriptors(entry)):
            return int(entry.name)
    return None


def described(pid: int, proc: Path = PROC) -> str:
    """`pid 4711 (nginx)`."""
    found = stat_of(pid, proc)
    return f"pid {pid}" if found is None else f"pid {pid} ({found.name})"


def descends(pid: int, ancestor: int, proc: Path = PROC) -> bool:
    """Whether a process is that one or was started by it, through others or not."""
    for _ in range(16):
        if pid == ancestor:
            return True
        found = stat_of(pid, proc)
        if found is None or found.parent <= 1:
            return False
        pid = found.parent
    return False


def command_of(pid: int, proc: Path = PROC) -> list[str]:
    """The words of its command line; empty where they cannot be read."""
    try:
        return (proc / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []


def is_decimal_pid(text: str) -> int | None:
    """The pid that ends a name such as optimizer-load.4711."""
    match = re.fullmatch(r".*\.(\d{1,10})", text)
    return int(match[1]) if match else None
