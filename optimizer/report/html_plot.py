"""Parts of a chart: SVG with positions across in percent, so that text keeps its size on a phone.

What must follow the width without gaps (areas, steps) is in an inner SVG that
is stretched; everything else has its place in percent and its size in pixels.
Nothing here has a style attribute: the page's policy forbids them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from optimizer.report.percents import percent

FINE = 1000
"""Height of the inner drawing's coordinates; its bottom is 0 % and its top the axis' end."""
_SQUARE = "M0 0H12V12H0Z"
_BAND = "M0 3H12V9H0Z"
_DIAMOND = "M6 1L11 6L6 11L1 6Z"
_SHAPES = {
    **dict.fromkeys(("stop", "pause", "maint", "press"), _BAND),
    **dict.fromkeys(("event", "fault"), _DIAMOND),
    "line": "M0 6H12",
}
_LABEL_PX = 4
_EDGE = 0.06


def across(share: float) -> str:
    """A place or width, 0 to 1, as SVG takes it."""
    return f"{round(100 * share, 3):g}%"


def titled(element: str, place: str, title: str) -> str:
    """An element that says something when pointed at; the title is escaped here."""
    return f"<{element} {place}><title>{escape(title)}</title></{element}>"


def hit(x: float, width: float, height: float, title: str) -> str:
    """An invisible column that shows its title."""
    place = f'x="{across(x)}" width="{across(width)}" height="{height:g}"'
    return titled("rect", place, title)


def picture(label: str, height: float, body: str, axis: str) -> str:
    """A chart with its axis on the left; `label` is what a screen reader says of it."""
    return (
        f'<div class="plot"><svg class="axis" height="{height:g}" aria-hidden="true">{axis}</svg>'
        f'<svg class="area" width="100%" height="{height:g}" role="img" '
        f'aria-label="{escape(label)}">{body}</svg></div>'
    )


def stretched(width: float, height: float, body: str, *, y: float = 0.0) -> str:
    """A drawing of `width` by FINE units, over the whole chart down to `height` pixels."""
    return (
        f'<svg y="{y:g}" width="100%" height="{height:g}" viewBox="0 0 {width:g} {FINE}" '
        f'preserveAspectRatio="none">{body}</svg>'
    )


def steps(values: Sequence[float | None], top: float) -> str:
    """The area below the values, one unit wide each: path data; nothing where unknown."""
    path: list[str] = []
    drawing = False
    for place, value in enumerate(values):
        if value is None:
            path += [f"V{FINE}Z"] if drawing else []
            drawing = False
            continue
        if not drawing:
            path.append(f"M{place} {FINE}")
        drawing = True
        path.append(f"V{level(value, top, FINE):.0f}H{place + 1}")
    return "".join([*path, f"V{FINE}Z"] if drawing else path)


def outline(values: Sequence[float], top: float) -> str:
    """The line along the values, one unit wide each: path data."""
    return f"M0 {FINE}" + "".join(
        f"V{level(value, top, FINE):.0f}H{place + 1}" for place, value in enumerate(values)
    )


def level(value: float, top: float, height: float) -> float:
    """How far below the upper edge a value is; never outside the chart."""
    return height * (1.0 - min(1.0, max(0.0, value / top)))


def grid(top: float, height: float, *, y: float = 0.0) -> tuple[str, str]:
    """Lines at each quarter of the axis, and their labels in percent."""
    lines, labels = [], []
    for quarter in range(5):
        at = y + level(top * quarter / 4, top, height)
        lines.append(f'<line x2="100%" y1="{at:g}" y2="{at:g}"/>')
        text = percent(top * quarter / 4, 0 if top >= 0.2 and top != 0.1 else 1)
        labels.append(f'<text x="100%" y="{at + _LABEL_PX:g}">{text}</text>')
    return f'<g class="grid">{"".join(lines)}</g>', "".join(labels)


def scale(marks: Iterable[tuple[float, str]], top: float, bottom: float) -> str:
    """Ticks below a chart at shares of its width; every second label is left out on a phone."""
    lines, labels = [], []
    for number, (share, text) in enumerate(marks):
        at = across(share)
        lines.append(f'<line x1="{at}" x2="{at}" y1="{top:g}" y2="{bottom + 4:g}"/>')
        anchor = "s" if share < _EDGE else "e" if share > 1 - _EDGE else "m"
        kind = f"{anchor} odd" if number % 2 else anchor
        labels.append(f'<text class="{kind}" x="{at}" y="{bottom + 16:g}">{escape(text)}</text>')
    return f'<g class="grid">{"".join(lines)}</g><g class="tick">{"".join(labels)}</g>'


def key(entries: Iterable[tuple[str, str]]) -> str:
    """A swatch of a class and its word, for each."""
    return "".join(
        f'<span class="key"><svg class="swatch" width="12" height="12" aria-hidden="true">'
        f'<path class="{kind}" d="{_SHAPES.get(kind, _SQUARE)}"/></svg>{escape(text)}</span>'
        for kind, text in entries
    )
