"""Maintenance windows: what is written, which one runs, and what the change of clocks does."""

from __future__ import annotations

import subprocess
import sys
import zoneinfo
from datetime import datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest

from optimizer.schedule import EXAMPLE, MOST_WINDOWS, parse, standing, starts


def at(text: str, zone: str, fold: int = 0) -> float:
    """Seconds since the epoch of a time on the clocks of a zone."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def test_several_windows_are_read() -> None:
    """With `;` between them; blanks do not count, and the text comes back as one is written."""
    windows = parse(f" {EXAMPLE} ;30  1 1 * *   90m Asia/Shanghai; ")
    assert [str(window) for window in windows] == [EXAMPLE, "30 1 1 * * 90m Asia/Shanghai"]
    assert [window.duration_s for window in windows] == [7200, 5400]
    assert windows == parse("; ".join(map(str, windows)))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (";", "there are 0"),
        (f"{EXAMPLE};" * (MOST_WINDOWS + 1), "there are 33"),
        ("x", "1 parts and not seven: minute hour"),
        ("0 2 * * sun Europe/Berlin", "6 parts"),
        ("0 2 * * sun 2h", "6 parts"),
        ("@daily 2h UTC", "3 parts"),
        ("0 0 2 * * sun 2h UTC", "8 parts"),
        ("60 2 * * sun 2h UTC", "the minute"),
        ("0 25 * * sun 2h UTC", "the hour"),
        ("0 2 32 * * 2h UTC", "the day-of-month"),
        ("0 2 30 2 * 2h UTC", "the day-of-month is none that cron knows, or never comes"),
        ("0 2 * 13 * 2h UTC", "the month"),
        ("0 2 * * someday 2h UTC", "the day-of-week"),
        ("0 2 * * sun 0m UTC", "'0m' lasts no time"),
        ("0 2 * * sun 2 UTC", "'2' is no duration"),
        ("0 2 * * sun 169h UTC", "longer than 7 days"),
        ("0 2 * * sun 2h Europe/Berln", "check its spelling"),
        ("0 2 * * sun 2h Europe", "check its spelling"),
        ("0 2 * * sun 2h ../../etc/hostname", "check its spelling"),
        (f"0 2 * * sun 2h {'x' * 300}", "check its spelling"),
        (f"{EXAMPLE}; 0 2 * * mon 2h Nowhere", "in '0 2 \\* \\* mon 2h Nowhere'"),
    ],
)
def test_a_fault_names_the_window_and_what_is_wrong(text: str, fault: str) -> None:
    """One message, for the first window that is at fault."""
    with pytest.raises(ValueError, match=fault):
        parse(text)


def test_without_a_time_zone_database_that_is_said() -> None:
    """The remedy is a package and not another spelling; UTC needs none."""
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=())
    ZoneInfo.clear_cache()
    try:
        if _has_package():
            pytest.skip("the package tzdata is installed, so there always is a database")
        with pytest.raises(ValueError, match="install the package tzdata"):
            parse(EXAMPLE)
        assert parse("0 2 * * sun 2h utc")
    finally:
        zoneinfo.reset_tzpath(to=before)


def _has_package() -> bool:
    try:
        ZoneInfo("Etc/UTC")
    except zoneinfo.ZoneInfoNotFoundError:
        return False
    return True


def test_a_window_runs_from_its_start_to_its_end() -> None:
    """The start counts and the end does not; until the edge nothing changes."""
    windows = parse("0 2 * * sun 2h Europe/Berlin")
    start_s = at("2026-03-08 02:00", "Europe/Berlin")
    before = standing(windows, start_s - 1)
    assert before.running == ()
    assert before.next is not None
    assert before.next.start_utc_s == before.edge_utc_s == start_s
    assert before.next.local == "Sun 2026-03-08 02:00-04:00 Europe/Berlin"
    for now_s in (start_s, start_s + 7199.9):
        now = standing(windows, now_s)
        assert [span.start_utc_s for span in now.running] == [start_s]
        assert now.edge_utc_s == start_s + 7200
    after = standing(windows, start_s + 7200)
    assert after.running == ()
    assert after.edge_utc_s == start_s + 7 * 86400


def test_of_windows_that_overlap_the_longest_comes_first() -> None:
    """The edge is the next thing that happens to any of them."""
    windows = parse("0 2 * * * 2h UTC; 0 3 * * * 5h UTC; 30 3 * * * 10m UTC")
    now = standing(windows, at("2026-03-08 03:15", "UTC"))
    assert [span.window[:3] for span in now.running] == ["0 3", "0 2"]
    assert now.next is not None
    assert now.next.window[:4] == "30 3"
    assert now.edge_utc_s == at("2026-03-08 03:30", "UTC")


def test_a_window_longer_than_its_period_runs_for_ever() -> None:
    """A day that begins each hour: the last start counts."""
    now = standing(parse("0 * * * * 1d UTC"), at("2026-03-08 03:15", "UTC"))
    assert [span.until_utc_s for span in now.running] == [at("2026-03-09 03:00", "UTC")]


def test_a_long_window_that_began_days_ago_is_found() -> None:
    """Six days after the only start of the year it still runs; on the eighth it does not."""
    windows = parse("0 0 1 1 * 7d Asia/Shanghai")
    assert standing(windows, at("2026-01-07 12:00", "Asia/Shanghai")).running
    assert not standing(windows, at("2026-01-08 00:00", "Asia/Shanghai")).running


@pytest.mark.parametrize(
    ("window", "around", "want"),
    [
        # The hour that is skipped: 2:00 to 3:00 on 29 March 2026.
        ("30 2 * * * 1h Europe/Berlin", "2026-03-29", ["03:00+02:00"]),
        ("*/30 2 * * * 1h Europe/Berlin", "2026-03-29", []),
        ("30 * * * * 1m Europe/Berlin", "2026-03-29", ["00:30+01:00", "01:30+01:00",
                                                       "03:30+02:00"]),
        # The hour that comes twice: 2:00 to 3:00 on 25 October 2026.
        ("30 2 * * * 1h Europe/Berlin", "2026-10-25", ["02:30+02:00"]),
        ("0 * * * * 1m Europe/Berlin", "2026-10-25", ["00:00+02:00", "01:00+02:00", "02:00+02:00",
                                                      "02:00+01:00", "03:00+01:00"]),
        ("15 2 * * * 1h America/New_York", "2026-03-08", ["03:00-04:00"]),
        ("15 1 * * * 1h America/New_York", "2026-11-01", ["01:15-04:00"]),
        ("15 2 * * * 1h Asia/Shanghai", "2026-03-29", ["02:15+08:00"]),
        # Half an hour: 2:00 becomes 2:30 on 4 October 2026, 2:00 becomes 1:30 on 5 April.
        ("15 2 * * * 1h Australia/Lord_Howe", "2026-10-04", ["02:30+11:00"]),
        ("45 2 * * * 1h Australia/Lord_Howe", "2026-10-04", ["02:45+11:00"]),
        ("45 1 * * * 1h Australia/Lord_Howe", "2026-04-05", ["01:45+11:00"]),
        ("45 * * * * 1m Australia/Lord_Howe", "2026-04-05", ["00:45+11:00", "01:45+11:00",
                                                             "01:45+10:30", "02:45+10:30",
                                                             "03:45+10:30"]),
    ],
)  # fmt: skip
def test_starts_when_the_clocks_change(window: str, around: str, want: list[str]) -> None:
    """What is skipped comes at the end of the gap, once; what comes twice counts once.

    Except with a star in minute or hour: then the clocks alone count.
    """
    (parsed,) = parse(window)
    zone = window.rsplit(maxsplit=1)[-1]
    begin_s, end_s = at(f"{around} 00:00", zone), at(f"{around} 03:59", zone)
    found = [s for s in islice(starts(parsed, begin_s - 1), 60) if begin_s <= s < end_s]
    shown = [datetime.fromtimestamp(s, ZoneInfo(zone)).isoformat() for s in found]
    assert [text[11:16] + text[19:] for text in shown] == want


def test_the_duration_is_elapsed_time() -> None:
    """Two hours from 1:00 on end at 4:00 when the clocks skip one hour, at 2:00 when they stay."""
    windows = parse("0 1 * * * 2h Europe/Berlin")
    for day, end in (("2026-03-29", "04:00"), ("2026-10-25", "02:00"), ("2026-06-01", "03:00")):
        start_s = at(f"{day} 01:00", "Europe/Berlin")
        (span,) = standing(windows, start_s).running
        assert span.until_utc_s - span.start_utc_s == 7200
        assert span.local == f"{datetime.fromisoformat(day):%a} {day} 01:00-{end} Europe/Berlin"


def test_a_window_into_the_next_day_shows_both_days() -> None:
    """So that nobody takes its end for one before its start."""
    (span,) = standing(parse("0 23 * * * 2h UTC"), at("2026-03-08 23:30", "UTC")).running
    assert span.local == "Sun 2026-03-08 23:00 - Mon 2026-03-09 01:00 UTC"


def test_a_window_that_began_in_the_hour_that_comes_again_is_found() -> None:
    """With a star the second 2:05 starts it anew, though the clocks have shown 2:05 before."""
    windows = parse("5 * * * * 20m Europe/Berlin")
    for fold in (0, 1):
        now = standing(windows, at("2026-10-25 02:10", "Europe/Berlin", fold))
        start_s = at("2026-10-25 02:05", "Europe/Berlin", fold)
        assert [span.start_utc_s for span in now.running] == [start_s]


@pytest.mark.parametrize("now_s", [-1e15, -1e11, 0.0, 253402300799.0, 1e12, 1e300])
def test_a_clock_that_is_far_off_raises_nothing(now_s: float) -> None:
    """Outside the calendar there is no window; at its edges whatever the calendar gives."""
    now = standing(parse("0 2 * * * 1h UTC; 0 2 * * * 1h Europe/Berlin"), now_s)
    assert now.edge_utc_s > now_s


def test_starts_are_in_order_over_years() -> None:
    """Each start comes after the one before, through all changes of the clocks."""
    for text in ("*/30 * * * * 1m Australia/Lord_Howe", "5,35 1-3 * * * 1m America/New_York"):
        (window,) = parse(text)
        found = list(islice(starts(window, at("2026-01-01", "UTC")), 12_000))
        assert all(one <= other for one, other in pairwise(found))
        assert found[-1] - found[0] > timedelta(days=200).total_seconds()


def test_who_has_no_windows_does_not_pay_for_them() -> None:
    """Neither the calendar nor the zones are imported by a daemon without windows."""
    program = (
        "import sys, optimizer.app, optimizer.cli.run; from optimizer.settings import load;"
        "load(file=None, environ={}, overrides={});"
        "print({'cronsim', 'zoneinfo'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\n"
