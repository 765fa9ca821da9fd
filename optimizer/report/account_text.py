"""An account for a terminal."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from optimizer.control.statistic import Figure
from optimizer.model import PerResource
from optimizer.orders import Combination, Gaps
from optimizer.report import rightsizing
from optimizer.report.account import Account, ResourceAccount, Stretch
from optimizer.report.days_text import days
from optimizer.report.events_text import WORDS
from optimizer.report.fields import clean, time
from optimizer.report.percents import judged, percent, slot_lengths, target_text
from optimizer.report.spark import Piece, last_day
from optimizer.report.text_style import SO_FAR, Style, colour_of, met_words, painted

_NAME = 9
_GAPS = {
    Gaps.UNKNOWN: "minutes without a value do not count",
    Gaps.ZERO: "minutes without a value count as 0 %",
}
_ABSENT = {
    "no_data_disk": "this host has no data disk (DATA_DISK_ONLY)",
    "no_disk": "this host has no eligible disk",
}
_COMBINATIONS = {
    Combination.MEET_ALL: "all of these must be met",
    Combination.BREAK_ANY: "one of these suffices",
}


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
    shown += [*days(account, style), ""]
    shown += _named("events", _events(account), style)
    shown += _named("size", " ".join(rightsizing.sentences(account, "en")), style)
    return "\n".join(shown) + "\n"


def _header(account: Account, style: Style) -> Iterator[str]:
    size = "" if account.cpus is None else f", {account.cpus} CPUs"
    if account.nominal_memory_gb is not None:
        size += f", {account.nominal_memory_gb:g} GB"
    yield from _named("host", f"{clean(account.host)}{size}, class {account.size_class}", style)
    yield from _named("verdict", _verdict(account), style, colour_of(account.met, account.certain))
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
    rules.append(
        f"what is judged are slots of {slot_lengths(account)} s, each the mean of its rows: "
        "percentiles and peaks too"
    )
    yield from _named("rules", f"strategy {account.strategy}; {'; '.join(rules)}", style)


def _verdict(account: Account) -> str:
    judging = [one for one in account.of if one.judged]
    if not judging:
        return "nothing is judged"
    word = {True: "MET", False: "NOT met", None: "cannot be told"}[account.met]
    word += SO_FAR * (account.met is not None and not account.certain)
    of = ", ".join(f"{one.resource.value} {met_words(one.met, one.certain)}" for one in judging)
    left_out = "".join(f"; {one.resource.value} not judged" for one in account.of if one.left_out)
    return f"{word} ({of}{left_out})"


def _resource(one: ResourceAccount, style: Style) -> list[str]:
    name = one.resource.value
    if one.left_out:
        return _named(name, f"not judged: {_ABSENT.get(one.absent or '', 'unknown')}", style)
    if one.judged:
        said = f"{one.statistic} of {one.window_days:g} d {_judged(one.figure, one)}, target"
        said += f" {target_text(one.target_ratio)}: {met_words(one.met, one.certain)}"
        said += _bounds(one)
    else:
        said = "watched only: " + (
            "the target is 0" if one.statistic is not None else "the policy does not judge it"
        )
    lines = _named(name, said, style)
    if one.total_ratio is None:
        return lines + _named("", "period: nothing is known", style)
    parts = [
        f"period: organic {percent(one.organic_ratio)} + own {percent(one.own_ratio)} = total "
        f"{percent(one.total_ratio)}; coverage {100 * one.coverage:.1f} %"
    ]
    if one.target_ratio > 0:
        parts.append(f"below the target for {one.below_hours:.1f} h")
    if one.judged:
        parts.append(f"without own load the {one.statistic} is {_judged(one.organic_figure, one)}")
    if one.own_core_hours is not None:
        parts.append(f"own load {one.own_core_hours:.1f} core-hours")
    return lines + _named("", "; ".join(parts), style)


def _judged(figure: Figure, of: ResourceAccount) -> str:
    if figure.ratio is None:
        return "unknown"
    return judged(figure, of.target_ratio, figure.meets(of.target_ratio))


def _bounds(of: ResourceAccount) -> str:
    figure = of.figure
    if figure.ratio is None:
        return "; nothing of the window is known"
    if not of.weak:
        return f"; coverage {100 * figure.coverage:.1f} %"
    return (
        f"; coverage {100 * figure.coverage:.1f} %, so it lies between {percent(figure.low)} and "
        f"{percent(figure.high)} whatever the unknown minutes were"
    )


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
        f"{name if not place else '':{_NAME}}{painted(one.replace(chr(0), ' '), colour, style)}"
        for place, one in enumerate(wrapped)
    ]
