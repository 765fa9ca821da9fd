"""Where a level is raised that a share of the time must reach."""

from __future__ import annotations

import subprocess
import sys

import pytest

from optimizer.control.budget import Measure
from optimizer.control.share import Choice, Span, choose, foreseen

LENGTH = 10
TARGET = 0.4
RULE = Measure(least=0.1, most=1.0, threshold=TARGET)
"""One stretch of ten must be at the target."""


def past(*counted: int) -> list[Span]:
    """Stretches in which so many slots were at the target, the tenant at 10 %."""
    return [Span(LENGTH, one, 0, 0.1, 0.3) for one in counted]


def ahead(*gaps: float) -> list[Span]:
    """Stretches in which so much lacks to the target; 0: the tenant reaches it alone."""
    return [Span(LENGTH, 0.0, 0 if gap else LENGTH, TARGET - gap, gap) for gap in gaps]


def chosen(spans: list[Span], likely: list[Span]) -> bool:
    """Without a price for being early."""
    return choose(spans, RULE, LENGTH, likely, 0.0).raise_now


def test_what_is_kept_for_long_asks_for_nothing_now() -> None:
    """The newest stretch counted: until it leaves, in ten stretches, each may be left out."""
    assert not chosen(past(*[0] * 9, 10), ahead(*[0.3] * 10))


def test_what_leaves_now_is_replaced_now() -> None:
    """The only stretch that counted is the one that leaves next."""
    assert chosen(past(10, *[0] * 9), ahead(*[0.3] * 10))


def test_the_cheapest_before_the_deadline_is_taken() -> None:
    """What counts leaves in the fifth stretch: now is taken only if none before that is cheaper."""
    spans = past(*[0] * 4, 10, *[0] * 5)
    assert chosen(spans, ahead(0.1, *[0.3] * 9))
    assert not chosen(spans, ahead(0.3, 0.1, *[0.3] * 8))
    assert chosen(spans, ahead(0.2, *[0.3] * 4, *[0.01] * 5))


def test_a_tenant_that_will_reach_it_alone_is_waited_for() -> None:
    """Own load before a peak that counts by itself would be for nothing."""
    spans = past(*[0] * 4, 10, *[0] * 5)
    assert not chosen(spans, ahead(0.1, 0.3, 0.0, *[0.3] * 7))


def test_being_early_has_its_price() -> None:
    """A little cheaper now than at the deadline is not worth it: the later one serves longer."""
    spans, likely = past(*[0] * 8, 10, 0), ahead(0.29, *[0.3] * 9)
    assert choose(spans, RULE, LENGTH, likely, 0.0) == Choice(True, 0.29)
    # 0.3 / 10 for each of the eight stretches until then are more than 0.01.
    assert choose(spans, RULE, LENGTH, likely, 0.3) == Choice(False, 0.3)


def test_the_time_ahead_is_like_the_same_hours_before() -> None:
    """Stretches of half a day over two days: what was a day ago, and now what is seen now."""
    spans = [Span(LENGTH, 0, 0, one, TARGET - one) for one in (0.1, 0.3, 0.1, 0.3)]
    found = foreseen(spans, [0.15], 4320.0, LENGTH, RULE, weekly=True)
    assert [round(one.gap, 6) for one in found] == [0.25, 0.1, 0.3, 0.1]
    nothing = [Span(0, 0.0, 0, float("nan"), float("nan"))] * 4
    found = foreseen(nothing, [], 4320.0, LENGTH, RULE, weekly=True)
    assert [one.gap for one in found] == [TARGET] * 4


def test_now_counts_by_its_slots_and_not_by_their_mean() -> None:
    """Two of five slots far above the target, none in the others: two fifths are the tenant's."""
    spans = past(0, 0, 0, 0)
    found = foreseen(spans, [1.0, 0.0, 1.0, 0.0, 0.1], 4320.0, LENGTH, RULE, weekly=True)[0]
    assert (found.natural, found.organic) == (4, pytest.approx(0.42))
    # The mean is above the target of 0.4; three slots lack 0.4, 0.4 and 0.3.
    assert found.gap == pytest.approx(1.1 / 3)


def test_the_planner_needs_no_numpy() -> None:
    """A process that builds the daemon's modules and plans for weeks has never imported it."""
    code = (
        "import sys, optimizer.app, optimizer.simulate\n"
        "from optimizer.control.lane import Lane\n"
        "from optimizer.control.strategy import economy\n"
        "from optimizer.orders import Goal, Statistic, Strategy, Terms\n"
        "goal = Goal(statistic=Statistic.parse('p95'), window_days=7)\n"
        "lane = Lane(goal, Terms(strategy=Strategy.ECONOMY), 0.25, 0.35, 1800)\n"
        "for slot in range(1, 48 * 16):\n"
        "    lane.take(slot * 1800, 1800, 0.1, 0.1)\n"
        "    lane.refresh()\n"
        "    lane.foresee()\n"
        "    economy(lane)\n"
        "assert lane.forecast is not None\n"
        "assert not {'numpy', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
