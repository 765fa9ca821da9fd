"""What a simulation shows: one line a day, the totals, lines of blocks, and an SVG picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from optimizer.orders import Combination
from optimizer.report.simulation import Result

_BLOCKS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_WIDE = 72
_SVG_POINTS = 900


def _cost(result: Result, cpus: int, target: float) -> str:
    text = f"own load {result.own_core_hours:.2f} core-hours on {cpus} CPUs"
    if result.hold_core_hours is not None:
        text += f"; STRATEGY=hold {result.hold_core_hours:.2f}"
    if result.saving is not None:
        word = "are saved" if result.saving >= 0 else "more are spent"
        text += f", so {100 * abs(result.saving):.1f} % {word}"
    fill = f"{100 * target:g} % at every minute {result.fill_core_hours:.2f}"
    return f"{text}; an ideal fill to {fill}"


def _conclusion(result: Result) -> list[str]:
    on, off = result.on, result.off
    if not on.judged:
        shown = ["policy unknown: at no minute of a running host was there a figure to judge"]
    elif on.unmet:
        parts = ", ".join(f"{name} at {count}" for name, count in on.failing.items())
        shown = [f"policy not met at {on.unmet} of {on.judged} minutes; below target: {parts}"]
    else:
        names = ", ".join(result.judged)
        if result.combination is Combination.BREAK_ANY:
            carried = [name for name in result.judged if not on.missed[name]]
            names = f"one suffices: {', '.join(carried) or names}"
        shown = [f"policy met at each of {on.judged} minutes ({names})"]
    count = sum(day.minutes - day.known for day in result.days)
    if count:
        what = f"policy not met at {off.unmet} of them" if off.judged else "nothing to judge then"
        shown.append(f"host off for {count} more minutes, {what}")
    return shown


def lines(result: Result, *, cpus: int, statistic: str, target: float) -> list[str]:
    """For a terminal."""
    shown = [
        f"{'day':12}{'organic':>9}{'own':>8}{'total':>8}{statistic:>9}  {'core-h':>7}  verdict"
    ]
    for day in result.days:
        ratio = "-" if day.ratio is None else f"{100 * day.ratio:.1f}%"
        means = f"{'-':>9}{'-':>8}{'-':>8}"
        if day.known:
            organic, own = 100 * day.organic / day.known, 100 * day.own / day.known
            means = f"{organic:8.1f}%{own:7.1f}%{organic + own:7.1f}%"
        shown.append(
            f"{day.date:12}{means}{ratio:>9}  {day.own * cpus / 60:7.2f}  {day.verdict}{day.gap}"
        )
    shown += ["", *_sparklines(result), ""]
    return [*shown, _cost(result, cpus, target), *_conclusion(result)]


def _sparklines(result: Result) -> list[str]:
    return [
        f"total   {spark(_means(_totals(result), _WIDE))}",
        f"organic {spark(_means(result.organic, _WIDE))}",
    ]


def _totals(result: Result) -> list[float | None]:
    return [
        None if a is None or b is None else a + b
        for a, b in zip(result.organic, result.own, strict=True)
    ]


def spark(values: Sequence[float | None]) -> str:
    """Ratios as blocks of eight heights; a dot where unknown."""
    return "".join(
        "." if one is None else _BLOCKS[min(8, max(0, round(one * 8)))] for one in values
    )


def _means(values: Sequence[float | None], count: int) -> list[float | None]:
    """At most `count` means of equal parts."""
    size = max(1, -(-len(values) // count))
    found: list[float | None] = []
    for at in range(0, len(values), size):
        known = [one for one in values[at : at + size] if one is not None]
        found.append(sum(known) / len(known) if known else None)
    return found


def svg(result: Result, *, target: float, title: str) -> str:
    """A picture of organic and own load, stacked, with the target; no scripts, no fonts."""
    organic = _means(result.organic, _SVG_POINTS)
    total = _means(_totals(result), _SVG_POINTS)
    width, height, left = 960, 300, 40
    step = (width - left) / max(1, len(total))

    def area(values: Sequence[float | None]) -> str:
        points = " ".join(
            f"{left + i * step:.1f},{height - (one or 0.0) * height:.1f}"
            for i, one in enumerate(values)
        )
        return f"{left},{height} {points} {left + len(values) * step:.1f},{height}"

    bar = height - target * height
    ticks = "".join(
        f'<text x="4" y="{height - p * height / 100 + 4:.0f}">{p}%</text>' for p in (25, 50, 75)
    )
    span = f"{result.days[0].date} to {result.days[-1].date}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 44}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height + 44}" fill="#fff"/>'
        f'<polygon points="{area(total)}" fill="#f0a35e"/>'
        f'<polygon points="{area(organic)}" fill="#4a7fb5"/>'
        f'<line x1="{left}" x2="{width}" y1="{bar:.1f}" y2="{bar:.1f}" stroke="#b00" '
        f'stroke-dasharray="6 4"/>{ticks}'
        f'<text x="{left}" y="{height + 18}">{escape(title)}, {span}</text>'
        f'<text x="{left}" y="{height + 36}">blue: tenant, orange: own load, dashed: target '
        f"{100 * target:g} %; own {result.own_core_hours:.1f} core-hours</text></svg>\n"
    )
