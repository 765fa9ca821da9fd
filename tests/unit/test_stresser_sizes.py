"""Sizes as people write them."""

from __future__ import annotations

import pytest

from stressers.sizes import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("1048576", 1048576),
        ("100MB", 100 * 1024**2),
        ("1GB", 1024**3),
        ("1gib", 1024**3),
        ("1.5GiB", 1024**3 * 3 // 2),
        (" 4 g ", 4 * 1024**3),
        ("512k", 512 * 1024),
        ("1TB", 1024**4),
        ("7b", 7),
    ],
)
def test_units_are_steps_of_1024(text: str, size_bytes: int) -> None:
    """K, M, G and T with B, iB or nothing mean powers of 1024, in any case."""
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    ["", "MB", "1XB", "-1", "1e9", "1.2.3", ".", "0", "0.1", "nan", "inf", "1ib", "9999999TB"],
)
def test_what_is_no_size_is_refused_with_what_to_write(text: str) -> None:
    """The message repeats the text and says what to write instead."""
    with pytest.raises(ValueError, match="write") as fault:
        parse_size(text)
    assert repr(text) in str(fault.value)


def test_sizes_are_shown_in_the_largest_fitting_unit() -> None:
    """The number shown is at least 1 where the size is."""
    assert format_size(1023) == "1023 B"
    assert format_size(1536) == "1.5 KiB"
    assert format_size(100 << 20) == "100.0 MiB"
    assert format_size(3 << 40) == "3.0 TiB"
