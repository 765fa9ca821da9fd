"""Durations as people write and read them: 90s, 30m, 2h, 1h30m, 1d."""

from __future__ import annotations

import re

LONGEST_S = 366 * 86400
"""A longer one is a slip of the finger: what has no end is given without a duration."""
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", re.ASCII)


def parse(text: str) -> float:
    """Seconds of a duration such as 90s, 30m, 2h, 1h30m or 1d; above 0, up to 366 days.

    Raises ValueError for anything else; its message names the text and says what to write.
    """
    plain = text.strip().lower()
    parts = _PART.findall(plain)
    if not plain or "".join(number + unit for number, unit in parts) != plain:
        raise ValueError(f"{text!r} is no duration; write for example 30m, 2h, 1h30m or 1d")
    total = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if total <= 0:
        raise ValueError(f"{text!r} lasts no time; write for example 30m, 2h, 1h30m or 1d")
    if total > LONGEST_S:
        raise ValueError(f"{text!r} is longer than {LONGEST_S // 86400} days; write less")
    return total


def words(seconds: float) -> str:
    """A duration for people, to the minute: `45 s`, `5 min`, `1 h 59 min`, `2 d 3 h`."""
    if seconds < 59.5:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h")) if days else ((hours, "h"), (minutes, "min"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number)
