"""Periods of time as people write them, in UTC: what is told apart by two of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

DAY_S = 86_400.0
MOST_DAYS = 366
GRAMMAR = (
    "write 7d (the last 7 days), previous-7d (those before), today, yesterday, this-week, "
    "last-week, 2026-11-01 (that day), or 2026-11-01..2026-11-08 (the end is not part of it)"
)
"""What a message about a period that is none says."""
_LAST = re.compile(r"(previous-)?(\d{1,3})d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """From one second of UTC up to another, and how it was asked for.

    `rhythm_s` is how far back lies what it is usually compared with.
    """

    from_utc_s: float
    to_utc_s: float
    asked: str
    rhythm_s: float

    @property
    def days(self) -> float:
        """How long it is."""
        return (self.to_utc_s - self.from_utc_s) / DAY_S

    def before(self) -> Period:
        """The one just before; of a day or week that has not ended, the same part of the last."""
        return Period(
            from_utc_s=self.from_utc_s - self.rhythm_s,
            to_utc_s=self.to_utc_s - self.rhythm_s,
            asked=f"before {self.asked}",
            rhythm_s=self.rhythm_s,
        )


def period(text: str, now_utc_s: float) -> Period:
    """The period that a text means; weeks begin on Monday, all is UTC.

    What has not ended ends now. Raises ValueError with text and remedy.
    """
    plain = " ".join(text.strip().lower().split()).replace(" ", "-", 1)
    now = datetime.fromtimestamp(now_utc_s, tz=UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    monday = midnight - timedelta(days=midnight.weekday())
    day, week = timedelta(days=1), timedelta(days=7)
    named = {
        "today": (midnight, now, day),
        "yesterday": (midnight - day, midnight, day),
        "this-week": (monday, now, week),
        "last-week": (monday - week, monday, week),
    }
    if plain in named:
        start, end, rhythm = named[plain]
        return _made(start, end, text, rhythm)
    if last := _LAST.fullmatch(plain):
        length = timedelta(days=int(last[2]))
        if not timedelta(0) < length <= timedelta(days=MOST_DAYS):
            raise ValueError(f"{text!r} must be 1 to {MOST_DAYS} days; {GRAMMAR}")
        end = now - length if last[1] else now
        return _made(end - length, end, text)
    start_text, dots, end_text = text.strip().partition("..")
    start = moment(start_text)
    if dots:
        end = moment(end_text)
    elif "T" in start_text.upper() or " " in start_text:
        raise ValueError(f"{text!r} has no end; {GRAMMAR}")
    else:
        end = start + day
    if start >= now:
        raise ValueError(f"{text!r} begins in the future; it is {now:%Y-%m-%d %H:%M} UTC")
    return _made(start, min(end, now) if end > start else end, text)


def moment(text: str) -> datetime:
    """A date, or a date and time, UTC where it names no zone. Raises ValueError."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no date of the calendar; {GRAMMAR}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _made(start: datetime, end: datetime, text: str, rhythm: timedelta | None = None) -> Period:
    if end <= start:
        raise ValueError(f"{text!r} ends before it begins, or is empty; {GRAMMAR}")
    if end - start > timedelta(days=MOST_DAYS):
        raise ValueError(f"{text!r} is longer than {MOST_DAYS} days; {GRAMMAR}")
    return Period(
        from_utc_s=start.timestamp(),
        to_utc_s=end.timestamp(),
        asked=text.strip(),
        rhythm_s=(rhythm or end - start).total_seconds(),
    )
