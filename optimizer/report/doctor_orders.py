"""Findings about an operator's orders: pauses and releases; pure."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.report.doctor import Area, Code, Finding, Severity, fine
from optimizer.report.doctor_text import utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """The order not to load and the releases; times in seconds since the epoch.

    `by` is None where there is none, neither in the file nor by a maintenance
    window, which `scheduled` tells. `odd` tells that the file is no proper
    order, `unseen` that this user may not look for it. `shown` is what the
    status of the daemon says when no file does: by whom, why, until when.
    """

    now_utc_s: float
    path: str
    by: str | None = None
    reason: str = ""
    until_utc_s: float | None = None
    since_utc_s: float | None = None
    odd: bool = False
    scheduled: bool = False
    unseen: bool = False
    released: tuple[tuple[str, float], ...] = ()
    shown: tuple[str, str, float | None] | None = None


def orders(facts: Orders) -> list[Finding]:
    """What an operator or the recovery tool has ordered."""
    found: list[Finding] = []
    if facts.by is not None:
        found.append(_inhibit(facts))
    elif facts.unseen and facts.shown is None:
        said = f"{facts.path} may be looked at by its owner only; the status tells of no order"
        found.append(
            Finding(
                area=Area.ORDERS,
                code=Code.NOT_EXAMINED,
                severity=Severity.NOTE,
                found=said,
                remedy="look as root",
            )
        )
    elif facts.shown is not None:
        by, reason, until_utc_s = facts.shown
        said = f"paused by {by} {_until(until_utc_s)}: {reason}"
        found.append(_ordered(Code.INHIBITED, Severity.NOTE, said))
    for mount, until_utc_s in facts.released:
        if until_utc_s > facts.now_utc_s:
            said = f"{mount} is released, so nothing is held there {_until(until_utc_s)}"
            found.append(_ordered(Code.RELEASED, Severity.NOTE, said))
    return found or [fine(Area.ORDERS, f"nothing forbids load; looked at {facts.path}")]


def _inhibit(facts: Orders) -> Finding:
    if facts.odd:
        return _ordered(
            Code.INHIBIT_ODD,
            Severity.WARNING,
            f"{facts.path} is no proper order ({facts.reason}); it forbids all load until it is "
            "removed",
        )
    if facts.until_utc_s is not None and facts.until_utc_s <= facts.now_utc_s:
        return _ordered(
            Code.INHIBIT_EXPIRED,
            Severity.NOTE,
            f"{facts.path} has expired ({_until(facts.until_utc_s)}), so it forbids nothing",
        )
    since = "" if facts.since_utc_s is None else f" since {utc(facts.since_utc_s)}"
    said = f"no load by order of {facts.by}{since}, {_until(facts.until_utc_s)}: {facts.reason}"
    # Whoever gave no end wants to be reminded.
    severity = Severity.WARNING if facts.until_utc_s is None else Severity.NOTE
    where = "MAINTENANCE_WINDOWS" if facts.scheduled else facts.path
    return _ordered(Code.INHIBITED, severity, f"{said} ({where})")


def _ordered(code: Code, severity: Severity, found: str) -> Finding:
    return Finding(
        area=Area.ORDERS,
        code=code,
        severity=severity,
        found=found,
        remedy="to lift it",
        command="optimizer resume",
    )


def _until(until_utc_s: float | None) -> str:
    return "until resumed" if until_utc_s is None else f"until {utc(until_utc_s)}"
