"""The control law, one step at a time."""

from __future__ import annotations

import pytest

from optimizer.control.governor import Governed, GovernorState, govern_level, govern_rate
from optimizer.model import Utilisation


def usage(total: float, own: float) -> Utilisation:
    """A resource with these ratios and room enough."""
    return Utilisation(total_ratio=total, own_ratio=own, capacity=2.0, room_ratio=1 - total)


def rate(
    state: GovernorState,
    *,
    organic: float = 0.0,
    busy: float = 0.4,
    step_s: float = 0.1,
    calm_s: float = 0.0,
    changed: bool = False,
    rise: float = 10.0,
) -> Governed:
    """The CPU's next demand for a setpoint of 40 %."""
    return govern_rate(
        state,
        0.4,
        organic_ratio=organic,
        step_ratio=busy,
        step_s=step_s,
        calm_s=calm_s,
        changed=changed,
        rise_per_s=rise,
    )


def test_feed_forward_fills_what_the_tenant_leaves() -> None:
    """Tenant 15 %, 40 in all as wanted, no debt: 25 %."""
    got = rate(GovernorState(demand_ratio=0.25), organic=0.15)
    assert got.demand_ratio == pytest.approx(0.25)
    assert got.debt_s == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("calm_s", "over_s"), [(0.0, 1.0), (1.0, 1.0), (2.5, 2.5), (4.0, 4.0), (60.0, 4.0)]
)
def test_a_shortfall_is_paid_back_the_slower_the_longer_it_is_calm(
    calm_s: float, over_s: float
) -> None:
    """39 % for 0.1 s owes 0.001 s, paid over as long as nothing moved, from 1 to 4 s."""
    got = rate(GovernorState(demand_ratio=0.39), busy=0.39, calm_s=calm_s)
    assert got.debt_s == pytest.approx(0.001)
    assert got.demand_ratio == pytest.approx(0.4 + 0.001 / over_s)


def test_what_was_too_much_is_given_back() -> None:
    """44 % for 0.1 s is 0.004 s too much: 0.4 point less while that is so."""
    got = rate(GovernorState(demand_ratio=0.4), busy=0.44)
    assert got.demand_ratio == pytest.approx(0.4 - 0.004)


def test_what_a_rising_tenant_made_too_much_is_forgotten() -> None:
    """The tenant came up to 30 % beside our 40: not paid for by a hole below the setpoint.

    0.1 s at 70 % is 0.03 s too much; with `changed` only the 10 % that are
    missing count.
    """
    before = GovernorState(demand_ratio=0.4)
    got = rate(before, organic=0.3, busy=0.7, changed=True)
    assert got.demand_ratio == pytest.approx(0.1)
    assert got.debt_s == 0.0
    assert rate(before, organic=0.3, busy=0.7).demand_ratio == pytest.approx(0.1 - 0.03)


@pytest.mark.parametrize("debt_s", [0.05, -0.05])
def test_after_a_change_an_old_debt_is_paid_at_the_old_rate(debt_s: float) -> None:
    """0.05 s over 4 s were 1.25 points of demand, and 1.25 points they stay.

    Over 1 s, as what is new is paid, they would be five: more tenant would
    mean more demand. The rest is forgotten.
    """
    calm = GovernorState(demand_ratio=0.4, debt_s=debt_s, payback_s=4.0)
    got = rate(calm, organic=0.3, busy=0.4, changed=True)
    assert got.demand_ratio == pytest.approx(0.1 + debt_s / 4)
    assert got.payback_s == pytest.approx(1.0)
    assert got.debt_s == pytest.approx(debt_s / 4)


def test_what_a_leaving_tenant_left_short_is_owed() -> None:
    """The tenant went from 30 % to 0 beside our 10: 0.03 s short, also when seen as a change."""
    got = rate(GovernorState(demand_ratio=0.1), busy=0.1, changed=True)
    assert got.debt_s == pytest.approx(0.03)
    assert got.demand_ratio == pytest.approx(0.43)


@pytest.mark.parametrize(("busy", "demand"), [(0.1, 0.5), (1.0, 0.3)])
def test_debt_is_bounded_both_ways(busy: float, demand: float) -> None:
    """However long it fell short or went over: 0.1 s, so 10 points over a second."""
    state = GovernorState(demand_ratio=0.4)
    for _ in range(1000):
        got = rate(state, busy=busy)
        state = GovernorState(demand_ratio=got.demand_ratio, debt_s=got.debt_s)
    assert got.demand_ratio == pytest.approx(demand)


def test_nothing_is_owed_while_the_tenant_is_above() -> None:
    """At 60 % tenant the demand is 0 and the debt is forgotten, whatever its sign."""
    for debt_s in (0.05, -0.05):
        got = rate(GovernorState(demand_ratio=0.3, debt_s=debt_s), organic=0.6, busy=0.6)
        assert (got.demand_ratio, got.debt_s) == (0.0, 0.0)


def test_rise_is_limited_and_fall_is_not() -> None:
    """At 1 per second, 0.1 s lets the demand rise by 10 points; falling is at once."""
    assert rate(GovernorState(), busy=0.0, rise=1.0).demand_ratio == pytest.approx(0.1)
    full = GovernorState(demand_ratio=0.4)
    assert rate(full, organic=0.4, busy=0.8, rise=1.0).demand_ratio == 0.0


def test_no_windup_while_the_rise_is_limited() -> None:
    """The debt does not grow while it is the slew-rate limit that holds back."""
    assert rate(GovernorState(), busy=0.0, rise=1.0).debt_s == 0.0
    owed = GovernorState(debt_s=0.02)
    assert rate(owed, busy=0.0, rise=1.0).debt_s == pytest.approx(0.02)


def test_a_limited_demand_owes_nothing() -> None:
    """A step at 0 because of a limit is no debt; one that was too much is given back."""
    limited = GovernorState(limited=True)
    assert rate(limited, busy=0.0, rise=100.0).debt_s == 0.0
    assert rate(limited, busy=0.0, rise=100.0).demand_ratio == pytest.approx(0.4)
    assert rate(limited, busy=0.44).debt_s == pytest.approx(-0.004)


def test_a_late_cpu_cycle_does_not_jump() -> None:
    """Five seconds without a cycle let the demand rise by one second's worth."""
    got = rate(GovernorState(), busy=0.0, step_s=5.0, rise=0.1)
    assert got.demand_ratio == pytest.approx(0.1)


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


def test_a_level_that_was_lost_comes_back_at_the_allowed_rise() -> None:
    """30 % were held and are gone: with 1 % a second two seconds of rising at once, no more."""
    state = GovernorState(demand_ratio=0.30)
    lost = Utilisation(total_ratio=0.10, own_ratio=0.0, capacity=1e9, room_ratio=0.5)
    got = govern_level(state, 0.40, usage=lost, step_s=0.8, rise_per_s=0.01)
    assert got.demand_ratio == pytest.approx(0.02)
