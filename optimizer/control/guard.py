"""What keeps the host safe: it may lower a demand, never raise one."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.model import Reason, Utilisation

RESUME_S = 1.0
"""For so long there must be room when a hold-off ends; more than one full cycle."""
_ROUNDING = 1e-9
"""Differences of ratios below this are floating-point noise, not a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """A demand (share of the capacity, 0 to 1) and what limited it, if anything did."""

    demand_ratio: float
    reason: Reason | None = None


def limit(
    demand_ratio: float,
    *,
    usage: Utilisation,
    ceiling_ratio: float,
    previous_ratio: float,
    holding_off: bool,
    has_floor: bool,
    caps: tuple[Limited, ...] = (),
) -> Limited:
    """The demand after ceiling, floor, caps and hold-off.

    Ceiling: organic + demand stays at or below it. Floor: what we hold plus
    the room that is left; when the floor is touched the room is negative, so
    the demand falls below what is held. Caps: the most that is allowed, each
    with its reason; the lowest counts. Hold-off: no more than before.
    """
    lowest, reason = demand_ratio - _ROUNDING, None
    ceiling = max(0.0, ceiling_ratio - usage.organic_ratio)
    if ceiling < lowest:
        lowest, reason = ceiling, Reason.CEILING
    if has_floor:
        floor = max(0.0, usage.own_ratio + usage.room_ratio)
        if floor < lowest:
            lowest, reason = floor, Reason.FLOOR
    for cap in caps:
        if cap.demand_ratio < lowest:
            lowest, reason = max(0.0, cap.demand_ratio), cap.reason
    if holding_off and previous_ratio < lowest:
        lowest, reason = previous_ratio, Reason.HOLD_OFF
    return Limited(demand_ratio=demand_ratio if reason is None else lowest, reason=reason)


def floor_touched(usage: Utilisation, *, previous_ratio: float) -> bool:
    """Whether less is free than must be while we hold something: begins a hold-off."""
    return usage.room_ratio < 0 and previous_ratio > 0


def prolonged(until_s: float, usage: Utilisation, now_s: float) -> float:
    """When a hold-off that may be in force ends: not while there is hardly any room."""
    if now_s < until_s and usage.room_ratio < usage.resume_ratio:
        return max(until_s, now_s + RESUME_S)
    return until_s
