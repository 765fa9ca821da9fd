"""Findings about the history; pure."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.report.doctor import Area, Code, Finding, Severity, with_fine
from optimizer.report.doctor_text import plural, size, span, utc
from optimizer.report.percents import percent

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


def history(facts: History) -> list[Finding]:
    """Whether the history is there, sound, written and without gaps."""
    found = _aside(facts)
    if facts.exists is None:
        said = f"{facts.path} cannot be looked at: {facts.error}"
        return [*found, _row(Code.HISTORY_UNREADABLE, Severity.NOTE, said, "look as root")]
    if not facts.exists:
        said = f"there is no history at {facts.path}; the daemon writes it after its first interval"
        late = facts.runs and facts.runs_s > _OVERDUE_INTERVALS * facts.interval_s + 15
        severity = Severity.WARNING if late else Severity.NOTE
        remedy = "see history.write_failed in the log" if late else ""
        return [*found, _row(Code.HISTORY_NONE, severity, said, remedy)]
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
