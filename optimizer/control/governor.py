"""Setpoint and measured utilisation to demand: feed-forward plus a bounded trim.

The tenant is measured directly (total minus own), so the feed-forward term
`setpoint - organic` does nearly all the work; the trim only pays back what
the last cycles fell short or went over.
"""

from __future__ import annotations

from typing import NamedTuple

from optimizer.model import Utilisation

_DEBT_LIMIT_S = 0.1
"""Most debt that is carried, in capacities times seconds.

A tenth of a second of the whole host: enough for the residue of feed-forward,
too little to be felt when it is paid back.
"""
_PAYBACK_S = (1.0, 4.0)
"""Over how long a debt is paid back: soon after a change, slowly when all is calm.

Shorter rings; longer leaves it in the next samples, but passes less of the
rounding of the counters on. Measured with benchmarks/cpu_hold.py.
"""
_LONGEST_STEP_S = 1.0
"""A cycle counts for no more than this, so that a late one cannot jump."""
ANTI_WINDUP_S = 2.0
"""How far, in seconds of rising, the demand may run ahead of what is really held."""
LEVEL_DEADBAND_RATIO = 0.0005
"""Memory and disk are left alone while they are this close to what is wanted."""


class GovernorState(NamedTuple):
    """What is carried from one cycle to the next for one resource.

    `debt_s` (capacities times seconds) is being paid back over `payback_s`.
    `limited` tells that something kept the demand below what the law asked for.
    """

    demand_ratio: float = 0.0
    debt_s: float = 0.0
    payback_s: float = 1.0
    limited: bool = False


class Governed(NamedTuple):
    """The demand, what the setpoint alone would ask for, and the debt carried on."""

    wanted_ratio: float
    demand_ratio: float
    debt_s: float = 0.0
    payback_s: float = 1.0


def govern_rate(
    state: GovernorState,
    setpoint_ratio: float,
    *,
    organic_ratio: float,
    step_ratio: float,
    step_s: float,
    calm_s: float,
    changed: bool,
    rise_per_s: float,
) -> Governed:
    """CPU: a rate, so past errors can be paid back.

    `organic_ratio` is the tenant's share now, which has been about the same for
    `calm_s` seconds; `step_ratio` is the busy share over the last `step_s`
    seconds. `changed` tells that the tenant's share has just moved: then old
    debts go on being paid at the same rate, for a faster one would be felt as
    more demand, and what a rising tenant made too much is nobody's to give
    back. While the tenant alone reaches the setpoint nothing is owed, and no
    debt builds up while growth is limited by the slew rate or the demand by
    something else (no windup).
    """
    step_s = min(step_s, _LONGEST_STEP_S)
    missing_ratio = setpoint_ratio - organic_ratio
    if missing_ratio <= 0:
        return Governed(0.0, 0.0)
    payback_s = min(_PAYBACK_S[1], max(_PAYBACK_S[0], calm_s))
    old_s, fell_short_s = state.debt_s, (setpoint_ratio - step_ratio) * step_s
    if changed:
        old_s *= min(1.0, payback_s / state.payback_s)
        fell_short_s = max(0.0, fell_short_s)
    if state.limited:
        fell_short_s = min(0.0, fell_short_s)
    debt_s = _bounded(old_s + fell_short_s, _DEBT_LIMIT_S)
    wanted = min(1.0, max(0.0, missing_ratio + debt_s / payback_s))
    highest = state.demand_ratio + rise_per_s * step_s
    if wanted > highest:
        return Governed(wanted, highest, min(old_s, debt_s), payback_s)
    return Governed(wanted, wanted, debt_s, payback_s)


def govern_level(
    state: GovernorState,
    setpoint_ratio: float,
    *,
    usage: Utilisation,
    step_s: float,
    rise_per_s: float,
) -> Governed:
    """Memory and disk: a level, so what is missing is simply taken and what is too much given back.

    Rises at `rise_per_s` at most and never runs more than a moment ahead of
    what is really held (a stresser that is denied growth must not store it
    up); falls at once.
    """
    step_s = min(step_s, _LONGEST_STEP_S)
    wanted = min(1.0, max(0.0, setpoint_ratio - usage.organic_ratio))
    ahead = usage.own_ratio + max(rise_per_s * ANTI_WINDUP_S, LEVEL_DEADBAND_RATIO)
    if wanted > 0 and abs(wanted - state.demand_ratio) < LEVEL_DEADBAND_RATIO:
        # What was lost, with a stresser that ended, comes back at the same pace as it came.
        return Governed(wanted_ratio=wanted, demand_ratio=min(state.demand_ratio, ahead))
    highest = min(state.demand_ratio + rise_per_s * step_s, ahead)
    return Governed(wanted_ratio=wanted, demand_ratio=min(wanted, max(highest, 0.0)))


def _bounded(value: float, limit: float) -> float:
    return min(limit, max(-limit, value))
