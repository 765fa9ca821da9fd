"""The arithmetic of benchmarks/disk_hold.py, and how the tables of both benchmarks look."""

from __future__ import annotations

import os

import pytest

from benchmarks import figures, loopfs, swaps

DISKSTATS = """   7       0 loop0 15 0 2358 4 0 0 0 0 0 4 4 0 0 0 0 0 0
   7       1 loop1 91 0 4362 21 33 5 7344 9 0 36 31 0 0 0 0 2 1
 254       0 vda 9000 12 800000 700 600 50 900000 400 0 300 200 0 0 0 0 0 0
"""


def test_sectors_written_are_those_of_the_named_device() -> None:
    """The tenth column of /proc/diskstats; loop1 is not loop10's or loop0's."""
    assert loopfs.sectors_written(DISKSTATS, "loop1") == 7344
    with pytest.raises(OSError, match="no loop10"):
        loopfs.sectors_written(DISKSTATS, "loop10")


def test_percent_leaves_the_reserve_of_root_out() -> None:
    """Used over used and available, as df shows it."""
    # 100 blocks, 60 free, 50 of them for everybody: 40 / (40 + 50).
    fs = os.statvfs_result((4096, 4096, 100, 60, 50, 10, 10, 10, 0, 255))
    assert loopfs.percent(fs) == pytest.approx(400 / 9)


def test_zram_tells_what_is_stored_and_what_it_takes() -> None:
    """The first and third column of mm_stat; pages of one value take no memory."""
    text = " 8192000     4096    12288        0    12288     1999        0        0        0\n"
    assert swaps.parse_mm_stat(text) == {"stored": 8_192_000, "memory": 12_288}


def test_a_table_has_median_and_range_and_a_dash_for_nothing() -> None:
    """One repetition has no range; large values no decimals; a failed one is no zero."""
    runs = {
        "ours": [{"mae": 0.25, "ms": 1500.0}, {"mae": 0.75, "ms": 2500.0}],
        "stress-ng": [{"mae": 150.0}],
    }
    assert figures.spread(runs).splitlines() == [
        "| figure | ours | stress-ng |",
        "|---|---|---|",
        "| mae | 0.500 (0.250 to 0.750) | 150.0 |",
        "| ms | 2000 (1500 to 2500) | - |",
    ]
