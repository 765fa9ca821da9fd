"""Numbers, dates and axes as the HTML report shows them; nothing unknown becomes a 0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from optimizer import durations
from optimizer.report.account import Stretch
from optimizer.report.fields import UNKNOWN, clean
from optimizer.report.hours import MONDAY_S
from optimizer.report.html_words import Words

DAY_S = 86_400
TEXT_CHARS = 400
"""What is longer, such as the reason of a pause, is cut."""
_TICK_STEPS_S = (600, 1800, 3600, 10_800, 21_600, 43_200, DAY_S, 2 * DAY_S, 7 * DAY_S, 14 * DAY_S)
_MOST_TICKS = 8
_TOPS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)


def safe(text: str) -> str:
    """For markup: unprintable characters replaced, cut, and `<>&"'` escaped."""
    plain = clean(text)
    return escape(plain if len(plain) <= TEXT_CHARS else plain[:TEXT_CHARS] + "…")


def tied(text: str) -> str:
    """Percent signs that stay on the line of their number."""
    return text.replace(" %", "\u00a0%")


def amount(value: float) -> str:
    """A count or a size with at most three decimals' worth: `16`, `1.9`, `0.25`."""
    return f"{value:.0f}" if value >= 100 or value == round(value) else f"{value:.3g}"


def moment(utc_s: float) -> datetime | None:
    """In UTC; None for what no calendar has."""
    try:
        return datetime.fromtimestamp(utc_s, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def stamp(utc_s: float, words: Words, form: str) -> str:
    """`%Y-%m-%d` and the like; `form` "day" and "month" are words of the language."""
    at = moment(utc_s)
    if at is None:
        return UNKNOWN
    if form == "day":
        return words.day.format(day=at.day, month=at.month, name=words.months[at.month - 1])
    if form == "month":
        return words.month.format(month=at.month, name=words.months[at.month - 1])
    return at.strftime(form)


def top(values: Sequence[float | None]) -> float:
    """Where an axis that begins at 0 ends: the next of 10, 20, 40, 60, 80 and 100 %."""
    most = max((value for value in values if value is not None), default=0.0)
    return next((edge for edge in _TOPS if most <= 0.97 * edge), 1.0)


def ticks(start_s: float, end_s: float, words: Words) -> list[tuple[float, str]]:
    """At most about eight round times within (start, end), each with its label.

    Up to two days hours, up to four months days (weeks from Mondays on), above
    that the first days of months.
    """
    span = end_s - start_s
    if span <= 0 or moment(start_s) is None or moment(end_s) is None:
        return []
    step = next((one for one in _TICK_STEPS_S if span / one <= _MOST_TICKS), None)
    if step is None:
        return _months(start_s, end_s, words)
    base = MONDAY_S if step >= 7 * DAY_S else 0
    found: list[tuple[float, str]] = []
    at = math.floor((start_s - base) / step + 1) * step + base
    while at < end_s:
        form = "day" if at % DAY_S == 0 else "%H:%M"
        found.append((at, stamp(at, words, form)))
        at += step
    return found


def _months(start_s: float, end_s: float, words: Words) -> list[tuple[float, str]]:
    first = datetime.fromtimestamp(start_s, UTC)
    months = [first.year * 12 + first.month + ahead for ahead in range(14 * 12)]
    starts = [datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp() for month in months]
    inside = [at for at in starts if at < end_s]
    every = max(1, math.ceil(len(inside) / _MOST_TICKS))
    return [(at, stamp(at, words, "month")) for at in inside[::every]]


def lasting(seconds: float, words: Words) -> str:
    """`30 days`, or `2 d 3 h`, in the units of the language."""
    days = round(seconds / DAY_S)
    if days > 1 and abs(seconds - days * DAY_S) < 60:
        return words.days_long.format(days=days)
    said = durations.words(seconds).split(" ")
    return " ".join(words.units.get(part, part) for part in said)


def thinned(stretches: Sequence[Stretch], most: int) -> tuple[Stretch, ...]:
    """At most `most` of them: neighbours merged, means weighted by their known time."""
    size = max(1, math.ceil(len(stretches) / most))
    if size == 1:
        return tuple(stretches)
    return tuple(_merged(stretches[at : at + size]) for at in range(0, len(stretches), size))


def _merged(parts: Sequence[Stretch]) -> Stretch:
    length = sum(part.length_s for part in parts)

    def mean(pairs: list[tuple[float | None, float]]) -> float | None:
        weights = sum(weight for value, weight in pairs if value is not None)
        summed = sum(value * weight for value, weight in pairs if value is not None)
        return summed / weights if weights else None

    known = [part.coverage * part.length_s for part in parts]
    return Stretch(
        start_utc_s=parts[0].start_utc_s,
        length_s=length,
        organic_ratio=mean([(p.organic_ratio, k) for p, k in zip(parts, known, strict=True)]),
        own_ratio=mean([(p.own_ratio, k) for p, k in zip(parts, known, strict=True)]),
        setpoint_ratio=mean([(p.setpoint_ratio, k) for p, k in zip(parts, known, strict=True)]),
        coverage=sum(known) / length if length else 0.0,
    )
