"""What is to be done, and what is not ours: facts in, diagnosis out, nothing touched."""

from __future__ import annotations

from typing import Mapping

from recover.model import Diagnosis, Facts, Family, Group, Home, Leftover, Target, Work
from recover.prove import (
    DEAD,
    Evidence,
    evidence_of,
    family_of,
    known_controllers,
    looks_like_ours,
    mark_fault,
    roster_fault,
)


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
