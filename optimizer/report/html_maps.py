"""How often which utilisation was seen, and at which hours of the week."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from optimizer.report.account import ResourceAccount
from optimizer.report.html_figures import top
from optimizer.report.html_plot import (
    across,
    grid,
    hit,
    key,
    outline,
    picture,
    scale,
    steps,
    stretched,
)
from optimizer.report.html_words import Words
from optimizer.report.percents import percent, target_text

_HEIGHT_PX = 140
_HEAD_PX = 16
_TICKS_PX = 24
_CELL_PX = 16
_HOURS = 24
_FAINTEST = 0.06
"""Opacity of the colour at 0: so that a known 0 is no blank."""


def distribution(of: ResourceAccount, words: Words) -> str:
    """Shares of the known time by utilisation: total as area, organic as line."""
    shares = of.distribution
    if not any(share.total or share.organic for share in shares):
        return f'<p class="note">{words.gap}</p>'
    high = top([value for share in shares for value in (share.total, share.organic)])
    lines, labels = grid(high, _HEIGHT_PX, y=_HEAD_PX)
    end = max(1.0, *(share.high_ratio for share in shares))
    drawing = (
        f'<path class="total" d="{steps([share.total for share in shares], high)}"/>'
        f'<path class="line" d="{outline([share.organic for share in shares], high)}"/>'
    )
    hits = "".join(
        hit(
            share.low_ratio / end,
            (share.high_ratio - share.low_ratio) / end,
            _HEIGHT_PX + _HEAD_PX,
            f"{percent(share.low_ratio, 0)} - {percent(share.high_ratio, 0)}\n"
            f"{words.total}: {words.share_of_time.format(share=percent(share.total))}\n"
            f"{words.organic}: {words.share_of_time.format(share=percent(share.organic))}",
        )
        for share in shares
    )
    marks = [(tick / 5 / end, percent(tick / 5, 0)) for tick in range(6)]
    bottom = _HEIGHT_PX + _HEAD_PX
    body = (
        lines
        + scale(marks, _HEAD_PX, bottom)
        + stretched(len(shares), _HEIGHT_PX, drawing, y=_HEAD_PX)
        + _target(of.target_ratio, end, bottom, words)
        + f'<g class="hit">{hits}</g>'
    )
    keys = key([("total", words.total), ("line", words.organic)])
    label = f"{words.resources[of.resource]}: {words.distribution}, {words.distribution_note}"
    return (
        f'<figure><p class="keys">{keys}<span>{words.distribution_note}</span></p>'
        f"{picture(label, bottom + _TICKS_PX, body, labels)}</figure>"
    )


def _target(target: float, end: float, bottom: float, words: Words) -> str:
    if target <= 0:
        return ""
    at = across(target / end)
    text = words.target_label.format(target=target_text(target))
    anchor = "s" if target / end < 0.2 else "e" if target / end > 0.8 else "m"
    return (
        f'<line class="target" x1="{at}" x2="{at}" y1="{_HEAD_PX - 2}" y2="{bottom:g}"/>'
        f'<text class="mark {anchor}" x="{at}" y="11">{text}</text>'
    )


def heat_maps(of: ResourceAccount, words: Words) -> str:
    """Two maps of the week on one scale: total and organic."""
    high = top([value for pair in of.hour_of_week for value in pair])
    if all(value is None for pair in of.hour_of_week for value in pair):
        return f'<p class="note">{words.gap}</p>'
    totals = [total for total, _ in of.hour_of_week]
    organic = [organic for _, organic in of.hour_of_week]
    resource = words.resources[of.resource]
    return (
        '<div class="pair">'
        + _map(totals, high, "q-total", words.heat_total, resource, words)
        + _map(organic, high, "q-organic", words.heat_organic, resource, words)
        + "</div>"
    )


def _map(
    values: Sequence[float | None], high: float, kind: str, name: str, resource: str, words: Words
) -> str:
    days = min(len(words.weekdays), len(values) // _HOURS)
    width = across(1 / _HOURS)
    cells = []
    for day in range(days):
        row = []
        for hour in range(_HOURS):
            value = values[day * _HOURS + hour]
            title = f"{words.weekdays[day]} {hour:02d}:00 {percent(value)}"
            tint = 'class="gap"' if value is None else f'fill-opacity="{opacity(value, high)}"'
            x = across(hour / _HOURS)
            row.append(
                f'<rect x="{x}" width="{width}" height="{_CELL_PX}" {tint}>'
                f"<title>{escape(title)}</title></rect>"
            )
        cells.append(f'<g transform="translate(0 {day * _CELL_PX})">{"".join(row)}</g>')
    labels = "".join(
        f'<text x="100%" y="{day * _CELL_PX + 12}">{words.weekdays[day]}</text>'
        for day in range(days)
    )
    bottom = days * _CELL_PX
    marks = [(hour / _HOURS, f"{hour:02d}:00") for hour in range(0, _HOURS, 6)]
    body = f'<g class="heat {kind}">{"".join(cells)}</g>' + scale(marks, bottom, bottom)
    ramp = "".join(
        f'<rect x="{8 * step}" width="8" height="10" fill-opacity="{opacity(step / 10, 1.0)}"/>'
        for step in range(11)
    )
    return (
        f'<figure><p class="keys"><span class="key">{escape(name)}</span>'
        f'<span class="key">0 %<svg class="ramp {kind}" width="88" height="10" '
        f'aria-hidden="true">{ramp}</svg>{percent(high, 0)}</span></p>'
        f"{picture(f'{resource}: {name}', bottom + _TICKS_PX, body, labels)}</figure>"
    )


def opacity(value: float, high: float) -> str:
    """Of the map's colour, in proportion to the value."""
    share = min(1.0, max(0.0, value / high))
    return f"{_FAINTEST + (1 - _FAINTEST) * share:.2f}".lstrip("0") or "0"
