"""Traces for the simulator: any spacing, gaps, and a clear word on each bad file."""

from __future__ import annotations

import pytest

from optimizer.errors import TraceError
from optimizer.trace import read

HEAD = "timestamp,value\n"


def test_values_last_until_the_next_and_a_long_gap_is_unknown() -> None:
    """Every 5 minutes one value; after 25 minutes without one, 12.5 of them are still known."""
    rows = [f"2026-11-01 00:{minute:02d}:00,{10 + minute}" for minute in (0, 5, 10, 15, 40, 45)]
    trace = read([HEAD, *(row + "\n" for row in rows)], "x.csv")
    assert trace.start_utc_s == 1793491200
    assert len(trace.minutes) == 50
    assert trace.minutes[:6] == (0.1, 0.1, 0.1, 0.1, 0.1, 0.15)
    assert trace.minutes[15:28] == (0.25,) * 13
    assert trace.minutes[28:40] == (None,) * 12
    assert trace.minutes[40] == 0.5


def test_seconds_are_averaged_to_minutes_and_days_are_repeated() -> None:
    """Two values in one minute are their mean; an empty one is unknown."""
    lines = [HEAD, "0,10\n", "30,30\n", "60,\n", "90,\n", "120,50\n"]
    trace = read(lines, "x.csv")
    assert trace.minutes == (0.2, None, 0.5)
    assert trace.repeated(1).minutes[:4] == (0.2, None, 0.5, 0.2)
    assert len(trace.repeated(1).minutes) == 1440


def test_the_export_of_the_history_is_understood() -> None:
    """Ratios of total and own: the tenant is the difference."""
    lines = ["utc_s,span_s,cpu,cpu_own\n", "60,60,0.4,0.3\n", "120,60,0.5,0.1\n"]
    trace = read(lines, "x")
    assert trace.minutes == pytest.approx((0.1, 0.4))
    assert trace.start_utc_s == 0


def test_a_row_of_an_export_is_of_the_time_before_its_end() -> None:
    """Ten minutes that end at 00:10, half of the next one, a gap, and a part of a minute."""
    rows = ["600,600,0.2,0\n", "630,30,0.4,0\n", "780,60,0.6,0\n", "790,10,1,0\n"]
    trace = read(["utc_s,span_s,cpu,cpu_own\n", *rows], "x")
    assert trace.start_utc_s == 0
    assert trace.minutes == (*[pytest.approx(0.2)] * 10, 0.4, None, 0.6, None)


def test_of_an_export_the_rows_after_a_clock_was_set_back_count() -> None:
    """The same second twice, and one before: the later row stands, nothing counts twice."""
    head = "utc_s,span_s,cpu,cpu_own\n"
    rows = ["60,60,0.1,0\n", "120,60,0.2,0\n", "120,60,0.5,0\n", "150,60,0.7,0\n"]
    assert read([head, *rows], "x").minutes == pytest.approx((0.1, 0.5, 0.7))
    assert read([head, *rows, "120,60,0.9,0\n"], "x").minutes == pytest.approx((0.1, 0.9))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "x.csv, line 1: no column timestamp"),
        (["utc_s,span_s,cpu\n", "60,,0.1\n"], "line 2: span_s '' must be a number of seconds"),
        (["utc_s,span_s,cpu\n"], "no row of values; at least one"),
        (["a,b\n"], "line 1: no column timestamp"),
        (["timestamp,b\n"], "line 1: no column value"),
        ([HEAD, "0,1\n"], "1 row(s) of values; at least two"),
        ([HEAD, "0,1\n", "60\n"], "line 3: 1 columns, 2 are needed"),
        ([HEAD, "0,1\n", "60,x\n"], "line 3: value 'x' must be a number from 0 to 100"),
        ([HEAD, "0,1\n", "60,nan\n"], "line 3: value 'nan'"),
        ([HEAD, "0,1\n", "60,101\n"], "line 3: value '101'"),
        ([HEAD, "0,1\n", "60,-1\n"], "line 3: value '-1'"),
        ([HEAD, "noon,1\n"], "line 2: timestamp 'noon' is no time"),
        ([HEAD, "1e300,1\n"], "line 2: timestamp '1e300' is out of range"),
        ([HEAD, "60,1\n", "60,1\n"], "line 3: its time is not after"),
        ([HEAD, "60,1\n", "0,1\n"], "line 3: its time is not after"),
        ([HEAD, "0,1\n", "60,1\n", "99999999999,1\n"], "days; at most a year"),
    ],
)
def test_a_bad_file_is_named_with_line_and_value(lines: list[str], words: str) -> None:
    """Each fault says where it is and what was found there."""
    with pytest.raises(TraceError) as caught:
        read(lines, "x.csv")
    assert words in str(caught.value)
