"""A line of blocks for a time: as many columns as fit, in ASCII where a terminal has no blocks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from optimizer.model import PerResource, Resource
from optimizer.outcome import Past
from optimizer.report.fields import time

BLOCKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
ASCII = "_.:-=+*#"
"""The same eight levels for a terminal that can show no blocks."""
UNKNOWN = " "
WIDTHS = (96, 72, 48, 24)
"""Columns for a day: whole parts of hours."""
_LABEL = 16
_SCALE = 13
_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Known use over `length_s` seconds that end at `end_utc_s`; ratios."""

    end_utc_s: float
    length_s: float
    organic_ratio: float
    own_ratio: float


def shows_blocks(encoding: str | None) -> bool:
    """Whether text in this encoding can hold the blocks."""
    try:
        BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def last_day(
    pieces: PerResource[Sequence[Piece]], now_utc_s: float, *, width: int, blocks: bool
) -> list[str]:
    """Organic and own load of the 24 hours before now, two lines for each resource that is known.

    Empty when nothing is known. `width` is that of the terminal.
    """
    count = next((one for one in WIDTHS if one + _LABEL + _SCALE <= width), WIDTHS[-1])
    shown: list[str] = []
    for resource in Resource:
        organic, own = columns(pieces.of(resource), now_utc_s - _DAY_S, _DAY_S, count)
        highest = max(
            (one for pair in zip(organic, own, strict=True) for one in pair if one is not None),
            default=None,
        )
        if highest is None:
            continue
        top = max(0.1, math.ceil(highest * 10 - 1e-9) / 10)
        shown.append(
            f"{resource.value:8}organic {line(organic, top, blocks=blocks)}  0 to {100 * top:.0f} %"
        )
        shown.append(f"{'':8}own     {line(own, top, blocks=blocks)}".rstrip())
    if shown:
        minutes = _DAY_S // count // 60
        shown.insert(0, f"last 24 h to {time(now_utc_s)}, {minutes} minutes a column")
    return shown


def pieces_of(past: Iterable[Past]) -> PerResource[Sequence[Piece]]:
    """What is known of each resource in samples of the history."""
    found: dict[Resource, list[Piece]] = {resource: [] for resource in Resource}
    for one in past:
        for resource, pieces in found.items():
            total, organic = one.usage.of(resource)
            if total is not None and organic is not None:
                own = max(0.0, total - organic)
                pieces.append(
                    Piece(
                        end_utc_s=one.utc_s,
                        length_s=one.span_s,
                        organic_ratio=organic,
                        own_ratio=own,
                    )
                )
    return PerResource(
        cpu=found[Resource.CPU], memory=found[Resource.MEMORY], disk=found[Resource.DISK]
    )


def line(values: Iterable[float | None], top: float, *, blocks: bool) -> str:
    """One character for each value, from 0 to `top`; a space where it is unknown."""
    levels = BLOCKS if blocks else ASCII
    return "".join(
        UNKNOWN
        if one is None
        else levels[min(len(levels) - 1, max(0, math.floor(one / top * len(levels))))]
        for one in values
    )


def columns(
    pieces: Iterable[Piece], from_utc_s: float, length_s: float, count: int
) -> tuple[list[float | None], list[float | None]]:
    """Mean organic and own use in each of `count` equal parts of a time; None where unknown."""
    step_s = length_s / count
    sums = [[0.0, 0.0, 0.0] for _ in range(count)]
    for piece in pieces:
        start_s = max(0.0, piece.end_utc_s - piece.length_s - from_utc_s)
        end_s = min(length_s, piece.end_utc_s - from_utc_s)
        for place in range(math.floor(start_s / step_s), math.ceil(end_s / step_s)):
            part_s = min(end_s, (place + 1) * step_s) - max(start_s, place * step_s)
            cell = sums[min(place, count - 1)]
            cell[0] += part_s
            cell[1] += part_s * piece.organic_ratio
            cell[2] += part_s * piece.own_ratio
    organic = [organic_s / known_s if known_s > 0 else None for known_s, organic_s, _ in sums]
    own = [own_s / known_s if known_s > 0 else None for known_s, _, own_s in sums]
    return organic, own
