"""Sizes as people write them.

K, M, G and T count in steps of 1024, with or without B or iB: 1MB = 1MiB = 1048576.
"""

from __future__ import annotations

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_LARGEST_BYTES = 1 << 53
"""The largest whole number that a double holds exactly, for sizes travel as doubles."""


def parse_size(text: str) -> int:
    """Bytes from `100MB`, `1.5GiB`, `4g` or `1048576`; above 0.

    Raises ValueError with a message that names the text and what to write.
    """
    unit = text.strip().lower()
    number = unit.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = unit[len(number) :].strip()
    letter = unit.removesuffix("b").removesuffix("i") if unit.endswith("b") else unit
    plain = bool(number) and set(number) <= set("0123456789.") and number.count(".") <= 1
    if not plain or number == "." or letter not in _POWERS or unit == "ib":
        message = f"not a size: {text!r}; write for example 100MB, 1.5GiB or 1048576"
        raise ValueError(message)
    whole = "." not in number
    size = (int(number) if whole else float(number)) * 1024 ** _POWERS[letter]
    if not 1 <= size <= _LARGEST_BYTES:
        message = f"size out of range: {text!r}; write at least 1 byte and at most 8192TB"
        raise ValueError(message)
    return int(size)


def format_size(size_bytes: float) -> str:
    """A size for people, in the largest unit that keeps it at 1 or above: `1.5 GiB`."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
