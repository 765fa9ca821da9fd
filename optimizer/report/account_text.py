"""An account for a terminal."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from optimizer.control.statistic import COVERAGE_ENOUGH, Figure
from optimizer.model import PerResource
from optimizer.orders import Combination, Gaps
from optimizer.report import rightsizing
from optimizer.report.account import Account, Day, ResourceAccount, Stretch
from optimizer.report.events_text import WORDS
from optimizer.report.fields import UNKNOWN, clean, time
from optimizer.report.spark import Piece, last_day

_NAME = 9
_GAPS = {
    Gaps.UNKNOWN: "minutes without a value do not count",
    Gaps.ZERO: "minutes without a value count as 0 %",
}
_COMBINATIONS = {
    Combination.MEET_ALL: "all of these must be met",
    Combination.BREAK_ANY: "one of these suffices",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What the terminal can show: characters in a line, blocks, colours."""

    width: int = 80
    blocks: bool = True
    colour: bool = False


def text(account: Account, style: Style) -> str:
    """The whole report, with a line end at its end."""
    shown = list(_header(account, style))
    for one in account.of:
        shown += ["", *_resource(one, style)]
    pieces: PerResource[Sequence[Piece]] = PerResource(
        cpu=_pieces(account.of.cpu.last_day),
        memory=_pieces(account.of.memory.last_day),
        disk=_pieces(account.of.disk.last_day),
    )
    drawn = last_day(pieces, account.to_utc_s, width=style.width, blocks=style.blocks)
    shown += ["", *(drawn or ["last 24 h: nothing is known"]), ""]
    shown += [*_days(account, style), ""]
    shown += _named("events", _events(account), style)
    shown += _named("size", " ".join(rightsizing.sentences(account, "en")), style)
    return "\n".join(shown) + "\n"


def _header(account: Account, style: Style) -> Iterator[str]:
    size = "" if account.cpus is None else f", {account.cpus} CPUs"
    if account.nominal_memory_gb is not None:
        size += f", {account.nominal_memory_gb:g} GB"
    yield from _named("host", f"{clean(account.host)}{size}, class {account.size_class}", style)
    yield from _named("verdict", _verdict(account), style, _colour(account.met))
    version = clean(account.version)
    yield from _named("program", f"CloudResourceOptimizer {version}, all times UTC", style)
    span = f"{time(account.from_utc_s)} to {time(account.to_utc_s)} ({account.days:g} days)"
    if account.first_utc_s is None:
        span += "; nothing was recorded in this time"
    elif account.first_utc_s > account.from_utc_s + 3600:
        span += f"; recorded from {time(account.first_utc_s)} on"
    yield from _named("period", span, style)
    yield from _named("policy", f"{account.policy}: {account.policy_says}", style)
    source = f"{account.policy_source}; as of {account.policy_as_of}"
    yield from _named("source", source, style)
    rules = [_COMBINATIONS[Combination(account.combination)], _GAPS[Gaps(account.gap_policy)]]
    yield from _named("rules", f"strategy {account.strategy}; {'; '.join(rules)}", style)


def _verdict(account: Account) -> str:
    judged = [one for one in account.of if one.judged]
    if not judged:
        return "nothing is judged"
    word = {True: "MET", False: "NOT met", None: "cannot be told"}[account.met]
    of = ", ".join(f"{one.resource.value} {_met(one.met)}" for one in judged)
    return f"{word} ({of})"


def _met(met: bool | None) -> str:
    return {True: "met", False: "NOT met", None: "unknown"}[met]


def _resource(one: ResourceAccount, style: Style) -> list[str]:
    name = one.resource.value
    if one.judged:
        judged = f"{one.statistic} of {one.window_days:g} d {_percent(one.figure.ratio)}, target"
        judged += f" {_percent(one.target_ratio)}: {_met(one.met)}{_bounds(one.figure)}"
    else:
        judged = "watched only: " + (
            "the target is 0" if one.statistic is not None else "the policy does not judge it"
        )
    lines = _named(name, judged, style)
    if one.total_ratio is None:
        return lines + _named("", "period: nothing is known", style)
    parts = [
        f"period: organic {_percent(one.organic_ratio)} + own {_percent(one.own_ratio)} = total "
        f"{_percent(one.total_ratio)}; coverage {100 * one.coverage:.1f} %"
    ]
    if one.target_ratio > 0:
        parts.append(f"below the target for {one.below_hours:.1f} h")
    if one.judged:
        parts.append(
            f"without own load the {one.statistic} is {_percent(one.organic_figure.ratio)}"
        )
    if one.own_core_hours is not None:
        parts.append(f"own load {one.own_core_hours:.1f} core-hours")
    return lines + _named("", "; ".join(parts), style)


def _bounds(figure: Figure) -> str:
    if figure.ratio is None:
        return "; nothing of the window is known"
    if figure.coverage >= COVERAGE_ENOUGH:
        return f"; coverage {100 * figure.coverage:.1f} %"
    return (
        f"; coverage {100 * figure.coverage:.1f} %, so it lies between {_percent(figure.low)} and "
        f"{_percent(figure.high)} whatever the unknown minutes were"
    )


def _days(account: Account, style: Style) -> list[str]:
    """Each day since the first that is known: its mean, the judged window that ends with it."""
    shown = [one for one in account.of if one.judged] or list(account.of)
    every = range(len(account.of.cpu.days))
    known = [place for place in every if any(one.days[place].coverage > 0 for one in account.of)]
    if not known:
        return []
    head = "".join(f" {one.resource.value:>6}{'window':>7}{'':9}" for one in shown)
    lines = [
        "the mean of each day, the judged window that ends with it, and its verdict",
        f"{'day (UTC)':10}{head}".rstrip(),
    ]
    partial = False
    for place in every[known[0] :]:
        days = [one.days[place] for one in shown]
        date = f"{datetime.fromtimestamp(days[0].start_utc_s, UTC):%Y-%m-%d}"
        lines.append((date + "".join(_cell(day, style) for day in days)).rstrip())
        partial = partial or any(_partial(day) for day in days)
    if partial:
        lines.append("* less than 95 % of the window is known; --csv has the bounds")
    return lines


def _partial(day: Day) -> bool:
    return day.figure is not None and day.figure.coverage < COVERAGE_ENOUGH


def _cell(day: Day, style: Style) -> str:
    total = None
    if day.organic_ratio is not None and day.own_ratio is not None:
        total = day.organic_ratio + day.own_ratio
    figure = verdict = ""
    if day.figure is not None:
        figure = _short(day.figure.ratio)
        verdict = _met(day.met) + "*" * _partial(day)
    return f" {_short(total):>6}{figure:>7} " + _painted(f"{verdict:8}", _colour(day.met), style)


def _events(account: Account) -> str:
    if not account.events:
        return "none in this time"
    counted = Counter(event.kind for event in account.events)
    kinds = ", ".join(f"{count} {WORDS[kind]}" for kind, count in counted.most_common())
    return f"{len(account.events)} (`optimizer history events` lists them): {kinds}"


def _pieces(stretches: tuple[Stretch, ...]) -> list[Piece]:
    return [
        Piece(
            end_utc_s=one.start_utc_s + one.length_s,
            length_s=one.length_s,
            organic_ratio=one.organic_ratio,
            own_ratio=one.own_ratio,
        )
        for one in stretches
        if one.organic_ratio is not None and one.own_ratio is not None
    ]


def _named(name: str, words: str, style: Style, colour: str = "") -> list[str]:
    """Words wrapped beside a name."""
    # A number stays on the line of its percent sign.
    glued = words.replace(" %", "\0%")
    wrapped = textwrap.wrap(glued, max(40, style.width - _NAME), break_on_hyphens=False) or [""]
    return [
        f"{name if not place else '':{_NAME}}{_painted(one.replace(chr(0), ' '), colour, style)}"
        for place, one in enumerate(wrapped)
    ]


def _colour(met: bool | None) -> str:
    return {True: "32", False: "31", None: ""}[met]


def _painted(words: str, colour: str, style: Style) -> str:
    return f"\x1b[{colour}m{words}\x1b[0m" if colour and style.colour else words


def _percent(ratio: float | None) -> str:
    return "unknown" if ratio is None else f"{100 * ratio:.1f} %"


def _short(ratio: float | None) -> str:
    return UNKNOWN if ratio is None else f"{100 * ratio:.1f}%"
