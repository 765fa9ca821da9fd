"""What is aimed at, in words: how much above the target, and what it takes to be sure of it."""

from __future__ import annotations

from collections.abc import Mapping

from optimizer.control.lane import SHARE_MARGIN
from optimizer.control.planner import CHEAPEST
from optimizer.model import Resource
from optimizer.orders import Combination, Goal, Kind, Policy, Strategy, Terms


def promise(policy: Policy) -> str:
    """What is aimed at, and what it takes to be sure of it, in one sentence.

    No probability is needed: the budget (see budget.py) leaves out only what
    the highest setpoint can still make up for, whatever the tenant does. It can
    not make up for time in which nothing is loaded.
    """
    terms = policy.terms
    judged = {
        one: goal
        for one in CHEAPEST
        if (goal := terms.goals.of(one)) is not None and policy.target.of(one) > 0
    }
    if not judged:
        return "nothing is judged; each target is held"
    most = {
        max(target, min(policy.ceiling.of(one), target + terms.catch_up_ratio))
        for one in judged
        for target in [policy.target.of(one)]
    }
    return (
        f"{_aim(terms, judged)}; once met, it stays met whatever the tenant does, as long as the "
        "host and this program run and the setpoint (up to "
        f"{' or '.join(f'{100 * one:g} %' for one in sorted(most))}) can be reached"
    )


def _aim(terms: Terms, judged: Mapping[Resource, Goal]) -> str:
    """How far above its target the judged figure of a resource is to be."""
    aims: list[str] = []
    for one, goal in judged.items():
        is_mean, is_cpu = goal.statistic.kind is Kind.MEAN, one is Resource.CPU
        if terms.strategy is Strategy.HOLD or not is_cpu:
            aim = "never below the target"
        elif is_mean:
            aim = f"a margin of up to {100 * terms.margin_ratio:g} points"
        else:
            aim = f"a margin of {100 * SHARE_MARGIN:g} % of the time needed"
        aims.append(f"{one.value} {aim}")
    ways = {aim.split(maxsplit=1)[1] for aim in aims}
    if terms.combination is Combination.BREAK_ANY and len(judged) > 1:
        order = " before ".join(one.value for one in judged)
        said = ways.pop() if len(ways) == 1 else ", ".join(aims)
        return f"one resource suffices, {order}: {said}"
    return ways.pop() if len(ways) == 1 else ", ".join(reversed(aims))
