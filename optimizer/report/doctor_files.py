"""Findings about the history, our directories and the log; pure."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.report.doctor import (
    Area,
    Code,
    Finding,
    Severity,
    fine,
    percent,
    plural,
    size,
    span,
    with_fine,
)
from optimizer.report.doctor_daemon import utc

FULL_BYTES = 16 << 20
"""Less than this is full: a history of 30 days and a log need more."""
SCARCE_BYTES = 256 << 20
FEW_INODES = 256
LEAST_COVERAGE = 0.95
"""Share of the time that must be known for a mean to be trusted."""
_OVERDUE_INTERVALS = 3
_YOUNG_S = 3600.0
"""A younger history says nothing yet of gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The history's file as read beside the daemon; times in UTC seconds.

    `exists` None: the directory cannot be looked into. `damage` is what the
    check says, `checked` whether it came to its end. `first_utc_s` and `last_utc_s` bound the rows
    up to now, `known_s` is the time that they cover since the first of the window.
    `future` counts rows later than now. `aside` are damaged files that were set aside.
    """

    path: str
    now_utc_s: float
    interval_s: float
    days: float
    runs: bool = False
    runs_s: float = 0.0
    exists: bool | None = True
    error: str | None = None
    damage: str | None = None
    newer: str | None = None
    checked: bool = True
    writable: bool = True
    rows: int = 0
    size_bytes: int = 0
    first_utc_s: float | None = None
    last_utc_s: float | None = None
    known_s: float = 0.0
    gap: tuple[float, float] | None = None
    future: int = 0
    future_utc_s: float | None = None
    aside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """One of our directories; `word` is state, runtime or log.

    `user` owns it. `ours` tells whether the user of the daemon is the one that
    looks. `error` is why nothing can be written, None where it can.
    """

    word: str
    path: str
    exists: bool
    makeable: bool = True
    ours: bool = True
    user: str = ""
    error: str | None = None
    full: bool = False
    read_only: bool = False
    open_to_all: bool = False
    free_bytes: int | None = None
    free_inodes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What the log of the last day says: how often each event, by severity."""

    path: str
    exists: bool
    error: str | None = None
    lines: int = 0
    errors: tuple[tuple[str, int], ...] = ()
    warnings: tuple[tuple[str, int], ...] = ()
    last_cause: str = ""


def history(facts: History) -> list[Finding]:
    """Whether the history is there, sound, written and without gaps."""
    found = _aside(facts)
    if facts.exists is None:
        said = f"{facts.path} cannot be looked at: {facts.error}"
        return [*found, _row(Code.HISTORY_UNREADABLE, Severity.NOTE, said, "look as root")]
    if not facts.exists:
        said = f"there is no history at {facts.path}; the daemon writes it after its first interval"
        late = facts.runs and facts.runs_s > _OVERDUE_INTERVALS * facts.interval_s + 15
        return [*found, _row(Code.HISTORY_NONE, Severity.WARNING if late else Severity.NOTE, said)]
    if facts.newer is not None:
        said, _, remedy = facts.newer.partition(": ")
        return [*found, _row(Code.HISTORY_NEWER, Severity.FAULT, said, remedy)]
    if facts.damage is not None:
        return [
            *found,
            _row(
                Code.HISTORY_DAMAGED,
                Severity.FAULT,
                f"{facts.path} is damaged: {facts.damage}",
                "restart the daemon: it sets the file aside and begins a new one; what can be "
                "saved is told by",
                f"sqlite3 {facts.path} .recover > saved.sql",
            ),
        ]
    if facts.error is not None:
        said = f"{facts.path} cannot be read: {facts.error}"
        return [*found, _row(Code.HISTORY_UNREADABLE, Severity.WARNING, said, "look as root")]
    if not facts.checked:
        said = f"{facts.path} ({size(facts.size_bytes)}) is too large to be checked to its end now"
        command = f"sqlite3 'file:{facts.path}?mode=ro' 'PRAGMA quick_check'"
        found.append(_row(Code.HISTORY_NOT_CHECKED, Severity.NOTE, said, "check it with", command))
    if not facts.writable:
        said = f"{facts.path} cannot be written to by the user of the daemon"
        found.append(_row(Code.HISTORY_NOT_WRITABLE, Severity.FAULT, said, "see who owns it"))
    found += _rows(facts)
    since = "" if facts.first_utc_s is None else f" since {utc(facts.first_utc_s)}"
    sound = f"sound, {plural(facts.rows, 'row')}{since}, {size(facts.size_bytes)}"
    return with_fine(found, Area.HISTORY, f"{sound}; {facts.path}")


def _aside(facts: History) -> list[Finding]:
    if not facts.aside:
        return []
    said = f"{plural(len(facts.aside), 'damaged history')} set aside: {', '.join(facts.aside)}"
    return [
        _row(
            Code.HISTORY_SET_ASIDE,
            Severity.WARNING,
            said.replace("historys", "histories"),
            "check the disk (`dmesg`); save the rows or remove the files, then this is silent",
            f"sqlite3 {facts.aside[-1]} .recover > saved.sql",
        )
    ]


def _rows(facts: History) -> list[Finding]:
    found = []
    if facts.future:
        latest = "" if facts.future_utc_s is None else f", the last of {utc(facts.future_utc_s)}"
        found.append(
            _row(
                Code.HISTORY_FUTURE,
                Severity.WARNING,
                f"{plural(facts.future, 'row')} of the future{latest}: the clock was ahead when "
                "they were written",
                "they do not count until their time comes; set the clock right",
            )
        )
    if facts.last_utc_s is not None and facts.runs:
        age_s = facts.now_utc_s - facts.last_utc_s
        limit_s = _OVERDUE_INTERVALS * facts.interval_s + 15
        if age_s > limit_s and facts.runs_s > limit_s:
            found.append(
                _row(
                    Code.HISTORY_STALE,
                    Severity.WARNING,
                    f"the last sample is {span(age_s)} old, though the daemon runs and should "
                    f"add one every {span(facts.interval_s)}",
                    "see history.write_failed in the log, and `daemon` and `files` here",
                )
            )
    if facts.first_utc_s is not None:
        since_s = facts.now_utc_s - max(facts.first_utc_s, facts.now_utc_s - facts.days * 86_400)
        if since_s > _YOUNG_S and facts.known_s < LEAST_COVERAGE * since_s:
            longest = ""
            if facts.gap is not None:
                longest = (
                    f"; the longest gap began {utc(facts.gap[0])} and took {span(facts.gap[1])}"
                )
            found.append(
                _row(
                    Code.HISTORY_GAPS,
                    Severity.WARNING,
                    f"only {percent(facts.known_s / since_s)} of the last {span(since_s)} is "
                    f"known{longest}",
                    "the daemon did not run or could not write then: see the log of that time; "
                    "the means are of what is known",
                )
            )
    return found


def files(directories: tuple[Directory, ...]) -> list[Finding]:
    """Whether our own files can be written, and for how long."""
    found = _missing([one for one in directories if not one.exists])
    found += [finding for one in directories if one.exists for finding in _directory(one)]
    said = ", ".join(
        f"{one.word} {one.path} ({size(one.free_bytes)} free)"
        for one in directories
        if one.exists and one.free_bytes is not None
    )
    return with_fine(found, Area.FILES, said or "none of the directories is there yet")


def _missing(directories: list[Directory]) -> list[Finding]:
    found = []
    easy = [one for one in directories if one.makeable]
    if easy:
        said = f"not there yet: {_listed(easy)}; the daemon makes what is missing"
        found.append(_file(Code.DIRECTORY_MISSING, Severity.NOTE, said))
    for error in dict.fromkeys(one.error for one in directories if not one.makeable):
        same = [one for one in directories if not one.makeable and one.error == error]
        said = f"not there and cannot be made: {_listed(same)}: {error}"
        found.append(_file(Code.DIRECTORY_MISSING, Severity.FAULT, said, _ELSEWHERE))
    return found


def _listed(directories: list[Directory]) -> str:
    return ", ".join(f"{one.path} ({one.word})" for one in directories)


def _directory(one: Directory) -> list[Finding]:
    where = f"the {one.word} directory {one.path}"
    if one.read_only:
        said = f"{where} is on a filesystem that is mounted read-only"
        return [_file(Code.DIRECTORY_READ_ONLY, Severity.FAULT, said, f"see `dmesg`; {_ELSEWHERE}")]
    found = []
    free = "" if one.free_bytes is None else f" ({size(one.free_bytes)} free)"
    if one.full or (one.free_bytes is not None and one.free_bytes < FULL_BYTES):
        said = f"the filesystem of {where} is full{free}: samples and log lines will be lost"
        found.append(_file(Code.DIRECTORY_FULL, Severity.FAULT, said, _FREE))
    elif one.free_bytes is not None and one.free_bytes < SCARCE_BYTES:
        said = f"the filesystem of {where} is nearly full{free}"
        found.append(_file(Code.DIRECTORY_FULL, Severity.WARNING, said, _FREE))
    elif one.free_inodes is not None and one.free_inodes < FEW_INODES:
        said = f"the filesystem of {where} has only {plural(one.free_inodes, 'inode')} left"
        found.append(_file(Code.DIRECTORY_FULL, Severity.FAULT, said, "remove some small files"))
    if one.error is not None and not one.full:
        if one.ours:
            said = f"{where} cannot be written to: {one.error}"
            found.append(_file(Code.DIRECTORY_NOT_WRITABLE, Severity.FAULT, said, _ELSEWHERE))
        else:
            said = f"{where} belongs to {one.user}, whose daemon this is; not tried"
            remedy = f"run this as root or as {one.user} to try it"
            found.append(_file(Code.NOT_EXAMINED, Severity.NOTE, said, remedy))
    if one.open_to_all:
        said = f"everybody may write into {where}, and so order the daemon about"
        finding = _file(Code.DIRECTORY_OPEN, Severity.WARNING, said, "close it")
        found.append(_with_command(finding, f"chmod o-w {one.path}"))
    return found


_FREE = "free space there, or set WORKSPACE_DIR or LOG_DIR to another filesystem"
_ELSEWHERE = (
    "make it writable for the user of the daemon, or set WORKSPACE_DIR or LOG_DIR to another"
)


def log(facts: Log) -> list[Finding]:
    """Errors and warnings of the last day, by event."""
    if facts.error is not None:
        said = f"{facts.path} cannot be read: {facts.error}"
        return [_event(Code.LOG_UNREADABLE, Severity.NOTE, said, "look as root")]
    if not facts.exists:
        return [fine(Area.LOG, f"there is none yet at {facts.path}")]
    found = []
    if facts.errors:
        cause = f"; the last said: {facts.last_cause}" if facts.last_cause else ""
        said = f"errors of the last day: {_counted(facts.errors)}{cause}"
        found.append(_event(Code.LOG_ERRORS, Severity.WARNING, said, f"read {facts.path}"))
    if facts.warnings:
        said = f"warnings of the last day: {_counted(facts.warnings)}"
        found.append(_event(Code.LOG_WARNINGS, Severity.NOTE, said, f"read {facts.path}"))
    said = f"no error among {plural(facts.lines, 'line')} of the last day; {facts.path}"
    return with_fine(found, Area.LOG, said)


def _counted(events: tuple[tuple[str, int], ...]) -> str:
    return ", ".join(f"{name} {count}x" for name, count in events)


def _with_command(finding: Finding, command: str) -> Finding:
    return Finding(
        area=finding.area,
        code=finding.code,
        severity=finding.severity,
        found=finding.found,
        remedy=finding.remedy,
        command=command,
    )


def _row(
    code: Code, severity: Severity, found: str, remedy: str = "", command: str | None = None
) -> Finding:
    return Finding(
        area=Area.HISTORY,
        code=code,
        severity=severity,
        found=found,
        remedy=remedy,
        command=command,
    )


def _file(code: Code, severity: Severity, found: str, remedy: str = "") -> Finding:
    return Finding(area=Area.FILES, code=code, severity=severity, found=found, remedy=remedy)


def _event(code: Code, severity: Severity, found: str, remedy: str) -> Finding:
    return Finding(area=Area.LOG, code=code, severity=severity, found=found, remedy=remedy)
