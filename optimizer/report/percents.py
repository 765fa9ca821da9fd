"""Ratios as percentages for people; nothing unknown becomes a 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.report.fields import UNKNOWN

if TYPE_CHECKING:  # the daemon's status needs percent() only
    from optimizer.control.statistic import Figure
    from optimizer.report.account import Account

_MOST_DECIMALS = 5


def percent(ratio: float | None, decimals: int = 1) -> str:
    """`40.2 %`; a dash where unknown. A whole number of a target stays whole."""
    return UNKNOWN if ratio is None else f"{100 * ratio:.{decimals}f} %"


def target_text(target: float) -> str:
    """`40 %`, `32.5 %`: without needless zeros."""
    return f"{round(100 * target, 4):g} %"


def beside(ratio: float, target: float, met: bool) -> str:
    """A figure with as many decimals as it takes to show on which side of the target it is."""
    for decimals in range(1, _MOST_DECIMALS):
        shown = float(f"{100 * ratio:.{decimals}f}")
        if (shown >= round(100 * target, 4)) == met:
            return percent(ratio, decimals)
    return percent(ratio, _MOST_DECIMALS)


def judged(figure: Figure | None, target: float, met: bool | None) -> str:
    """A judged figure beside its verdict; a dash where there is none."""
    if figure is None or figure.ratio is None:
        return UNKNOWN
    return percent(figure.ratio) if met is None else beside(figure.ratio, target, met)


def slot_lengths(account: Account) -> str:
    """`60`, or `60, 120` where the windows differ: seconds of the slots that are judged."""
    found = sorted({one.slot_s for one in account.of if one.statistic is not None})
    return ", ".join(f"{one:g}" for one in found or [account.of.cpu.slot_s])
