"""Findings about the daemon, and about what is left of dead ones; pure."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.report.doctor import Area, Code, Finding, Severity, with_fine
from optimizer.report.doctor_text import printable, span

STALE_S = 12.0
"""A status that is older than this was not written by a healthy daemon; as in `status`."""
STARTING_S = 15.0
"""A daemon this young may not have written its status yet."""
MANY_STARTS = 4
"""So many starts in an hour are a loop, not an operator at work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process of ours that proves itself so: `role` is controller, stresser or worker.

    `controller` is the pid that a stresser obeys, None for one started by hand,
    and `lost` tells that there is no such process any more. `where` is the
    runtime directory of a controller.
    """

    pid: int
    role: str
    kind: str | None = None
    controller: int | None = None
    lost: bool = False
    where: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFacts:
    """All that can be seen of the daemon without its help.

    `pid` is the holder of the lock, None where nobody holds it, and `lock_left`
    whether its file is there all the same; `unseen` why that cannot be told.
    `state` is the kernel's letter for it, `age_s` the age of the status, `up_s`
    how long the daemon runs. `is_new` tells that none has run before.
    `last_word` is the last event of the log, `last_exit` the exit code in it,
    `starts` how often a daemon began in the last hour. `processes` are ours on
    this host, `left` the files and groups of daemons that are gone. `here` is the
    program that looks, `runs` the one that the daemon runs, `code_age_s` how
    long ago the former was changed.
    """

    runtime: str
    pid: int | None = None
    unseen: str | None = None
    state: str = ""
    age_s: float | None = None
    up_s: float | None = None
    is_new: bool = False
    lock_left: bool = False
    last_word: str | None = None
    last_exit: int | None = None
    starts: int = 0
    processes: tuple[Process, ...] = ()
    left: tuple[str, ...] = ()
    here: str = ""
    runs: str | None = None
    code_age_s: float | None = None
    recover: str = "recover_system.py"


def daemon(facts: DaemonFacts) -> list[Finding]:
    """Whether it runs, answers, and is alone."""
    found = _state(facts)
    others = [p for p in facts.processes if p.role == "controller" and p.pid != facts.pid]
    if others and facts.pid is not None:
        where = "; ".join(f"pid {p.pid} ({p.where or 'directories unknown'})" for p in others)
        found.append(
            _finding(
                Code.TWO_DAEMONS,
                Severity.WARNING,
                f"beside pid {facts.pid} ({facts.runtime}) another daemon holds load: {where}; "
                "each takes the other's load for the tenant's",
                "end one of them, for example",
                f"kill {others[0].pid}",
            )
        )
    found += _orphans(facts)
    if facts.starts >= MANY_STARTS:
        found.append(
            _finding(
                Code.DAEMON_RESTARTS,
                Severity.WARNING,
                f"a daemon was started {facts.starts} times in the last hour",
                "the errors under `log` say why it ended; `./start.sh` in a terminal shows them "
                "as they come",
            )
        )
    if facts.left:
        found.append(
            _finding(
                Code.LEFT_BEHIND,
                Severity.NOTE,
                f"left by a daemon that was killed: {', '.join(facts.left)}",
                "nothing needs to be done: the next start takes them over or removes them",
            )
        )
    found += _code(facts)
    if facts.pid is None:
        return found
    age = "" if facts.age_s is None else f", status {facts.age_s:.0f} s old"
    up = "" if facts.up_s is None else f" for {span(facts.up_s)}"
    return with_fine(found, Area.DAEMON, f"pid {facts.pid} runs{up}{age}; {facts.runtime}")


def _state(facts: DaemonFacts) -> list[Finding]:
    if facts.unseen is not None:
        return [_finding(Code.DAEMON_UNSEEN, Severity.WARNING, facts.unseen, "look as root")]
    if facts.pid is None:
        return [_not_running(facts)]
    silent = facts.age_s is None or abs(facts.age_s) > STALE_S
    if facts.state in {"T", "t"}:
        return [
            _finding(
                Code.DAEMON_STOPPED,
                Severity.FAULT,
                f"the daemon (pid {facts.pid}) is stopped by a signal (state {facts.state}); its "
                "stressers have ended by themselves when their leases ran out",
                "let it go on",
                f"kill -CONT {facts.pid}",
            )
        ]
    if not silent:
        return []
    if facts.age_s is None and facts.up_s is not None and facts.up_s < STARTING_S:
        said = f"the daemon (pid {facts.pid}) began {facts.up_s:.0f} s ago; no status yet"
        return [_finding(Code.DAEMON_STARTING, Severity.NOTE, said, "look again in a few seconds")]
    waits = " and waits for a disk (state D)" if facts.state == "D" else ""
    wrote = "no status" if facts.age_s is None else f"nothing for {span(facts.age_s)}"
    return [
        _finding(
            Code.DAEMON_HUNG,
            Severity.FAULT,
            f"the daemon (pid {facts.pid}) holds {facts.runtime}/lock but has written {wrote}"
            f"{waits}; its stressers end by themselves within seconds",
            "end it, then start it again; if it stays, the recovery tool removes everything: "
            f"python3 {facts.recover}",
            f"kill {facts.pid}; sleep 3; kill -9 {facts.pid}",
        )
    ]


def _not_running(facts: DaemonFacts) -> Finding:
    start = "start it with ./start.sh or `optimizer run`"
    if facts.is_new:
        said = f"no daemon runs on {facts.runtime}, and none has run there before"
        return _finding(Code.DAEMON_NOT_RUNNING, Severity.NOTE, said, start)
    if facts.last_word == "daemon.stopped" and not facts.last_exit and not facts.lock_left:
        said = f"no daemon runs on {facts.runtime}; the last one ended in good order"
        return _finding(Code.DAEMON_NOT_RUNNING, Severity.NOTE, said, start)
    if facts.last_word is None and not facts.lock_left:
        said = f"no daemon runs on {facts.runtime}, and no log tells how the last one ended"
        return _finding(Code.DAEMON_NOT_RUNNING, Severity.NOTE, said, start)
    how = f"the last line of its log is {printable(str(facts.last_word))}"
    if facts.lock_left:
        how = "a daemon that ends in good order removes its lock file"
    elif facts.last_word == "daemon.stopped":
        how = f"the last one failed with exit code {facts.last_exit}"
    return _finding(
        Code.DAEMON_DIED,
        Severity.WARNING,
        f"no daemon runs on {facts.runtime}, and none was told to end: {how}",
        f"see what killed it (`journalctl -k`, `dmesg`, the log), then {start}",
    )


def _orphans(facts: DaemonFacts) -> list[Finding]:
    """Load whose controller is gone, and load that somebody has started by hand."""
    loads = [p for p in facts.processes if p.role != "controller"]
    lost = [p for p in loads if p.lost]
    by_hand = [p for p in loads if p.controller is None]
    found = []
    if lost:
        found.append(
            _finding(
                Code.LOAD_WITHOUT_DAEMON,
                Severity.FAULT,
                f"processes of ours run without a daemon: {_pids(lost)}; they should have ended "
                "with it within seconds",
                "look again in five seconds; if they are still there",
                f"python3 {facts.recover}",
            )
        )
    if by_hand:
        found.append(
            _finding(
                Code.LOAD_BY_HAND,
                Severity.NOTE,
                f"somebody runs a stresser by hand: {_pids(by_hand)}; the daemon counts it as "
                "the tenant's",
                "",
            )
        )
    return found


def _pids(processes: list[Process]) -> str:
    return ", ".join(f"pid {p.pid}{f' ({p.kind})' if p.kind else ''}" for p in processes[:8])


def _code(facts: DaemonFacts) -> list[Finding]:
    if facts.pid is None:
        return []
    if facts.runs is not None and facts.runs != facts.here:
        return [
            _finding(
                Code.DAEMON_OTHER_CODE,
                Severity.NOTE,
                f"the daemon runs from {facts.runs}, this command from {facts.here}",
                "use the commands of the daemon's own installation",
            )
        ]
    if facts.code_age_s is not None and facts.up_s is not None and facts.code_age_s < facts.up_s:
        return [
            _finding(
                Code.DAEMON_OLD_CODE,
                Severity.NOTE,
                f"the program in {facts.here} was changed {span(facts.code_age_s)} ago, after the "
                "daemon had started",
                "restart the daemon to run what is installed now",
            )
        ]
    return []


def _finding(
    code: Code, severity: Severity, found: str, remedy: str, command: str | None = None
) -> Finding:
    return Finding(
        area=Area.DAEMON,
        code=code,
        severity=severity,
        found=found,
        remedy=remedy,
        command=command,
    )
