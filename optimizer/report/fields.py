"""Reads a status document of any origin: what is missing or senseless is unknown, never an error.

What comes from outside, such as the reason of a pause, is stripped of
everything that a terminal could take for an instruction.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping

UNKNOWN = "-"
"""How an unknown value is shown."""


def mapping(of: Mapping[str, object], key: str) -> Mapping[str, object]:
    """The object under a key, empty when there is none."""
    value = of.get(key)
    return value if isinstance(value, Mapping) else {}


def number(of: Mapping[str, object], key: str) -> float | None:
    """The finite number under a key."""
    value = of.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def clean(value: object) -> str:
    """A text with everything unprintable replaced; empty when it is no text."""
    if not isinstance(value, str):
        return ""
    return "".join(char if char.isprintable() else "?" for char in value)


def text(of: Mapping[str, object], key: str) -> str:
    """The text under a key, a dash when there is none."""
    return clean(of.get(key)) or UNKNOWN


def texts(of: Mapping[str, object], key: str) -> list[str]:
    """The texts in the list under a key."""
    value = of.get(key)
    return [clean(item) for item in value] if isinstance(value, list | tuple) else []


def time(utc_s: float | None, *, seconds: bool = False) -> str:
    """ISO-like date and time in UTC; a dash for what no calendar has."""
    if utc_s is None:
        return UNKNOWN
    try:
        moment = datetime.datetime.fromtimestamp(utc_s, datetime.UTC)
    except (OverflowError, OSError, ValueError):
        return UNKNOWN
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC" if seconds else "%Y-%m-%d %H:%M UTC")
