"""Ceiling, floor and hold-off."""

from __future__ import annotations

import pytest

from optimizer.control.guard import Limited, floor_touched, limit
from optimizer.model import Reason, Utilisation


def usage(
    total: float = 0.3, own: float = 0.1, room: float = 0.5, capacity: float = 1.0
) -> Utilisation:
    """A resource with these ratios."""
    return Utilisation(total_ratio=total, own_ratio=own, capacity=capacity, room_ratio=room)


@pytest.mark.parametrize(
    ("demand", "used", "holding_off", "expected", "reason"),
    [
        # nothing in the way
        (0.2, usage(), False, 0.2, None),
        # organic 0.2, ceiling 0.85: at most 0.65
        (0.7, usage(room=0.9), False, 0.65, Reason.CEILING),
        # own 0.1 + room 0.05
        (0.2, usage(room=0.05), False, 0.15, Reason.FLOOR),
        # floor violated by 0.04: give that much back
        (0.2, usage(room=-0.04), False, 0.06, Reason.FLOOR),
        # floor violated by more than is held: give all back, not less than nothing
        (0.2, usage(room=-0.4), False, 0.0, Reason.FLOOR),
        # hold-off: not above the previous demand of 0.1
        (0.2, usage(), True, 0.1, Reason.HOLD_OFF),
        # hold-off does not stand in the way of less
        (0.05, usage(), True, 0.05, None),
    ],
)
def test_limits(
    demand: float, used: Utilisation, holding_off: bool, expected: float, reason: Reason | None
) -> None:
    """Each limit alone, and its name."""
    got = limit(
        demand,
        usage=used,
        ceiling_ratio=0.85,
        previous_ratio=0.1,
        holding_off=holding_off,
        has_floor=True,
    )
    assert got.demand_ratio == pytest.approx(expected)
    assert got.reason is reason


def test_the_cpu_has_no_floor() -> None:
    """A host without any idle CPU left is the governor's and the kernel's matter."""
    got = limit(
        0.2,
        usage=usage(total=1.0, own=0.2, room=0.0),
        ceiling_ratio=1.0,
        previous_ratio=0.2,
        holding_off=False,
        has_floor=False,
    )
    assert got == Limited(demand_ratio=pytest.approx(0.2), reason=None)


@pytest.mark.parametrize(
    ("room", "previous", "touched"), [(0.01, 0.1, False), (-0.01, 0.1, True), (-0.01, 0.0, False)]
)
def test_a_floor_is_touched_only_by_somebody_who_holds(
    room: float, previous: float, touched: bool
) -> None:
    """A full host on which we hold nothing needs no hold-off of ours."""
    assert floor_touched(usage(room=room), previous_ratio=previous) is touched
