"""The verdict of each day: a calendar, or a strip of weeks for long periods, and a table."""

from __future__ import annotations

from html import escape

from optimizer.report.account import ResourceAccount
from optimizer.report.hours import MONDAY_S
from optimizer.report.html_figures import DAY_S, judged, percent, stamp, total_of, weak
from optimizer.report.html_plot import across, key, picture
from optimizer.report.html_words import Words

CALENDAR_DAYS = 62
"""Longer periods are shown as a strip: a calendar of theirs would be taller than all else."""
SIGNS = {True: "✓", False: "✕", None: "?"}
CLASSES = {True: "ok", False: "bad", None: "open"}
_CELL_PX = 13
_TICKS_PX = 24


def weekday(utc_s: float) -> int:
    """0 is Monday; of the UTC day."""
    return int((utc_s - MONDAY_S) // DAY_S) % 7


def verdict_word(met: bool | None, words: Words) -> str:
    """Met, not met or unknown."""
    return words.unknown if met is None else words.met if met else words.not_met


def calendar(of: ResourceAccount, words: Words) -> str:
    """Empty where the resource is not judged."""
    if not of.judged or not of.days:
        return ""
    drawn = _table if len(of.days) <= CALENDAR_DAYS else _strip
    shown = key(
        (CLASSES[met], f"{SIGNS[met]} {verdict_word(met, words)}")
        for met in (True, False, None)
        if any(day.met is met for day in of.days)
    )
    dashed = (
        f"; {words.weak}" if drawn is _table and any(weak(day.figure) for day in of.days) else ""
    )
    return (
        f"<h3>{words.days}</h3><figure>"
        f'<p class="keys">{shown}<span>{words.days_note}{dashed}</span></p>'
        f"{drawn(of, words)}</figure>"
    )


def _table(of: ResourceAccount, words: Words) -> str:
    """A week a row, Mondays first."""
    cells = ["<td></td>"] * weekday(of.days[0].start_utc_s)
    for number, day in enumerate(of.days):
        form = "day" if number == 0 or stamp(day.start_utc_s, words, "%d") == "01" else "%d"
        date = stamp(day.start_utc_s, words, form).lstrip("0")
        figure = judged(day.figure, of.target_ratio, day.met).removesuffix(" %")
        kind = CLASSES[day.met] + (" weak" if weak(day.figure) else "")
        cells.append(
            f'<td class="{kind}"><i aria-hidden="true">{SIGNS[day.met]}</i>'
            f"<span>{date}</span> <b>{figure}</b>"
            f'<span class="said">{verdict_word(day.met, words)}</span></td>'
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
        title = (
            f"{stamp(day.start_utc_s, words, '%Y-%m-%d')}: "
            f"{judged(day.figure, of.target_ratio, day.met)}, {verdict_word(day.met, words)}"
        )
        cells.append(
            f'<rect class="{CLASSES[day.met]}" x="{across(week / weeks)}" '
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
    counts = ", ".join(
        f"{verdict_word(met, words)}: {sum(day.met is met for day in of.days)}"
        for met in (True, False, None)
    )
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
            percent(total_of(day.organic_ratio, day.own_ratio)),
            percent(day.organic_ratio),
            percent(day.own_ratio),
            percent(day.coverage),
        ]
        if of.judged:
            window = None if day.figure is None else day.figure.coverage
            values += [
                judged(day.figure, of.target_ratio, day.met),
                percent(window),
                f"{SIGNS[day.met]} {verdict_word(day.met, words)}",
            ]
        cells = "".join(f"<td>{value}</td>" for value in values)
        date = stamp(day.start_utc_s, words, "%Y-%m-%d")
        found.append(f'<tr><th scope="row">{date}</th>{cells}</tr>')
    return found
