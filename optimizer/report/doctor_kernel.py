"""Findings about stressers, means of the kernel, rights, and the clock; pure."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.report.doctor import Area, Code, Finding, Severity, fine, with_fine
from optimizer.report.doctor_text import span, utc

CLOCK_SLACK_S = 10.0
"""Two looks at the same instant differ by less, however busy the host is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One stresser that was started for a moment.

    `ready_s` is how long it took until it reported ready, None where it did
    not; `error` is what it said then. `limit` is what kept it from holding a little.
    """

    kind: str
    ready_s: float | None
    missing: tuple[str, ...] = ()
    error: str = ""
    limit: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubled:
    """A stresser of the running daemon that is not well, as the status tells."""

    kind: str
    reason: str
    note: str
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stressers:
    """Trials of this command, and what the running daemon says of its own.

    `missing` are means that the daemon's stressers lack, None where none runs.
    """

    trials: tuple[Trial, ...]
    troubled: tuple[Troubled, ...] = ()
    missing: tuple[str, ...] | None = None
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """A means that this kernel or this user does not have, what that costs, and the remedy."""

    name: str
    cost: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """What the kernel offers this user.

    `daemon_is_root` tells that a daemon runs as root, whoever looks.
    `groups` says where control groups are, `denied` why the idle group for the
    CPU workers cannot be made, None where it can; `brokered` by what the workers
    get into one all the same. `limits` are resource limits that are too low:
    name, value, what is needed.
    """

    release: str
    is_root: bool
    daemon_is_root: bool = False
    groups: str = "no control groups"
    denied: str | None = None
    brokered: str | None = None
    lacks: tuple[Lack, ...] = ()
    limits: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The clock against what was written by it before, in seconds.

    `stepped_s` is how much it was set forward since the daemon started; `ahead`
    what bears a time of the future, and by how much; None where not known.
    `oldest_s` is a time that has certainly passed, for example that of our files.
    """

    now_utc_s: float
    stepped_s: float | None = None
    ahead: tuple[tuple[str, float], ...] = ()
    oldest_s: float = 0.0
    synchronised: bool | None = None


def stressers(facts: Stressers) -> list[Finding]:
    """Whether each kind starts and what it lacks."""
    found = [_troubled(one) for one in facts.troubled]
    for trial in facts.trials:
        found += _trial(trial)
    lacking = [text for trial in facts.trials for text in trial.missing]
    for text in dict.fromkeys(facts.missing if facts.missing is not None else lacking):
        name, _, cost = text.partition(": ")
        found.append(
            _load(Code.MEANS_MISSING, Severity.NOTE, f"a stresser lacks {name}: {cost or '-'}", "")
        )
    if not facts.trials:
        return found or [fine(Area.STRESSERS, f"none was started: {', '.join(facts.skipped)}")]
    started = ", ".join(
        f"{t.kind} ready in {t.ready_s:.2f} s" for t in facts.trials if t.ready_s is not None
    )
    skipped = f" (not tried: {', '.join(facts.skipped)})" if facts.skipped else ""
    return with_fine(found, Area.STRESSERS, f"started for a moment: {started}{skipped}")


def _troubled(one: Troubled) -> Finding:
    who = f" (pid {', '.join(map(str, one.pids))})" if one.pids else ""
    if one.reason == "stresser_tripped":
        return _load(
            Code.STRESSER_TRIPPED,
            Severity.FAULT,
            f"the daemon's {one.kind} stresser has ended too often and stays off: {one.note}",
            "mend the cause, then",
            "optimizer resume",
        )
    if one.reason == "stuck":
        return _load(
            Code.STRESSER_STUCK,
            Severity.WARNING,
            f"the daemon's {one.kind} stresser{who} waits in the kernel (state D): its "
            "filesystem does not answer",
            "see `dmesg` for the disk; `optimizer release MOUNT` lets it go",
        )
    return _load(
        Code.STRESSER_DOWN,
        Severity.WARNING,
        f"the daemon's {one.kind} stresser has ended and waits for its next start: {one.note}",
        "see `stresser.exited` in the log",
    )


def _trial(trial: Trial) -> list[Finding]:
    at = f" on {trial.place}" if trial.place else ""
    if trial.ready_s is None:
        said = f"a {trial.kind} stresser{at} does not start: {trial.error or 'no message'}"
        return [
            _load(
                Code.STRESSER_CANNOT_START,
                Severity.FAULT,
                said,
                "mend what it says; by hand it can be tried with",
                _BY_HAND.get(trial.kind),
            )
        ]
    if trial.limit is not None:
        why = _LIMITS.get(trial.limit, trial.limit)
        said = f"a {trial.kind} stresser{at} starts but may hold nothing: {why}"
        remedy = f"free some, or lower TARGET_{trial.kind.upper()}"
        return [_load(Code.STRESSER_LIMITED, Severity.WARNING, said, remedy)]
    return []


_LIMITS = {
    "floor": "what must stay free is reached",
    "full": "the filesystem is full",
    "inodes": "too few inodes are free",
    "quota": "a quota is used up",
    "read-only": "the filesystem is read-only",
}
"""What a stresser says that it was limited by; others are names of errors."""
_BY_HAND = {
    "cpu": "python3 -m stressers cpu --duty 0.01 --duration 1",
    "memory": "python3 -m stressers memory 4MB --duration 1",
    "disk": "python3 -m stressers disk --path DIR --size 1MB --duration 1",
}


def kernel(facts: Kernel) -> list[Finding]:
    """Which means of standing back or dying are missing, each with its cost."""
    found: list[Finding] = []
    if not facts.is_root and facts.daemon_is_root:
        said = "this is not root, but the daemon is: what only root sees was not looked at"
        found.append(_kernel(Code.NOT_ROOT, said, "run this as root to see everything"))
    elif not facts.is_root:
        group = "" if facts.brokered else "no idle control group, "
        found.append(
            _kernel(
                Code.NOT_ROOT,
                f"this is not root: {group}files of other users cannot be seen, "
                "and disk space is held only where this user may write",
                "run the daemon as root, or accept that",
            )
        )
    ruled = facts.brokered is not None or (facts.daemon_is_root and not facts.is_root)
    if facts.denied is not None and not ruled:
        found.append(
            _kernel(
                Code.CGROUP_DENIED,
                f"no idle control group can be made: {facts.denied}; programs in other groups may "
                "wait 4 ms and more for a CPU",
                "run as root on the host; in a container give it a writable cgroup",
            )
        )
    found += [
        _kernel(Code.KERNEL_LACKS, f"no {lack.name}: {lack.cost}", lack.remedy)
        for lack in facts.lacks
    ]
    found += [
        Finding(
            area=Area.KERNEL,
            code=Code.LIMIT_TOO_LOW,
            severity=Severity.WARNING,
            found=f"the limit on {name} is {value}, at least {needed} is needed",
            remedy="raise it where the daemon is started: in its unit, or with `ulimit`",
        )
        for name, value, needed in facts.limits
    ]
    idle = "" if facts.brokered is None else f"; an idle group: {facts.brokered}"
    return with_fine(found, Area.KERNEL, f"Linux {facts.release}, {facts.groups}{idle}")


def clock(facts: Clock) -> list[Finding]:
    """Whether the clock was set while we looked away."""
    found: list[Finding] = []
    sync = "set it right with `timedatectl set-ntp true` or chrony"
    if facts.stepped_s is not None and abs(facts.stepped_s) > CLOCK_SLACK_S:
        way = "forward" if facts.stepped_s > 0 else "back"
        found.append(
            _clock(
                Code.CLOCK_STEPPED,
                Severity.WARNING,
                f"the clock was set {way} by {span(abs(facts.stepped_s))} since the daemon "
                "started: samples of that time bear a wrong date",
                f"{sync}; the daemon itself runs on the monotonic clock and needs nothing",
            )
        )
    late = [(what, by_s) for what, by_s in facts.ahead if by_s > CLOCK_SLACK_S]
    if late:
        listed = ", ".join(f"{what} by {span(by_s)}" for what, by_s in late)
        found.append(
            _clock(
                Code.CLOCK_BEHIND,
                Severity.WARNING,
                f"it is {utc(facts.now_utc_s)} here, but this was written later: {listed}; the "
                "clock was ahead then, or is behind now",
                f"{sync}; rows of the future do not count until their time comes",
            )
        )
    elif facts.now_utc_s < facts.oldest_s - 86_400:
        found.append(
            _clock(
                Code.CLOCK_BEHIND,
                Severity.WARNING,
                f"it is {utc(facts.now_utc_s)} here, before this program was installed "
                f"({utc(facts.oldest_s)})",
                sync,
            )
        )
    if facts.synchronised is False:
        said = "the kernel says that its clock is not synchronised"
        found.append(_clock(Code.CLOCK_NOT_SYNCHRONISED, Severity.NOTE, said, sync))
    said = {True: ", synchronised", None: "", False: ", not synchronised"}[facts.synchronised]
    return with_fine(found, Area.CLOCK, f"{utc(facts.now_utc_s)}{said}; nothing is of the future")


def _load(
    code: Code, severity: Severity, found: str, remedy: str, command: str | None = None
) -> Finding:
    return Finding(
        area=Area.STRESSERS,
        code=code,
        severity=severity,
        found=found,
        remedy=remedy,
        command=command,
    )


def _kernel(code: Code, found: str, remedy: str) -> Finding:
    return Finding(area=Area.KERNEL, code=code, severity=Severity.NOTE, found=found, remedy=remedy)


def _clock(code: Code, severity: Severity, found: str, remedy: str) -> Finding:
    return Finding(area=Area.CLOCK, code=code, severity=severity, found=found, remedy=remedy)
