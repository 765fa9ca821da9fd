"""Organic and own load over time, stacked, with target, unknown time and events."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.report.account import ResourceAccount, Stretch
from optimizer.report.html_events import Lane
from optimizer.report.html_figures import (
    DAY_S,
    stamp,
    thinned,
    ticks,
    top,
)
from optimizer.report.html_plot import (
    across,
    grid,
    hit,
    key,
    level,
    picture,
    scale,
    steps,
    stretched,
)
from optimizer.report.html_words import Words
from optimizer.report.percents import percent, target_text

POINTS = 360
"""Steps over the period: one is about a pixel wide on a phone, and two or three on a desk."""
HEIGHT_PX = 200
_TICKS_PX = 24
_FULL = 0.995


def timeline(of: ResourceAccount, lane: Lane, words: Words) -> str:
    """The whole period, with the events below."""
    label = words.timeline_aria.format(
        resource=words.resources[of.resource],
        start=stamp(_start(of.stretches), words, "%Y-%m-%d %H:%M"),
        end=stamp(_end(of.stretches), words, "%Y-%m-%d %H:%M"),
        organic=percent(of.organic_ratio),
        own=percent(of.own_ratio),
        target=target_text(of.target_ratio),
        coverage=percent(of.coverage),
    )
    return drawn(thinned(of.stretches, POINTS), of.target_ratio, label, lane, words)


def drawn(
    stretches: Sequence[Stretch],
    target: float,
    label: str,
    lane: Lane | None,
    words: Words,
    *,
    height: float = HEIGHT_PX,
) -> str:
    """A figure of stretches of equal length; without a target line where the target is 0."""
    if not stretches:
        return f'<p class="note">{words.gap}</p>'
    totals = [one.total_ratio for one in stretches]
    organic = [
        None if total is None else one.organic_ratio
        for one, total in zip(stretches, totals, strict=True)
    ]
    high = top([*totals, target])
    lines, labels = grid(high, height)
    start, end = _start(stretches), _end(stretches)
    bottom = height + (lane.height_px if lane else 0.0)
    areas = f'<path class="own" d="{steps(totals, high)}"/>'
    areas += f'<path class="organic" d="{steps(organic, high)}"/>'
    marks = [((at - start) / (end - start), text) for at, text in ticks(start, end, words)]
    body = (
        _unknown(stretches, totals, height)
        + lines
        + stretched(len(stretches), height, areas)
        + scale(marks, height, bottom)
        + f'<g class="hit">{_hits(stretches, totals, height, words)}</g>'
        + (f'<g transform="translate(0 {height:g})">{lane.marks}</g>' if lane else "")
        + _target(target, high, height, words)
    )
    drawing = picture(label, bottom + _TICKS_PX, body, labels)
    below = f'<p class="keys below">{lane.keys}</p>' if lane and lane.keys else ""
    return f"<figure>{_keys(stretches, totals, words)}{drawing}{below}</figure>"


def _start(stretches: Sequence[Stretch]) -> float:
    return stretches[0].start_utc_s if stretches else 0.0


def _end(stretches: Sequence[Stretch]) -> float:
    return stretches[-1].start_utc_s + stretches[-1].length_s if stretches else 0.0


def _unknown(stretches: Sequence[Stretch], totals: Sequence[float | None], height: float) -> str:
    """Hatching over unknown time, fainter behind what is partly known; neighbours joined."""
    kinds = [
        "gap" if total is None else "part" if one.coverage < _FULL else ""
        for one, total in zip(stretches, totals, strict=True)
    ]
    found, begin, count = [], 0, len(kinds)
    for place in range(1, count + 1):
        if place < count and kinds[place] == kinds[begin]:
            continue
        if kinds[begin]:
            x, width = across(begin / count), across((place - begin) / count)
            found.append(
                f'<rect class="{kinds[begin]}" x="{x}" width="{width}" height="{height:g}"/>'
            )
        begin = place
    return "".join(found)


def _target(target: float, high: float, height: float, words: Words) -> str:
    if target <= 0:
        return ""
    at = level(target, high, height)
    text = words.target_label.format(target=target_text(target))
    return (
        f'<line class="target" x2="100%" y1="{at:g}" y2="{at:g}"/>'
        f'<text class="mark e" x="100%" y="{at - 6 if at > 18 else at + 15:g}">{text}</text>'
    )


def _hits(
    stretches: Sequence[Stretch], totals: Sequence[float | None], height: float, words: Words
) -> str:
    """What each column says when pointed at."""
    found, count = [], len(stretches)
    for place, (one, total) in enumerate(zip(stretches, totals, strict=True)):
        said = [_when(one, words)]
        if total is None:
            said.append(words.gap)
        else:
            said.append(
                f"{words.total} {percent(total)} = {words.organic} {percent(one.organic_ratio)}"
                f" + {words.own} {percent(one.own_ratio)}"
            )
            if one.setpoint_ratio is not None:
                said.append(words.asked.format(ratio=percent(one.setpoint_ratio)))
            if one.coverage < _FULL:
                said.append(words.covered.format(coverage=percent(one.coverage, 0)))
        found.append(hit(place / count, 1 / count, height, "\n".join(said)))
    return "".join(found)


def _when(one: Stretch, words: Words) -> str:
    """`12 Nov 14:00-16:00`."""
    end = one.start_utc_s + one.length_s
    if one.length_s >= DAY_S:
        return (
            f"{stamp(one.start_utc_s, words, 'day')} {stamp(one.start_utc_s, words, '%H:%M')} - "
            f"{stamp(end, words, 'day')} {stamp(end, words, '%H:%M')}"
        )
    day, start = stamp(one.start_utc_s, words, "day"), stamp(one.start_utc_s, words, "%H:%M")
    return f"{day} {start}-{stamp(end, words, '%H:%M')}"


def _keys(
    stretches: Sequence[Stretch],
    totals: Sequence[float | None],
    words: Words,
) -> str:
    """The legend: only what is in the picture."""
    entries = [("organic", words.organic), ("own", words.own)]
    if any(total is None for total in totals):
        entries.append(("gap", words.gap))
    if any(
        total is not None and one.coverage < _FULL
        for one, total in zip(stretches, totals, strict=True)
    ):
        entries.append(("part", words.partly))
    return f'<p class="keys">{key(entries)}</p>'
