"""Events of the period: marks below the time line, and a list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from optimizer.outcome import Event, EventKind
from optimizer.report.fields import clean, time
from optimizer.report.html_figures import TEXT_CHARS, lasting, safe
from optimizer.report.html_plot import across, key, titled
from optimizer.report.html_words import Words

LISTED = 150
"""The list shows the newest so many."""
ENDS: dict[EventKind, frozenset[EventKind]] = {
    EventKind.STOPPED: frozenset({EventKind.STARTED, EventKind.RESTARTED}),
    EventKind.PAUSED: frozenset({EventKind.PAUSED, EventKind.RESUMED}),
    EventKind.MAINTENANCE_BEGAN: frozenset({EventKind.MAINTENANCE_ENDED}),
    EventKind.PRESSURE_BEGAN: frozenset(
        {EventKind.PRESSURE_ENDED, EventKind.STARTED, EventKind.RESTARTED, EventKind.STOPPED}
    ),
}
"""What begins a stretch of time, and what ends it."""
_CLASSES = {
    EventKind.STOPPED: "stop",
    EventKind.PAUSED: "pause",
    EventKind.MAINTENANCE_BEGAN: "maint",
    EventKind.PRESSURE_BEGAN: "press",
}
_OVER = {EventKind.RESUMED, EventKind.MAINTENANCE_ENDED, EventKind.PRESSURE_ENDED}
_GRAVE = {EventKind.RESTARTED, EventKind.TRIPPED, EventKind.REJECTED}
_ROW_PX = 9
_POINTS_PX = 14
_LEAST = 1 / 240
"""Marks that are closer than this share of the period become one."""
_SAID = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time between two events; clipped to the period."""

    kind: EventKind
    start_utc_s: float
    end_utc_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The marks below a time line, how high they are, and their legend; all empty without any."""

    marks: str
    height_px: float
    keys: str


def spans(events: Sequence[Event], start_s: float, end_s: float) -> list[Span]:
    """What lasted when, by the events alone; one that began earlier begins with the period.

    What has not ended lasts until the end of the period, or until the time it was given for.
    """
    ordered = sorted(events, key=lambda event: event.utc_s)
    found = []
    for kind, ends in ENDS.items():
        begun: Event | None = None
        begin, seen = start_s, False
        for event in ordered:
            if event.kind in ends and (begun is not None or (not seen and _own_end(event, kind))):
                found.append((kind, begin, event.utc_s))
                begun = None
            seen = seen or event.kind is kind or event.kind in ends
            if event.kind is kind:
                begun, begin = event, event.utc_s
        if begun is not None:
            until = begun.until_utc_s
            found.append((kind, begin, end_s if until is None else min(end_s, until)))
    clipped = [
        Span(kind=kind, start_utc_s=max(start_s, begin), end_utc_s=min(end_s, end))
        for kind, begin, end in found
    ]
    return [span for span in clipped if span.end_utc_s > span.start_utc_s]


def _own_end(event: Event, kind: EventKind) -> bool:
    """Whether an end without a begin tells that it was so from the start of the period on."""
    return event.kind in _OVER and event.kind is not kind


def lane(events: Sequence[Event], start_s: float, end_s: float, words: Words) -> Lane:
    """A row for each kind that lasted, then one of diamonds for what happened at once."""
    length = max(1.0, end_s - start_s)
    rows, entries, y = [], [], 3.0
    lasted = spans(events, start_s, end_s)
    for kind, name in _CLASSES.items():
        of_kind = [span for span in lasted if span.kind is kind]
        if not of_kind:
            continue
        for begin, end, count in _joined(of_kind, _LEAST * length):
            title = f"{words.spans[kind]}, " + words.from_to.format(
                start=time(begin), end=time(end)
            )
            title += (
                f", {lasting(end - begin, words)}"
                if count == 1
                else f", {words.times.format(count=count)}"
            )
            place = (
                f'class="{name}" x="{across((begin - start_s) / length)}" y="{y:g}" '
                f'width="{across(max(_LEAST, (end - begin) / length))}" height="{_ROW_PX - 3}"'
            )
            rows.append(titled("rect", place, title))
        entries.append((name, words.spans[kind]))
        y += _ROW_PX
    points = [e for e in events if e.kind not in _OVER | set(_CLASSES) and start_s <= e.utc_s]
    if points:
        rows += _diamonds(points, start_s, length, y + _POINTS_PX / 2, words)
        grave = {event.kind in _GRAVE for event in points}
        entries += [("fault", words.faults)] if True in grave else []
        entries += [("event", words.notices)] if False in grave else []
        y += _POINTS_PX
    return Lane(marks="".join(rows), height_px=y if rows else 0.0, keys=key(entries))


def _joined(of_kind: Iterable[Span], least_s: float) -> list[tuple[float, float, int]]:
    """Begin, end and count; those that would touch on the screen are one."""
    found: list[tuple[float, float, int]] = []
    for span in sorted(of_kind, key=lambda one: one.start_utc_s):
        if found and span.start_utc_s - found[-1][1] < least_s:
            begin, end, count = found[-1]
            found[-1] = (begin, max(end, span.end_utc_s), count + 1)
        else:
            found.append((span.start_utc_s, span.end_utc_s, 1))
    return found


def _diamonds(
    points: Sequence[Event], start_s: float, length: float, y: float, words: Words
) -> list[str]:
    groups: dict[int, list[Event]] = {}
    for event in points:
        groups.setdefault(int((event.utc_s - start_s) / length / _LEAST), []).append(event)
    found = []
    for place, group in sorted(groups.items()):
        said = [f"{time(event.utc_s)}: {words.kinds[event.kind]}" for event in group[:_SAID]]
        said += [f"+ {len(group) - _SAID}"] if len(group) > _SAID else []
        kind = "fault" if any(event.kind in _GRAVE for event in group) else "event"
        mark = titled("path", f'class="{kind}" d="M0-5L5 0L0 5L-5 0Z"', "\n".join(said))
        x = across(min(1.0, place * _LEAST))
        found.append(f'<svg x="{x}" y="{y:g}" overflow="visible">{mark}</svg>')
    return found


def listed(events: Sequence[Event], words: Words) -> str:
    """A table, newest first."""
    if not events:
        return f"<p>{words.no_events}</p>"
    newest = sorted(events, key=lambda event: event.utc_s, reverse=True)[:LISTED]
    heads = (words.when, words.what, words.until, words.by, words.detail)
    rows = "".join(_row(event, words) for event in newest)
    note = words.more_events.format(shown=len(newest), count=len(events))
    return (
        (f'<p class="note">{note}</p>' if len(events) > len(newest) else "")
        + '<div class="wide"><table class="list"><thead><tr>'
        + "".join(f'<th scope="col">{head}</th>' for head in heads)
        + f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(event: Event, words: Words) -> str:
    until = "" if event.until_utc_s is None else time(event.until_utc_s).removesuffix(" UTC")
    said = [clean(part)[:TEXT_CHARS] for part in (event.detail, event.reason) if part]
    grave = ' class="grave"' if event.kind in _GRAVE else ""
    return (
        f"<tr{grave}><td>{time(event.utc_s, seconds=True).removesuffix(' UTC')}</td>"
        f"<td>{words.kinds[event.kind]}</td><td>{until}</td><td>{safe(event.by)}</td>"
        f'<td lang="en">{safe("; ".join(said))}</td></tr>'
    )
