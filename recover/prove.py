"""Which process is proven ours, and why: pure. A name or a command line proves nothing."""

from __future__ import annotations

from typing import Iterable, NamedTuple

from recover.model import (
    ROLES,
    Entry,
    Facts,
    Family,
    Home,
    Lock,
    Mark,
    Process,
    Proof,
    Roster,
    Target,
)

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
