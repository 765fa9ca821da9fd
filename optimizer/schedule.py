"""Maintenance windows: cron-like start, duration and zone; which one runs, and what comes next.

A start is a time on the clocks of the zone, a duration is elapsed time. When
the clocks change a start does as in cron: one that is skipped comes when the
clocks have moved, one that comes twice counts the first time. A schedule
whose minute or hour begins with a star goes by the clocks alone instead: none
in the time that is skipped, all of them in the time that comes twice.

Source: cron(8) of Debian, "jobs that run at a specific time or with a
granularity greater than one hour".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from optimizer import durations
from optimizer.orders import Span

EXAMPLE = "0 2 * * sun 2h Europe/Berlin"
"""Every Sunday from two o'clock on."""
LONGEST_S = 7 * 86400
"""What is longer is no window: a pause, or a target of 0."""
MOST_WINDOWS = 32
"""With so many that start each minute, the worst case, an edge costs half a second."""
FORM = "minute hour day month weekday, a duration and a zone"

_MARGIN_S = 26 * 3600
"""A walk begins so much earlier: clocks that were put back since then show its starts again.

They were never put back by more than a day.
"""
_MINUTE = timedelta(minutes=1)
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,3}")
_CHECKED_FROM = datetime(2024, 1, 1)  # noqa: DTZ001 - wall clock of any zone
_ODD_CLOCK = (OverflowError, ValueError, OSError)
"""What a time that no calendar has raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One maintenance window; two are equal when they are written alike.

    `cron` has five fields; `duration_s` is above 0 and up to seven days. The
    zone is kept, so that no file is read again while the daemon runs.
    """

    text: str
    cron: str = field(compare=False)
    duration_s: float = field(compare=False)
    zone: tzinfo = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.text


class Standing(NamedTuple):
    """Which windows run, the longest first, and which start comes next.

    Holds from `from_utc_s` until `edge_utc_s`, infinity: for ever.
    """

    running: tuple[Span, ...]
    next: Span | None
    from_utc_s: float
    edge_utc_s: float


def parse(text: str) -> tuple[Window, ...]:
    """The windows in a text, with `;` between them; empty parts are left out.

    Raises ValueError, whose message names the window at fault and what is wrong with it.
    """
    parts = [part for part in text.split(";") if part.strip()]
    if not 0 < len(parts) <= MOST_WINDOWS:
        raise ValueError(f"there are {len(parts)}, and may be 1 to {MOST_WINDOWS}")
    return tuple(_parsed(part) for part in parts)


def _parsed(text: str) -> Window:
    words = text.split()
    shown = " ".join(words)
    if len(shown) > 80:
        shown = f"{shown[:80]}..."
    if len(words) != 7:
        raise ValueError(f"{shown!r} has {len(words)} parts and not seven: {FORM}")
    cron = " ".join(words[:5])
    try:
        _check_starts(cron)
        return Window(
            text=" ".join(words), cron=cron, duration_s=_duration_s(words[5]), zone=_zone(words[6])
        )
    except ValueError as exc:
        raise ValueError(f"in {shown!r} {exc}") from exc


def _check_starts(cron: str) -> None:
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - only who has windows needs it

    try:
        next(CronSim(cron, _CHECKED_FROM))
    except CronSimError as exc:
        what = str(exc).removeprefix("Bad ")
        raise ValueError(f"the {what} is none that cron knows, or never comes") from exc
    except StopIteration as exc:
        raise ValueError("the start never comes: there is no such date") from exc


def _duration_s(text: str) -> float:
    seconds = durations.parse(text)
    if seconds > LONGEST_S:
        raise ValueError(f"{text!r} is longer than {LONGEST_S // 86400} days")
    return seconds


def _zone(name: str) -> tzinfo:
    """The zone of that name in the IANA time zone database; raises ValueError."""
    if name.upper() == "UTC":
        return UTC  # also where there is no database
    zone = _looked_up(name) if _ZONE.fullmatch(name) else None
    if zone is None and _looked_up("Etc/UTC") is None:
        raise ValueError(
            f"the zone {name!r} cannot be looked up, for this host has no time zone database: "
            "install the package tzdata, or write UTC"
        )
    if zone is None:
        raise ValueError(
            f"the zone {name!r} is not in this host's time zone database: check its spelling "
            "(Area/City, capitals count), or update the package tzdata"
        )
    return zone


def _looked_up(name: str) -> tzinfo | None:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only who has windows needs it

    try:
        return ZoneInfo(name)
    except (ValueError, LookupError, OSError):  # no zone, not there, a directory of zones
        return None


def standing(windows: Sequence[Window], now_utc_s: float) -> Standing:
    """Which windows run at that time and what comes next; none under a clock that is far off."""
    running: list[Span] = []
    coming: list[Span] = []
    for window in windows:
        try:
            last, following = _around(window, now_utc_s)
        except _ODD_CLOCK:
            continue
        if last is not None and now_utc_s < last.until_utc_s:
            running.append(last)
        if following is not None:
            coming.append(following)
    running.sort(key=lambda span: -span.until_utc_s)
    coming.sort(key=lambda span: span.start_utc_s)
    edges = [span.until_utc_s for span in running] + [span.start_utc_s for span in coming[:1]]
    return Standing(
        running=tuple(running),
        next=coming[0] if coming else None,
        from_utc_s=now_utc_s,
        edge_utc_s=min(edges, default=float("inf")),
    )


def _around(window: Window, now_utc_s: float) -> tuple[Span | None, Span | None]:
    """The last start up to now, and the first one after it; the former None when long over."""
    last_s = next_s = None
    for back_s in (_MARGIN_S, window.duration_s + _MARGIN_S):
        next_s = None
        for start_s in starts(window, now_utc_s - back_s):
            if start_s > now_utc_s:
                next_s = start_s
                break
            last_s = start_s
        if last_s is not None:
            break
    return _span(window, last_s), _span(window, next_s)


def starts(window: Window, after_utc_s: float) -> Iterator[float]:
    """The starts from that time on, in order, in seconds since the epoch.

    There may be some more in front, from up to a day before. Raises what a
    time outside the calendar raises: OverflowError, ValueError, OSError.
    """
    from cronsim import CronSim  # noqa: PLC0415 - only who has windows needs it

    zone = window.zone
    minute, hour, *_ = window.cron.split()
    by_clock_alone = minute.startswith("*") or hour.startswith("*")
    begin = datetime.fromtimestamp(after_utc_s, zone).replace(tzinfo=None, fold=0)
    repeated: list[float] = []
    # Without a zone it is a mere calendar; what the clocks do is worked out here.
    for wall in CronSim(window.cron, begin):
        skipped = _is_skipped(wall, zone)
        if skipped and by_clock_alone:
            continue
        at = wall
        while skipped:
            at += _MINUTE
            skipped = _is_skipped(at, zone)
        first_s = at.replace(tzinfo=zone).timestamp()
        while repeated and repeated[0] <= first_s:
            yield repeated.pop(0)
        yield first_s
        second_s = at.replace(tzinfo=zone, fold=1).timestamp()
        if by_clock_alone and second_s > first_s:
            repeated.append(second_s)
    yield from repeated


def _is_skipped(wall: datetime, zone: tzinfo) -> bool:
    """Whether the clocks of the zone never show this time."""
    shown = datetime.fromtimestamp(wall.replace(tzinfo=zone).timestamp(), zone)
    return shown.replace(tzinfo=None, fold=0) != wall


def _span(window: Window, start_s: float | None) -> Span | None:
    if start_s is None:
        return None
    end_s = start_s + window.duration_s
    begin, end = (datetime.fromtimestamp(at, window.zone) for at in (start_s, end_s))
    same_day = begin.date() == end.date()
    return Span(
        window=window.text,
        start_utc_s=start_s,
        until_utc_s=end_s,
        local=f"{begin:%a %Y-%m-%d %H:%M}"
        + (f"-{end:%H:%M}" if same_day else f" - {end:%a %Y-%m-%d %H:%M}")
        + f" {window.text.split()[-1]}",
    )
