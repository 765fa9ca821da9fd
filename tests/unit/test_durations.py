"""Durations as people write and read them."""

from __future__ import annotations

import pytest

from optimizer import durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("1h30m", 5400),
        (" 1D ", 86400),
        ("0.5h", 1800),
        ("366d", 366 * 86400),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    """Numbers with the units s, m, h and d, several in a row, in any case."""
    assert durations.parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "2", "h", "2 h", "-2h", "2h-1m", "1e9d", "nan", "inf", "2h x", "0s", "0h0m"),
        *("367d", "9" * 9 + "d", "9" * 400 + "d", "٣h"),
    ],
)
def test_what_is_no_duration_is_named(text: str) -> None:
    """The message quotes the text and says what is wrong or what to write."""
    with pytest.raises(ValueError, match=r"no duration|no time|longer than 366 days") as caught:
        durations.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0.4, "0 s"),
        (45, "45 s"),
        (59.6, "1 min"),
        (3599, "1 h"),
        (7140, "1 h 59 min"),
        (18000, "5 h"),
        (86400 * 2 + 3 * 3600 + 40, "2 d 3 h"),
        (86400, "1 d"),
    ],
)
def test_a_duration_is_shown_to_the_minute(seconds: float, text: str) -> None:
    """The two largest units that are not 0."""
    assert durations.words(seconds) == text
