"""What a terminal can show, and the words and colours of a verdict there."""

from __future__ import annotations

from dataclasses import dataclass

SO_FAR = " so far"
"""Follows a verdict that the unknown minutes could turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What the terminal can show: characters in a line, blocks, colours."""

    width: int = 80
    blocks: bool = True
    colour: bool = False


def met_words(met: bool | None, certain: bool) -> str:
    """`met`, `NOT met so far`, `unknown`."""
    if met is None:
        return "unknown"
    return ("met" if met else "NOT met") + SO_FAR * (not certain)


def colour_of(met: bool | None, certain: bool) -> str:
    """Green or red; none for a verdict that is open."""
    return {True: "32", False: "31", None: ""}[met if certain else None]


def painted(words: str, colour: str, style: Style) -> str:
    """In that colour, where the terminal shows colours."""
    return f"\x1b[{colour}m{words}\x1b[0m" if colour and style.colour else words
