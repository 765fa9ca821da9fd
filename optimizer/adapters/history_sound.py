"""What is believed of a stored row: a fault or a hand may have put anything into the file.

SQLite orders numbers before texts, and texts before blobs; so a range holds
numbers only, and never infinity.
"""

from __future__ import annotations

from optimizer.outcome import MOST_RATIO

MOST_SPAN_S = 1_000_000_000
"""Thirty years; a host that slept has one long row."""

SAMPLE = f"span_s > 0 AND span_s <= {MOST_SPAN_S}"
"""A row is left out unless this holds, and the time asked for holds its end."""


def is_known(name: str) -> str:
    """A condition: total and own share of a resource are both ratios."""
    return f"{name} BETWEEN 0 AND {MOST_RATIO} AND {name}_own BETWEEN 0 AND {MOST_RATIO}"


def ratio(column: str) -> str:
    """The value of a column where it is a ratio, else NULL: unknown."""
    return f"CASE WHEN {column} BETWEEN 0 AND {MOST_RATIO} THEN {column} END"


def reason(column: str) -> str:
    """The value of a column where it is the name of a reason, else NULL."""
    named = f"{column} GLOB '[a-z]*' AND {column} NOT GLOB '*[^a-z0-9_]*'"
    is_name = f"TYPEOF({column}) = 'text' AND LENGTH({column}) <= 32 AND {named}"
    return f"CASE WHEN {is_name} THEN {column} END"
