"""Words for a pause and for maintenance windows, made of the status document; pure."""

from __future__ import annotations

from collections.abc import Mapping

from optimizer import durations
from optimizer.report.fields import UNKNOWN, mapping, number, text, time

MOST_BY_CHARS = 13
"""So much of who paused is shown where room is short."""


def ahead(until_utc_s: float | None, now_utc_s: float | None) -> str:
    """`in 2 h`, `over`; empty where one of the times is unknown."""
    if until_utc_s is None or now_utc_s is None:
        return ""
    left_s = until_utc_s - now_utc_s
    return f"in {durations.words(left_s)}" if left_s > 0 else "over"


def paused(inhibit: Mapping[str, object], now_utc_s: float | None) -> str:
    """Who paused, since when, until when, and why, on one line."""
    since = number(inhibit, "since_utc_s")
    return (
        f"by {text(inhibit, 'by')} since {time(since)},"
        f" {_until(inhibit, now_utc_s)}: {text(inhibit, 'reason')}"
    )


def windows(maintenance: Mapping[str, object], now_utc_s: float | None) -> list[str]:
    """The maintenance window that runs, and the next one; nothing where there is none."""
    found: list[str] = []
    running, following = mapping(maintenance, "running"), mapping(maintenance, "next")
    if running:
        left = ahead(number(running, "until_utc_s"), now_utc_s) or UNKNOWN
        lifted = maintenance.get("lifted") is True
        what = f"lifted by `optimizer resume` until its end {left}" if lifted else f"ends {left}"
        found.append(f"now: {text(running, 'local')}, {what}")
    if following:
        left = ahead(number(following, "start_utc_s"), now_utc_s) or UNKNOWN
        found.append(f"next: {text(following, 'local')}, {left}")
    return found


def short(inhibit: Mapping[str, object], now_utc_s: float | None) -> tuple[str, str]:
    """The same in two short lines: until when (45 characters at most), and by whom and why."""
    until = number(inhibit, "until_utc_s")
    end = "until resumed"
    if until is not None:
        left = ahead(until, now_utc_s)
        end = f"until {time(until)[5:]}" + (f", {left}" if left else "")
    by = text(inhibit, "by").removesuffix(" window")[:MOST_BY_CHARS]
    return f"PAUSED {end}", f"{by}: {text(inhibit, 'reason')}"


def _until(inhibit: Mapping[str, object], now_utc_s: float | None) -> str:
    until = number(inhibit, "until_utc_s")
    if until is None:
        return "until resumed"
    left = ahead(until, now_utc_s)
    return f"until {time(until)}" + (f", {left}" if left else "")
