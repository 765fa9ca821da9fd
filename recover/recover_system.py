#!/usr/bin/env python3
"""Takes away all load of CloudResourceOptimizer, in an emergency too; hurts nobody else.

    python3 recover_system.py --help

Made by recover/join.py of the files beside it, each of which is a section
here: change those, not this one.
"""

from __future__ import annotations

import sys

# A folder to which others may write, such as /tmp, must not give this program its modules.
if __name__ == "__main__" and not sys.flags.isolated and not getattr(sys.flags, "safe_path", 0):
    del sys.path[0]

import argparse
import contextlib
import ctypes
import errno
import json
import os
import platform
import re
import select
import shutil
import signal
import stat
import struct
import subprocess
import time
from typing import Callable, Dict, Iterable, Mapping, NamedTuple, NoReturn, Sequence, Tuple

# ==== model.py
# Values: what is read of the world, and what is to be done. Nothing here touches anything.


MARK_NAME = "CloudResourceOptimizer"
"""Name of the memfd that each process of ours holds."""
GROUP_NAME = "optimizer-load"
"""Beginning of the name of the workers' control group; the daemon's pid follows."""

ROLES = ("controller", "stresser", "worker", "page")
"""What a process of ours is for."""

FileId = Tuple[int, int]
"""Device and inode."""


class Mark(NamedTuple):
    """A memfd of our name in a process: who made it, whether it is sealed, what it says."""

    uid: int
    sealed: bool
    fields: Mapping[str, object]


class Process(NamedTuple):
    """A process as it was read; None and empty stand for what cannot be read.

    `start` is in clock ticks (Windows: microseconds since the epoch), `uids`
    the real, effective and saved user, `inner_pid` its pid in its own pid
    namespace, `locks` the files on which it holds a lock, `opaque` why its
    descriptors cannot be seen.
    """

    pid: int
    start: int | None = None
    uids: tuple[int, ...] | None = None
    parent: int | None = None
    inner_pid: int | None = None
    state: str = ""
    words: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    locks: frozenset[FileId] = frozenset()
    pidfs: int | None = None
    opaque: str = ""


class Entry(NamedTuple):
    """What a roster or a lock says of one process."""

    pid: int
    start: int | None
    pidfs: int | None
    role: str
    kind: str | None


class Roster(NamedTuple):
    """Who belongs to a daemon, as it wrote itself; `changed_utc_s` is when."""

    path: str
    uid: int
    boot_id: str | None
    changed_utc_s: float
    controller: int | None
    entries: tuple[Entry, ...]


class Lock(NamedTuple):
    """The lock file of a daemon; `held` None when that cannot be told, `holder` who it says."""

    path: str
    uid: int
    file: FileId
    held: bool | None
    boot_id: str | None
    holder: Entry | None


class Places(NamedTuple):
    """The directories of one daemon, and how we know of them.

    `named` is true where the operator or a configuration says so: then no sign
    of ours is needed in them. `owner` is the user who says so, None: anybody
    may own them.
    """

    state: str
    runtime: str
    source: str
    named: bool = False
    owner: int | None = None


class Inhibit(NamedTuple):
    """The order not to load in one state directory; `standing` when it has no end."""

    present: bool
    standing: bool


class Leftover(NamedTuple):
    """A file or an empty directory that a killed daemon left; `fault` why it is not ours.

    `sign` is true when it proves by its content that the others are ours too.
    """

    name: str
    is_directory: bool = False
    fault: str = ""
    sign: bool = False


class Home(NamedTuple):
    """A state or runtime directory as it was found.

    `fault` says why it cannot be used, `ours` why it is taken for ours (empty:
    no sign). `weak` is true when that is a file name which anybody may give:
    it says nothing of other directories. `missing` is true when there is none.
    `uid` is whose it is.
    """

    path: str
    places: Places
    fault: str = ""
    missing: bool = False
    uid: int | None = None
    ours: str = ""
    weak: bool = False
    inhibit: Inhibit | None = None
    lock: Lock | None = None
    roster: Roster | None = None
    leftovers: tuple[Leftover, ...] = ()


class Group(NamedTuple):
    """A control group of our name; `members` None when they cannot be read.

    `nested` is true when there are groups below it, whose members are not
    among these: ours have none.
    """

    path: str
    pid: int
    members: tuple[int, ...] | None
    can_kill: bool
    nested: bool = False


class Service(NamedTuple):
    """The unit or service of our name, as its manager shows it."""

    name: str
    active: bool
    pid: int | None
    command: str


class Facts(NamedTuple):
    """Everything that was read.

    `sees_all_pids` is false inside a pid namespace: a pid that is not there may
    be alive outside. `known` are the daemons that locks and rosters named in an
    earlier look, before those were removed. `orphans` is true when processes
    without a daemon are meant too, whichever it was, if they are the users' of
    the named directories: a daemon that has stopped is named by nothing.
    """

    platform: str
    euid: int
    boot_id: str | None
    booted_utc_s: float
    processes: Mapping[int, Process]
    states: tuple[Home, ...]
    runtimes: tuple[Home, ...]
    fillers: tuple[Home, ...]
    groups: tuple[Group, ...]
    service: Service | None
    gaps: tuple[str, ...]
    only_named: bool = False
    orphans: bool = False
    sees_all_pids: bool = True
    known: frozenset[int] = frozenset()


class Proof(NamedTuple):
    """Why a process is ours: by its mark, a lock, a roster, or its family; the same in words."""

    by: str
    text: str
    role: str
    kind: str | None = None
    controller: int | None = None


class Target(NamedTuple):
    """A process that is proven ours."""

    process: Process
    proof: Proof


class Work(NamedTuple):
    """One thing to be done: `what` to which `target`, and why it may be."""

    what: str
    target: str
    why: str


class Diagnosis(NamedTuple):
    """What is to be done, in order; what is not ours; what may be; what could not be seen."""

    inhibit: tuple[Home, ...]
    service: Service | None
    daemons: tuple[Target, ...]
    stressers: tuple[Target, ...]
    groups: tuple[Group, ...]
    stale: tuple[Home, ...]
    not_ours: tuple[str, ...]
    doubts: tuple[str, ...]
    gaps: tuple[str, ...]


Family = Dict[int, Target]
"""Processes that are proven ours, by pid."""


# ==== prove.py
# Which process is proven ours, and why: pure. A name or a command line proves nothing.


DEAD = "ZX"
"""States of a process that has ended and only waits to be reaped. Source: proc(5)."""
_TICK_US = 1000
"""On Windows the daemon and this tool round the time of a start in different ways."""


class Evidence(NamedTuple):
    """All by which a process can be proven ours, beside what it shows itself."""

    platform: str
    euid: int
    boot_id: str | None
    booted_utc_s: float
    locks: tuple[Lock, ...]
    rosters: tuple[Roster, ...]


def evidence_of(facts: Facts) -> Evidence:
    """The part of the facts that proves something of processes."""
    usable = [home for home in facts.runtimes if not home.fault and home.ours]
    return Evidence(
        facts.platform,
        facts.euid,
        facts.boot_id,
        facts.booted_utc_s,
        tuple(home.lock for home in usable if home.lock is not None),
        tuple(home.roster for home in usable if home.roster is not None),
    )


def prove(process: Process, evidence: Evidence, family: Family) -> Proof | None:
    """Why a process is ours; None when nothing proves it. A name alone proves nothing."""
    if process.state in DEAD and process.state:
        return None
    return (
        by_mark(process, evidence.boot_id)
        or _by_lock(process, evidence)
        or _by_roster(process, evidence)
        or _by_family(process, family)
    )


def by_mark(process: Process, boot_id: str | None) -> Proof | None:
    """It holds a sealed memfd of our name that its own user made and that tells who it is."""
    for mark in process.marks:
        if not mark_fault(mark, process, boot_id):
            role, kind = mark.fields.get("role"), mark.fields.get("kind")
            controller = mark.fields.get("controller")
            return Proof(
                "mark",
                "it holds our mark",
                role if isinstance(role, str) and role in ROLES else "stresser",
                kind if isinstance(kind, str) else None,
                controller if isinstance(controller, int) else None,
            )
    return None


def mark_fault(mark: Mark, process: Process, boot_id: str | None) -> str:
    """Why a mark does not prove the process that holds it ours; empty when it does."""
    if not mark.sealed:
        return "its mark could have been changed by anybody"
    if process.uids is None or set(process.uids) != {mark.uid}:
        return f"its mark is of user {mark.uid}, not of its own"
    if process.start is None or process.inner_pid is None or boot_id is None:
        return "its mark cannot be compared: /proc does not tell who it is"
    if mark.fields.get("pid") != process.inner_pid or mark.fields.get("start") != process.start:
        return "its mark tells of another process"
    if mark.fields.get("boot_id") != boot_id:
        return "its mark is of another boot"
    return ""


def _by_lock(process: Process, evidence: Evidence) -> Proof | None:
    for lock in evidence.locks:
        entry = lock.holder
        if (
            lock.held
            and entry is not None
            and entry.pid == process.pid
            and lock.file in process.locks
            and lock.boot_id == evidence.boot_id is not None
            and process.uids is not None
            and set(process.uids) == {lock.uid}
            and entry.start in {None, process.start}
        ):
            return Proof("lock", f"it holds the lock {lock.path}", "controller")
    return None


def _by_roster(process: Process, evidence: Evidence) -> Proof | None:
    for roster in evidence.rosters:
        for entry in roster.entries:
            if entry.pid == process.pid and not roster_fault(entry, roster, process, evidence):
                why = f"the roster {roster.path} lists it"
                return Proof("roster", why, entry.role, entry.kind, roster.controller)
    return None


def roster_fault(entry: Entry, roster: Roster, process: Process, evidence: Evidence) -> str:
    """Why a line of a roster does not prove the process of that pid ours; empty when it does."""
    if not _of_this_boot(roster, evidence):
        return "the roster is of another boot"
    same_start = entry.start is not None and entry.start == process.start
    if evidence.platform == "win32" and None not in {entry.start, process.start}:
        same_start = abs((entry.start or 0) - (process.start or 0)) <= _TICK_US
    same_pidfs = entry.pidfs is not None and entry.pidfs == process.pidfs
    if (process.start is not None and not same_start) or (
        None not in {entry.pidfs, process.pidfs} and not same_pidfs
    ):
        return "it is another process, which got the pid later"
    if not same_start and not same_pidfs:
        return "this host does not tell whether it is still the same process"
    if process.uids is not None:
        if set(process.uids) != {roster.uid}:
            return f"it is not of user {roster.uid}, who owns the roster"
    elif roster.uid not in {0, evidence.euid} or (evidence.euid == 0 and roster.uid != 0):
        return "this host does not tell whose process it is"
    return ""


def _of_this_boot(roster: Roster, evidence: Evidence) -> bool:
    if evidence.boot_id is not None:
        return roster.boot_id == evidence.boot_id
    # Other systems have no name for a boot; there the time of the start says enough.
    return evidence.platform != "linux" or roster.changed_utc_s > evidence.booted_utc_s


def _by_family(process: Process, family: Family) -> Proof | None:
    """A child of a proven process that was started as our daemons start their stressers.

    Needed for daemons without marks. That it is a child is not enough: who
    starts a daemon by exec leaves it children of his own.
    """
    parent = family.get(process.parent or 0)
    if parent is None or process.start is None or process.uids != parent.process.uids:
        return None
    if (parent.process.start or 0) > process.start:
        return None
    above = parent.process
    if parent.proof.role == "controller" and _follows(process.words, "--parent", str(above.pid)):
        kind = next((word for word in process.words if word in {"cpu", "memory", "disk"}), None)
        if is_stresser(process.words):
            return Proof("family", f"daemon {above.pid} started it", "stresser", kind, above.pid)
    if parent.proof.role == "stresser" and process.words and process.words == above.words:
        why = f"stresser {above.pid} forked it"
        return Proof("family", why, "worker", parent.proof.kind, parent.proof.controller)
    return None


def _follows(words: tuple[str, ...], first: str, second: str) -> bool:
    return (first, second) in zip(words, words[1:])


def is_stresser(words: tuple[str, ...]) -> bool:
    """Whether a command line is that of a stresser with a controller. This proves nothing."""
    program = any(
        word.endswith(("stressers/__main__.py", "stressers\\__main__.py")) for word in words
    )
    return program and "--leased" in words


def looks_like_ours(words: tuple[str, ...]) -> bool:
    """Whether a command line is like ours. This proves nothing."""
    daemon = any(
        (word == "optimizer" or word.endswith("/optimizer")) and after == "run"
        for word, after in zip(words[:4], words[1:4])
    )
    return daemon or is_stresser(words)


def family_of(facts: Facts, evidence: Evidence) -> Family:
    """All processes that are proven ours, by pid."""
    family: Family = {}
    grown = True
    while grown:
        grown = False
        for pid, process in facts.processes.items():
            proof = None if pid in family else prove(process, evidence, family)
            if proof is not None:
                family[pid] = Target(process, proof)
                grown = True
    return _named_only(family, facts) if facts.only_named else family


def _named_only(family: Family, facts: Facts) -> Family:
    """Those of the daemons whose directories were named, and orphans where these are meant."""
    named = known_controllers(facts.runtimes) | facts.known
    homes = {home.path for home in (*facts.states, *facts.runtimes)}
    for pid, target in family.items():
        fields = [mark.fields for mark in target.process.marks]
        if any({field.get("state"), field.get("runtime")} & homes for field in fields):
            named.add(pid)
    if facts.orphans:
        uids = {home.uid for home in (*facts.states, *facts.runtimes) if not home.fault}
        named |= {pid for pid in family if _is_orphan(pid, family, uids)}
    return {
        pid: target
        for pid, target in family.items()
        if pid in named or target.proof.controller in named or target.proof.by in {"lock", "roster"}
    }


def _is_orphan(pid: int, family: Family, uids: set[int | None]) -> bool:
    """Whether a process had a daemon, and none is among those who started it.

    By parents, not by the pid that it tells: in a container that is another.
    """
    process, proof = family[pid]
    if proof.role == "controller" or proof.controller is None:
        return False
    if process.uids is None or not set(process.uids) <= uids:
        return False
    seen: set[int] = set()
    above = process.parent
    while above in family and above not in seen:
        if family[above].proof.role == "controller":
            return False
        seen.add(above)
        above = family[above].process.parent
    return True


def known_controllers(homes: Iterable[Home]) -> set[int]:
    """Pids of the daemons that locks and rosters name, living or dead."""
    found = {home.lock.holder.pid for home in homes if home.lock and home.lock.holder}
    return found | {
        home.roster.controller for home in homes if home.roster and home.roster.controller
    }


# ==== diagnose.py
# What is to be done, and what is not ours: facts in, diagnosis out, nothing touched.


def diagnose(facts: Facts) -> Diagnosis:
    """What is to be done now; empty where all is as it should be."""
    evidence = evidence_of(facts)
    family = family_of(facts, evidence)
    doubts, not_ours = _doubts(facts, evidence, family)
    groups, foreign = _groups(facts, family)
    targets = sorted(family.values(), key=lambda target: target.process.pid)
    service = facts.service
    if service is not None and service.active and not _service_is_ours(facts, family):
        not_ours.append(f"service {service.name}: what it runs is not proven ours")
        service = None
    for home in (*facts.runtimes, *facts.fillers):
        not_ours += [f"{home.path}/{one.name}: {one.fault}" for one in home.leftovers if one.fault]
    return Diagnosis(
        inhibit=tuple(home for home in facts.states if _needs_inhibit(home)),
        service=service if service is not None and service.active else None,
        daemons=tuple(target for target in targets if target.proof.role == "controller"),
        stressers=tuple(target for target in targets if target.proof.role != "controller"),
        groups=groups,
        stale=tuple(home for home in (*facts.runtimes, *facts.fillers) if is_stale(home, family)),
        not_ours=tuple(dict.fromkeys((*not_ours, *foreign))),
        doubts=tuple(dict.fromkeys(doubts)),
        gaps=tuple(dict.fromkeys((*facts.gaps, *_closed_homes(facts)))),
    )


def _service_is_ours(facts: Facts, family: Family) -> bool:
    service = facts.service
    if service is None or service.pid is not None:
        return service is not None and service.pid in family
    # Between two restarts it has no process; then its command is all there is.
    words = tuple(service.command.replace(";", " ").split())
    return not facts.only_named and any(word.endswith("optimizer") for word in words)


def _needs_inhibit(home: Home) -> bool:
    return bool(home.ours) and not home.fault and not (home.inhibit and home.inhibit.standing)


def is_stale(home: Home, family: Mapping[int, object]) -> bool:
    """Whether something is left in a directory that nobody will need, once our processes ended."""
    if home.fault or not home.ours:
        return False
    if home.lock is not None and home.lock.held is not False:
        holder = home.lock.holder
        return holder is not None and holder.pid in family
    # A lock that cannot be ours tells nothing of who uses the rest.
    if any(one.fault and one.name == "lock" for one in home.leftovers):
        return False
    return any(not one.fault for one in home.leftovers)


def plan(diagnosis: Diagnosis) -> tuple[Work, ...]:
    """The steps of a diagnosis in their order."""
    found = [
        Work("inhibit", f"{home.path}/inhibit", f"so that nothing starts again; {home.ours}")
        for home in diagnosis.inhibit
    ]
    if diagnosis.service is not None:
        found.append(Work("service", diagnosis.service.name, "stop it by the service manager"))
    for target in (*diagnosis.daemons, *diagnosis.stressers):
        how = "SIGTERM, then SIGKILL" if target.proof.role == "controller" else "SIGKILL"
        found.append(Work("end", name_of(target), f"{how}; {target.proof.text}"))
    for group in diagnosis.groups:
        count = len(group.members or ())
        found.append(Work("group", group.path, f"remove; {count or 'no'} processes in it"))
    for home in diagnosis.stale:
        found += [
            Work("remove", _path(home, one), f"of no use without its daemon; {home.ours}")
            for one in home.leftovers
            if not one.fault
        ]
    return tuple(found)


def _path(home: Home, one: Leftover) -> str:
    return home.path if one.name == "." else f"{home.path}/{one.name}"


def name_of(target: Target) -> str:
    """A process in words: what it is for, and its pid."""
    proof = target.proof
    kind = f"{proof.kind} " if proof.kind else ""
    word = "daemon" if proof.role == "controller" else f"{kind}{proof.role}"
    return f"{word} {target.process.pid}"


def left(diagnosis: Diagnosis, *, tried: bool = True) -> tuple[str, ...]:
    """What is still there of ours, or may be: each counts in the exit code.

    After the repair was `tried`, an order that is not in force counts too.
    """
    steps = plan(diagnosis)
    work = [f"{one.target}: {one.why}" for one in steps if one.what != "inhibit"]
    orders = [
        f"{one.target}: could not be set, so a daemon could start again"
        for one in steps
        if tried and one.what == "inhibit"
    ]
    return (*orders, *work, *diagnosis.doubts)


def _groups(facts: Facts, family: Family) -> tuple[tuple[Group, ...], list[str]]:
    known = known_controllers(facts.runtimes) | facts.known | set(family)
    ours, foreign = [], []
    for group in facts.groups:
        if facts.only_named and group.pid not in known:
            continue
        if group.members is None:
            foreign.append(f"group {group.path}: its members cannot be read")
            continue
        strangers = [pid for pid in group.members if pid not in family]
        daemon = facts.processes.get(group.pid)
        if group.nested:
            foreign.append(f"group {group.path}: there is a group below it, so it is left")
        elif strangers:
            foreign.append(
                f"group {group.path}: its member {strangers[0]} is not proven ours, so the group "
                "is not killed as a whole"
            )
        elif (
            daemon and group.pid not in family and (daemon.opaque or looks_like_ours(daemon.words))
        ):
            foreign.append(f"group {group.path}: its daemon {group.pid} may be alive")
        elif not (group.members or facts.sees_all_pids or group.pid in known):
            foreign.append(f"group {group.path}: its daemon may be outside this pid namespace")
        else:
            ours.append(group)
    return tuple(ours), foreign


def _doubts(facts: Facts, evidence: Evidence, family: Family) -> tuple[list[str], list[str]]:
    """What may be ours and cannot be proven, and what looks like ours and is not."""
    doubts: list[str] = []
    not_ours: list[str] = []
    root = "" if facts.euid == 0 else "; run this as root"
    for home in facts.runtimes:
        _doubt_lock(home, facts, family, doubts, not_ours)
        roster = home.roster
        for entry in roster.entries if roster is not None and home.ours else ():
            process = facts.processes.get(entry.pid)
            if (
                roster is None
                or process is None
                or entry.pid in family
                or process.state in tuple(DEAD)
            ):
                continue
            fault = roster_fault(entry, roster, process, evidence)
            line = f"pid {entry.pid} in the roster {roster.path}: {fault}"
            (doubts if "does not tell" in fault else not_ours).append(line)
    for pid, process in facts.processes.items():
        if pid in family or (process.state and process.state in DEAD):
            continue
        for mark in process.marks:
            fault = mark_fault(mark, process, facts.boot_id)
            if fault:
                not_ours.append(f"pid {pid}: {fault}")
        if looks_like_ours(process.words) and not process.marks and not facts.only_named:
            if process.opaque:
                doubts.append(f"pid {pid} has a command line like ours; {process.opaque}{root}")
            else:
                not_ours.append(
                    f"pid {pid}: has a command line like ours, but no mark, lock or roster names it"
                )
    return doubts, not_ours


def _doubt_lock(
    home: Home, facts: Facts, family: Family, doubts: list[str], not_ours: list[str]
) -> None:
    lock = home.lock
    if lock is None or home.fault or not home.ours:
        return
    pid = None if lock.holder is None else lock.holder.pid
    if lock.held and pid not in family:
        process = facts.processes.get(pid or 0)
        who = "by a process that it does not name" if pid is None else f"it says by pid {pid}"
        why = process.opaque if process is not None and process.opaque else "that is not proven"
        root = "" if facts.euid == 0 else "; run this as root"
        doubts.append(f"{lock.path} is held, {who}; {why}{root}")
    elif lock.held is False and pid in facts.processes and pid not in family:
        not_ours.append(f"pid {pid}: {lock.path} names it, but it does not hold that lock")


def _closed_homes(facts: Facts) -> list[str]:
    """Directories that are there, or were named, and could not be used."""
    lines = []
    for home in (*facts.states, *facts.runtimes, *facts.fillers):
        if home.fault:
            lines.append(f"{home.path}: {home.fault}")
        elif home.missing and home.places.named:
            lines.append(f"{home.path}: no such directory ({home.places.source})")
    return lines


# ==== kernel.py
# Calls to the Linux kernel that Python 3.7 does not have; each says how it is without them.


_PIDFD_SEND_SIGNAL, _PIDFD_OPEN, _OPENAT2 = 424, 434, 437
"""Numbers of system calls, the same on all architectures. Source: asm-generic/unistd.h."""
_PIDFD_GET_INFO = (3 << 30) | (64 << 16) | (0xFF << 8) | 11
_INFO = struct.Struct("QQ12I")
"""ioctl and struct pidfd_info, Linux 6.13 and later. Source: linux/pidfd.h."""
_INFO_UIDS = (5, 7, 9)
"""Where real, effective and saved user stand in it."""
_BENEATH, _NO_SYMLINKS, _NO_MAGICLINKS = 0x08, 0x04, 0x02
"""Source: linux/openat2.h."""
DIRECTORY_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_DIRECTORY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
_openat2_missing: list[int] = []
"""The error by which this host denies openat2, once it has."""


class Handle(NamedTuple):
    """What a descriptor of a process tells by itself, without /proc.

    `pidfs` is its inode, which no other process of this boot has; None before
    Linux 6.9. `uids` are the real, effective and saved user; None before 6.13.
    """

    descriptor: int
    pidfs: int | None
    uids: tuple[int, ...] | None


def open_process(pid: int) -> Handle:
    """A descriptor that means this very process for good. Raises OSError.

    ProcessLookupError: there is none of this pid. ENOSYS: before Linux 5.3.
    """
    descriptor = _call(_PIDFD_OPEN, pid, 0)
    return Handle(descriptor, _pidfs_inode(descriptor), _uids(descriptor))


def has_ended(descriptor: int, timeout_s: float = 0.0) -> bool:
    """Whether a process has ended, waiting up to `timeout_s` for that."""
    if sys.platform == "win32":
        raise NotImplementedError
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def send_signal(descriptor: int, number: int) -> None:
    """Signal the process that a descriptor means, and no other. Raises OSError."""
    _call(_PIDFD_SEND_SIGNAL, descriptor, number, None, 0)


def open_directory(path: str) -> int:
    """Open an absolute path on which no part is a symbolic link. Raises OSError.

    A link gives ELOOP or ENOTDIR. By openat2 where there is one (Linux 5.6),
    else part by part.
    """
    root = os.open("/", DIRECTORY_FLAGS)
    try:
        relative = path.strip("/")
        if not relative:
            return os.dup(root)
        if sys.platform == "linux" and not _openat2_missing:
            how = struct.pack("QQQ", DIRECTORY_FLAGS, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)
            try:
                return _call(_OPENAT2, root, os.fsencode(relative), how, len(how))
            except OSError as exc:
                # EPERM: the filter of an old container runtime, which does not know the call.
                if exc.errno not in {errno.ENOSYS, errno.EPERM}:
                    raise
                _openat2_missing.append(exc.errno)
        return _walk(root, relative)
    finally:
        os.close(root)


def _walk(root: int, relative: str) -> int:
    here = os.dup(root)
    try:
        for part in relative.split("/"):
            if part == "..":
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), relative)
            if part not in {"", "."}:
                below = os.open(part, DIRECTORY_FLAGS, dir_fd=here)
                os.close(here)
                here = below
        found, here = here, -1
        return found
    finally:
        if here >= 0:
            os.close(here)


def own_user() -> int:
    """Who we are; 0, as root, where there are no such numbers."""
    if sys.platform == "win32":
        return 0
    return os.geteuid()


def sync_filesystem(descriptor: int) -> None:
    """Write back a filesystem, so that btrfs tells what is free as it is. Raises OSError."""
    if _libc().syncfs(descriptor) != 0:
        raise _error()


def allow_files(count: int) -> None:
    """Let this process have that many files open, as far as it may."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        if wanted > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _pidfs_inode(descriptor: int) -> int | None:
    """None where pidfds share one inode with other descriptors of their kind."""
    if sys.platform != "linux":
        return None
    with select.epoll() as other:
        shared = os.fstat(other.fileno()).st_dev
    found = os.fstat(descriptor)
    return None if found.st_dev == shared else found.st_ino


def _uids(descriptor: int) -> tuple[int, ...] | None:
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        answer = fcntl.ioctl(descriptor, _PIDFD_GET_INFO, _INFO.pack(2, *(0,) * 13))
    except OSError:
        return None
    fields = _INFO.unpack(answer)
    return tuple(fields[index] for index in _INFO_UIDS) if fields[0] & 2 else None


def _call(number: int, *arguments: object) -> int:
    """A system call that retries when interrupted. Raises OSError, ENOSYS where it is unknown."""
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    while True:
        result = int(_libc().syscall(ctypes.c_long(number), *map(_long, arguments)))
        if result >= 0:
            return result
        fault = _error()
        if fault.errno != errno.EINTR:
            raise fault


def _long(argument: object) -> object:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _error() -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))


# ==== processes.py
# Reads processes from /proc, and without it what a pidfd tells.


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


# ==== windows.py
# What Windows tells of processes, CPU and memory, and how one is ended there.


_QUERY, _TERMINATE, _SYNCHRONIZE = 0x1000, 0x0001, 0x00100000
"""Source: winnt.h, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_TERMINATE, SYNCHRONIZE."""
_TOKEN_QUERY, _TOKEN_USER, _TOKEN_OWNER = 0x0008, 1, 4
_FILE_OBJECT, _OWNER_INFORMATION = 1, 1
_EPOCH_100NS = 116_444_736_000_000_000
"""1970-01-01 in units of 100 ns since 1601. Source: minwinbase.h, FILETIME."""
_RUNNING, _NO_SUCH_PROCESS = 259, 87
"""Source: winbase.h, STILL_ACTIVE; winerror.h, ERROR_INVALID_PARAMETER."""
_SC_CONNECT, _SERVICE_QUERY = 0x0001, 0x0004
"""Source: winsvc.h, SC_MANAGER_CONNECT, SERVICE_QUERY_STATUS."""
_SAME, _OTHER = 0, 1
"""Stand-ins for user ids: whether a process is of the owner of our directory or not."""


def microseconds(low: int, high: int) -> int:
    """A FILETIME in microseconds since the epoch."""
    return (((high << 32) | low) - _EPOCH_100NS) // 10


if sys.platform == "win32":
    from ctypes import wintypes

    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
    _kernel32.OpenProcess.restype = wintypes.HANDLE
    _kernel32.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)

    class _Memory(ctypes.Structure):
        """MEMORYSTATUSEX. Source: sysinfoapi.h."""

        _fields_ = (
            ("length", wintypes.DWORD),
            ("load", wintypes.DWORD),
            *((f"bytes_{index}", ctypes.c_uint64) for index in range(7)),
        )

    def process_of(pid: int, directory: str) -> Process | None:
        """The process of that pid; None when there is none that may be looked at."""
        handle = _kernel32.OpenProcess(_QUERY, False, pid)
        if not handle:
            return None
        try:
            start = _start(handle)
            same = _is_of_owner(handle, directory)
        finally:
            _kernel32.CloseHandle(wintypes.HANDLE(handle))
        return (
            None if start is None else Process(pid, start=start, uids=(_SAME if same else _OTHER,))
        )

    def terminate(process: Process, timeout_s: float) -> bool:
        """End that very process; whether it has ended. Raises OSError when that is denied.

        The handle keeps the pid from being used again while it is looked at.
        """
        handle = _kernel32.OpenProcess(_QUERY | _TERMINATE | _SYNCHRONIZE, False, process.pid)
        if not handle:
            if ctypes.get_last_error() == _NO_SUCH_PROCESS:
                return True
            raise ctypes.WinError(ctypes.get_last_error())
        try:
            if _start(handle) != process.start:
                return True  # another process has its pid: ours has ended
            if not _kernel32.TerminateProcess(wintypes.HANDLE(handle), 1):
                raise ctypes.WinError(ctypes.get_last_error())
            wait_ms = int(timeout_s * 1000)
            return bool(_kernel32.WaitForSingleObject(wintypes.HANDLE(handle), wait_ms) == 0)
        finally:
            _kernel32.CloseHandle(wintypes.HANDLE(handle))

    def lives(process: Process) -> bool:
        """Whether that very process still runs."""
        handle = _kernel32.OpenProcess(_QUERY, False, process.pid)
        if not handle:
            return False
        try:
            return _start(handle) == process.start
        finally:
            _kernel32.CloseHandle(wintypes.HANDLE(handle))

    def _start(handle: int) -> int | None:
        """Microseconds since the epoch; None when it has ended."""
        times = [wintypes.FILETIME() for _ in range(4)]
        code = wintypes.DWORD()
        if not _kernel32.GetProcessTimes(wintypes.HANDLE(handle), *map(ctypes.byref, times)):
            return None
        known = _kernel32.GetExitCodeProcess(wintypes.HANDLE(handle), ctypes.byref(code))
        if not known or code.value != _RUNNING:
            return None
        return microseconds(times[0].dwLowDateTime, times[0].dwHighDateTime)

    def _is_of_owner(handle: int, directory: str) -> bool:
        """Whether the directory belongs to the process's user, or to whom its new files do."""
        token, sid, descriptor = wintypes.HANDLE(), ctypes.c_void_p(), ctypes.c_void_p()
        if not _advapi32.OpenProcessToken(
            wintypes.HANDLE(handle), _TOKEN_QUERY, ctypes.byref(token)
        ):
            return False
        try:
            failed = _advapi32.GetNamedSecurityInfoW(
                ctypes.c_wchar_p(directory),
                _FILE_OBJECT,
                _OWNER_INFORMATION,
                ctypes.byref(sid),
                None,
                None,
                None,
                ctypes.byref(descriptor),
            )
            if failed:
                return False
            return any(_is_token_of(token, kind, sid) for kind in (_TOKEN_USER, _TOKEN_OWNER))
        finally:
            _kernel32.CloseHandle(token)
            if descriptor:
                _kernel32.LocalFree(descriptor)

    def _is_token_of(token: wintypes.HANDLE, kind: int, sid: ctypes.c_void_p) -> bool:
        """Whether that identity of a token is `sid`; both kinds begin with a pointer to theirs."""
        found, size = ctypes.create_string_buffer(256), wintypes.DWORD()
        told = _advapi32.GetTokenInformation(token, kind, found, len(found), ctypes.byref(size))
        return bool(told and _advapi32.EqualSid(ctypes.c_void_p.from_buffer(found), sid))

    def service_state(name: str) -> tuple[int, int] | None:
        """State and pid of a service; None where there is none. Source: winsvc.h.

        Asked by the programming interface: what `sc queryex` prints is translated.
        """
        _advapi32.OpenSCManagerW.restype = _advapi32.OpenServiceW.restype = wintypes.HANDLE
        manager = wintypes.HANDLE(_advapi32.OpenSCManagerW(None, None, _SC_CONNECT))
        if not manager:
            return None
        wide = ctypes.c_wchar_p(name)
        service = wintypes.HANDLE(_advapi32.OpenServiceW(manager, wide, _SERVICE_QUERY))
        try:
            if not service:
                return None
            # SERVICE_STATUS_PROCESS: the state is the second word, the pid the eighth.
            words, size = (wintypes.DWORD * 9)(), wintypes.DWORD()
            told = _advapi32.QueryServiceStatusEx(
                service, 0, words, ctypes.sizeof(words), ctypes.byref(size)
            )
            return (words[1], words[7]) if told else None
        finally:
            if service:
                _advapi32.CloseServiceHandle(service)
            _advapi32.CloseServiceHandle(manager)

    def cpu_times() -> tuple[int, int] | None:
        """Idle and all time until now, in units of 100 ns. Kernel time contains idle time."""
        times = [wintypes.FILETIME() for _ in range(3)]
        if not _kernel32.GetSystemTimes(*map(ctypes.byref, times)):
            return None
        idle, kernel, user = ((one.dwHighDateTime << 32) | one.dwLowDateTime for one in times)
        return idle, kernel + user

    def memory_ratio() -> float | None:
        """Share of the memory that is not available."""
        found = _Memory()
        found.length = ctypes.sizeof(found)
        if not _kernel32.GlobalMemoryStatusEx(ctypes.byref(found)):
            return None
        return float(found.load) / 100


# ==== ending.py
# Ends processes that are proven ours, each through a descriptor that means it for good.


POLITE_S = 2.5
"""How long a daemon has to end by itself, before it is killed."""
KILL_S = 3.0
"""How long a killed process may take: one that waits for a disk ends only after that."""
_POLL_S = 0.02
_SIGKILL = 9
"""A name that Windows does not have."""


class Act(NamedTuple):
    """One line: what was done to which thing, how it went, and why."""

    step: str
    target: str
    result: str
    reason: str


Tell = Callable[[Act], None]


class Grip(NamedTuple):
    """A process that was proven ours while its descriptor was already open."""

    target: Target
    descriptor: int | None


def grip_all(diagnosis: Diagnosis, facts: Facts, tell: Tell) -> list[Grip]:
    """Open each process and prove it again; parents first, for a child is known by its parent."""
    if sys.platform == "win32":
        return [Grip(one, None) for one in (*diagnosis.daemons, *diagnosis.stressers)]
    evidence = evidence_of(facts)
    family: Family = {}
    grips, left = [], [*diagnosis.daemons, *diagnosis.stressers]
    while left:
        again: list[Target] = []
        for target in left:
            grip = _grip(target, evidence, family, tell)
            if grip is not None:
                grips.append(grip)
                family[target.process.pid] = grip.target
            elif target.process.parent not in family:
                again.append(target)
        left = again if len(again) < len(left) else []
    return grips


def _grip(target: Target, evidence: Evidence, family: Family, tell: Tell) -> Grip | None:
    """The process held by a descriptor; None when it has gone or is not proven any more."""
    pid = target.process.pid
    handle: Handle | None = None
    try:
        handle = open_process(pid)
    except ProcessLookupError:
        return None
    except OSError as exc:
        if exc.errno != errno.ENOSYS:
            tell(Act("end", name_of(target), "failed", in_words(exc)))
            return None
    now = read_process(pid)
    if now is not None:
        now = with_locks(now)._replace(pidfs=None if handle is None else handle.pidfs)
    elif handle is not None:
        now = Process(pid, uids=handle.uids, pidfs=handle.pidfs)
    proof = None if now is None else prove(now, evidence, family)
    if now is None or proof is None or (handle is not None and has_ended(handle.descriptor)):
        if handle is not None:
            os.close(handle.descriptor)
        return None
    return Grip(Target(now, proof), None if handle is None else handle.descriptor)


def end_daemons(grips: list[Grip], tell: Tell) -> None:
    """SIGTERM, a time to end in order, SIGKILL. One that is stopped cannot hear the first."""
    told = [
        grip.target.process.state not in {"T", "t"} and not _send(grip, signal.SIGTERM)
        for grip in grips
    ]
    end_s = time.monotonic() + POLITE_S
    left = []
    for grip, hears in zip(grips, told):
        if hears and _ended(grip, max(0.0, end_s - time.monotonic())):
            tell(Act("end", name_of(grip.target), "done", f"by SIGTERM; {grip.target.proof.text}"))
        else:
            left.append(grip)
    kill(left, tell)


def kill(grips: list[Grip], tell: Tell) -> None:
    """SIGKILL to each that has not ended yet, all first, then wait for all."""
    denied: dict[int, str] = {}
    gone = set()
    for grip in grips:
        if _ended(grip, 0.0):
            gone.add(grip.target.process.pid)
        else:
            fault = _send(grip, _SIGKILL)
            if fault:
                denied[grip.target.process.pid] = fault
    end_s = time.monotonic() + KILL_S
    for grip in grips:
        pid, name = grip.target.process.pid, name_of(grip.target)
        if pid in denied:
            tell(Act("end", name, "failed", denied[pid]))
        elif pid in gone:
            tell(Act("end", name, "already", "it ended with its daemon or group"))
        elif _ended(grip, max(0.0, end_s - time.monotonic())):
            how = "by SIGKILL" if grip.descriptor is not None or sys.platform == "win32" else _BLIND
            tell(Act("end", name, "done", f"{how}; {grip.target.proof.text}"))
        else:
            tell(Act("end", name, "failed", "it waits in the kernel and ends after that"))


_BLIND = "by SIGKILL, after a look at its start time (this kernel has no pidfd)"


def _send(grip: Grip, number: int) -> str:
    """Signal it; why that did not go, empty when it did or it has gone."""
    process = grip.target.process
    try:
        if sys.platform == "win32":
            terminate(process, KILL_S)
        elif grip.descriptor is not None:
            send_signal(grip.descriptor, number)
        else:
            now = read_process(process.pid)
            if now is not None and now.start == process.start is not None:
                os.kill(process.pid, number)
    except ProcessLookupError:
        return ""
    except OSError as exc:
        return in_words(exc)
    return ""


def _ended(grip: Grip, timeout_s: float) -> bool:
    if grip.descriptor is not None:
        return has_ended(grip.descriptor, timeout_s)
    if sys.platform == "win32":
        return not lives(grip.target.process)  # terminate() has waited
    end_s = time.monotonic() + timeout_s
    while True:
        now = read_process(grip.target.process.pid)
        if now is None or now.start != grip.target.process.start or now.state in {"Z", "X"}:
            return True
        if time.monotonic() >= end_s:
            return False
        time.sleep(_POLL_S)


_REMEDIES = {
    errno.EPERM: "run this as root",
    errno.EACCES: "run this as root",
    errno.EROFS: "remount it writable, then run this again",
}


def in_words(error: OSError) -> str:
    """What went wrong and what to do."""
    remedy = _REMEDIES.get(error.errno or 0)
    if remedy == "run this as root" and sys.platform != "win32" and os.geteuid() == 0:
        remedy = None
    said = error.strerror or str(error)
    return f"{said}; {remedy}" if remedy else said


# ==== figures.py
# How busy the host is: CPU, memory and disks, before and after. Unknown is not zero.


_MEMORY = ("available", "nocache", "free")
_PATH_CHARS = 32
_OCTAL = re.compile(r"\\([0-7]{3})")
_ON_DISK = {"btrfs", "zfs", "bcachefs", "f2fs"}
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "glusterfs", "virtiofs"}
_READ_ONLY_IMAGES = {"squashfs", "iso9660", "erofs", "udf"}


class Mount(NamedTuple):
    """One line of the mount table."""

    point: str
    kind: str
    source: str
    options: tuple[str, ...]


class Figures(NamedTuple):
    """Ratios 0 to 1, by name; None where this host does not tell."""

    cpu: float | None
    memory: dict[str, float | None]
    disks: dict[str, float | None]
    processes: int


def measure(disks: tuple[str, ...], processes: int, over_s: float) -> Figures:
    """Look at the host now; the CPU over the next `over_s` seconds."""
    memory = _memory()
    used = {path: disk_ratio(path) for path in disks}
    before = _cpu_times()
    time.sleep(over_s if before is not None else 0)
    return Figures(_busy_ratio(before, _cpu_times()), memory, used, processes)


def _cpu_times() -> tuple[int, int] | None:
    """Idle and all ticks until now. Source: proc(5), /proc/stat; iowait is idle."""
    if sys.platform == "win32":
        return cpu_times()
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    return (ticks[3] + ticks[4], sum(ticks)) if len(ticks) > 4 else None


def _busy_ratio(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    if before is None or after is None or after[1] <= before[1]:
        return None
    return min(1.0, max(0.0, 1 - (after[0] - before[0]) / (after[1] - before[1])))


def _memory() -> dict[str, float | None]:
    if sys.platform == "win32":
        return {"available": memory_ratio()}
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return memory_ratios(file.read())
    except OSError:
        return dict.fromkeys(_MEMORY)


def memory_ratios(meminfo: str) -> dict[str, float | None]:
    """Share of the memory in use by the formulas of monitoring agents.

    available: total less MemAvailable. nocache: less free, buffers, cache and
    reclaimable slab. free: less free only. Source: proc(5), /proc/meminfo.
    """
    sizes = {
        words[0].rstrip(":"): int(words[1])
        for words in (line.split() for line in meminfo.splitlines())
        if len(words) > 1 and words[1].isdigit()
    }
    total, free = sizes.get("MemTotal"), sizes.get("MemFree")
    if not total or free is None:
        return dict.fromkeys(_MEMORY)
    cache = sum(sizes.get(name, 0) for name in ("Buffers", "Cached", "SReclaimable"))
    available = sizes.get("MemAvailable")
    return {
        "available": None if available is None else 1 - available / total,
        "nocache": 1 - (free + cache) / total,
        "free": 1 - free / total,
    }


def disk_ratio(path: str) -> float | None:
    """Share of a filesystem in use, as df(1) tells it; None when it cannot be looked at."""
    try:
        if sys.platform == "linux":
            _sync_btrfs(path)
        if sys.platform == "win32":
            usage = shutil.disk_usage(path)
            return usage.used / usage.total
        found = os.statvfs(path)
    except (OSError, ZeroDivisionError):
        return None
    used = found.f_blocks - found.f_bfree
    return used / (used + found.f_bavail) if used + found.f_bavail else None


def _sync_btrfs(path: str) -> None:
    """It tells what was taken or freed only after a commit."""
    if any(mount.point == path and mount.kind == "btrfs" for mount in mounts()):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            sync_filesystem(descriptor)
        finally:
            os.close(descriptor)


def mounts() -> list[Mount]:
    """The mount table; empty where it cannot be read. Source: proc(5), mountinfo."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            lines = file.read().decode("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, after = left.split(" "), right.split(" ")
        if len(fields) >= 6 and len(after) >= 3:
            point = _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), fields[4])
            found.append(Mount(point, after[0], after[1], tuple(after[2].split(","))))
    return found


def local_disks() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Mount points of local filesystems, each filesystem once, and remote ones.

    A remote one is never looked at: it may hang for ever when its server is gone.
    """
    if sys.platform == "win32":
        return (os.environ.get("SYSTEMDRIVE", "C:") + "\\",), ()
    by_source: dict[str, str] = {}
    remote = []
    table = mounts()
    for mount in table:
        if mount.kind in _REMOTE or mount.kind.startswith("fuse."):
            remote.append(mount.point)
        elif (
            mount.source.startswith("/dev/") or mount.kind in _ON_DISK or mount.point == "/"
        ) and mount.kind not in _READ_ONLY_IMAGES:
            known = by_source.get(mount.source)
            if os.path.isdir(mount.point) and (known is None or len(mount.point) < len(known)):
                by_source[mount.source] = mount.point
    return tuple(sorted(by_source.values())) if table else ("/",), tuple(remote)


def table(before: Figures, after: Figures | None) -> str:
    """The figures side by side."""
    rows = [("CPU", before.cpu, after and after.cpu)]
    for name, ratio in before.memory.items():
        rows.append((f"memory, {name}", ratio, after and after.memory.get(name)))
    for path, ratio in before.disks.items():
        rows.append((f"disk {_short(path)}", ratio, after and after.disks.get(path)))
    width = max(len("processes of ours"), *(len(row[0]) for row in rows))
    lines = [f"{'in use':<{width}}    before" + ("     after" if after else "")]
    for name, was, now in rows:
        lines.append(
            f"{name:<{width}}  {_percent(was):>8}" + (f"  {_percent(now):>8}" if after else "")
        )
    counts = f"  {after.processes:>8}" if after else ""
    lines.append(f"{'processes of ours':<{width}}  {before.processes:>8}{counts}")
    return "\n".join(lines)


def _short(path: str) -> str:
    """A path of any length, its end rather than its beginning."""
    return path if len(path) <= _PATH_CHARS else "..." + path[3 - _PATH_CHARS :]


def _percent(ratio: float | None) -> str:
    return "unknown" if ratio is None else f"{100 * ratio:.1f} %"


# ==== folder.py
# A directory opened without following links, and files in it by its descriptor alone.


MOST_BYTES = 1 << 20
"""A larger lock, roster or order is not read."""
_MOST_LINKS = 8
_OTHERS_MAY_WRITE = 0o022
_REPARSE_POINT = 0x400
"""FILE_ATTRIBUTE_REPARSE_POINT: a link or a junction. Source: winnt.h."""
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_PATH_ONLY = getattr(os, "O_PATH", os.O_RDONLY | _NO_WAIT)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class RefusedError(Exception):
    """Something is not as ours would be; the message says what."""


class Folder:
    """An open directory; what is done by its names stays in it, wherever its path leads by then.

    On Windows, where there are no such descriptors, names are joined to the path.
    Raises OSError when there is none, RefusedError when a link is on the way
    that somebody else could have put there.
    """

    def __init__(self, path: str, descriptor: int | None, status: os.stat_result) -> None:
        self.path = path
        self.descriptor = descriptor
        self.uid = status.st_uid
        self.mode = stat.S_IMODE(status.st_mode)

    def __enter__(self) -> Folder:  # noqa: PYI034 - typing.Self is newer than 3.7
        return self

    def __exit__(self, *_: object) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)

    def below(self, name: str) -> Folder:
        """A directory in this one. Raises OSError and RefusedError."""
        path = os.path.join(self.path, name)
        if self.descriptor is None:
            return open_folder(path)
        try:
            descriptor = os.open(name, DIRECTORY_FLAGS, dir_fd=self.descriptor)
        except OSError as exc:
            raise _refused(exc) from exc
        return Folder(path, descriptor, os.fstat(descriptor))

    def names(self) -> list[str]:
        """What is in it. Raises OSError."""
        return sorted(os.listdir(self.path if self.descriptor is None else self.descriptor))

    def look(self, name: str) -> os.stat_result | None:
        """What has that name, links not followed; None when nothing has. Raises OSError."""
        try:
            return os.stat(self._at(name), dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def fault(self, name: str) -> str:
        """Why that file cannot be ours; empty when it can be, or is gone."""
        if sys.platform != "win32" and self.mode & _OTHERS_MAY_WRITE:
            return f"others may write to {self.path} (mode {self.mode:o})"
        try:
            status = self.look(name)
        except OSError as exc:
            return exc.strerror or str(exc)
        return "" if status is None else self.fault_of(status)

    def fault_of(self, status: os.stat_result) -> str:
        """Why a file that is this cannot be ours; empty when it can be."""
        if not stat.S_ISREG(status.st_mode):
            return f"is {_kind(status.st_mode)}, not a regular file"
        if status.st_nlink > 1:
            return f"has {status.st_nlink} names (hard links)"
        if status.st_uid != self.uid:
            return f"belongs to user {status.st_uid}, the directory to user {self.uid}"
        return ""

    def open(self, name: str) -> int:
        """A descriptor to read a regular file. Raises OSError and RefusedError."""
        status = self.look(name)
        if status is not None and not stat.S_ISREG(status.st_mode):
            raise RefusedError(f"is {_kind(status.st_mode)}, not a regular file")
        flags = os.O_RDONLY | _NO_FOLLOW | _NO_WAIT
        descriptor = os.open(self._at(name), flags, dir_fd=self.descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise RefusedError("is not a regular file")
        return descriptor

    def read(self, name: str) -> bytes:
        """The beginning of a regular file. Raises OSError and RefusedError."""
        with open(self.open(name), "rb") as file:
            return file.read(MOST_BYTES)

    def read_ours(self, name: str) -> tuple[bytes, os.stat_result]:
        """The beginning of a file that can be ours, and what it is: of the very file that was read.

        A name may mean another file a moment later. Raises OSError and RefusedError.
        """
        fault = self.fault(name)
        if fault:
            raise RefusedError(fault)
        with open(self.open(name), "rb") as file:
            status = os.fstat(file.fileno())
            fault = self.fault_of(status)
            if fault:
                raise RefusedError(fault)
            return file.read(MOST_BYTES), status

    def remove(self, name: str) -> bool:
        """Remove a file that can only be ours; whether there was one.

        It is looked at twice, by name and by descriptor, and both must mean
        the same file. Raises OSError, and RefusedError when it is not ours.
        """
        fault = self.fault(name)
        if fault:
            raise RefusedError(fault)
        by_name = self.look(name)
        if by_name is None:
            return False
        try:
            flags = _PATH_ONLY | _NO_FOLLOW
            descriptor = os.open(self._at(name), flags, dir_fd=self.descriptor)
        except FileNotFoundError:
            return False
        try:
            by_descriptor = os.fstat(descriptor)
        finally:
            os.close(descriptor)  # at once: Windows removes no open file
        fault = self.fault_of(by_descriptor)
        if fault or not os.path.samestat(by_name, by_descriptor):
            raise RefusedError(fault or "was exchanged while it was looked at")
        os.unlink(self._at(name), dir_fd=self.descriptor)
        return True

    def remove_name(self, name: str) -> bool:
        """Remove whatever has the name but a directory; whether there was something.

        A link is removed, not what it leads to. Raises OSError.
        """
        try:
            os.unlink(self._at(name), dir_fd=self.descriptor)
        except FileNotFoundError:
            return False
        return True

    def remove_directory(self, name: str) -> bool:
        """Remove an empty directory; whether there was one. Raises OSError."""
        try:
            os.rmdir(self._at(name), dir_fd=self.descriptor)
        except FileNotFoundError:
            return False
        return True

    def write(self, name: str, content: bytes) -> None:
        """Make that the content of the file, as a whole or not at all. Raises OSError.

        Whatever has the name, a link too, is replaced and not followed.
        """
        new = f".{name}.{os.urandom(8).hex()}.tmp"
        descriptor = self._create(new)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            here = self.descriptor
            os.replace(self._at(new), self._at(name), src_dir_fd=here, dst_dir_fd=here)
        except OSError:
            self.remove_name(new)
            raise
        if self.descriptor is not None:
            os.fsync(self.descriptor)

    def touch(self, name: str) -> None:
        """Make an empty file, which a full disk still has room for. Raises OSError."""
        os.close(self._create(name))

    def _create(self, name: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | getattr(os, "O_BINARY", 0)
        descriptor = os.open(self._at(name), flags, 0o644, dir_fd=self.descriptor)
        if sys.platform != "win32":
            os.fchmod(descriptor, 0o644)  # the daemon must be able to read it, whatever our umask
        return descriptor

    def _at(self, name: str) -> str:
        return os.path.join(self.path, name) if self.descriptor is None else name


def open_folder(path: str) -> Folder:
    """The directory at an absolute path; see Folder. Raises OSError and RefusedError."""
    if sys.platform == "win32":
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_file_attributes & _REPARSE_POINT:
            raise RefusedError("is no directory, or a link to one")
        return Folder(path, None, status)
    try:
        descriptor = open_directory(_trusted(path))
    except OSError as exc:
        raise _refused(exc) from exc
    return Folder(path, descriptor, os.fstat(descriptor))


def _refused(error: OSError) -> Exception:
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return RefusedError("is no directory, or a symbolic link is on the way")
    return error


def _trusted(path: str) -> str:
    """The path with those links resolved that only root or we can have put there.

    Raises RefusedError for any other.
    """
    left, found = [part for part in path.split("/") if part not in {"", "."}], "/"
    links = 0
    while left:
        part = left.pop(0)
        here = os.path.normpath(os.path.join(found, part))
        try:
            status = os.lstat(here)
        except OSError:
            return os.path.join(here, *left)  # said when it is opened
        if not stat.S_ISLNK(status.st_mode):
            found = here
            continue
        links += 1
        above = os.lstat(found)
        if (
            links > _MOST_LINKS
            or not {status.st_uid, above.st_uid} <= {0, own_user()}
            or above.st_mode & _OTHERS_MAY_WRITE
        ):
            raise RefusedError(
                f"{here} is a symbolic link that user {status.st_uid} made, so it is not "
                "followed; name the directory that it leads to"
            )
        target = os.readlink(here)
        left = [word for word in target.split("/") if word not in {"", "."}] + left
        found = "/" if target.startswith("/") else found
    return found


def _kind(mode: int) -> str:
    for test, word in (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if test(mode):
            return word
    return "a device"


# ==== locks.py
# The lock of a daemon: whether somebody holds it, and taking it so that none starts.


LOCK = "lock"
_BUSY = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_WINDOWS_LOCK_OFFSET = 1 << 30
_BUSY_ERRORS = {33, 997}
_FAIL_IMMEDIATELY = 1
"""As optimizer/adapters/instance_lock.py has them."""
_RECORD = "hhqqi4x"
"""struct flock of Linux with 64-bit offsets: type, whence, start, length, pid."""


def probe_lock(folder: Folder) -> tuple[bool | None, os.stat_result]:
    """Whether somebody holds the lock, None when that cannot be told; and the file.

    Raises OSError.
    """
    if sys.platform == "win32":
        return _probe_on_windows(os.path.join(folder.path, LOCK))
    import fcntl

    descriptor = folder.open(LOCK)
    try:
        status = os.fstat(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return _has_record_lock(descriptor), status
        except OSError as exc:
            return (True if exc.errno in _BUSY else None), status
    finally:
        os.close(descriptor)


def _has_record_lock(descriptor: int) -> bool:
    """Whether somebody holds any part of the file by fcntl(2), which flock does not see.

    Only Linux has two kinds of locks that know nothing of each other. Source:
    flock(2). Raises OSError.
    """
    if sys.platform != "linux":
        return False
    import fcntl

    asked = struct.pack(_RECORD, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
    return bool(struct.unpack(_RECORD, answer)[0] != fcntl.F_UNLCK)


def _probe_on_windows(path: str) -> tuple[bool | None, os.stat_result]:
    """The same: the daemon has locked one byte far beyond the end."""
    if sys.platform != "win32":
        raise NotImplementedError
    import ctypes
    import msvcrt
    from ctypes import wintypes

    class Overlapped(ctypes.Structure):
        _fields_ = (
            ("internal", ctypes.c_void_p),
            ("internal_high", ctypes.c_void_p),
            ("offset", wintypes.DWORD),
            ("offset_high", wintypes.DWORD),
            ("event", wintypes.HANDLE),
        )

    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_BINARY)
    try:
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(descriptor))
        where = Overlapped(offset=_WINDOWS_LOCK_OFFSET)
        # Shared: two that look at the same time do not take each other for the daemon.
        if kernel32.LockFileEx(handle, _FAIL_IMMEDIATELY, 0, 1, 0, ctypes.byref(where)):
            return False, os.fstat(descriptor)
        held = True if ctypes.get_last_error() in _BUSY_ERRORS else None
        return held, os.fstat(descriptor)
    finally:
        os.close(descriptor)


def take_lock(folder: Folder) -> int | None:
    """The lock, held until the descriptor is closed; -1 when there is none; None when denied."""
    if sys.platform == "win32":
        return -1  # an open file cannot be removed there
    import fcntl

    try:
        descriptor = folder.open(LOCK)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        at_name = None if _has_record_lock(descriptor) else folder.look(LOCK)
    except OSError:
        at_name = None
    # A daemon may have removed the file meanwhile, and the next one made its own.
    if at_name is None or not os.path.samestat(at_name, os.fstat(descriptor)):
        os.close(descriptor)
        return None
    return descriptor


# ==== remains.py
# What a killed daemon left in its runtime directory, told from what only has its names.


ROSTER, _STATUS = "roster.json", "status.json"
_BESIDE = re.compile(
    r"status\.txt|\.(?:status\.json|status\.txt|roster\.json)\.[0-9a-f]{16}\.tmp",
)
"""Names of files whose content proves nothing."""
_PAGE = "glances"
_PAGE_CONFIG = f"{_PAGE}/glances.conf"
_PAGE_FILE = re.compile(
    r"glances/(?:glances\.conf|optimizer\.pwd|\.(?:glances\.conf)\.[0-9a-f]{16}\.tmp|"
    r"glances/glances\.log(?:\.[1-3])?)"
)
"""What the web page makes: a password's hash, and the log of Glances in its XDG_CACHE_HOME."""
_PAGE_SIGN = b"[amp_optimizer]"
_FOREIGN = "does not have the content that our daemon writes"
_ALONE = "nothing that is proven ours lies beside it"


def read_remains(folder: Folder) -> tuple[Leftover, ...]:
    """Files and directories of ours in the order of their removal.

    A file is ours by what it says. One that cannot say it, or is empty since
    its daemon was killed before it wrote, is ours beside one that does; those
    go before what proves them, and the lock last: it is held meanwhile.
    """
    found = _found(folder)
    signs = {name for name, (fault, content) in found.items() if not fault and _says(name, content)}
    files = [
        Leftover(name, fault=fault or _doubt(name, content, signs), sign=name in signs)
        for name, (fault, content) in found.items()
    ]
    files.sort(key=lambda one: (one.name == LOCK, one.sign, one.name))
    last = [one for one in files if one.name == LOCK]
    kept = {one.name for one in files if one.fault}
    directories = _directories(folder, set(found) - kept) if signs else []
    return (*(one for one in files if one.name != LOCK), *directories, *last)


def _doubt(name: str, content: bytes, signs: set[str]) -> str:
    """Why a file that could be ours is not taken for ours; empty when it is."""
    if name in signs:
        return ""
    if content and not _is_mute(name):
        return _FOREIGN
    return "" if signs else _ALONE


def object_of(content: bytes) -> Mapping[str, object] | None:
    """The JSON object that a file contains; None when it contains anything else."""
    try:
        found = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def is_lock(fields: Mapping[str, object]) -> bool:
    """Whether that is what optimizer/adapters/instance_lock.py writes."""
    return _is_number(fields, "pid", int) and _is_number(fields, "started_utc_s", int, float)


def is_roster(fields: Mapping[str, object]) -> bool:
    """Whether that is what optimizer/adapters/roster.py writes."""
    return isinstance(fields.get("processes"), list) and "boot_id" in fields


def _is_status(fields: Mapping[str, object]) -> bool:
    """Whether that is what optimizer/report/status.py makes."""
    numbers = all(_is_number(fields, name, int) for name in ("version", "pid"))
    return numbers and isinstance(fields.get("resources"), dict)


def _is_number(fields: Mapping[str, object], name: str, *kinds: type) -> bool:
    value = fields.get(name)
    return isinstance(value, kinds) and not isinstance(value, bool)


_TESTS = {LOCK: is_lock, ROSTER: is_roster, _STATUS: _is_status}


def _says(name: str, content: bytes) -> bool:
    """Whether the content proves that our daemon wrote it."""
    if name == _PAGE_CONFIG:
        return _PAGE_SIGN in content.splitlines()
    fields = object_of(content) if name in _TESTS else None
    return fields is not None and _TESTS[name](fields)


def _is_mute(name: str) -> bool:
    return name not in _TESTS and name != _PAGE_CONFIG


def _found(folder: Folder) -> dict[str, tuple[str, bytes]]:
    """Files that have a name of ours: why each cannot be ours, else its content."""
    found = {}
    for name in folder.names():
        if name in _TESTS or _BESIDE.fullmatch(name):
            found[name] = _looked_at(folder, name, name)
        elif name == _PAGE:
            found.update(_found_below(folder, name))
    return found


def _found_below(folder: Folder, path: str) -> dict[str, tuple[str, bytes]]:
    """The same in a directory of the page."""
    found = {}
    try:
        with folder.below(os.path.basename(path)) as page:
            for name in page.names():
                inner = f"{path}/{name}"
                if _PAGE_FILE.fullmatch(inner):
                    found[inner] = _looked_at(page, name, inner)
                elif inner == f"{_PAGE}/{_PAGE}":
                    found.update(_found_below(page, inner))
    except RefusedError as exc:
        return {path: (str(exc), b"")}
    except OSError:
        return {}
    return found


def _looked_at(folder: Folder, name: str, path: str) -> tuple[str, bytes]:
    fault = folder.fault(name)
    if fault or _is_mute(path):
        return fault, b""
    try:
        return "", folder.read(name)
    except (OSError, RefusedError) as exc:
        return f"cannot be read ({exc})", b""


def _directories(folder: Folder, files: set[str]) -> list[Leftover]:
    """Directories of the page in which nothing but these files is, the inner one first."""
    found: list[Leftover] = []
    try:
        with folder.below(_PAGE) as page:
            names = {f"{_PAGE}/{name}" for name in page.names()}
            with_inner = f"{_PAGE}/{_PAGE}"
            if with_inner in names:
                with page.below(_PAGE) as inner:
                    if {f"{with_inner}/{name}" for name in inner.names()} <= files:
                        found.append(Leftover(with_inner, is_directory=True))
            if names <= files | {one.name for one in found}:
                found.append(Leftover(_PAGE, is_directory=True))
    except (OSError, RefusedError):
        pass
    return found


# ==== homes.py
# Reads our directories: orders, locks, rosters, and what a killed daemon left in them.


INHIBIT = "inhibit"
FILLER_DIRECTORY = ".cloud-resource-optimizer"
"""Where a stresser's file has its name for an instant, where files must have one."""
_FILLER = re.compile(r"held-[0-9a-f]{16}")
_STATE_NAMES = ("history.sqlite3", INHIBIT, "released", "resumed")
"""Any of them is a sign that a state directory is ours; only the first is no common word."""
_OWN_MODE = 0o700


def read_state(places: Places) -> Home:
    """A state directory and the order in it."""

    def look(folder: Folder, home: Home) -> Home:
        names = set(folder.names())
        known = next((name for name in _STATE_NAMES if name in names), "")
        ours = _ours(places, f"it has {known}" if known else "")
        weak = not places.named and known != _STATE_NAMES[0]
        return home._replace(ours=ours, weak=weak, inhibit=read_inhibit(folder))

    return _read(places.state, places, look)


def read_inhibit(folder: Folder) -> Inhibit:
    """The order not to load. What cannot be understood is an order without an end."""
    if folder.look(INHIBIT) is None:
        return Inhibit(present=False, standing=False)
    try:
        fields = object_of(folder.read(INHIBIT))
    except (OSError, RefusedError):
        return Inhibit(present=True, standing=True)
    until = None if fields is None else fields.get("until_utc_s")
    return Inhibit(present=True, standing=not isinstance(until, (int, float)))


def read_runtime(places: Places) -> Home:
    """A runtime directory: who runs there, and what is stale if nobody does."""

    def look(folder: Folder, home: Home) -> Home:
        lock, roster = _lock(folder), _roster(folder)
        said = "its lock is like ours" if lock is not None and lock.holder is not None else ""
        said = said or ("its roster is like ours" if roster is not None else "")
        return home._replace(
            ours=_ours(places, said), lock=lock, roster=roster, leftovers=read_remains(folder)
        )

    return _read(places.runtime, places, look)


def read_filler(directory: str) -> Home:
    """Named filler files, which a stresser that was killed in one instant may have left."""
    places = Places("", "", f"a disk at {directory}")

    def look(folder: Folder, home: Home) -> Home:
        if folder.mode != _OWN_MODE:
            return home._replace(fault=f"not ours alone (mode {folder.mode:o})")
        left = [
            _leftover(folder, name)
            if _FILLER.fullmatch(name)
            else Leftover(name, fault="is not named as our files are")
            for name in folder.names()
        ]
        if not any(one.fault for one in left):
            left.append(Leftover(".", is_directory=True))
        return home._replace(ours=f"directory {FILLER_DIRECTORY}", leftovers=tuple(left))

    return _read(os.path.join(directory, FILLER_DIRECTORY), places, look)


def _read(path: str, places: Places, look: Callable[[Folder, Home], Home]) -> Home:
    """A directory as `look` finds it, or why it cannot be looked at."""
    home = Home(path, places)
    if not path:
        return home._replace(missing=True)
    try:
        with open_folder(path) as folder:
            if places.owner is not None and folder.uid != places.owner:
                fault = f"belongs to user {folder.uid}, but {places.source}"
                return home._replace(fault=fault)
            return look(folder, home._replace(uid=folder.uid))
    except (FileNotFoundError, NotADirectoryError):
        return home._replace(missing=True)
    except RefusedError as exc:
        return home._replace(fault=str(exc))
    except OSError as exc:
        root = "; run this as root" if own_user() != 0 else ""
        return home._replace(fault=f"cannot be looked at ({exc.strerror or exc}){root}")


def _ours(places: Places, sign: str) -> str:
    return f"named by {places.source}" if places.named else sign


def _leftover(folder: Folder, name: str) -> Leftover:
    return Leftover(name, fault=folder.fault(name))


def _lock(folder: Folder) -> Lock | None:
    """The lock file; None when there is none that could be ours."""
    try:
        if folder.fault(LOCK):
            return None
        fields = object_of(folder.read(LOCK)) or {}
        held, status = probe_lock(folder)
        if folder.fault_of(status):
            return None  # exchanged since
    except (OSError, RefusedError):
        return None
    boot_id = fields.get("boot_id")
    ours = is_lock(fields)
    return Lock(
        os.path.join(folder.path, LOCK),
        status.st_uid,
        (status.st_dev, status.st_ino),
        held,
        boot_id if isinstance(boot_id, str) and ours else None,
        _entry({**fields, "role": "controller"}) if ours else None,
    )


def _roster(folder: Folder) -> Roster | None:
    """The roster; None when there is none that could be ours."""
    try:
        if folder.look(ROSTER) is None:
            return None
        content, status = folder.read_ours(ROSTER)
        fields = object_of(content)
    except (OSError, RefusedError):
        return None
    if fields is None or not is_roster(fields):
        return None
    controller = _entry(fields.get("controller"), "controller")
    listed = fields.get("processes")
    entries = [controller, *(_entry(one) for one in (listed if isinstance(listed, list) else []))]
    boot_id = fields.get("boot_id")
    return Roster(
        os.path.join(folder.path, ROSTER),
        status.st_uid,
        boot_id if isinstance(boot_id, str) else None,
        status.st_ctime,
        None if controller is None else controller.pid,
        tuple(one for one in entries if one is not None),
    )


def _entry(fields: object, role: str = "") -> Entry | None:
    if not isinstance(fields, dict):
        return None
    pid, start, pidfs = (_whole(fields.get(key)) for key in ("pid", "start", "pidfs"))
    if pid is None or pid <= 1:
        return None
    role, kind = role or fields.get("role", ""), fields.get("kind")
    return Entry(
        pid,
        start,
        pidfs,
        role if role in ROLES else "stresser",
        kind if isinstance(kind, str) else None,
    )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


# ==== places.py
# Where a daemon of ours may keep its files: arguments, environment, configuration, defaults.


_NAME = "optimizer"
_CONFIG_NAMES = ("optimizer.env", ".env")
_MOST_CONFIG_BYTES = 1 << 16
_LINE = re.compile(r"^\s*(?:export\s+)?(WORKSPACE_DIR|DISK_STRESS_PATH)\s*=\s*(.*?)\s*$")


class Asked(NamedTuple):
    """What the operator has named; `only` means nothing else is to be touched.

    `orphans` as in Facts.
    """

    state: str = ""
    runtime: str = ""
    workspaces: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()
    only: bool = False
    orphans: bool = False


class Account(NamedTuple):
    """Somebody in whose home a daemon may have its files; `environ` is empty for others."""

    home: str
    uid: int
    environ: Mapping[str, str]


class Found(NamedTuple):
    """Directories of daemons, directories where disk space may be held, and what was not read."""

    places: tuple[Places, ...]
    disks: tuple[str, ...]
    gaps: tuple[str, ...]


def find(
    asked: Asked,
    *,
    environ: Mapping[str, str],
    platform: str,
    accounts: tuple[Account, ...],
    checkout: str,
) -> Found:
    """All places to look at, the most certain first; only configuration files are read."""
    places = _named(asked)
    disks = list(asked.disks)
    gaps: list[str] = []
    configs = [_absolute(path) for path in asked.configs]
    if not asked.only:
        places += _from_environment(environ)
        configs += _configs(environ, platform, accounts, checkout)
    for path in dict.fromkeys(configs):
        more, disk, gap = _from_config(path, environ)
        places += more
        disks += disk
        gaps += gap
    if not asked.only:
        places += _usual(environ, platform, accounts)
    unique: dict[tuple[str, str], Places] = {}
    for place in places:
        unique.setdefault((place.state, place.runtime), place)
    return Found(tuple(unique.values()), tuple(dict.fromkeys(disks)), tuple(gaps))


def _named(asked: Asked) -> list[Places]:
    found = [_workspace(path, "--workspace", None) for path in asked.workspaces]
    if asked.state or asked.runtime:
        state, runtime = (_absolute(path) for path in (asked.state, asked.runtime))
        found.append(Places(state, runtime, "--state and --runtime", named=True))
    return found


def _workspace(path: str, source: str, owner: int | None) -> Places:
    base = _absolute(path)
    return Places(
        os.path.join(base, "state"), os.path.join(base, "run"), source, named=True, owner=owner
    )


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path)) if path else ""


def _from_environment(environ: Mapping[str, str]) -> list[Places]:
    found = []
    if environ.get("WORKSPACE_DIR", "").strip():
        found.append(_workspace(environ["WORKSPACE_DIR"].strip(), "WORKSPACE_DIR", None))
    state, runtime = (
        environ.get(name, "").split(":", 1)[0] for name in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY")
    )
    if state.startswith("/") and runtime.startswith("/"):
        found.append(Places(state, runtime, "STATE_DIRECTORY", named=True))
    return found


def _usual(
    environ: Mapping[str, str], platform: str, accounts: tuple[Account, ...]
) -> list[Places]:
    """The defaults of the daemon for the system and for each account."""
    if platform == "win32":
        base = os.path.join(environ.get("PROGRAMDATA") or "C:\\ProgramData", "Optimizer")
        return [_workspace(base, "default", None)._replace(named=False)]
    if platform == "darwin":
        bases = [
            (os.path.join(one.home, "Library/Application Support", _NAME), one.uid)
            for one in accounts
        ]
        return [_workspace(base, "default", uid)._replace(named=False) for base, uid in bases]
    # Only root can have made these, so anybody may own them: a service's user, for example.
    found = [Places(f"/var/lib/{_NAME}", f"/run/{_NAME}", "default of the system")]
    for one in accounts:
        base = _variable(one, "XDG_STATE_HOME") or os.path.join(one.home, ".local/state")
        state = os.path.join(base, _NAME)
        session = _variable(one, "XDG_RUNTIME_DIR") or f"/run/user/{one.uid}"
        found += [
            Places(state, runtime, f"default of user {one.uid}", owner=one.uid)
            for runtime in (os.path.join(session, _NAME), os.path.join(state, "run"))
        ]
    return found


def _variable(account: Account, name: str) -> str:
    value = account.environ.get(name, "")
    return value if value.startswith("/") else ""


def _configs(
    environ: Mapping[str, str],
    platform: str,
    accounts: tuple[Account, ...],
    checkout: str,
) -> list[str]:
    """Configuration files that there may be."""
    directories = [os.path.join(checkout, "config")] if checkout else []
    if environ.get("CONFIG_DIR", "").strip():
        directories.insert(0, _absolute(environ["CONFIG_DIR"].strip()))
    if platform != "win32":
        directories.append(f"/etc/{_NAME}")
        for one in accounts:
            base = _variable(one, "XDG_CONFIG_HOME") or os.path.join(one.home, ".config")
            directories.append(os.path.join(base, _NAME))
    return [os.path.join(directory, name) for directory in directories for name in _CONFIG_NAMES]


def _from_config(
    path: str, environ: Mapping[str, str]
) -> tuple[list[Places], list[str], list[str]]:
    """Directories of daemons, disks, and what could not be read. Broken lines are passed over."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return [], [], []
        with open(path, "rb") as file:
            text = file.read(_MOST_CONFIG_BYTES).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return [], [], []
    except (OSError, ValueError) as exc:
        gap = f"cannot read the configuration {path} ({exc}); if it sets WORKSPACE_DIR, name that"
        return [], [], [gap]
    values = values_of(text)
    gaps = []
    for key, value in values.items():
        values[key] = _expanded(value, environ)
        if "$" in values[key]:
            gaps.append(f"{key}={value} in {path} cannot be expanded; name the directory itself")
            values[key] = ""
    owner = None if status.st_uid == 0 else status.st_uid
    workspace, disk = values.get("WORKSPACE_DIR", ""), values.get("DISK_STRESS_PATH", "")
    found = [_workspace(workspace, f"WORKSPACE_DIR in {path}", owner)] if workspace else []
    return found, [_absolute(disk)] if disk else [], gaps


def values_of(text: str) -> dict[str, str]:
    """The two keys that matter here, from the text of a dotenv file; the last line counts."""
    found: dict[str, str] = {}
    for line in text.lstrip("\ufeff").splitlines():
        match = _LINE.match(line)
        if match:
            key, value = match.groups()
            if value[:1] in {"'", '"'}:
                value = value[1:].partition(value[0])[0]
            else:
                value = re.split(r"(?:^|\s)#", value, maxsplit=1)[0].strip()
            found[key] = value
    return found


def _expanded(value: str, environ: Mapping[str, str]) -> str:
    return re.sub(
        r"\$\{(\w+)\}", lambda match: environ.get(match.group(1)) or match.group(0), value
    )


# ==== facts.py
# Reads the world: everything that the diagnosis needs, and what could not be read.


UNIT = "optimizer.service"
WINDOWS_SERVICE = "CloudResourceOptimizer"
SERVICE_STOPPED = 1
"""Source: winsvc.h."""
_BOOTED_BY_SYSTEMD = "/run/systemd/system"
"""Source: sd_booted(3)."""
_FIRST_PIDS = "pid:[4026531836]"
"""The first pid namespace. Source: linux/proc_ns.h, PROC_PID_INIT_INO."""
_ASK_S = 5.0
_GROUP = re.compile(re.escape(GROUP_NAME) + r"\.([1-9][0-9]{0,9})")


def read_facts(asked: Asked, known: frozenset[int] = frozenset()) -> Facts:
    """Look at the host from scratch; nothing is changed. `known` as in Facts."""
    euid = own_user()
    boot, processes = boot_id(), read_processes()
    found = find(
        asked,
        environ=os.environ,
        platform=sys.platform,
        accounts=_accounts(),
        checkout=_checkout(),
    )
    certain = [one for one in found.places if one.named]
    if not asked.only:
        certain += _of_marks(processes, boot)
    places = list(dict.fromkeys((*certain, *found.places)))
    states = _once(read_state(one) for one in places)
    runtimes = _once(read_runtime(one) for one in places)
    states, runtimes = _signed(states, runtimes, places)
    closer = _closer(processes, runtimes)
    disks, remote = local_disks()
    here = found.disks if asked.only and not asked.orphans else (*found.disks, *disks)
    fillers = _once(read_filler(path) for path in here)
    if asked.orphans:
        # On a disk that nobody named, what is of the user of the daemon that was named.
        users = {home.uid for home in states if not home.missing}
        fillers = tuple(home for home in fillers if home.uid in users)
    gaps = [*found.gaps, *_hidden(processes, euid)]
    if not asked.only:
        gaps += [f"{path}: a remote filesystem may hang; name it with --disk" for path in remote]
    return Facts(
        platform=sys.platform,
        euid=euid,
        boot_id=boot,
        booted_utc_s=_booted_utc_s(),
        processes={**processes, **closer},
        states=states,
        runtimes=runtimes,
        fillers=fillers,
        groups=tuple(_groups_found(processes)),
        service=_windows_service() if sys.platform == "win32" else _systemd_service(),
        gaps=tuple(gaps),
        only_named=asked.only,
        orphans=asked.orphans,
        sees_all_pids=_sees_all_pids(),
        known=known,
    )


def _accounts() -> tuple[Account, ...]:
    """Who runs this, and who called sudo for it."""
    if sys.platform == "win32":
        return ()
    import pwd

    found = [Account(os.path.expanduser("~"), os.geteuid(), os.environ)]
    caller = os.environ.get("SUDO_UID", "")
    if caller.isdigit() and os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            found.append(Account(pwd.getpwuid(int(caller)).pw_dir, int(caller), {}))
    return tuple(found)


def _checkout() -> str:
    """The folder above this one when that is a checkout, whose config/ the daemon reads."""
    above = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return above if os.path.exists(os.path.join(above, "start.sh")) else ""


def _of_marks(processes: Mapping[int, Process], boot: str | None) -> list[Places]:
    """The directories that living daemons name; a plain user's must be his own."""
    found = []
    for process in processes.values():
        proof = by_mark(process, boot) if process.marks else None
        if proof is None or proof.role != "controller":
            continue
        for mark in process.marks:
            words = (mark.fields.get(key) for key in ("state", "runtime"))
            paths = [word for word in words if isinstance(word, str) and word.startswith("/")]
            if len(paths) == 2 and not mark_fault(mark, process, boot):
                source = f"the mark of daemon {process.pid}"
                owner = mark.uid or None
                found.append(Places(paths[0], paths[1], source, named=True, owner=owner))
    return found


def _once(homes: Iterable[Home]) -> tuple[Home, ...]:
    """Each directory once, the first way to it; those without a path not at all."""
    found: dict[str, Home] = {}
    for home in homes:
        if home.path:
            found.setdefault(home.path, home)
    return tuple(found.values())


def _signed(
    states: tuple[Home, ...], runtimes: tuple[Home, ...], places: list[Places]
) -> tuple[tuple[Home, ...], tuple[Home, ...]]:
    """The directories again: what belongs to one with a sign of ours is ours too."""
    signs = {home.path: home.ours for home in (*states, *runtimes) if home.ours and not home.weak}
    pairs = [(one.state, one.runtime) for one in places if one.state and one.runtime]

    def signed(home: Home) -> Home:
        others = [a if home.path == b else b for a, b in pairs if home.path in {a, b}]
        sign = next((f"{path}: {signs[path]}" for path in others if path in signs), "")
        return home if home.ours or home.missing else home._replace(ours=sign)

    return tuple(map(signed, states)), tuple(map(signed, runtimes))


def _closer(processes: Mapping[int, Process], runtimes: tuple[Home, ...]) -> dict[int, Process]:
    """The processes that locks and rosters name, with all that can be told of them."""
    entries = [home.lock.holder for home in runtimes if home.lock and home.lock.holder]
    entries += [one for home in runtimes if home.roster for one in home.roster.entries]
    if sys.platform == "win32":
        paths = {home.path for home in runtimes}
        read = (process_of(entry.pid, path) for entry in entries for path in paths)
        return {process.pid: process for process in read if process is not None}
    return looked_at_closely(processes, frozenset(entry.pid for entry in entries))


def _hidden(processes: Mapping[int, Process], euid: int) -> list[str]:
    """What of the host cannot be seen, and what that costs."""
    if sys.platform != "linux":
        return (
            []
            if sys.platform == "win32"
            else [
                "this system does not tell when a process started: none can be proven ours; "
                "a daemon that is well obeys the inhibit by itself"
            ]
        )
    if not os.path.exists("/proc/self/stat"):
        return ["no /proc: processes are known only by rosters, and marks cannot be seen"]
    opaque = sum(1 for process in processes.values() if process.opaque and not process.marks)
    lines = []
    if opaque:
        root = "" if euid == 0 else "; run this as root"
        lines.append(f"{opaque} processes of others cannot be looked into for our mark{root}")
    if 1 not in processes and os.getpid() != 1:
        lines.append("/proc hides the processes of others (hidepid); run this as root")
    return lines


def _booted_utc_s() -> float:
    """When this boot began, in seconds since the epoch; never a moment too early."""
    if sys.platform != "linux":
        return 0.0
    # clock_gettime(2): CLOCK_BOOTTIME is 7; Python 3.7 has its name on Linux too.
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + 1.0


def _groups_found(processes: Mapping[int, Process]) -> list[Group]:
    """Control groups of our name where a daemon makes them: at the top, or below its own."""
    if sys.platform != "linux":
        return []
    marked = [str(process.pid) for process in processes.values() if process.marks]
    parents = []
    for mount in mounts():
        if mount.kind == "cgroup2" or (mount.kind == "cgroup" and "cpu" in mount.options):
            parents.append(mount.point)
            for who in ("self", *marked):
                own = _own_group(who, mount)
                parents += [own, os.path.dirname(own)] if own else []
    found: dict[str, Group] = {}
    for parent in dict.fromkeys(parents):
        try:
            names = os.listdir(parent)
        except OSError:
            continue
        for name in names:
            match = _GROUP.fullmatch(name)
            path = os.path.join(parent, name)
            if match:
                found[os.path.realpath(path)] = read_group(path, int(match.group(1)))
    return list(found.values())


def read_group(path: str, pid: int) -> Group:
    """A control group and who is in it."""
    members: tuple[int, ...] | None
    try:
        with open(os.path.join(path, "cgroup.procs"), encoding="ascii") as file:
            members = tuple(int(word) for word in file.read().split())
    except (OSError, ValueError):
        members = None
    can_kill = os.path.exists(os.path.join(path, "cgroup.kill"))
    return Group(path, pid, members, can_kill, is_nested(path))


def is_nested(path: str) -> bool:
    """Whether there are groups below this one; true when that cannot be told."""
    try:
        with os.scandir(path) as entries:
            return any(entry.is_dir(follow_symlinks=False) for entry in entries)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _sees_all_pids() -> bool:
    try:
        return os.readlink("/proc/self/ns/pid") == _FIRST_PIDS
    except OSError:
        return False


def _own_group(who: str, mount: Mount) -> str:
    """The group of a process in one hierarchy, as far as it is in sight there."""
    try:
        with open(f"/proc/{who}/cgroup", encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    for line in lines:
        _, controllers, path = line.split(":", 2)
        wanted = "" if mount.kind == "cgroup2" else "cpu"
        if wanted in controllers.split(",") and path != "/":
            return os.path.normpath(mount.point + path)
    return ""


def _systemd_service() -> Service | None:
    """Our unit as systemd shows it; None where there is none."""
    if sys.platform == "win32" or not os.path.isdir(_BOOTED_BY_SYSTEMD):
        return None
    shown = _asked(
        ["systemctl", "show", "--property=LoadState,ActiveState,MainPID,ExecStart", UNIT]
    )
    fields = dict(line.partition("=")[::2] for line in shown.splitlines())
    if fields.get("LoadState") not in {"loaded", "masked"}:
        return None
    pid = fields.get("MainPID", "0")
    return Service(
        UNIT,
        fields.get("ActiveState") in {"active", "activating", "reloading", "deactivating"},
        int(pid) if pid.isdigit() and pid != "0" else None,
        fields.get("ExecStart", ""),
    )


def _windows_service() -> Service | None:
    """Our service as Windows shows it; None where there is none."""
    if sys.platform == "win32":
        found = service_state(WINDOWS_SERVICE)
        if found is not None:
            state, pid = found
            return Service(WINDOWS_SERVICE, state != SERVICE_STOPPED, pid or None, "")
    return None


def _asked(command: list[str]) -> str:
    """What a program prints; empty when it is missing, fails or hangs."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_ASK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")


# ==== repairs.py
# The steps, each of which may be done again at any time, and what came of them.


SERVICE_S = 20.0
"""How long the service manager may take; a daemon that is well ends within a second."""
_LEAVE_S = 3.0
"""How long killed processes may take to leave their group."""
_LOOK_S = 0.02


def repair(diagnosis: Diagnosis, facts: Facts, tell: Tell) -> None:
    """Do what the diagnosis says, in order, and tell each thing."""
    for home in diagnosis.inhibit:
        tell(set_inhibit(home))
    # Proven while all of them still are what they were found to be.
    grips = grip_all(diagnosis, facts, tell)
    try:
        if diagnosis.service is not None:
            tell(_stop_service())
        daemons = [grip for grip in grips if grip.target.proof.role == "controller"]
        others = [grip for grip in grips if grip.target.proof.role != "controller"]
        end_daemons(daemons, tell)
        pids = frozenset(grip.target.process.pid for grip in grips)
        for group in diagnosis.groups:
            _kill_group(group, pids, tell)
        kill(others, tell)
        for group in diagnosis.groups:
            tell(_remove_group(group))
    finally:
        for grip in grips:
            if grip.descriptor is not None:
                os.close(grip.descriptor)
    for home in diagnosis.stale:
        for act in clean(home):
            tell(act)


def set_inhibit(home: Home) -> Act:
    """Write the order not to load, without an end; on a full disk an empty file."""
    path = os.path.join(home.path, INHIBIT)
    order = {
        "reason": "recover_system.py took all load away",
        "by": f"recover_system.py, user {own_user()}",
        "until_utc_s": None,
        "since_utc_s": round(time.time(), 3),
    }
    try:
        with open_folder(home.path) as folder:
            if read_inhibit(folder).standing:
                return Act("inhibit", path, "already", "it is in force")
            try:
                folder.write(INHIBIT, json.dumps(order).encode() + b"\n")
            except OSError as exc:
                if exc.errno not in {errno.ENOSPC, errno.EDQUOT}:
                    raise
                folder.remove_name(INHIBIT)
                folder.touch(INHIBIT)
                return Act("inhibit", path, "done", "empty, for the disk is full: that suffices")
    except RefusedError as exc:
        return Act("inhibit", path, "refused", str(exc))
    except OSError as exc:
        return Act("inhibit", path, "failed", f"{in_words(exc)}: a daemon could start again there")
    return Act("inhibit", path, "done", "so that nothing starts again")


def lift_inhibit(home: Home) -> Act:
    """Remove the order and all releases, and tell the daemon, as `optimizer resume` does."""
    path = os.path.join(home.path, INHIBIT)
    try:
        with open_folder(home.path) as folder:
            folder.remove_name("released")
            was = folder.remove_name(INHIBIT)
            folder.write("resumed", b"")
    except RefusedError as exc:
        return Act("resume", path, "refused", str(exc))
    except OSError as exc:
        return Act("resume", path, "failed", in_words(exc))
    return Act("resume", path, "done" if was else "already", "load is allowed again")


def _stop_service() -> Act:
    command, name = ["systemctl", "--no-ask-password", "stop", UNIT], UNIT
    if sys.platform == "win32":
        command, name = ["sc.exe", "stop", WINDOWS_SERVICE], WINDOWS_SERVICE
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SERVICE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Act("service", name, "failed", f"not stopped within {SERVICE_S:.0f} s; going on")
    except OSError as exc:
        return Act("service", name, "failed", in_words(exc))
    if done.returncode != 0:
        said = " ".join(done.stdout.decode("utf-8", "replace").split())[:200]
        return Act("service", name, "failed", said or f"exit code {done.returncode}")
    if sys.platform == "win32" and not _stopped_on_windows():
        return Act("service", name, "failed", f"not stopped within {SERVICE_S:.0f} s; going on")
    return Act("service", name, "done", "stopped by the service manager")


def _stopped_on_windows() -> bool:
    """Whether the service ends in time: `sc stop` does not wait for that."""
    if sys.platform == "win32":
        until_s = time.monotonic() + SERVICE_S
        while time.monotonic() < until_s:
            found = service_state(WINDOWS_SERVICE)
            if found is None or found[0] == SERVICE_STOPPED:
                return True
            time.sleep(_LOOK_S)
    return False


def _kill_group(group: Group, ours: frozenset[int], tell: Tell) -> None:
    """Kill a group at once where the kernel can (Linux 5.14, version 2) and all in it are ours."""
    now = read_group(group.path, group.pid)
    if not now.can_kill or not now.members:
        return
    if now.nested:
        reason = "a group below it would be killed too; ours are ended one by one"
        tell(Act("group", group.path, "refused", reason))
        return
    stranger = next((pid for pid in now.members if pid not in ours), None)
    if stranger is not None:
        reason = f"its member {stranger} is not proven ours; ours are ended one by one"
        tell(Act("group", group.path, "refused", reason))
        return
    try:
        with open(os.path.join(group.path, "cgroup.kill"), "w", encoding="ascii") as file:
            file.write("1")
    except OSError as exc:
        tell(Act("group", group.path, "failed", f"{in_words(exc)}; ending one by one"))
    else:
        tell(Act("group", group.path, "done", f"killed with its {len(now.members)} processes"))


def _remove_group(group: Group) -> Act:
    """Remove an empty group; its processes take a moment to leave it. Never what is below it."""
    end_s = time.monotonic() + _LEAVE_S
    while True:
        if is_nested(group.path):
            return Act("group", group.path, "refused", "there is a group below it: not ours")
        try:
            os.rmdir(group.path)
        except FileNotFoundError:
            return Act("group", group.path, "already", "its daemon has removed it")
        except OSError as exc:
            if exc.errno == errno.EBUSY and time.monotonic() < end_s:
                time.sleep(_LOOK_S)
                continue
            return Act("group", group.path, "failed", in_words(exc))
        return Act("group", group.path, "done", "empty, removed")


def clean(home: Home) -> list[Act]:
    """Remove what a killed daemon left, holding its lock so that none starts meanwhile."""
    lock: int | None = None
    try:
        with open_folder(home.path) as folder:
            if home.lock is not None:
                lock = take_lock(folder)
                if lock is None:
                    why = "a daemon holds the lock, so its files are in use"
                    return [Act("remove", home.path, "refused", why)]
            return _remove_all(folder, home.leftovers)
    except FileNotFoundError:
        return []
    except RefusedError as exc:
        return [Act("remove", home.path, "refused", str(exc))]
    except OSError as exc:
        return [Act("remove", home.path, "failed", in_words(exc))]
    finally:
        if lock is not None and lock >= 0:
            os.close(lock)


def _remove_all(folder: Folder, leftovers: Iterable[Leftover]) -> list[Act]:
    """Remove them in their order; what proves them ours stays when one of them stays."""
    acts: list[Act] = []
    for one in leftovers:
        failed = any(act.result == "failed" for act in acts)
        if not one.fault and not (failed and (one.sign or one.is_directory)):
            act = _remove(folder, one)
            acts += [] if act is None else [act]
    return acts


def _remove(folder: Folder, one: Leftover) -> Act | None:
    path = os.path.normpath(os.path.join(folder.path, one.name))
    try:
        if one.name == ".":
            with open_folder(os.path.dirname(folder.path)) as parent:
                done = parent.remove_directory(os.path.basename(folder.path))
        else:
            done = _remove_below(folder, one.name.split("/"), one)
    except RefusedError as exc:
        return Act("remove", path, "refused", f"not ours: {exc}")
    except FileNotFoundError:
        return None
    except OSError as exc:
        if one.is_directory and exc.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            return Act("remove", path, "refused", "not ours alone: something else is in it")
        return Act("remove", path, "failed", in_words(exc))
    return Act("remove", path, "done", "of no use without its daemon") if done else None


def _remove_below(folder: Folder, parts: list[str], one: Leftover) -> bool:
    """Go down one directory at a time, so that none of them can be a link."""
    if len(parts) > 1:
        with folder.below(parts[0]) as inner:
            return _remove_below(inner, parts[1:], one)
    return folder.remove_directory(parts[0]) if one.is_directory else folder.remove(parts[0])


def drop_caches() -> Act:
    """Let the kernel forget clean cached file pages. Source: vm.rst of the kernel, drop_caches."""
    path = "/proc/sys/vm/drop_caches"
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write("1")
    except OSError as exc:
        return Act("caches", path, "failed", f"{in_words(exc)}; only root may, and only on Linux")
    return Act("caches", path, "done", "cached file pages dropped: others read them anew")


# ==== command.py
# Takes away all load of CloudResourceOptimizer, in an emergency too; hurts nobody else.


MOST_COUNTED, EXIT_USAGE, EXIT_DECLINED, EXIT_INTERRUPTED = 100, 111, 112, 130
EXIT_ANOTHER_RUNS = "75"
"""How a daemon ends that finds another one, as a service manager tells it."""
_ROUNDS = 3
"""Something may start between a look and the inhibit; it is found by the next look."""
_CPU_S = 0.3
_FILES = 4096
"""A descriptor for each process of ours, of which there may be a thousand."""
_ABOUT = """\
Takes away all load of CloudResourceOptimizer on this host and everything that
a daemon has left, also when it hangs, is broken, or the disk is full. Sets the
order `inhibit`, so that nothing starts again until --resume. Touches only what
is proven ours; all else is named and left alone."""
_EPILOG = f"""\
exit codes: 0 nothing of ours is left, seen by a second look;
1 to {MOST_COUNTED} so many things are left, may be, or could not be forbidden to
start again; {EXIT_USAGE} wrong arguments;
{EXIT_DECLINED} not confirmed; {EXIT_INTERRUPTED} interrupted.
This one file is enough: it needs Python 3.7 or later and nothing else, and may
be copied alone to another host."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog="recover_system.py",
        description=_ABOUT,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="one JSON document; implies --yes")
    parser.add_argument("--resume", action="store_true", help="only lift the order not to load")
    parser.add_argument(
        "--drop-caches",
        action="store_true",
        help="also drop cached file pages (root): frees nothing of ours, and slows others",
    )
    parser.add_argument(
        "--after-stop",
        action="store_true",
        help="for a service manager: end and remove what a daemon that has stopped left, forbid "
        "nothing; implies --yes and --only",
    )
    places = parser.add_argument_group(
        "where to look", "beside the usual directories and those that living daemons name"
    )
    places.add_argument(
        "--workspace", action="append", default=[], metavar="DIR", help="a WORKSPACE_DIR"
    )
    places.add_argument("--state", default="", metavar="DIR", help="a state directory")
    places.add_argument("--runtime", default="", metavar="DIR", help="a runtime directory")
    places.add_argument("--log", default="", metavar="DIR", help="a log directory; it stays")
    places.add_argument(
        "--config", action="append", default=[], metavar="FILE", help="a configuration file"
    )
    places.add_argument(
        "--disk", action="append", default=[], metavar="DIR", help="where disk space was held"
    )
    places.add_argument(
        "--only",
        action="store_true",
        help="touch nothing but the daemons of the directories named here",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; the exit code."""
    args = _parsed(argv)
    asked = Asked(
        state=args.state,
        runtime=args.runtime,
        workspaces=tuple(args.workspace),
        configs=tuple(args.config),
        disks=tuple(os.path.abspath(path) for path in args.disk),
        only=args.only or args.after_stop,
        orphans=args.after_stop,
    )
    allow_files(_FILES)
    session = _Session(args, asked)
    try:
        if args.after_stop:
            return session.tidy()
        return session.resume() if args.resume else session.recover()
    except KeyboardInterrupt:
        print(
            "\ninterrupted: run this again to go on; each step may be done twice", file=sys.stderr
        )
        return EXIT_INTERRUPTED


class _Session:
    """One run: it looks, tells, asks, repairs, looks again."""

    def __init__(self, args: argparse.Namespace, asked: Asked) -> None:
        self._args = args
        self._asked = asked
        self._acts: list[Act] = []
        self._not_ours: list[str] = []
        self._gaps: list[str] = []
        self._known: frozenset[int] = frozenset()
        # What is measured before is measured after, whatever is mounted meanwhile.
        self._disks = tuple(dict.fromkeys((*local_disks()[0], *asked.disks)))

    def resume(self) -> int:
        """Lift the order not to load in all state directories that are ours."""
        failed = 0
        for home in read_facts(self._asked).states:
            if home.ours and not home.fault:
                if self._args.dry_run:
                    self._tell(Act("resume", home.path, "planned", "lift the order not to load"))
                    continue
                act = lift_inhibit(home)
                failed += act.result in {"failed", "refused"}
                self._tell(act)
            elif home.fault:
                self._tell(Act("resume", home.path, "refused", home.fault))
        if not self._acts:
            self._say("No state directory of ours was found; name it with --workspace or --state.")
        if self._args.json:
            _print_json({"actions": [act._asdict() for act in self._acts], "exit_code": failed})
        return min(failed, MOST_COUNTED)

    def recover(self) -> int:
        """All steps; how many things are left."""
        facts, diagnosis = self._look()
        before = measure(self._disks, self._count(facts), _CPU_S)
        self._introduce(facts, diagnosis)
        if self._args.dry_run:
            for work in plan(diagnosis):
                self._tell(Act(work.what, work.target, "planned", work.why))
            return self._conclude(facts, diagnosis, before, None)
        if plan(diagnosis) and not self._confirmed(diagnosis):
            return EXIT_DECLINED
        for _ in range(_ROUNDS):
            if not plan(diagnosis):
                break
            repair(diagnosis, facts, self._tell)
            tried = diagnosis
            facts, diagnosis = self._look()
            if plan(diagnosis) == plan(tried):
                break  # what could not be done a moment ago cannot be done now
        if self._args.drop_caches:
            self._tell(drop_caches())
        after = measure(self._disks, self._count(facts), _CPU_S)
        return self._conclude(facts, diagnosis, before, after)

    def tidy(self) -> int:
        """What a stopped daemon left ends and goes, with a line for each; how much is left.

        Source: systemd.exec(5), EXIT_STATUS in the environment of ExecStopPost=.
        """
        if os.environ.get("EXIT_STATUS") == EXIT_ANOTHER_RUNS:
            self._say("Another daemon runs, so this one held nothing.")
            return 0
        facts, diagnosis = self._look()
        found = plan(diagnosis)
        if found and not self._args.dry_run:
            repair(diagnosis, facts, self._tell)
            facts, diagnosis = self._look()
        remaining = left(diagnosis)
        self._list(f"Still there ({len(remaining)})", remaining)
        if not remaining:
            was = f"; {len(found)} had to be removed" if found else ""
            self._say(f"Nothing of the daemon is left{was}.")
        return min(len(remaining), MOST_COUNTED)

    def _look(self) -> tuple[Facts, Diagnosis]:
        facts = read_facts(self._asked, self._known)
        diagnosis = diagnose(facts)
        if self._args.after_stop:
            # It is being stopped already, and may be started again.
            diagnosis = diagnosis._replace(inhibit=(), service=None)
        self._known |= known_controllers(facts.runtimes)
        self._known |= {target.process.pid for target in diagnosis.daemons}
        self._not_ours += [one for one in diagnosis.not_ours if one not in self._not_ours]
        self._gaps += [one for one in diagnosis.gaps if one not in self._gaps]
        return facts, diagnosis

    @staticmethod
    def _count(facts: Facts) -> int:
        return len(family_of(facts, evidence_of(facts)))

    def _introduce(self, facts: Facts, diagnosis: Diagnosis) -> None:
        who = (
            ""
            if sys.platform == "win32"
            else f", as {'root' if facts.euid == 0 else 'a plain user'}"
        )
        when = time.strftime("%Y-%m-%d %H:%M:%S")
        self._say(f"CloudResourceOptimizer recovery on {platform.node()}{who}, {when}")
        for title, lines in (
            ("Left alone, not ours", diagnosis.not_ours),
            ("May be ours, cannot be proven", diagnosis.doubts),
            ("Not seen", diagnosis.gaps),
        ):
            self._list(title, lines)
        if not plan(diagnosis):
            self._say("\nNothing to do: nothing of ours runs or is left behind.")

    def _confirmed(self, diagnosis: Diagnosis) -> bool:
        if self._args.yes or self._args.json or not sys.stdin.isatty():
            return True
        self._list(
            "To do", [f"{work.what:<8} {work.target}: {work.why}" for work in plan(diagnosis)]
        )
        try:
            answer = input("\nDo this? [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() in {"y", "yes"}:
            return True
        self._say("Nothing was done.")
        return False

    def _conclude(
        self, facts: Facts, diagnosis: Diagnosis, before: Figures, after: Figures | None
    ) -> int:
        remaining = left(diagnosis, tried=not self._args.dry_run)
        code = min(len(remaining), MOST_COUNTED)
        if self._args.dry_run:
            self._say(f"\n{table(before, None)}")
            self._say("\nDry run: nothing was done.")
        else:
            self._say(f"\n{table(before, after)}")
            if remaining:
                self._list(f"Still there ({len(remaining)})", remaining)
            else:
                self._say("\nClean: a second look found nothing of ours.")
            self._say(_outlook(facts, diagnosis))
        if self._args.json:
            _print_json(
                {
                    "dry_run": self._args.dry_run,
                    "actions": [act._asdict() for act in self._acts],
                    "not_ours": self._not_ours,
                    "not_seen": self._gaps,
                    "left": remaining,
                    "inhibited": not diagnosis.inhibit,
                    "before": before._asdict(),
                    "after": None if after is None else after._asdict(),
                    "exit_code": code,
                }
            )
        return code

    def _tell(self, act: Act) -> None:
        if not self._acts:
            self._say("")
        self._acts.append(act)
        self._say(f"  {act.result:<8} {act.step:<8} {act.target}: {act.reason}")

    def _list(self, title: str, lines: Sequence[str]) -> None:
        if lines:
            self._say(f"\n{title}")
            for line in lines:
                self._say(f"  {line}")

    def _say(self, line: str) -> None:
        if not self._args.json:
            _print(_plain(line))


def _print_json(document: dict[str, object]) -> None:
    _print(json.dumps(document, indent=2))


def _print(text: str) -> None:
    """Print a line; when nobody reads or the disk is full, go on without."""
    try:
        print(text, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _plain(text: str) -> str:
    """The text without characters that steer a terminal: file names may have them."""
    return (
        "".join(one if one.isprintable() or one == "\n" else "?" for one in text)
        .encode(sys.stdout.encoding or "ascii", "backslashreplace")
        .decode(sys.stdout.encoding or "ascii")
    )


def _outlook(facts: Facts, diagnosis: Diagnosis) -> str:
    """Whether load can come back."""
    if diagnosis.inhibit:
        paths = ", ".join(home.path for home in diagnosis.inhibit)
        return f"A daemon could start again: the order not to load could not be set in {paths}."
    if not any(home.inhibit and home.inhibit.standing for home in facts.states):
        return "No state directory of ours was found, so there was nothing to forbid load in."
    return "No load comes back until `optimizer resume` or `recover_system.py --resume`."


if __name__ == "__main__":
    sys.exit(main())
