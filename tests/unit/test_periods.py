"""Periods as people write them; the clock of these tests stands at Saturday, 2026-11-21 18:00."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from optimizer.report.periods import period

NOW_S = datetime(2026, 11, 21, 18, tzinfo=UTC).timestamp()


def utc(text: str) -> float:
    """Seconds of such a time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("7d", "2026-11-14 18:00", "2026-11-21 18:00"),
        ("previous-7d", "2026-11-07 18:00", "2026-11-14 18:00"),
        ("previous 7d", "2026-11-07 18:00", "2026-11-14 18:00"),
        ("today", "2026-11-21 00:00", "2026-11-21 18:00"),
        ("yesterday", "2026-11-20 00:00", "2026-11-21 00:00"),
        ("this-week", "2026-11-16 00:00", "2026-11-21 18:00"),
        (" Last  Week ", "2026-11-09 00:00", "2026-11-16 00:00"),
        ("2026-11-01", "2026-11-01 00:00", "2026-11-02 00:00"),
        ("2026-11-01..2026-11-08", "2026-11-01 00:00", "2026-11-08 00:00"),
        ("2026-11-21", "2026-11-21 00:00", "2026-11-21 18:00"),
        ("2026-11-01T06:00..2026-11-01T12:30", "2026-11-01 06:00", "2026-11-01 12:30"),
        ("2026-11-01 06:00+02:00..2026-11-02", "2026-11-01 04:00", "2026-11-02 00:00"),
        ("2026-11-20..2027-01-01", "2026-11-20 00:00", "2026-11-21 18:00"),
    ],
)
def test_a_period_is_understood(text: str, start: str, end: str) -> None:
    """All in UTC, weeks from Monday on, and what has not ended ends now."""
    found = period(text, NOW_S)
    assert (found.from_utc_s, found.to_utc_s) == (utc(start), utc(end))
    assert found.asked == text.strip()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no date of the calendar; write 7d"),
        ("tomorrow", "'tomorrow' is no date"),
        ("2026-02-30", "'2026-02-30' is no date"),
        ("2026-11-01..", "'' is no date"),
        ("2026-11-01..x", "'x' is no date"),
        ("2026-11-08..2026-11-01", "ends before it begins"),
        ("2026-11-01..2026-11-01", "or is empty"),
        ("2026-11-22", "begins in the future; it is 2026-11-21 18:00 UTC"),
        ("2026-11-01T06:00", "has no end"),
        ("0d", "must be 1 to 366 days"),
        ("367d", "must be 1 to 366 days"),
        ("2024-01-01..2026-01-01", "longer than 366 days"),
        ("last-month", "'last-month' is no date"),
        ("7days", "'7days' is no date"),
    ],
)
def test_what_is_no_period_is_named_with_what_to_write(text: str, words: str) -> None:
    """The text, what is wrong, and an example."""
    with pytest.raises(ValueError, match=r"(?s).+") as caught:
        period(text, NOW_S)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("7d", "2026-11-07 18:00", "2026-11-14 18:00"),
        ("today", "2026-11-20 00:00", "2026-11-20 18:00"),
        ("this-week", "2026-11-09 00:00", "2026-11-14 18:00"),
        ("last-week", "2026-11-02 00:00", "2026-11-09 00:00"),
        ("2026-11-05..2026-11-08", "2026-11-02 00:00", "2026-11-05 00:00"),
    ],
)
def test_the_period_before_has_the_same_hours(text: str, start: str, end: str) -> None:
    """Of a day or week that has not ended, the same part of the one before."""
    before = period(text, NOW_S).before()
    assert (before.from_utc_s, before.to_utc_s) == (utc(start), utc(end))
