"""What is aimed at, in words, by combination, strategy and statistic."""

from __future__ import annotations

import dataclasses

from optimizer.control.promise import promise
from optimizer.model import PerResource
from optimizer.orders import Combination, Goal, Policy, Statistic, Strategy, Terms
from tests.fakes import policy

ALL = PerResource(cpu=Goal(), memory=Goal(), disk=Goal())


def of(terms: Terms, **targets: float) -> Policy:
    """A policy with these terms; ceilings of 90, 85 and 80 %, and 10 points to catch up."""
    return dataclasses.replace(policy(**targets), terms=terms)


def test_the_condition_is_part_of_the_promise() -> None:
    """Nothing is sure while the host is off; the highest setpoint is named."""
    said = promise(of(Terms(goals=ALL)))
    assert said == (
        "never below the target; once met, it stays met whatever the tenant does, as long as the "
        "host and this program run and the setpoint (up to 50 %) can be reached"
    )
    assert "up to 80 % or 85 % or 90 %" in promise(
        of(Terms(goals=ALL), cpu=0.85, memory=0.8, disk=0.75)
    )


def test_where_one_suffices_the_one_that_carries_it_is_named() -> None:
    """The CPU may rest at any time then: it is never said to be held."""
    goals = dataclasses.replace(ALL, disk=None)
    said = promise(of(Terms(goals=goals, combination=Combination.BREAK_ANY)))
    assert said.startswith("one resource suffices, memory before cpu: never below the target; ")
    spared = dataclasses.replace(
        Terms(goals=goals, combination=Combination.BREAK_ANY), strategy=Strategy.ECONOMY
    )
    assert "memory never below the target, cpu a margin of up to 0.3 points;" in promise(of(spared))


def test_the_margin_is_that_of_each_statistic() -> None:
    """Economy: points for a mean, a part of the time for a percentile; only the CPU is spared."""
    mean = Terms(goals=ALL, strategy=Strategy.ECONOMY)
    assert promise(of(mean)).startswith(
        "cpu a margin of up to 0.3 points, disk never below the target, "
        "memory never below the target; "
    )
    share = Goal(statistic=Statistic.parse("p95"))
    terms = dataclasses.replace(mean, goals=PerResource(cpu=share, memory=share, disk=None))
    assert promise(of(terms)).startswith(
        "cpu a margin of 3 % of the time needed, memory never below the target; "
    )


def test_without_a_judge_nothing_is_promised() -> None:
    """No goal, or targets of 0."""
    assert promise(of(Terms(goals=ALL), cpu=0, memory=0, disk=0)).startswith("nothing is judged")
