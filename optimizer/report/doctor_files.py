"""Findings about our directories and the log; pure."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.report.doctor import Area, Code, Finding, Severity, fine, with_fine
from optimizer.report.doctor_text import plural, size

FULL_BYTES = 16 << 20
"""Less than this is full: a history of 30 days and a log need more."""
SCARCE_BYTES = 256 << 20
FEW_INODES = 256


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


def files(directories: tuple[Directory, ...]) -> list[Finding]:
    """Whether our own files can be written, and for how long."""
    found = _missing([one for one in directories if not one.exists])
    found += [finding for one in directories if one.exists for finding in _directory(one)]
    foreign = [one for one in directories if one.exists and one.error and not one.ours]
    if foreign:
        user = foreign[0].user
        said = f"not tried, for the daemon of {user} writes there: {_listed(foreign)}"
        found.append(_file(Code.NOT_EXAMINED, Severity.NOTE, said, f"run this as {user}"))
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
    if one.error is not None and one.ours and not one.full:
        said = f"{where} cannot be written to: {one.error}"
        found.append(_file(Code.DIRECTORY_NOT_WRITABLE, Severity.FAULT, said, _ELSEWHERE))
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


def _file(code: Code, severity: Severity, found: str, remedy: str = "") -> Finding:
    return Finding(area=Area.FILES, code=code, severity=severity, found=found, remedy=remedy)


def _event(code: Code, severity: Severity, found: str, remedy: str) -> Finding:
    return Finding(area=Area.LOG, code=code, severity=severity, found=found, remedy=remedy)
