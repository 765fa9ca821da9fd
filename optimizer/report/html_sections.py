"""What the HTML report says of one resource: the verdict first, then how it came about."""

from __future__ import annotations

from html import escape

from optimizer.model import Resource
from optimizer.report.account import Account, ResourceAccount
from optimizer.report.html_days import CLASSES, SIGNS, calendar, figures, verdict_word
from optimizer.report.html_events import Lane
from optimizer.report.html_figures import (
    DAY_S,
    amount,
    lasting,
    thinned,
    tied,
)
from optimizer.report.html_maps import distribution, heat_maps
from optimizer.report.html_plot import across
from optimizer.report.html_timeline import drawn, timeline
from optimizer.report.html_words import Words
from optimizer.report.percents import beside, judged, percent, target_text

LAST_DAY_OVER_DAYS = 2
"""In a shorter period the last day is seen well enough."""
LAST_DAY_PX = 120
LAST_DAY_POINTS = 144
_GIB = 1 << 30


def statistic_words(of: ResourceAccount, words: Words) -> str:
    """`mean of 30 days`, `p95 of 7 days`."""
    name = of.statistic or "mean"
    said = words.statistics.get(name) or words.percentile.format(percent=name.removeprefix("p"))
    return words.of_days.format(statistic=said, lasting=lasting(of.window_days * DAY_S, words))


def heading(of: ResourceAccount, words: Words) -> str:
    """`CPU: mean of 30 days 40.2 % ≥ 40 %, met`."""
    name, target = words.resources[of.resource], target_text(of.target_ratio)
    if of.left_out:
        return words.heading_absent.format(resource=name, why=_absent(of, words))
    if not of.judged:
        return words.heading_not_judged.format(resource=name, figure=percent(of.total_ratio))
    statistic = statistic_words(of, words)
    if of.met is None or of.figure.ratio is None:
        return words.heading_unknown.format(resource=name, statistic=statistic, target=target)
    return words.heading.format(
        resource=name,
        statistic=statistic,
        figure=beside(of.figure.ratio, of.target_ratio, of.met),
        sign="≥" if of.met else "<",
        target=target,
        verdict=verdict_word(of.met, of.certain, words),
    )


def _absent(of: ResourceAccount, words: Words) -> str:
    """Why there is nothing to judge."""
    return words.absent.get(of.absent or "", words.unknown)


def badge(of: ResourceAccount, words: Words) -> str:
    """The verdict as a word with its sign and colour."""
    if not of.judged:
        return f'<span class="badge open">{words.not_judged}</span>'
    word = f"{SIGNS[of.met]} {verdict_word(of.met, of.certain, words)}"
    return f'<span class="badge {badge_kind(of.met, of.certain)}">{word}</span>'


def badge_kind(met: bool | None, certain: bool) -> str:
    """The classes of a badge: without a ground and dashed where the verdict is open."""
    return CLASSES[met] + " weak" * (met is not None and not certain)


def card(account: Account, of: ResourceAccount, words: Words) -> str:
    """The figure that counts, and a bar of what it is made of, for the top of the page."""
    if of.left_out:
        return (
            f'<a class="card" href="#{of.resource.value}"><h2>{words.resources[of.resource]}'
            f'{badge(of, words)}</h2><p class="note">{_absent(of, words)}</p></a>'
        )
    if not of.judged:
        figure, below = percent(of.total_ratio), words.mean
    else:
        figure = judged(of.figure, of.target_ratio, of.met)
        target = words.target_label.format(target=target_text(of.target_ratio))
        below = f"{statistic_words(of, words)} · {target}"
    if of.judged and of.weak:
        below += f'</p><p class="note">{_between(of, words.card_bounds)}'
    return tied(
        f'<a class="card" href="#{of.resource.value}"><h2>{words.resources[of.resource]}'
        f'{badge(of, words)}</h2><p class="big">{figure}</p><p class="note">{below}</p>'
        f'{_stack(of)}<p class="note">{_basis(account, of, words)}'
        f"{words.organic} {percent(of.organic_ratio)} · {words.own} {percent(of.own_ratio)}</p></a>"
    )


def _basis(account: Account, of: ResourceAccount, words: Words) -> str:
    """Says that organic and own are means of the period, where the figure above is another."""
    same = of.statistic == "mean" and abs(of.window_days - account.days) < 0.01
    return "" if same or not of.judged else f"{words.mean}: "


def _stack(of: ResourceAccount) -> str:
    """Organic and own side by side from 0 to 100 %, with the target as a line."""
    if of.organic_ratio is None or of.own_ratio is None:
        bars = '<rect class="gap" width="100%" height="12"/>'
    else:
        bars = (
            f'<rect class="organic" width="{across(of.organic_ratio)}" height="12"/>'
            f'<rect class="own" x="{across(of.organic_ratio)}" '
            f'width="{across(max(0.0, of.own_ratio))}" height="12"/>'
        )
    at = across(of.target_ratio)
    line = f'<line class="target" x1="{at}" x2="{at}" y1="-3" y2="15"/>' if of.target_ratio else ""
    return (
        '<svg class="stack" height="16" aria-hidden="true"><g transform="translate(0 2)">'
        f'<g class="grid"><line x2="100%" y1="12" y2="12"/></g>{bars}{line}</g></svg>'
    )


def section(account: Account, of: ResourceAccount, lane: Lane, words: Words) -> str:
    """All about one resource."""
    name = words.resources[of.resource]
    if of.left_out:
        return f'<section id="{of.resource.value}"><h2>{escape(heading(of, words))}</h2></section>'
    last = ""
    if account.days > LAST_DAY_OVER_DAYS and of.last_day:
        label = f"{name}, {words.last_day}"
        pictured = drawn(
            thinned(of.last_day, LAST_DAY_POINTS),
            of.target_ratio,
            label,
            None,
            words,
            height=LAST_DAY_PX,
        )
        last = f"<h3>{words.last_day}</h3>{pictured}"
    return (
        f'<section id="{of.resource.value}">'
        f"<h2>{tied(escape(heading(of, words)))}</h2>"
        f"{tied(_without_us(of, words) + _bounds(of, words))}"
        f"<h3>{words.timeline}</h3>{timeline(of, lane, words)}{_facts(of, words)}{last}"
        f"{calendar(of, words)}"
        f"<h3>{words.heat}</h3>{heat_maps(of, words)}"
        f"<h3>{words.distribution}</h3>{distribution(of, words)}"
        f"{figures(of, words)}</section>"
    )


def _without_us(of: ResourceAccount, words: Words) -> str:
    """Whether the tenant alone would do."""
    if not of.judged:
        return ""
    met, ratio = of.organic_figure.meets(of.target_ratio), of.organic_figure.ratio
    if met is None or ratio is None:
        return ""
    said = words.without_us_met if met else words.without_us_not_met
    return f"<p>{said.format(figure=beside(ratio, of.target_ratio, met))}</p>"


def _bounds(of: ResourceAccount, words: Words) -> str:
    """Between what the figure lies, where too little of its window is known."""
    figure, target = of.figure, of.target_ratio
    if not of.judged or not of.weak:
        return ""
    said = _between(of, words.bounds)
    if figure.low >= target:
        said += words.bounds_met
    else:
        said += words.bounds_not_met if figure.high < target else words.bounds_open
    return f"<p>{said}</p>"


def _between(of: ResourceAccount, form: str) -> str:
    figure = of.figure
    return form.format(
        coverage=percent(figure.coverage), low=percent(figure.low), high=percent(figure.high)
    )


def _facts(of: ResourceAccount, words: Words) -> str:
    shown = [
        (words.mean, f"{percent(of.total_ratio)}{_size(of, of.total_ratio)}"),
        (words.organic, f"{percent(of.organic_ratio)}{_size(of, of.organic_ratio)}"),
        (words.own, f"{percent(of.own_ratio)}{_size(of, of.own_ratio)}"),
        (words.organic_p95, percent(of.organic_p95_ratio)),
        (words.organic_peak, percent(of.organic_peak_ratio)),
        (words.coverage, percent(of.coverage)),
    ]
    if of.judged:
        shown.append((words.window_coverage, percent(of.figure.coverage)))
    if of.target_ratio > 0 and of.coverage > 0:
        shown.append((words.target, f"{target_text(of.target_ratio)}{_size(of, of.target_ratio)}"))
        shown.append((words.below, words.hours.format(hours=amount(of.below_hours))))
    if of.own_core_hours is not None and of.coverage > 0:
        hours = words.core_hours.format(hours=amount(of.own_core_hours))
        shown.append((words.own_core_hours, hours))
    if of.capacity is not None:
        shown.append((words.capacity, _measure(of, of.capacity, words)))
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in shown)
    return f"<dl>{rows}</dl>"


def _size(of: ResourceAccount, ratio: float | None) -> str:
    """` = 3.2 GiB` of a memory or disk of known size; a share of the CPUs says no more."""
    if ratio is None or of.capacity is None or of.resource is Resource.CPU:
        return ""
    return f" = {amount(ratio * of.capacity / _GIB)} GiB"


def _measure(of: ResourceAccount, capacity: float, words: Words) -> str:
    if of.resource is Resource.CPU:
        return words.cpus.format(count=amount(capacity))
    return f"{amount(capacity / _GIB)} GiB"
