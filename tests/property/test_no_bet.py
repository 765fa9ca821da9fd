"""Economy and hold never bet: whatever a tenant does, every window that ends is met.

Given a governor that reaches the setpoint, this needs no probability; the
windows are judged here in the plainest way, none of them by the planner's sums.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.control.lane import Lane
from optimizer.control.strategy import economy, hold
from optimizer.orders import Goal, Statistic, Strategy, Terms

SLOT_S = 1800
DAY = 48
WINDOW = 5 * DAY
START = 20_000 * DAY
TARGET, MOST = 0.25, 0.35
STATISTICS = ["mean", "p95", "p50", "peak"]

Tenant = Callable[[int, Lane, float], float]
"""The tenant's ratio in a step, when it knows all that the planner knows and has set."""


def live(
    tenant: Tenant,
    statistic: str,
    strategy: Strategy,
    steps: int,
    slot_s: int = SLOT_S,
) -> list[float]:
    """The totals under a governor that fills up to each setpoint; a window has WINDOW slots."""
    goal = Goal(statistic=Statistic.parse(statistic), window_days=WINDOW * slot_s / 86_400)
    lane = Lane(goal, Terms(strategy=strategy), TARGET, MOST, slot_s)
    level, totals = TARGET, []
    for step in range(steps):
        organic = min(1.0, max(0.0, tenant(step, lane, level)))
        totals.append(max(organic, level))
        lane.take((START + step + 1) * slot_s, slot_s, totals[-1], organic)
        lane.refresh()
        lane.foresee()
        setting = hold(lane) if strategy is Strategy.HOLD else economy(lane)
        level = min(setting.ratio, MOST)
    return totals


def unmet(totals: list[float], statistic: str) -> list[int]:
    """The steps at which a full window ends that misses the target."""
    missed = []
    for end in range(WINDOW, len(totals) + 1):
        window = totals[end - WINDOW : end]
        if statistic == "mean":
            figure = math.fsum(window) / WINDOW
        else:
            percent = 100.0 if statistic == "peak" else float(statistic[1:])
            figure = sorted(window)[math.floor(percent / 100 * (WINDOW - 1))]
        if figure < TARGET - 1e-6:
            missed.append(end)
    return missed


def rhythm(step: int) -> float:
    """A tenant as regular as a clock, above the target by day."""
    return 0.6 if 16 <= step % DAY < 36 else 0.05


@pytest.mark.parametrize("statistic", STATISTICS)
@settings(max_examples=3, deadline=None)
@given(dies=st.integers(9 * DAY, 12 * DAY), left=st.sampled_from([0.0, 0.1, 0.2499]))
def test_a_perfect_tenant_may_die_at_any_moment(statistic: str, dies: int, left: float) -> None:
    """Weeks of rhythm teach the forecast that no own load is needed; then it is, at once."""
    totals = live(
        lambda step, _lane, _level: rhythm(step) if step < dies else left,
        statistic,
        Strategy.ECONOMY,
        dies + 6 * DAY,
    )
    assert unmet(totals, statistic) == []


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_tenant_may_do_the_opposite_of_what_is_foreseen(
    statistic: str, strategy: Strategy
) -> None:
    """Busy while quiet is foreseen, silent while work is foreseen and so nothing is placed."""

    def contrary(step: int, lane: Lane, _level: float) -> float:
        if step < 8 * DAY or lane.forecast is None:
            return rhythm(step)
        return 0.0 if lane.forecast.at(lane.quarter()) > TARGET else 0.3

    totals = live(contrary, statistic, strategy, 15 * DAY)
    assert unmet(totals, statistic) == []


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("seed", range(2))
def test_a_tenant_may_know_the_plan(statistic: str, seed: int) -> None:
    """One that is silent just when no load is set, and works when its work is of no use."""
    chance = random.Random(seed)

    def spiteful(_step: int, _lane: Lane, level: float) -> float:
        return chance.choice([level, level * 0.99]) if level > 0.1 else 0.0

    totals = live(spiteful, statistic, Strategy.ECONOMY, 12 * DAY)
    assert unmet(totals, statistic) == []


@pytest.mark.parametrize("statistic", ["p25", "p40", "p50"])
@pytest.mark.parametrize("stretch", [1, 3])
def test_a_tenant_may_always_turn_when_it_is_looked_at(statistic: str, stretch: int) -> None:
    """Busy in every other quarter of an hour: each that begins is taken for what it is not.

    The plan alone raises where the tenant is anyhow, and never where it is
    not; only what is due, by the budget, keeps the windows. A p50 asks for one
    slot more than that half.
    """
    totals = live(
        lambda step, _lane, _level: float(step // stretch % 2),
        statistic,
        Strategy.ECONOMY,
        3 * WINDOW,
        900 // stretch,
    )
    assert unmet(totals, statistic) == []


@pytest.mark.parametrize(
    ("statistic", "course"),
    [
        ("p50", [1.0, 0.0, 0.0] * WINDOW),
        # Wholly busy in the first window, then in these hours for a third of the time.
        ("p95", ([0.6] * 24 + [0.0] * 216) + ([1.0, 0.0, 0.0] * 8 + [0.0] * 216) * 2),
    ],
)
def test_a_tenant_may_be_busy_on_average_and_idle_mostly(
    statistic: str, course: list[float]
) -> None:
    """One slot of three at 100 %: a mean above the target, and not a third of it at the target."""
    totals = live(
        lambda step, _lane, _level: course[step], statistic, Strategy.ECONOMY, len(course), 300
    )
    assert unmet(totals, statistic) == []


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(
    statistic=st.sampled_from(STATISTICS),
    strategy=st.sampled_from(list(Strategy)),
    phases=st.lists(
        st.tuples(st.integers(1, 4 * DAY), st.floats(0, 1), st.floats(0, 1), st.booleans()),
        min_size=1,
        max_size=12,
    ),
)
def test_any_tenant_at_all(
    statistic: str, strategy: Strategy, phases: list[tuple[int, float, float, bool]]
) -> None:
    """Levels, rhythms and silences of any length in any order."""
    course = [
        level + (swing if daily and 16 <= step % DAY < 36 else 0.0)
        for length, level, swing, daily in phases
        for step in range(length)
    ] * 2
    totals = live(lambda step, _lane, _level: course[step], statistic, strategy, len(course))
    assert unmet(totals, statistic) == []
