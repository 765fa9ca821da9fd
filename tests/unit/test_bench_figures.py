"""The arithmetic of the benchmarks' tables."""

from __future__ import annotations

import math

import pytest

from benchmarks import figures
from benchmarks.figures import AGAIN, REFERENCE, Figure


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        # Of 1 to 100, exactly n values are at most n; the rank is rounded up.
        (0.5, 50),
        (0.99, 99),
        (0.999, 100),
        # 0.07 * 100 is 7.000000000000001 in binary fractions, and still the seventh.
        (0.07, 7),
        (0.0, 1),
        (1.0, 100),
    ],
)
def test_percentile_is_the_nearest_rank(share: float, expected: int) -> None:
    """A percentile is a value that was measured, whatever the order of the values."""
    assert figures.percentile(list(range(100, 0, -1)), share) == expected


def test_percentile_of_nothing_is_refused() -> None:
    """Without a value there is no percentile."""
    with pytest.raises(ValueError, match="needs a value"):
        figures.percentile([], 0.5)


def test_median_leaves_out_repetitions_that_lack_the_figure() -> None:
    """A failed repetition is missing, not zero; without any there is no median."""
    runs = [{"p99": 30.0}, {}, {"p99": 50.0}]
    # Median of 30 and 50.
    assert figures.median_of(runs, "p99") == 40.0
    assert figures.median_of(runs, "p50") is None


@pytest.mark.parametrize(
    ("value", "reference", "expected"),
    [(30.0, 20.0, 1.5), (None, 20.0, None), (30.0, None, None), (30.0, 0.0, None)],
)
def test_ratio(value: float | None, reference: float | None, expected: float | None) -> None:
    """A ratio needs both values and a reference that is not 0."""
    assert figures.ratio(value, reference) == expected


def test_json_has_neither_infinity_nor_nan() -> None:
    """What never happened and what has no value are written as null."""
    runs = {"ours": [{"back": math.inf, "below": math.nan, "mae": 0.5}]}
    assert figures.finite(runs) == {"ours": [{"back": None, "below": None, "mae": 0.5}]}


def test_band_compares_within_each_repetition() -> None:
    """The band is made of the ratios of pairs, not of the medians of both."""
    runs = {
        REFERENCE: [{"p99": 10.0}, {"p99": 20.0}, {"p99": 40.0}],
        AGAIN: [{"p99": 11.0}, {"p99": 16.0}, {"p99": 40.0}],
    }
    # Pairs: 11/10 = 1.1, 16/20 = 0.8, 40/40 = 1.
    assert figures.band_of(runs, "p99") == figures.Band(median=1.0, low=0.8, high=1.1)


def test_band_leaves_out_pairs_with_a_missing_half() -> None:
    """A repetition of which one measurement failed says nothing about chance."""
    runs = {REFERENCE: [{}, {"p99": 20.0}], AGAIN: [{"p99": 5.0}, {"p99": 30.0}]}
    # Only 30/20 is left.
    assert figures.band_of(runs, "p99") == figures.Band(median=1.5, low=1.5, high=1.5)
    assert figures.band_of({REFERENCE: runs[REFERENCE]}, "p99") is None


def test_table_shows_medians_ratios_and_the_band() -> None:
    """Each arm is compared with no filler; the second of those and the band come last."""
    runs = {
        REFERENCE: [{"p99": 40.0, "busy": 10.0}],
        AGAIN: [{"p99": 42.0, "busy": 12.0}],
        "stress-ng": [{"p99": 4000.0, "busy": 50.0}],
        "ours": [{"p99": 50.0}],
    }
    rows = [
        Figure(name="p99", title="p99, µs"),
        Figure(name="busy", title="busy, %", compared=False),
        Figure(name="nobody", title="nobody has this"),
    ]
    # 4000/40 = 100, 50/40 = 1.25, 42/40 = 1.05.
    assert figures.table(runs, rows).splitlines() == [
        "| figure | none | stress-ng | ours | none again | A/A band |",
        "|---|---|---|---|---|---|",
        "| p99, µs | 40.0 | 4000 (100.0) | 50.0 (1.250) | 42.0 (1.050) | 1.05 (1.05 to 1.05) |",
        "| busy, % | 10.0 | 50.0 | - | 12.0 | - |",
    ]
