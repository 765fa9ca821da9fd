"""The control law, one step at a time."""

from __future__ import annotations

import pytest

from optimizer.control.governor import GovernorState, govern_level, govern_rate
from optimizer.model import Utilisation


def usage(total: float, own: float) -> Utilisation:
    """A resource with these ratios and room enough."""
    return Utilisation(total_ratio=total, own_ratio=own, capacity=2.0, room_ratio=1 - total)


def rate(state: GovernorState, total: float, own: float, *, rise: float = 10.0) -> float:
    """The CPU demand for a setpoint of 40 % after a step of 0.1 s."""
    now = usage(total, own)
    got = govern_rate(
        state,
        0.4,
        window=now,
        step_ratio=now.total_ratio,
        judged_ratio=None,
        step_s=0.1,
        rise_per_s=rise,
    )
    return got.demand_ratio


def test_feed_forward_fills_what_the_tenant_leaves() -> None:
    """Tenant 15 % (40 in all, 25 ours), setpoint 40 %, no debt: 25 %."""
    assert rate(GovernorState(demand_ratio=0.25), 0.40, 0.25) == pytest.approx(0.25)


def test_a_shortfall_is_paid_back_gently() -> None:
    """39 % for 0.1 s leaves a debt of 0.001 s; over 1 s that is +0.1 point, tenant at 0."""
    assert rate(GovernorState(demand_ratio=0.39), 0.39, 0.39) == pytest.approx(0.401)


def test_debt_is_bounded() -> None:
    """However long it fell short, no more than 10 points are added."""
    state = GovernorState(demand_ratio=0.4)
    for _ in range(1000):
        got = govern_rate(
            state,
            0.4,
            window=usage(0.1, 0.1),
            step_ratio=0.1,
            judged_ratio=None,
            step_s=0.1,
            rise_per_s=10,
        )
        state = GovernorState(demand_ratio=got.demand_ratio, debt_s=got.debt_s)
    assert got.demand_ratio == pytest.approx(0.5)


def test_nothing_is_owed_while_the_tenant_is_above() -> None:
    """At 60 % tenant the demand is 0 and the debt is forgotten."""
    got = govern_rate(
        GovernorState(demand_ratio=0.3, debt_s=0.05),
        0.4,
        window=usage(0.6, 0.0),
        step_ratio=0.6,
        judged_ratio=None,
        step_s=0.1,
        rise_per_s=10,
    )
    assert (got.demand_ratio, got.debt_s) == (0.0, 0.0)


def test_rise_is_limited_and_fall_is_not() -> None:
    """At 1 per second, 0.1 s lets the demand rise by 10 points; falling is at once."""
    assert rate(GovernorState(), 0.0, 0.0, rise=1.0) == pytest.approx(0.1)
    assert rate(GovernorState(demand_ratio=0.4), 0.8, 0.4, rise=1.0) == 0.0


def test_no_windup_while_the_rise_is_limited() -> None:
    """The debt does not grow while it is the slew-rate limit that holds back."""
    got = govern_rate(
        GovernorState(),
        0.4,
        window=usage(0, 0),
        step_ratio=0.0,
        judged_ratio=None,
        step_s=0.1,
        rise_per_s=1,
    )
    assert got.debt_s == 0.0


def test_a_level_rises_by_its_rate_and_stops_at_what_is_wanted() -> None:
    """10 % of the capacity per second for 0.1 s: one point more, not past the wanted 40 %."""
    got = govern_level(
        GovernorState(demand_ratio=0.1), 0.4, usage=usage(0.1, 0.1), step_s=0.1, rise_per_s=0.1
    )
    assert got.demand_ratio == pytest.approx(0.11)
    near = govern_level(
        GovernorState(demand_ratio=0.395),
        0.4,
        usage=usage(0.395, 0.395),
        step_s=0.1,
        rise_per_s=0.1,
    )
    assert near.demand_ratio == pytest.approx(0.4)


def test_a_level_falls_at_once() -> None:
    """The tenant takes 30 % more: all of that is given back in one step."""
    got = govern_level(
        GovernorState(demand_ratio=0.4), 0.4, usage=usage(0.7, 0.4), step_s=0.1, rise_per_s=0.1
    )
    assert got.demand_ratio == pytest.approx(0.1)


def test_a_level_is_left_alone_within_the_deadband() -> None:
    """A change of 0.03 point is not worth a page."""
    got = govern_level(
        GovernorState(demand_ratio=0.4),
        0.4,
        usage=usage(0.4003, 0.4),
        step_s=0.1,
        rise_per_s=0.1,
    )
    assert got.demand_ratio == 0.4


def test_a_level_never_runs_far_ahead_of_what_is_held() -> None:
    """A stresser that is denied growth at 10 % is asked for 2 s of rise more, not for all."""
    state = GovernorState(demand_ratio=0.1)
    for _ in range(100):
        got = govern_level(state, 0.4, usage=usage(0.1, 0.1), step_s=0.1, rise_per_s=0.01)
        state = GovernorState(demand_ratio=got.demand_ratio)
    assert got.demand_ratio == pytest.approx(0.1 + 0.01 * 2.0)


@pytest.mark.parametrize("step_s", [5.0, 1000.0])
def test_a_late_cycle_does_not_jump(step_s: float) -> None:
    """However late, a step counts for one second at most."""
    got = govern_level(
        GovernorState(demand_ratio=0.1),
        0.4,
        usage=usage(0.1, 0.1),
        step_s=step_s,
        rise_per_s=0.01,
    )
    assert got.demand_ratio == pytest.approx(0.11)


def test_the_setpoint_is_moved_until_the_judged_clock_agrees() -> None:
    """Ticks show 39 % while the wall shows 40: after 10 s the demand is a third of a point higher.

    10 s x 1 point = 0.1 s of debt, paid back over 30 s: a third of a point.
    """
    state = GovernorState(demand_ratio=0.4)
    for _ in range(100):
        bias = state.judged_debt_s / 30.0
        got = govern_rate(
            state,
            0.4,
            window=usage(0.4 + bias, 0.4 + bias),
            step_ratio=0.4 + bias,
            judged_ratio=0.39,
            step_s=0.1,
            rise_per_s=10,
        )
        state = GovernorState(
            demand_ratio=got.demand_ratio, debt_s=got.debt_s, judged_debt_s=got.judged_debt_s
        )
    assert got.demand_ratio == pytest.approx(0.4 + 0.1 / 30, abs=0.0002)


def test_the_judged_clock_moves_the_setpoint_by_a_point_at_most() -> None:
    """However wrong the ticks are: 0.3 s over 30 s."""
    state = GovernorState(demand_ratio=0.4)
    for _ in range(2000):
        now = state.demand_ratio
        got = govern_rate(
            state,
            0.4,
            window=usage(now, now),
            step_ratio=0.4 + state.judged_debt_s / 30.0,
            judged_ratio=0.0,
            step_s=0.1,
            rise_per_s=10,
        )
        state = GovernorState(
            demand_ratio=got.demand_ratio, debt_s=got.debt_s, judged_debt_s=got.judged_debt_s
        )
    assert got.demand_ratio == pytest.approx(0.41, abs=0.001)
