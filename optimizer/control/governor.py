"""Setpoint and measured utilisation to demand: feed-forward plus a bounded trim.

The tenant is measured directly (total minus own), so the feed-forward term
`setpoint - organic` does nearly all the work; the trim only pays back what
the last cycles fell short or went over.
"""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.model import Utilisation

_DEBT_LIMIT_S = 0.1
"""Most debt that is carried, in capacities times seconds.

A tenth of a second of the whole host: enough for the residue of feed-forward,
too little to be felt when it is paid back.
"""
_DEBT_PAYBACK_S = 1.0
"""Over how long a debt is paid back; shorter rings, longer leaves it in the 1-s samples.

Measured with benchmarks/recorder.py.
"""
_JUDGED_LIMIT_S = 0.3
"""Most that is carried of the difference between the two clocks, in capacities times seconds."""
_JUDGED_PAYBACK_S = 30.0
"""Over how long that is paid back.

The judge's agent counts ticks, which sample our slices and are off by up to
half a point for minutes, while the wall clock is exact. So the fast loop
follows the wall, and this slow one moves its setpoint by at most a point until
the ticks agree; fast on ticks would double the error of the 1-s samples.
Measured with benchmarks/recorder.py.
"""
_LONGEST_STEP_S = 1.0
"""A cycle counts for no more than this, so that a late one cannot jump."""
_ANTI_WINDUP_S = 2.0
"""How far, in seconds of rising, the demand may run ahead of what is really held."""
LEVEL_DEADBAND_RATIO = 0.0005
"""Memory and disk are left alone while they are this close to what is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernorState:
    """What is carried from one cycle to the next for one resource."""

    demand_ratio: float = 0.0
    debt_s: float = 0.0
    judged_debt_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Governed:
    """The demand, what the setpoint alone would ask for, and the trims carried on."""

    wanted_ratio: float
    demand_ratio: float
    debt_s: float = 0.0
    judged_debt_s: float = 0.0


def govern_rate(
    state: GovernorState,
    setpoint_ratio: float,
    *,
    window: Utilisation,
    step_ratio: float | None,
    judged_ratio: float | None,
    step_s: float,
    rise_per_s: float,
) -> Governed:
    """CPU: a rate, so past errors can be paid back.

    `window` is the utilisation over the last half second, for the tenant's
    share; `step_ratio` the busy share over the last cycle by the wall clock,
    for the debt, and `judged_ratio` the same by the ticks that monitoring
    agents count. While the tenant alone reaches the setpoint nothing is owed
    (no windup after saturation), and no debt builds up while growth is limited
    by the slew rate.
    """
    step_s = min(step_s, _LONGEST_STEP_S)
    missing_ratio = setpoint_ratio - window.organic_ratio
    judged_s = state.judged_debt_s
    if missing_ratio <= 0:
        return Governed(wanted_ratio=0.0, demand_ratio=0.0, judged_debt_s=judged_s)
    bias_ratio = judged_s / _JUDGED_PAYBACK_S
    error_ratio = 0.0 if step_ratio is None else setpoint_ratio + bias_ratio - step_ratio
    debt_s = _bounded(state.debt_s + error_ratio * step_s, _DEBT_LIMIT_S)
    wanted = missing_ratio + bias_ratio + debt_s / _DEBT_PAYBACK_S
    wanted = min(1.0, max(0.0, wanted))
    highest = state.demand_ratio + rise_per_s * step_s
    if wanted > highest:
        return Governed(
            wanted_ratio=wanted,
            demand_ratio=highest,
            debt_s=min(state.debt_s, debt_s),
            judged_debt_s=judged_s,
        )
    if judged_ratio is not None:
        judged_s = _bounded(judged_s + (setpoint_ratio - judged_ratio) * step_s, _JUDGED_LIMIT_S)
    return Governed(wanted_ratio=wanted, demand_ratio=wanted, debt_s=debt_s, judged_debt_s=judged_s)


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
    if wanted > 0 and abs(wanted - state.demand_ratio) < LEVEL_DEADBAND_RATIO:
        return Governed(wanted_ratio=wanted, demand_ratio=state.demand_ratio)
    ahead = usage.own_ratio + max(rise_per_s * _ANTI_WINDUP_S, LEVEL_DEADBAND_RATIO)
    highest = min(state.demand_ratio + rise_per_s * step_s, ahead)
    return Governed(wanted_ratio=wanted, demand_ratio=min(wanted, max(highest, 0.0)))


def _bounded(value: float, limit: float) -> float:
    return min(limit, max(-limit, value))
