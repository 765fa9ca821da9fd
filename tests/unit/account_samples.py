"""Made-up accounts for the tests of reports: usual, empty, full of gaps, crowded, hostile."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from optimizer.control.statistic import Figure
from optimizer.model import PerResource, Resource
from optimizer.outcome import Event, EventKind
from optimizer.report.account import Account, Day, ResourceAccount, Share, Stretch

DAY_S = 86_400.0
END_S = 1_795_014_000.0
"""2026-11-18 15:00 UTC, a Wednesday."""
HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror='a' x=\"&amp;\u202e\x1b"

Load = Callable[[float], tuple[float, float] | None]
"""(organic, own) at a UTC time; None where unknown."""


def busy(target: float) -> Load:
    """A tenant with office hours, made up to just above the target."""

    def at(utc_s: float) -> tuple[float, float] | None:
        hour = utc_s % DAY_S / 3600
        weekend = (utc_s // DAY_S + 3) % 7 >= 5
        rise = 0.0 if weekend else 0.5 * math.exp(-(((hour - 13.5) / 4) ** 2))
        noise = 0.03 * math.sin(utc_s / 5000) * math.cos(utc_s / 77_000)
        organic = max(0.02, 0.07 + rise + noise)
        return organic, max(0.0, target + 0.002 - organic)

    return at


def gapped(load: Load, *gaps: tuple[float, float]) -> Load:
    """The same with nothing known in some stretches (days before the end)."""

    def at(utc_s: float) -> tuple[float, float] | None:
        ago = (END_S - utc_s) / DAY_S
        return None if any(end < ago <= begin for begin, end in gaps) else load(utc_s)

    return at


def stretches(load: Load, start_s: float, end_s: float, count: int) -> tuple[Stretch, ...]:
    """`count` of equal length, each with ten samples."""
    length, found = (end_s - start_s) / count, []
    for place in range(count):
        begin = start_s + place * length
        known = [one for n in range(10) if (one := load(begin + n * length / 10)) is not None]
        organic = sum(a for a, _ in known) / len(known) if known else None
        own = sum(b for _, b in known) / len(known) if known else None
        found.append(
            Stretch(
                start_utc_s=begin,
                length_s=length,
                organic_ratio=organic,
                own_ratio=own,
                setpoint_ratio=0.41 if known else None,
                coverage=len(known) / 10,
            )
        )
    return tuple(found)


def resource(
    which: Resource,
    load: Load,
    *,
    days: float = 30,
    target: float = 0.40,
    statistic: str | None = "mean",
) -> ResourceAccount:
    """Figures that agree with one another, from 60 samples an hour at most."""
    start = END_S - days * DAY_S
    step = max(600.0, days * DAY_S / 8640)
    times = [start + n * step for n in range(int(days * DAY_S / step))]
    known = [(at, *one) for at in times if (one := load(at)) is not None]
    coverage = len(known) / len(times) if times else 0.0
    totals = [a + b for _, a, b in known]
    organic = sorted(a for _, a, _ in known)

    def mean(values: list[float]) -> float | None:
        return sum(values) / len(values) if values else None

    def figure(values: list[float]) -> Figure:
        low = sum(values) / len(times) if times else 0.0
        return Figure(ratio=mean(values), low=low, high=low + 1 - coverage, coverage=coverage)

    judged = figure(totals)
    weeks: list[list[tuple[float, float]]] = [[] for _ in range(168)]
    for at, tenant, own in known:
        weeks[int((at - 4 * DAY_S) // 3600) % 168].append((tenant + own, tenant))
    bins = 20
    return ResourceAccount(
        resource=which,
        statistic=statistic,
        window_days=30,
        target_ratio=target,
        figure=judged,
        organic_figure=figure(organic),
        met=judged.meets(target) if statistic else None,
        certain=statistic is not None and judged.settles(target),
        absent=None,
        slot_s=60.0,
        capacity={Resource.CPU: 16, Resource.MEMORY: 64 * 2**30, Resource.DISK: 500 * 2**30}[which],
        total_ratio=mean(totals),
        organic_ratio=mean(organic),
        own_ratio=mean([b for _, _, b in known]),
        organic_p95_ratio=organic[int(0.95 * len(organic))] if organic else None,
        organic_peak_ratio=organic[-1] if organic else None,
        coverage=coverage,
        below_hours=sum(total < target for total in totals) * step / 3600,
        own_core_hours=sum(b for _, _, b in known) * 16 * step / 3600
        if which is Resource.CPU
        else None,
        stretches=stretches(load, start, END_S, 720),
        last_day=stretches(load, END_S - DAY_S, END_S, 96),
        days=tuple(_days(load, start, target if statistic else None)),
        distribution=tuple(
            Share(
                low_ratio=n / bins,
                high_ratio=(n + 1) / bins,
                total=_part(totals, n / bins, (n + 1) / bins),
                organic=_part(organic, n / bins, (n + 1) / bins),
            )
            for n in range(bins)
        ),
        hour_of_week=tuple(
            (mean([a for a, _ in hour]), mean([b for _, b in hour])) for hour in weeks
        ),
    )


def _part(values: list[float], low: float, high: float) -> float:
    return sum(low <= one < high for one in values) / len(values) if values else 0.0


def _days(load: Load, start_s: float, target: float | None) -> list[Day]:
    found, at = [], start_s // DAY_S * DAY_S
    while at < END_S:
        (one,) = stretches(load, max(at, start_s), min(at + DAY_S, END_S), 1)
        figure = None
        if target is not None:
            ratio = (
                None
                if one.organic_ratio is None or one.own_ratio is None
                else one.organic_ratio + one.own_ratio
            )
            figure = Figure(ratio=ratio, low=0.0, high=1.0, coverage=one.coverage)
        found.append(
            Day(
                start_utc_s=at,
                organic_ratio=one.organic_ratio,
                own_ratio=one.own_ratio,
                coverage=one.coverage,
                figure=figure,
                met=figure.meets(target) if figure and target is not None else None,
                certain=figure is not None and target is not None and figure.settles(target),
            )
        )
        at += DAY_S
    return found


EVENTS = (
    Event(utc_s=END_S - 24.2 * DAY_S, kind=EventKind.RELOADED, detail="TARGET_CPU"),
    Event(
        utc_s=END_S - 20 * DAY_S,
        kind=EventKind.PAUSED,
        by="ops",
        reason="release 4.2",
        until_utc_s=END_S - 19 * DAY_S,
    ),
    Event(utc_s=END_S - 19.1 * DAY_S, kind=EventKind.RESUMED, detail="by an operator"),
    Event(utc_s=END_S - 14 * DAY_S, kind=EventKind.MAINTENANCE_BEGAN, by="weekly"),
    Event(utc_s=END_S - 13.5 * DAY_S, kind=EventKind.MAINTENANCE_ENDED, detail="its time is over"),
    Event(utc_s=END_S - 9 * DAY_S, kind=EventKind.PRESSURE_BEGAN),
    Event(utc_s=END_S - 8.9 * DAY_S, kind=EventKind.PRESSURE_ENDED),
    Event(utc_s=END_S - 6 * DAY_S, kind=EventKind.STOPPED, detail="exit code 0"),
    Event(utc_s=END_S - 4 * DAY_S, kind=EventKind.STARTED),
    Event(utc_s=END_S - 2 * DAY_S, kind=EventKind.RESTARTED),
)


def account(
    of: PerResource[ResourceAccount], *, days: float = 30, events: tuple[Event, ...] = EVENTS
) -> Account:
    """A host judged by the usual policy."""
    judged = [one.met for one in of if one.statistic]
    return Account(
        host="db-prod-01",
        version="0.1.0",
        policy="regulated-cloud",
        policy_says="the mean of 30 days is at least 40 %",
        policy_source="github.com/adminlove520/CloudResourceOptimizer",
        policy_as_of="2025-09-24",
        combination="meet_all",
        strategy="hold",
        gap_policy="unknown",
        cpus=16,
        nominal_memory_gb=64.0,
        size_class="large",
        from_utc_s=END_S - days * DAY_S,
        to_utc_s=END_S,
        first_utc_s=END_S - days * DAY_S,
        days=days,
        of=of,
        met=False if False in judged else None if None in judged else True,
        certain=all(one.certain for one in of if one.statistic),
        events=events,
    )


@cache
def month() -> Account:
    """Thirty busy days: CPU met, memory missed, disk not judged; two days unknown."""
    gap = (6.0, 4.0)
    missed = busy(0.397)
    return account(
        PerResource(
            cpu=resource(Resource.CPU, gapped(busy(0.40), gap)),
            memory=resource(Resource.MEMORY, gapped(lambda at: _even(missed, at), gap)),
            disk=resource(
                Resource.DISK, gapped(lambda _: (0.22, 0.19), gap), statistic=None, target=0.0
            ),
        )
    )


def _even(load: Load, utc_s: float) -> tuple[float, float] | None:
    found = load(utc_s)
    return None if found is None else (0.31 + found[0] / 20, 0.08 - found[0] / 20)


@cache
def lasting(days: float) -> Account:
    """All met, for any number of days."""
    return account(
        PerResource(
            cpu=resource(Resource.CPU, busy(0.40), days=days),
            memory=resource(Resource.MEMORY, busy(0.40), days=days),
            disk=resource(Resource.DISK, busy(0.40), days=days),
        ),
        days=days,
    )


@cache
def empty() -> Account:
    """Nothing was ever recorded."""
    nothing: Load = lambda _: None  # noqa: E731 - a load like the others
    return account(
        PerResource(
            cpu=resource(Resource.CPU, nothing),
            memory=resource(Resource.MEMORY, nothing),
            disk=resource(Resource.DISK, nothing),
        ),
        events=(),
    )


@cache
def holed() -> Account:
    """Only two fifths known."""
    load = gapped(busy(0.40), (29, 20), (15, 9), (4, 1))
    one = resource(Resource.CPU, load)
    return account(
        PerResource(
            cpu=one,
            memory=replace(one, resource=Resource.MEMORY),
            disk=replace(one, resource=Resource.DISK),
        )
    )


@cache
def crowded() -> Account:
    """Ten thousand events, of all kinds."""
    kinds = list(EventKind)
    events = tuple(
        Event(
            utc_s=END_S - 30 * DAY_S * (1 - n / 10_000),
            kind=kinds[n * 5 % len(kinds)],
            reason=f"number {n}",
        )
        for n in range(10_000)
    )
    return replace(month(), events=events)


def hostile() -> Account:
    """Markup and control characters wherever somebody else chose the text."""
    event = Event(
        utc_s=END_S - DAY_S, kind=EventKind.PAUSED, reason=HOSTILE, by=HOSTILE, detail=HOSTILE
    )
    return replace(
        month(),
        host=HOSTILE,
        version=HOSTILE,
        policy=HOSTILE,
        policy_says=HOSTILE,
        policy_source=HOSTILE,
        policy_as_of=HOSTILE,
        combination=HOSTILE,
        strategy=HOSTILE,
        gap_policy=HOSTILE,
        size_class=HOSTILE,
        events=(event, replace(event, reason="x" * 100_000)),
    )
