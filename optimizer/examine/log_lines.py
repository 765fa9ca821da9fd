"""The JSON lines of our log, newest files first, read to a limit."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from optimizer.examine.subject import Subject
from optimizer.report.doctor import Finding
from optimizer.report.doctor_files import Log, log

LIVE_NAME = "optimizer.log"
MOST_BYTES = 16 << 20
"""A day of a healthy daemon is half a megabyte."""
DAY_S = 86_400.0
_ROTATED = re.compile(r"optimizer-\d{4}-\d{2}-\d{2}(?:\.[1-9]\d{0,8})?\.log")
_LAST_BYTES = 65_536
_MOST_EVENTS = 8


def recent(directory: Path, since_utc_s: float) -> list[dict[str, object]]:
    """The events since then, oldest first; empty where the log cannot be read."""
    try:
        names = [directory / LIVE_NAME]
        names += sorted(
            (path for path in directory.iterdir() if _ROTATED.fullmatch(path.name)), reverse=True
        )
        files = [path for path in names if path.exists() and path.stat().st_mtime >= since_utc_s]
    except OSError:
        return []
    found: list[tuple[float, dict[str, object]]] = []
    left = MOST_BYTES
    for path in files:
        text = _tail(path, left)
        left -= len(text)
        for line in text.splitlines():
            event = _parsed(line)
            at_s = time_of(event)
            if at_s is not None and at_s >= since_utc_s:
                found.append((at_s, event))
    return [event for _, event in sorted(found, key=lambda pair: pair[0])]


def last(directory: Path) -> dict[str, object]:
    """The last event; empty where there is none."""
    try:
        lines = _tail(directory / LIVE_NAME, _LAST_BYTES).splitlines()
    except OSError:
        return {}
    parsed = (_parsed(line) for line in reversed(lines))
    return next((event for event in parsed if "event" in event), {})


def _tail(path: Path, most_bytes: int) -> bytes:
    """The end of a file; empty for what is no plain file."""
    if most_bytes <= 0 or not path.is_file():
        return b""
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - most_bytes))
        return file.read(most_bytes)


def _parsed(line: bytes) -> dict[str, object]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def time_of(event: dict[str, object]) -> float | None:
    """When it was logged, in seconds since the epoch; None where it does not say."""
    try:
        return datetime.fromisoformat(str(event.get("timestamp"))).astimezone(UTC).timestamp()
    except ValueError:
        return None


def latest_utc_s(directory: Path) -> float | None:
    """When the last event was written, by the clock of that time."""
    return time_of(last(directory))


def examine_log(subject: Subject) -> list[Finding]:
    """How often each event of the last day was an error or a warning."""
    directory = subject.directories.log
    path, error = directory / LIVE_NAME, None
    try:
        exists = path.exists()
        if exists:
            with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb"):
                pass
    except OSError as exc:
        exists, error = True, exc.strerror or str(exc)
    events = recent(directory, subject.now_utc_s - DAY_S)
    counts: dict[str, Counter[str]] = {"error": Counter(), "warning": Counter()}
    cause = ""
    for event in events:
        level = "error" if event.get("level") in {"error", "critical"} else event.get("level")
        if level in counts:
            more = event.get("suppressed")
            counts[str(level)][str(event.get("event"))] += 1 + (
                more if isinstance(more, int) else 0
            )
        if level == "error":
            cause = str(event.get("cause") or event.get("exception") or "").strip()
            cause = cause.rpartition("\n")[2][:200]
    return log(
        Log(
            path=str(path),
            exists=exists,
            error=error,
            lines=len(events),
            errors=tuple(counts["error"].most_common(_MOST_EVENTS)),
            warnings=tuple(counts["warning"].most_common(_MOST_EVENTS)),
            last_cause=cause,
        )
    )
