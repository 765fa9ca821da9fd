"""What a policy asks of the window of each resource, and how many days of samples that takes."""

from __future__ import annotations

from dataclasses import replace

from optimizer.control.forecast import KEPT_DAYS
from optimizer.model import Resource
from optimizer.orders import Goal, Policy, Strategy, Terms


def goal_of(resource: Resource, policy: Policy) -> Goal:
    """The goal that is judged; for others the window of those, so that all is shown alike."""
    goals = policy.terms.goals
    goal = goals.of(resource)
    if goal is None:
        days = max((one.window_days for one in goals if one is not None), default=30.0)
        goal = Goal(window_days=days)
    return goal


def terms_of(resource: Resource, policy: Policy) -> Terms:
    """Economy is for the CPU only.

    Memory and disk that are held cost nothing more; to take and give back gigabytes does.
    """
    if resource is Resource.CPU:
        return policy.terms
    return replace(policy.terms, strategy=Strategy.HOLD)


def needed_days(policy: Policy) -> float:
    """How many days of samples are judged."""
    days = [goal_of(resource, policy).window_days for resource in Resource]
    return max(days)


def told_days(policy: Policy, period_days: float) -> float:
    """How many days of samples a planner is told of from before.

    Those that are judged, and what is kept anyhow as far as the forecast makes
    use of it: a week's rhythm takes two to five of them, however short the window.
    """
    return max(needed_days(policy), min(KEPT_DAYS, period_days))
