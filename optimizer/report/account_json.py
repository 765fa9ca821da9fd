"""An account for programs: JSON with everything in it, and CSV with a row for each day."""

from __future__ import annotations

import csv
import enum
import io
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from optimizer.report.account import Account, Day, ResourceAccount

SCHEMA = "optimizer-report"
VERSION = 1
"""Of the JSON document and of the CSV's columns; raised when a field changes its meaning."""
COLUMNS = {
    "date": "the UTC day, as 2026-11-21",
    "host": "host name",
    "resource": "cpu, memory or disk",
    "policy": "name of the policy",
    "statistic": "what is judged: mean, p95, peak; empty when the resource is not judged",
    "window_days": "length of the judged window, which ends with the day (today: now)",
    "target_percent": "what the statistic must reach",
    "figure_percent": "the statistic of the known minutes of the window; empty when unknown",
    "figure_low_percent": "the same if each unknown minute had been 0 %",
    "figure_high_percent": "the same if each unknown minute had been 100 %",
    "window_coverage_percent": "how much of the window is known",
    "met": "yes, no, or empty: not judged or unknown; of the known minutes",
    "organic_percent": "mean over the known part of the day of what others used",
    "own_percent": "the same of our own load",
    "total_percent": "the same of both",
    "day_coverage_percent": "how much of the day (today: until now) is known",
    "certain": "yes or no, as met: no when unknown minutes, above 5 %, could turn the verdict",
}
"""The columns of the CSV, and what they mean."""


def document(account: Account) -> str:
    """The whole account as a JSON object; ratios 0 to 1, null where unknown, times in UTC s."""
    facts = {"schema": SCHEMA, "version": VERSION, "program_version": account.version}
    whole = asdict(account)
    del whole["version"]
    return json.dumps(facts | whole, default=_value, ensure_ascii=False) + "\n"


def _value(value: object) -> object:
    if isinstance(value, enum.Enum):
        return value.value
    raise TypeError(f"{value!r} has no form in JSON")


def table(account: Account) -> str:
    """One row for each day and resource, with the columns of `COLUMNS`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for place in range(len(account.of.cpu.days)):
        for one in account.of:
            writer.writerow(_row(account, one, one.days[place]))
    return out.getvalue()


def _row(account: Account, one: ResourceAccount, day: Day) -> list[Any]:
    figure = day.figure
    return [
        f"{datetime.fromtimestamp(day.start_utc_s, UTC):%Y-%m-%d}",
        account.host,
        one.resource.value,
        account.policy,
        one.statistic if one.judged else "",
        f"{one.window_days:g}",
        _percent(one.target_ratio),
        _percent(None if figure is None else figure.ratio),
        _percent(None if figure is None else figure.low),
        _percent(None if figure is None else figure.high),
        _percent(None if figure is None else figure.coverage),
        {True: "yes", False: "no", None: ""}[day.met],
        _percent(day.organic_ratio),
        _percent(day.own_ratio),
        _percent(day.total_ratio),
        _percent(day.coverage),
        "" if day.met is None else "yes" if day.certain else "no",
    ]


def _percent(ratio: float | None) -> str:
    return "" if ratio is None else f"{100 * ratio:.3f}"
