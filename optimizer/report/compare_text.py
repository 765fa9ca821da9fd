"""A comparison of two periods in words and as values for programs; pure."""

from __future__ import annotations

from typing import Any

from optimizer.control.statistic import COVERAGE_ENOUGH
from optimizer.model import Resource
from optimizer.report.compare import Comparison, Figures, ResourceComparison
from optimizer.report.fields import UNKNOWN, time
from optimizer.report.hours import HOURS_OF_WEEK, LEAST_CHANGE, Change, HourChange
from optimizer.report.percents import percent
from optimizer.report.periods import Period
from optimizer.report.unusual import DAILY_VALUES, Anomaly, Unusual

SHOWN_ANOMALIES = 10

_NAMES = {Resource.CPU: "CPU", Resource.MEMORY: "memory", Resource.DISK: "disk"}
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_ROWS = (
    ("tenant, mean", "organic_ratio"),
    ("own load, mean", "own_ratio"),
    ("total, mean", "total_ratio"),
    ("total, p95", "p95_ratio"),
    ("total, peak", "peak_ratio"),
    ("tenant, p95", "organic_p95_ratio"),
    ("tenant, peak", "organic_peak_ratio"),
    ("coverage", "coverage"),
    ("below target", "below_ratio"),
)


def lines(of: Comparison) -> list[str]:
    """The comparison on a terminal."""
    said = [f"A  {_period(of.before)}", f"B  {_period(of.after)}"]
    for one in of.of:
        said += ["", *_resource(one)]
    return said


def document(of: Comparison) -> dict[str, Any]:
    """The comparison for programs: ratios 0 to 1, seconds since the epoch, null where unknown."""
    return {
        "a": _period_document(of.before),
        "b": _period_document(of.after),
        "resources": {one.resource.value: _resource_document(one) for one in of.of},
    }


def _period(of: Period) -> str:
    return f"{time(of.from_utc_s)} to {time(of.to_utc_s)} ({of.asked}, {of.days:.3g} days)"


def _resource(of: ResourceComparison) -> list[str]:
    name = _NAMES[of.resource]
    if not of.before.coverage and not of.after.coverage:
        return [f"{name}: nothing is known of it in either period"]
    said = [f"{name:<16}{'A':>10}{'B':>10}{'B - A':>12}"]
    for words, field in _ROWS:
        a, b = getattr(of.before, field), getattr(of.after, field)
        gap = UNKNOWN if a is None or b is None else f"{_points(b - a)} pt"
        if field != "below_ratio" or a is not None or b is not None:
            said.append(f"  {words:<14}{percent(a):>10}{percent(b):>10}{gap:>12}")
    a, b = of.before.below_hours, of.after.below_hours
    if a is not None or b is not None:
        said.append(f"  {'  in hours':<14}{_hours(a):>10}{_hours(b):>10}")
    said += [f"  {sentence}" for sentence in remarks(of)]
    return said + [f"    {_anomaly(one)}" for one in of.unusual.anomalies[:SHOWN_ANOMALIES]]


def remarks(of: ResourceComparison) -> list[str]:
    """What the figures do and do not tell, in sentences."""
    said = []
    for letter, figures in (("A", of.before), ("B", of.after)):
        if figures.coverage < COVERAGE_ENOUGH:
            said.append(_gaps(letter, figures))
    said.append(_change(of))
    if of.hours and of.change in {Change.MORE, Change.LESS}:
        said.append(f"Most in: {'; '.join(_hour(one, of.cycle) for one in of.hours)}.")
    return said + _unusual(of.unusual)


def _unusual(of: Unusual) -> list[str]:
    """What stands out, and what was held against it."""
    if not of.known:
        return [
            f"What is usual cannot be told: that takes {DAILY_VALUES} weekdays, or as many days of "
            "weekends, before B."
        ]
    said = []
    if of.anomalies:
        count = len(of.anomalies)
        hours = f"{count} hour{'s' * (count != 1)}"
        first = f" (the {SHOWN_ANOMALIES} furthest out)" if count > SHOWN_ANOMALIES else ""
        said.append(f"{hours} of B outside of what is usual{first}:")
    else:
        said.append("No hour of B is outside of what is usual.")
    weekly, daily = "by the hour of the week", "by the hour of the day, weekdays and weekends apart"
    by = weekly if not of.daily else daily if not of.weekly else f"{weekly}, or else {daily}"
    basis = f"Usual is what the {of.days:.3g} days before B show, {by}."
    if of.untold:
        basis += f" For {of.untold} hours of B they are too few."
    return [basis, *said]


def _gaps(letter: str, of: Figures) -> str:
    if not of.coverage:
        return f"Nothing is known of {letter}."
    return (
        f"Only {percent(of.coverage)} of {letter} is known: its figures are those of the known "
        "time."
    )


def _change(of: ResourceComparison) -> str:
    if of.change is Change.UNKNOWN or of.organic_difference is None or of.noise is None:
        return "Whether the tenant has changed cannot be told: too few hours are known in both."
    cycle = "hours of the week" if of.cycle == HOURS_OF_WEEK else "hours of the day"
    figures = f"{_points(of.organic_difference)} points, give or take {100 * of.noise:.1f}"
    if of.change is Change.WITHIN_NOISE:
        if of.noise < abs(of.organic_difference):
            return f"The tenant changes by less than {100 * LEAST_CHANGE:g} points: {figures}."
        return f"No change of the tenant beyond the noise, by the same {cycle}: {figures}."
    return f"The tenant uses {of.change.value}: {figures}, by the same {cycle}."


def _hour(of: HourChange, cycle: int) -> str:
    hour = f"{of.hour % 24:02d}:00"
    day = f"{_WEEKDAYS[of.hour // 24]} " if cycle == HOURS_OF_WEEK else ""
    return f"{day}{hour} {100 * of.before_ratio:.1f} -> {100 * of.after_ratio:.1f} %"


def _anomaly(of: Anomaly) -> str:
    usual = f"{100 * of.low_ratio:.1f} to {100 * of.high_ratio:.1f} %"
    return f"{time(of.start_utc_s)}  {100 * of.organic_ratio:5.1f} %, usual {usual}"


def _points(ratio: float) -> str:
    """A difference of ratios in percentage points."""
    return _signed(100 * ratio)


def _signed(value: float) -> str:
    """With its sign, except where it is rounded to nothing."""
    return f"{value:+.1f}" if round(value, 1) else "0.0"


def _hours(hours: float | None) -> str:
    return UNKNOWN if hours is None else f"{hours:.1f} h"


def _period_document(of: Period) -> dict[str, Any]:
    return {"asked": of.asked, "from_utc_s": of.from_utc_s, "to_utc_s": of.to_utc_s}


def _resource_document(of: ResourceComparison) -> dict[str, Any]:
    return {
        "a": _figures_document(of.before),
        "b": _figures_document(of.after),
        "change": of.change.value,
        "cycle_hours": of.cycle,
        "organic_difference": of.organic_difference,
        "noise": of.noise,
        "remarks": remarks(of),
        "hours": [
            {"hour": one.hour, "before_ratio": one.before_ratio, "after_ratio": one.after_ratio}
            for one in of.hours
        ],
        "usual": {
            "days": of.unusual.days,
            "hours_by_hour_of_week": of.unusual.weekly,
            "hours_by_hour_of_day": of.unusual.daily,
            "hours_unknown": of.unusual.untold,
        },
        "anomalous_hours": len(of.unusual.anomalies) if of.unusual.known else None,
        "anomalies": [
            {
                "start_utc_s": one.start_utc_s,
                "organic_ratio": one.organic_ratio,
                "low_ratio": one.low_ratio,
                "high_ratio": one.high_ratio,
            }
            for one in of.unusual.anomalies[:SHOWN_ANOMALIES]
        ],
    }


def _figures_document(of: Figures) -> dict[str, float | None]:
    names = (*(field for _, field in _ROWS), "below_hours")
    return {name: getattr(of, name) for name in names}
