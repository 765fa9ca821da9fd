"""The days of an account as a table for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime

from optimizer.report.account import Account, Day, ResourceAccount
from optimizer.report.fields import UNKNOWN
from optimizer.report.percents import judged
from optimizer.report.text_style import SO_FAR, Style, colour_of, met_words, painted

_DATE = 10
_LEAST = (6, 6, 7)
"""Least widths of the mean of the day, of the judged figure and of its verdict."""

Cell = tuple[str, str, str]


def days(account: Account, style: Style) -> list[str]:
    """Each day since the first that is known: its mean, the judged window that ends with it.

    Where the lines would be too long the words `so far` are left to the mark,
    and then the means to the CSV.
    """
    shown = [one for one in account.of if one.judged] or list(account.of)
    every = range(len(account.of.cpu.days))
    known = [place for place in every if any(one.days[place].coverage > 0 for one in account.of)]
    if not known:
        return []
    places = every[known[0] :]
    for whole, means in ((True, True), (False, True), (False, False)):
        table = [[_cell(one, one.days[at], whole, means) for one in shown] for at in places]
        widths = _widths(shown, table, means)
        if _DATE + sum(sum(one) + sum(map(bool, one)) for one in widths) <= style.width:
            break
    what = "the mean of each day, the judged window that ends with it, and its verdict"
    if not means:
        what = "the judged window that ends with each day, and its verdict"
    lines = _wrapped(what, style)
    heads = [
        _joined((one.resource.value if means else "", _head(one, means), ""), width)
        for one, width in zip(shown, widths, strict=True)
    ]
    lines.append(f"{'day (UTC)':{_DATE}}{''.join(heads)}".rstrip())
    for at, row in zip(places, table, strict=True):
        date = f"{datetime.fromtimestamp(shown[0].days[at].start_utc_s, UTC):%Y-%m-%d}"
        cells = [
            _joined(cell, width, colour_of(one.days[at].met, one.days[at].certain), style)
            for one, cell, width in zip(shown, row, widths, strict=True)
        ]
        lines.append((date + "".join(cells)).rstrip())
    return lines + _notes(shown, places, style)


def _notes(shown: Sequence[ResourceAccount], places: range, style: Style) -> list[str]:
    lines = []
    if any(_open(one.days[at]) for one in shown for at in places):
        lines += _wrapped(
            "* so far: less than 95 % of the window is known, and the unknown minutes could turn "
            "the verdict; --csv has the bounds",
            style,
        )
    if any(one.earlier_weak for one in shown):
        lines += _wrapped(
            "The history is kept for one judged window: those of earlier days begin before it, "
            "and are known in part.",
            style,
        )
    return lines


def _open(day: Day) -> bool:
    return day.met is not None and not day.certain


def _head(of: ResourceAccount, means: bool) -> str:
    return "window" if means else of.resource.value


def _cell(of: ResourceAccount, day: Day, whole: bool, means: bool) -> Cell:
    mean = "" if not means else _short(day.total_ratio)
    if day.figure is None:
        return mean, "", ""
    verdict = met_words(day.met, day.certain)
    if not whole:
        verdict = verdict.removesuffix(SO_FAR)
    figure = judged(day.figure, of.target_ratio, day.met).replace(" ", "")
    return mean, figure, verdict + "*" * _open(day)


def _widths(
    shown: Sequence[ResourceAccount], table: Sequence[Sequence[Cell]], means: bool
) -> list[tuple[int, int, int]]:
    found = []
    for number in range(len(shown)):
        mean, figure, verdict = (
            max(least, *(len(row[number][part]) for row in table))
            for part, least in enumerate(_LEAST)
        )
        found.append((mean if means else 0, figure, verdict))
    return found


def _joined(
    cell: Cell, width: tuple[int, int, int], colour: str = "", style: Style | None = None
) -> str:
    mean, figure, verdict = cell
    before = f" {mean:>{width[0]}}" if width[0] else ""
    verdict = f"{verdict:{width[2]}}"
    return f"{before} {figure:>{width[1]}} " + (
        painted(verdict, colour, style) if style is not None else verdict
    )


def _wrapped(words: str, style: Style) -> list[str]:
    return textwrap.wrap(words, max(40, style.width), break_on_hyphens=False)


def _short(ratio: float | None) -> str:
    return UNKNOWN if ratio is None else f"{100 * ratio:.1f}%"
