"""The verdict of each day: a calendar, or a strip of weeks for long periods, and a table."""

from __future__ import annotations

from collections import Counter
from html import escape

from optimizer.report.account import Day, ResourceAccount
from optimizer.report.hours import MONDAY_S
from optimizer.report.html_figures import DAY_S, stamp
from optimizer.report.html_plot import across, key, picture
from optimizer.report.html_words import Words
from optimizer.report.percents import judged, percent

CALENDAR_DAYS = 62
"""Longer periods are shown as a strip: a calendar of theirs would be taller than all else."""
SIGNS = {True: "✓", False: "✕", None: "?"}
CLASSES = {True: "ok", False: "bad", None: "open"}
_CELL_PX = 13
_TICKS_PX = 24


def weekday(utc_s: float) -> int:
    """0 is Monday; of the UTC day."""
    return int((utc_s - MONDAY_S) // DAY_S) % 7


def verdict_word(met: bool | None, certain: bool, words: Words) -> str:
    """Met, not met or unknown; so far, where the unknown minutes could turn it."""
    if met is None:
        return words.unknown
    if certain:
        return words.met if met else words.not_met
    return words.met_so_far if met else words.not_met_so_far


def kind(day: Day) -> str:
    """The classes of its cell: dashed where too little is known, and grey where far too little."""
    return (CLASSES[day.met] if day.shaded else CLASSES[None]) + " weak" * day.weak


def calendar(of: ResourceAccount, words: Words) -> str:
    """Empty where the resource is not judged."""
    if not of.judged or not of.days:
        return ""
    drawn = _table if len(of.days) <= CALENDAR_DAYS else _strip
    shown = key(
        (CLASSES[met], f"{SIGNS[met]} {verdict_word(met, True, words)}")
        for met in (True, False, None)
        if any(day.met is met for day in of.days)
    )
    notes = [words.days_note]
    if any(day.weak for day in of.days):
        notes.append(words.weak)
    if any(day.weak and not day.shaded for day in of.days):
        notes.append(words.faint)
    earlier = f'<p class="note">{words.earlier}</p>' if of.earlier_weak else ""
    return (
        f"<h3>{words.days}</h3><figure>"
        f'<p class="keys">{shown}<span>{"; ".join(notes)}</span></p>'
        f"{drawn(of, words)}{earlier}</figure>"
    )


def _table(of: ResourceAccount, words: Words) -> str:
    """A week a row, Mondays first."""
    cells = ["<td></td>"] * weekday(of.days[0].start_utc_s)
    for number, day in enumerate(of.days):
        form = "day" if number == 0 or stamp(day.start_utc_s, words, "%d") == "01" else "%d"
        date = stamp(day.start_utc_s, words, form).lstrip("0")
        figure = judged(day.figure, of.target_ratio, day.met).removesuffix(" %")
        cells.append(
            f'<td class="{kind(day)}"><i aria-hidden="true">{SIGNS[day.met]}</i>'
            f"<span>{date}</span> <b>{figure}</b>"
            f'<span class="said">{verdict_word(day.met, day.certain, words)}</span></td>'
        )
    rows = "".join(
        f"<tr>{''.join(cells[place : place + 7])}</tr>" for place in range(0, len(cells), 7)
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in words.weekdays)
    return f'<table class="cal"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _strip(of: ResourceAccount, words: Words) -> str:
    """A week a column, Mondays on top."""
    first = of.days[0].start_utc_s
    offset = weekday(first)
    weeks = (offset + len(of.days) + 6) // 7
    cells: list[str] = []
    months: list[str] = []
    for number, day in enumerate(of.days):
        week, row = divmod(offset + number, 7)
        word = verdict_word(day.met, day.certain, words)
        title = (
            f"{stamp(day.start_utc_s, words, '%Y-%m-%d')}: "
            f"{judged(day.figure, of.target_ratio, day.met)}, {word}"
        )
        cells.append(
            f'<rect class="{kind(day)}" x="{across(week / weeks)}" '
            f'y="{row * _CELL_PX}" width="{across(1 / weeks)}" height="{_CELL_PX}">'
            f"<title>{escape(title)}</title></rect>"
        )
        if stamp(day.start_utc_s, words, "%d") == "01":
            name = escape(stamp(day.start_utc_s, words, "month"))
            odd = ' class="odd"' if len(months) % 2 else ""
            months.append(
                f'<text{odd} x="{across(week / weeks)}" y="{7 * _CELL_PX + 14}">{name}</text>'
            )
    labels = "".join(
        f'<text x="100%" y="{row * _CELL_PX + 11}">{words.weekdays[row]}</text>'
        for row in (0, 3, 6)
    )
    counted = Counter(verdict_word(day.met, day.certain, words) for day in of.days)
    counts = ", ".join(f"{word}: {count}" for word, count in counted.items())
    label = f"{words.resources[of.resource]}, {words.days}: {counts}"
    body = f'<g class="strip">{"".join(cells)}</g><g class="tick">{"".join(months)}</g>'
    return picture(label, 7 * _CELL_PX + _TICKS_PX, body, labels)


def figures(of: ResourceAccount, words: Words) -> str:
    """All days with their figures, folded."""
    heads = [words.date, words.total, words.organic, words.own, words.covered.format(coverage="")]
    heads += [words.judged, words.window_known, words.verdict] if of.judged else []
    head = "".join(f'<th scope="col">{name.strip()}</th>' for name in heads)
    return (
        f"<details><summary>{words.figures}</summary>"
        f'<div class="wide"><table class="list num"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(_rows(of, words))}</tbody></table></div>"
        "</details>"
    )


def _rows(of: ResourceAccount, words: Words) -> list[str]:
    found = []
    for day in of.days:
        values = [
            percent(day.total_ratio),
            percent(day.organic_ratio),
            percent(day.own_ratio),
            percent(day.coverage),
        ]
        if of.judged:
            window = None if day.figure is None else day.figure.coverage
            values += [
                judged(day.figure, of.target_ratio, day.met),
                percent(window),
                f"{SIGNS[day.met]} {verdict_word(day.met, day.certain, words)}",
            ]
        cells = "".join(f"<td>{value}</td>" for value in values)
        date = stamp(day.start_utc_s, words, "%Y-%m-%d")
        found.append(f'<tr><th scope="row">{date}</th>{cells}</tr>')
    return found
