"""Prints findings for people, and the words that all of them share; pure."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Iterable

from optimizer.report.doctor import BAD, Finding, Severity, in_order, worst

WIDTH_CHARS = 80
_INDENT = "         "


def text(findings: Iterable[Finding]) -> str:
    """All findings for people, in lines of 80 characters; commands stay whole, to be pasted."""
    lines: list[str] = []
    ordered = in_order(findings)
    for one in (one for one in ordered if one.severity is not Severity.OK):
        lines += [f"{one.severity.value:<8} {one.code.value} ({one.area.value})"]
        lines += _wrapped(one.found, _INDENT)
        if one.remedy:
            lines += _wrapped(one.remedy, f"{_INDENT}-> ")
        if one.command:
            lines += [f"{_INDENT}   {printable(one.command)}"]
        lines.append("")
    for one in (one for one in ordered if one.severity is Severity.OK):
        lines += _wrapped(one.found, f"ok       {one.area.value:<10}")
    lines += ["", _verdict(ordered)]
    return "\n".join(lines) + "\n"


def _verdict(findings: list[Finding]) -> str:
    counts = {severity: sum(one.severity is severity for one in findings) for severity in Severity}
    named = [
        f"{counts[severity]} {severity.value}{'s' * (counts[severity] != 1)}"
        for severity in (Severity.FAULT, Severity.WARNING, Severity.NOTE)
        if counts[severity]
    ]
    if not named:
        return "Nothing is wrong."
    bad = worst(findings) in BAD
    return f"{', '.join(named)}." if bad else f"Nothing is wrong; {', '.join(named)}."


def _wrapped(said: str, first: str) -> list[str]:
    return textwrap.wrap(
        printable(said),
        WIDTH_CHARS,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


def printable(said: str) -> str:
    """On one line, without what could steer a terminal."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(said.split()))


def size(count_bytes: float) -> str:
    """Bytes for people."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if abs(count_bytes) >= 1 << power:
            return f"{count_bytes / (1 << power):.1f} {unit}"
    return f"{count_bytes:.0f} bytes"


def span(seconds: float) -> str:
    """A length of time for people."""
    for unit, length_s in (("days", 86_400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= 2 * length_s:
            return f"{seconds / length_s:.1f} {unit}"
    return f"{seconds:.0f} s"


def plural(count: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count} {noun}{'s' * (count != 1)}"


def utc(utc_s: float) -> str:
    """Date and time; the number itself for what no calendar has."""
    try:
        moment = datetime.datetime.fromtimestamp(utc_s, datetime.UTC)
    except (OverflowError, OSError, ValueError):
        return f"{utc_s:g} s after 1970"
    return f"{moment:%Y-%m-%d %H:%M} UTC"
