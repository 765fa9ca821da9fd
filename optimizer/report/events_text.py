"""Words for the events of the history; pure."""

from __future__ import annotations

from optimizer import durations
from optimizer.outcome import Event, EventKind
from optimizer.report.fields import clean, time

WORDS: dict[EventKind, str] = {
    EventKind.STARTED: "started",
    EventKind.RESTARTED: "started after a crash, a kill or a power cut",
    EventKind.STOPPED: "stopped",
    EventKind.PAUSED: "paused",
    EventKind.RESUMED: "pause over",
    EventKind.MAINTENANCE_BEGAN: "maintenance window began",
    EventKind.MAINTENANCE_ENDED: "maintenance window over",
    EventKind.RELOADED: "configuration reloaded",
    EventKind.REJECTED: "configuration refused",
    EventKind.TRIPPED: "stresser ended too often and stays off",
    EventKind.PRESSURE_BEGAN: "memory ran short",
    EventKind.PRESSURE_ENDED: "memory no longer short",
    EventKind.CLOCK_STEPPED: "the clock was set",
    EventKind.SLEPT: "the host was suspended",
    EventKind.RESTORED: "history restored from a backup",
    EventKind.IMPORTED: "history imported",
}
"""What each kind means, in words."""


def line(event: Event) -> str:
    """One event on one line: when, what, by whom, until when, how, and why."""
    said = f"{time(event.utc_s, seconds=True)}  {WORDS[event.kind]}"
    if event.by:
        said += f" by {clean(event.by)}"
    if event.until_utc_s is not None:
        lasts = durations.words(event.until_utc_s - event.utc_s)
        said += f" until {time(event.until_utc_s)}, for {lasts}"
    elif event.kind is EventKind.PAUSED:
        said += " until resumed"
    if event.since_utc_s is not None and event.utc_s - event.since_utc_s >= 60:
        said += f", since {time(event.since_utc_s)}"
    if event.detail:
        said += f", {clean(event.detail)}"
    return said + (f": {clean(event.reason)}" if event.reason else "")
