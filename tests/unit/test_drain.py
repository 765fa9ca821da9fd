"""How fast others take what is left, and what will be left in a moment."""

from __future__ import annotations

import pytest

from optimizer.control.drain import BURST_BYTES_PER_S, Drain, ahead, watch
from optimizer.model import Utilisation

CAPACITY = 100e9


def usage(room: float, own: float = 0.2) -> Utilisation:
    """A resource of 100 GB."""
    return Utilisation(total_ratio=0.5, own_ratio=own, capacity=CAPACITY, room_ratio=room)


def test_a_tenant_that_takes_five_points_a_second_is_seen() -> None:
    """Room 30 to 26 % in 0.8 s is 5 % a second: 23.5 % will be left in half a second."""
    drain = watch(Drain(), usage(0.30), 10.0)
    drain = watch(drain, usage(0.26), 10.8)
    assert drain.per_s == pytest.approx(0.05)
    assert ahead(drain, usage(0.26), 0.5).room_ratio == pytest.approx(0.235)


def test_our_own_growth_is_no_drain() -> None:
    """What we take leaves the room and is added to what is ours."""
    drain = watch(Drain(), usage(0.30, own=0.20), 10.0)
    drain = watch(drain, usage(0.25, own=0.25), 10.8)
    assert drain.per_s == pytest.approx(0.0, abs=1e-12)


def test_a_pace_slackens_slowly() -> None:
    """Half of it counts half a second later; a missing reading changes nothing."""
    drain = watch(watch(Drain(), usage(0.30), 10.0), usage(0.26), 10.8)
    assert watch(drain, None, 11.0) == drain
    assert watch(drain, usage(0.26), 11.3).per_s == pytest.approx(0.025)


def test_no_pace_is_beyond_what_a_host_can_do() -> None:
    """A third of the host in a tenth of a second came in one piece: 8 GB/s of 100 GB is 8 %."""
    drain = watch(watch(Drain(), usage(0.60), 10.0), usage(0.27), 10.1)
    assert drain.per_s == pytest.approx(BURST_BYTES_PER_S / CAPACITY)


def test_a_gap_and_a_tenant_that_frees_are_no_drain() -> None:
    """After a suspend it begins anew; more room is never a negative pace."""
    first = watch(Drain(), usage(0.60), 10.0)
    assert watch(first, usage(0.10), 100.0).per_s == 0.0
    assert watch(first, usage(0.90), 10.5).per_s == 0.0
