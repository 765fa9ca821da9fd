"""Ends processes that are proven ours, each through a descriptor that means it for good."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from typing import Callable, NamedTuple

from recover.diagnose import name_of
from recover.kernel import Handle, has_ended, open_process, send_signal
from recover.model import Diagnosis, Facts, Family, Process, Target
from recover.processes import read_process, with_locks
from recover.prove import Evidence, evidence_of, prove

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
            from recover.windows import terminate

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
        from recover.windows import lives

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
