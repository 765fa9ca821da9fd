"""From what a window still allows to a setpoint: hold, or economy for a mean or a share of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from optimizer.control.forecast import QUARTER_S, Model
from optimizer.control.lane import CATCH_UP_WINDOW_RATIO, HOLD_MARGIN_RATIO, Lane
from optimizer.control.share import BURST_S, choose, foreseen
from optimizer.control.window import DAY_S
from optimizer.model import Intent

BAR_ABOVE_RATIO = 0.002
"""A minute that must reach a target is held this far above it: more than the governor is off."""
SMALL_RISE_RATIO = 0.01
"""Hold may always rise by so much to catch up: within a day if that is enough."""
STEEPNESS = 3.0
"""How much higher own load is set for each point by which an hour is quieter than the others."""
PLAN_S = 900.0
"""How often the plan over the next hours is made anew."""
_AHEAD_QUARTERS = (8, 24, 48, 96)
"""A mean is planned over two to twenty-four hours."""


class Setting(NamedTuple):
    """A setpoint (0 to 1) and what it is for."""

    ratio: float
    intent: Intent


def hold(lane: Lane) -> Setting:
    """Never below the target; above it as far as the window has fallen behind.

    What lacks is spread over the rest of the first window, later over a tenth
    of one: (target x window - kept) / remaining, at most `lane.most`. A little
    is made up for sooner, with a rise that is hardly seen.
    """
    window = lane.window
    if not lane.is_mean:
        level = min(lane.target + BAR_ABOVE_RATIO, max(lane.most, lane.target))
        return Setting(level, Intent.HELD if lane.budget.kept(0) >= 0 else Intent.CATCHING_UP)
    ahead = window.slots - window.age or round(window.slots * CATCH_UP_WINDOW_RATIO) or 1
    lack_now, lack = -lane.budget.kept(0), -lane.budget.kept(ahead)
    if max(lack_now, lack) <= 0:
        return Setting(lane.target, Intent.HELD)
    soon = min(SMALL_RISE_RATIO, lack_now * lane.slot_s / DAY_S)
    level = min(lane.most, lane.budget.rule.least + max(soon, lack / ahead))
    behind = lane.budget.kept(0, lane.target) < 0
    return Setting(max(level, lane.target), Intent.CATCHING_UP if behind else Intent.HELD)


def economy(lane: Lane) -> Setting:
    """The least that keeps all windows met, in the hours that the forecast sees quiet.

    The plan aims at the goal with its margin. What is due is set whatever the
    forecast says; see `_economy_mean` and `_economy_share`.
    """
    if lane.is_mean:
        return _economy_mean(lane)
    due = lane.budget.rule.most - lane.budget.allowance() - 0.5 * lane.slack()
    return _economy_share(lane, due)


def _economy_mean(lane: Lane) -> Setting:
    """A margin is made up for gently, the goal itself by all means.

    When the plan has failed, half of the margin is kept by a rise of no more
    than SMALL_RISE_RATIO above the target. HOLD_MARGIN_RATIO of it, as hold
    keeps, or half where that is less, is kept with all that may be set.
    """
    most, gentle = lane.most, lane.target + SMALL_RISE_RATIO
    last = max(0.5, 1.0 - HOLD_MARGIN_RATIO / lane.margin) if lane.margin else 1.0
    slack, needed = lane.slack(), most - lane.budget.allowance()
    due = needed - last * slack
    if due >= most:
        return Setting(most, Intent.DUE if lane.is_met() else Intent.CATCHING_UP)
    due = max(due, min(gentle, needed - 0.5 * slack))
    if lane.level is None or _is_time(lane):
        likely = lane.likely(_AHEAD_QUARTERS[-1])
        per_quarter = QUARTER_S / lane.slot_s
        bounds = []
        for count in _AHEAD_QUARTERS:
            slots = round(count * per_quarter)
            left = lane.budget.allowance(slots)
            # A margin that lacks is made up for gently.
            bounds.append((count, max(left, min(left + last * slack, (most - gentle) * slots))))
        lane.level = quiet_level(likely, bounds, per_quarter, most, STEEPNESS)
        lane.usual = sum(likely) / len(likely)
    planned = lane.level
    if lane.forecast is not None:
        planned += STEEPNESS * (lane.usual - lane.forecast.at(lane.quarter()))
    planned = min(most, max(0.0, planned))
    if due > planned:
        return Setting(max(0.0, due), Intent.DUE)
    return Setting(planned, Intent.PLACED if planned > 0 else Intent.SPARED)


def quiet_level(
    likely: Sequence[float],
    bounds: Sequence[tuple[int, float]],
    per_quarter: float,
    most: float,
    steepness: float,
) -> float:
    """The level around which setpoints are laid so that sum(most - value) stays within each bound.

    `likely` are the tenant's ratios in the next quarter hours, of `per_quarter`
    slots each; a bound says how many of them may come to how much. Each quarter
    hour is set to the level, higher by `steepness` times what the tenant uses
    less than on average, within 0 and `most`. 0 or less: nothing is needed.
    """
    mean = sum(likely) / len(likely)
    lifts = [steepness * (mean - one) for one in likely]
    lowest, highest = -max(lifts), most - min(lifts)

    def short(level: float, count: int) -> float:
        left = 0.0
        for tenant, lift in zip(likely[:count], lifts, strict=False):
            value = level + lift
            # Two comparisons: min() and max() would take three times as long.
            value = most if value > most else value  # noqa: FURB136
            left += most - (value if value > tenant else tenant)  # noqa: FURB136
        return left * per_quarter

    best = lowest
    for count, bound in bounds:
        if short(best, count) <= bound:
            continue
        low, high = best, highest
        for _ in range(10):
            middle = (low + high) / 2
            if short(middle, count) <= bound:
                high = middle
            else:
                low = middle
        best = high
    return best


def _economy_share(lane: Lane, due: float) -> Setting:
    """Raise to the target only a part of the time: where that is cheapest, and in time."""
    raised = Setting(min(lane.target + BAR_ABOVE_RATIO, max(lane.most, lane.target)), Intent.PLACED)
    if due >= 1.0:
        return raised._replace(intent=Intent.CATCHING_UP)
    if due > 0:
        return raised._replace(intent=Intent.DUE)
    spans = lane.spans
    if spans.begins():
        past = spans.refresh()
        now = lane.known_organics(max(1, round(BURST_S / lane.slot_s)))
        likely = foreseen(
            past,
            now,
            lane.slot_s,
            spans.length,
            lane.budget.rule,
            weekly=lane.forecast is None or lane.forecast.best.model is not Model.LAST_DAY,
        )
        choice = choose(past, lane.budget.rule, spans.length, likely, lane.price or lane.target)
        lane.price = choice.price
        lane.burst = spans.length if choice.raise_now else 0
    if lane.burst <= 0:
        return Setting(0.0, Intent.SPARED)
    lane.burst -= 1
    return raised


def _is_time(lane: Lane) -> bool:
    return (lane.window.newest or 0) % max(1, round(PLAN_S / lane.slot_s)) == 0
