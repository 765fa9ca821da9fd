"""Maintenance windows against a look at the clocks, minute by minute, in years with DST."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from optimizer.schedule import parse, standing

ZONES = (
    *("Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "UTC"),
    *("America/Santiago", "Asia/Beirut"),  # their clocks change at midnight
)
HALF_DAY_S = 12 * 3600


@cache
def changes(zone: str) -> tuple[int, ...]:
    """When the clocks of the zone change from 2018 to 2030, and two other times."""
    first = int(datetime(2018, 1, 1, tzinfo=UTC).timestamp())
    times = range(first, first + 12 * 366 * 86400, 1800)
    offsets = [datetime.fromtimestamp(at, ZoneInfo(zone)).utcoffset() for at in times]
    moved = [at for at, (a, b) in zip(times[1:], pairwise(offsets), strict=True) if a != b]
    return (*moved, first + 100 * 86400, first + 1000 * 86400)


def field(low: int, high: int, usual: tuple[int, ...]) -> st.SearchStrategy[str]:
    """A cron field: star, step, one, several, or a range."""
    one = st.sampled_from(usual) | st.integers(low, high)
    return st.one_of(
        st.just("*"),
        st.sampled_from([5, 7, 15, 30]).map(lambda step: f"*/{step}"),
        one.map(str),
        st.lists(one.map(str), min_size=2, max_size=3).map(",".join),
        st.tuples(one, one).map(lambda ends: f"{min(ends)}-{max(ends)}"),
    )


def expanded(text: str, low: int, high: int) -> set[int]:
    """The numbers that a cron field names: an independent reading."""
    found: set[int] = set()
    for part in text.split(","):
        base, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if base == "*" else base).partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


def looked_at(cron: str, zone: ZoneInfo, begin_s: int, end_s: int) -> list[int]:
    """The starts in [begin, end): somebody looks at the clock each minute, as cron does.

    When it has jumped ahead, what was skipped starts now; what it has shown
    before does not start again. Except with a star: then all that it shows counts.
    """
    minute, hour, day, month, weekday = cron.split()
    minutes, hours = expanded(minute, 0, 59), expanded(hour, 0, 23)
    days, months = expanded(day, 1, 31), expanded(month, 1, 12)
    weekdays = {number % 7 for number in expanded(weekday, 0, 7)}
    both = day.startswith("*") or weekday.startswith("*")

    def matches(wall: datetime) -> bool:
        if wall.minute not in minutes or wall.hour not in hours or wall.month not in months:
            return False
        on_day, on_weekday = wall.day in days, wall.isoweekday() % 7 in weekdays
        return (on_day and on_weekday) if both else (on_day or on_weekday)

    def shown(at_s: int) -> datetime:
        return datetime.fromtimestamp(at_s, zone).replace(tzinfo=None, fold=0)

    found: list[int] = []
    latest = shown(begin_s - 60)
    for at_s in range(begin_s, end_s, 60):
        wall = shown(at_s)
        due = [wall] if minute.startswith("*") or hour.startswith("*") else []
        if not due:
            passed = int((wall - latest) / timedelta(minutes=1))
            due = [latest + timedelta(minutes=step) for step in range(1, passed + 1)]
        latest = max(latest, wall)
        if any(matches(one) for one in due):
            found.append(at_s)
    return found


Case = tuple[str, int, tuple[str, str, str, str, str], int]
CASES: st.SearchStrategy[Case] = st.tuples(
    st.sampled_from(ZONES),
    st.integers(0, 25),
    st.tuples(
        field(0, 59, (0, 15, 30, 45)),
        field(0, 23, (0, 1, 2, 3)),
        st.just("*") | field(1, 31, (1, 31)),
        st.just("*") | field(1, 12, (3, 4, 10, 11)),
        st.just("*") | field(0, 7, (0, 6, 7)),
    ),
    st.integers(1, 300),
)


def check(case: Case, step_s: int) -> None:
    """Around a change of the clocks: what runs, its end, the next start and the edge."""
    zone, which, fields, lasts = case
    moments = changes(zone)
    middle_s, cron = moments[which % len(moments)], " ".join(fields)
    try:
        windows = parse(f"{cron} {lasts}m {zone}")
    except ValueError as exc:
        assert "never comes" in str(exc)  # noqa: PT017 - only this fault may be
        return
    from_s, to_s = middle_s - HALF_DAY_S, middle_s + HALF_DAY_S
    found = looked_at(cron, ZoneInfo(zone), from_s - lasts * 60, to_s)
    for now_s in range(from_s, to_s, step_s):
        began = [start_s for start_s in found if start_s <= now_s]
        end_s = began[-1] + lasts * 60 if began else 0
        coming = [start_s for start_s in found if start_s > now_s]
        now = standing(windows, now_s)
        assert [span.until_utc_s for span in now.running] == ([end_s] if end_s > now_s else [])
        next_s = None if now.next is None else now.next.start_utc_s
        if coming:
            assert next_s == coming[0]
        else:
            assert next_s is None or next_s >= to_s
        # Until the edge nothing changes.
        later = standing(windows, min(now.edge_utc_s, now_s + 86400) - 1)
        assert (later.running, later.next) == (now.running, now.next)


@given(case=CASES)
@example(case=("Australia/Lord_Howe", 0, ("30", "*", "*", "*", "*"), 20))
@example(case=("Europe/Berlin", 0, ("0", "2", "*", "*", "0"), 120))
@settings(max_examples=40, deadline=None)
def test_windows_run_when_somebody_who_watches_the_clocks_says_so(case: Case) -> None:
    """In every zone, around every change of its clocks, whatever the schedule."""
    check(case, 97 * 60)


@pytest.mark.long
@given(case=CASES)
@settings(max_examples=2000, deadline=None)
def test_many_windows_run_when_somebody_who_watches_the_clocks_says_so(case: Case) -> None:
    """The same for two thousand schedules, looked at more often."""
    check(case, 31 * 60)
