"""Never all three ramps at once on a host that shows pressure: the joint budget.

The disk waits for the memory, which takes longest and fills the same caches. The
CPU never waits: it gives way to the tenant at any moment, and has a brake of
its own for what others take from it.
"""

from __future__ import annotations

from optimizer.control.brake import Brake
from optimizer.control.guard import Limited
from optimizer.control.pressure import Pressure
from optimizer.control.resource import ResourceState
from optimizer.model import PerResource, Reason


def is_short(
    resources: PerResource[ResourceState], pressure: Pressure, brake: Brake, now_s: float
) -> bool:
    """Whether the host lacks anything: memory, CPU that others take, or room a short while ago."""
    holding = any(now_s < state.hold_off_until_s for state in resources)
    slowed = resources.cpu.throttle.most_ratio < 1.0 or brake.most_ratio < 1.0
    return holding or slowed or now_s <= pressure.until_s


def has_risen(before: ResourceState, after: ResourceState) -> bool:
    """Whether the demand has grown in this cycle."""
    return after.governor.demand_ratio > before.governor.demand_ratio


def waiting(before: ResourceState, *, short: bool, others: bool) -> tuple[Limited, ...]:
    """No more than before, while the host is short and another resource rises."""
    if not (short and others):
        return ()
    return (Limited(demand_ratio=before.governor.demand_ratio, reason=Reason.TAKING_TURNS),)
