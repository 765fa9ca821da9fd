"""Makes an Account of the rows of the history; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.control import statistic
from optimizer.control.goals import goal_of
from optimizer.control.policy import PRESETS
from optimizer.control.statistic import Figure
from optimizer.control.window import DAY_S
from optimizer.model import PerResource, Reason, Resource
from optimizer.orders import Policy
from optimizer.outcome import Columns, Event
from optimizer.report.account import Account, Day, ResourceAccount, Share, Stretch
from optimizer.report.grid import Grid, Rows, Sums, Used, rows
from optimizer.report.hours import HOUR_S, HOURS_OF_WEEK, MONDAY_S
from optimizer.report.percentile import P95, weighted_percentile
from optimizer.report.windowed import Windows

STRETCHES = 720
"""Into so many the period is cut: hours, of thirty days."""
LAST_DAY_STRETCHES = 288
"""Five minutes each."""
SHARES = 20
"""Classes of the distribution."""
ABSENT = frozenset({Reason.NO_DATA_DISK.value, Reason.NO_DISK.value})
"""Reasons of a row that has no disk to hold; a resource without a value is not judged then."""
_LEAST_STRETCH_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose account it is: what the rows do not tell.

    `capacity` is CPUs or bytes, None where it is not known.
    """

    host: str
    version: str
    policy: Policy
    interval_s: float
    cpus: int | None
    nominal_memory_gb: float | None
    size_class: str
    capacity: PerResource[float | None]


def reading_from(policy: Policy, days: float, to_utc_s: float) -> float:
    """From when on rows are needed for a report of so many days: each day has a window before it.

    Slots may begin a little earlier than the window.
    """
    window = max(goal_of(resource, policy).window_days for resource in Resource)
    return _first_day_s(days, to_utc_s) - window * DAY_S - 2 * HOUR_S


def assemble(
    columns: Columns,
    events: Sequence[Event],
    subject: Subject,
    *,
    days: float,
    to_utc_s: float,
) -> Account:
    """The account of the `days` > 0 days that end at that time.

    `columns` should begin where `reading_from` says; what lies before is unknown.
    """
    terms = subject.policy.terms
    preset = PRESETS[terms.preset]
    from_utc_s = to_utc_s - days * DAY_S
    found = rows(columns)
    laid = _Laid(found, days, to_utc_s, columns.disk_reason)
    one = _one_by_one(laid, subject)
    of = PerResource(cpu=one[Resource.CPU], memory=one[Resource.MEMORY], disk=one[Resource.DISK])
    judged = [one for one in of if one.judged]
    return Account(
        host=subject.host,
        version=subject.version,
        policy=terms.preset,
        policy_says=preset.says,
        policy_source=preset.source,
        policy_as_of=preset.as_of,
        combination=terms.combination.value,
        strategy=terms.strategy.value,
        gap_policy=terms.gaps.value,
        cpus=subject.cpus,
        nominal_memory_gb=subject.nominal_memory_gb,
        size_class=subject.size_class,
        from_utc_s=from_utc_s,
        to_utc_s=to_utc_s,
        first_utc_s=float(laid.rows.start_s.min()) if len(laid.rows.start_s) else None,
        days=days,
        of=of,
        met=terms.combination.verdict([one.met for one in judged]),
        certain=terms.combination.verdict([one.met if one.certain else None for one in judged])
        is not None,
        events=tuple(event for event in events if event.utc_s > from_utc_s),
    )


class _Laid:
    """The rows of the period over all grids that each resource needs."""

    def __init__(self, found: Rows, days: float, to_s: float, disk_reason: str | None) -> None:
        from_s = to_s - days * DAY_S
        self.all, self.to_s, self.period_s = found, to_s, days * DAY_S
        no_disk = disk_reason in ABSENT and not found.of.disk.known.any()
        self.absent = {Resource.DISK: disk_reason} if no_disk else {}
        self.rows = found.within(from_s, to_s)
        self.length_s = self.rows.end_s - self.rows.start_s
        first_hour = math.floor(from_s / HOUR_S)
        hours = math.ceil(to_s / HOUR_S) - first_hour
        self.hours = Grid(self.rows, first_hour * HOUR_S, HOUR_S, hours)
        count = max(1, min(STRETCHES, round(self.period_s / _LEAST_STRETCH_S)))
        self.stretches = Grid(self.rows, from_s, self.period_s / count, count)
        last = found.within(to_s - DAY_S, to_s)
        step_s = DAY_S / LAST_DAY_STRETCHES
        self.last_day = Grid(last, to_s - DAY_S, step_s, LAST_DAY_STRETCHES)
        self.first_day_s = _first_day_s(days, to_s)
        count = math.ceil((to_s - self.first_day_s) / DAY_S)
        self.days = Grid(found.within(self.first_day_s, to_s), self.first_day_s, DAY_S, count)


def _first_day_s(days: float, to_s: float) -> float:
    """The first of the UTC days, as many as the period has; today is one of them."""
    return (math.ceil(to_s / DAY_S) - math.ceil(days)) * float(DAY_S)


def _one_by_one(laid: _Laid, subject: Subject) -> dict[Resource, ResourceAccount]:
    grids: dict[tuple[int, int], Grid] = {}
    found = {}
    for resource in Resource:
        goal = goal_of(resource, subject.policy)
        windows = Windows(goal, subject.interval_s, subject.policy.terms.gaps)
        end_s = windows.newest_s(laid.all, laid.to_s)
        key = (windows.slot_s, windows.slots)
        if key not in grids:
            grids[key] = windows.grid_of(laid.all, laid.first_day_s, laid.to_s)
        windows.fill(grids[key], laid.all.of.of(resource))
        found[resource] = _account(resource, laid, windows, end_s, subject)
    return found


def _account(
    resource: Resource, laid: _Laid, windows: Windows, end_s: float, subject: Subject
) -> ResourceAccount:
    policy, used = subject.policy, laid.rows.of.of(resource)
    target, goal = policy.target.of(resource), policy.terms.goals.of(resource)
    absent = laid.absent.get(resource)
    judged = goal is not None and target > 0 and absent is None
    figure = windows.figure(end_s)
    hours = laid.hours.sums(used)
    known_s, total, own = (float(x.sum()) for x in (hours.known_s, hours.total, hours.own))
    organic = float(hours.organic.sum())
    length_s = laid.length_s * used.known
    values = used.organic[used.known]
    below = used.total < statistic.least(target)
    capacity = subject.capacity.of(resource)
    is_cpu = resource is Resource.CPU and capacity is not None
    return ResourceAccount(
        resource=resource,
        statistic=None if goal is None else str(goal.statistic),
        window_days=windows.goal.window_days,
        target_ratio=target,
        figure=figure,
        organic_figure=windows.figure(end_s, organic=True),
        met=figure.meets(target) if judged else None,
        certain=judged and figure.settles(target),
        absent=absent,
        slot_s=windows.slot_s,
        capacity=capacity,
        total_ratio=_ratio(total, known_s),
        organic_ratio=_ratio(organic, known_s),
        own_ratio=_ratio(own, known_s),
        organic_p95_ratio=weighted_percentile(values, laid.length_s[used.known], P95),
        organic_peak_ratio=float(values.max()) if len(values) else None,
        coverage=min(1.0, known_s / laid.period_s),
        below_hours=float((length_s * below).sum()) / HOUR_S if target > 0 else 0.0,
        own_core_hours=own * (capacity or 0.0) / HOUR_S if is_cpu else None,
        stretches=_stretches(laid.stretches, laid.stretches.sums(used)),
        last_day=_stretches(laid.last_day, _last_day(laid, resource)),
        days=_days(laid, resource, windows, end_s, target if judged else None),
        distribution=_distribution(used, length_s, known_s),
        hour_of_week=_hour_of_week(laid.hours, hours),
    )


def _last_day(laid: _Laid, resource: Resource) -> Sums:
    return laid.last_day.sums(laid.last_day.rows.of.of(resource))


def _ratio(value: float, known_s: float) -> float | None:
    return value / known_s if known_s > 0 else None


def _stretches(grid: Grid, sums: Sums) -> tuple[Stretch, ...]:
    columns = (sums.known_s, sums.organic, sums.own, sums.setpoint_s, sums.setpoint)
    return tuple(
        Stretch(
            start_utc_s=grid.origin_s + place * grid.cell_s,
            length_s=grid.cell_s,
            organic_ratio=_ratio(organic, known_s),
            own_ratio=_ratio(own, known_s),
            setpoint_ratio=_ratio(setpoint, setpoint_s),
            coverage=min(1.0, known_s / grid.cell_s),
        )
        for place, (known_s, organic, own, setpoint_s, setpoint) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        )
    )


def _days(
    laid: _Laid, resource: Resource, windows: Windows, end_s: float, target: float | None
) -> tuple[Day, ...]:
    sums = laid.days.sums(laid.days.rows.of.of(resource))
    found = []
    for place in range(laid.days.cells):
        start_s = laid.first_day_s + place * DAY_S
        known_s, length_s = float(sums.known_s[place]), min(DAY_S, laid.to_s - start_s)
        figure: Figure | None = None
        if target is not None:
            figure = windows.figure(min(start_s + DAY_S, end_s))
        found.append(
            Day(
                start_utc_s=start_s,
                organic_ratio=_ratio(float(sums.organic[place]), known_s),
                own_ratio=_ratio(float(sums.own[place]), known_s),
                coverage=min(1.0, known_s / length_s),
                figure=figure,
                met=None if figure is None or target is None else figure.meets(target),
                certain=figure is not None and target is not None and figure.settles(target),
            )
        )
    return tuple(found)


def _distribution(used: Used, length_s: Any, known_s: float) -> tuple[Share, ...]:
    import numpy as np

    def shares(values: Any) -> list[float]:
        place = np.minimum((values * SHARES + 1e-9).astype(np.intp), SHARES - 1)
        counted = np.bincount(place, weights=length_s, minlength=SHARES)
        return [float(one) / known_s if known_s > 0 else 0.0 for one in counted]

    return tuple(
        Share(low_ratio=place / SHARES, high_ratio=(place + 1) / SHARES, total=one, organic=other)
        for place, (one, other) in enumerate(
            zip(shares(used.total), shares(used.organic), strict=True)
        )
    )


def _hour_of_week(grid: Grid, sums: Sums) -> tuple[tuple[float | None, float | None], ...]:
    import numpy as np

    first = round((grid.origin_s - MONDAY_S) / HOUR_S)
    place = (first + np.arange(grid.cells)) % HOURS_OF_WEEK
    known_s, total, organic = (
        np.bincount(place, weights=column, minlength=HOURS_OF_WEEK).tolist()
        for column in (sums.known_s, sums.total, sums.organic)
    )
    return tuple(
        (_ratio(one, seconds), _ratio(other, seconds))
        for seconds, one, other in zip(known_s, total, organic, strict=True)
    )
