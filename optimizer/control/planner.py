"""From the policy's target to the setpoint that the governor holds now."""

from __future__ import annotations

from optimizer.model import Resource
from optimizer.orders import Inhibit, Policy


def setpoint(resource: Resource, policy: Policy, inhibit: Inhibit | None) -> float:
    """The level to hold now, as a ratio: the target, within the ceiling; 0 while inhibited."""
    if inhibit is not None:
        return 0.0
    return min(policy.target.of(resource), policy.ceiling.of(resource))
