"""When a stresser looks at what is free, and what it gives back without being told."""

from __future__ import annotations

import pytest

from optimizer.control.drain import BURST_BYTES_PER_S
from stressers.lookout import FASTEST_BYTES_PER_S, Lookout

GB = 10**9


def test_the_less_is_left_the_sooner_it_looks() -> None:
    """Half of what 8 GB/s would take: 16 GB for a second, 1.6 for a tenth, 30 ms at the least."""
    for room, pause_s in ((64 * GB, 1.0), (16 * GB, 1.0), (1.6 * GB, 0.1), (0, 0.03), (-GB, 0.03)):
        lookout = Lookout()
        lookout.look(int(room), GB, 100.0)
        assert lookout.pause_s(100.0) == pytest.approx(pause_s)
        assert lookout.pause_s(102.0) == 0.0


def test_what_is_lacking_is_given_back_for_a_second() -> None:
    """Held 5 GB and 1 GB too much: 4 GB may stay, whatever the lease says, until 101."""
    lookout = Lookout()
    lookout.look(-GB, 5 * GB, 100.0)
    assert lookout.within(5 * GB, 100.0) == 4 * GB
    assert lookout.within(3 * GB, 100.5) == 3 * GB
    assert lookout.within(5 * GB, 101.0) == 5 * GB


def test_a_fast_pace_counts_ahead() -> None:
    """0.4 GB in 50 ms is 8 GB/s; 0.1 GB is left, and at the next look, 30 ms on, 0.14 will lack."""
    lookout = Lookout()
    lookout.look(GB // 2, 5 * GB, 100.0)
    lookout.look(GB // 10, 5 * GB, 100.05)
    assert lookout.within(5 * GB, 100.05) == pytest.approx(5 * GB - 0.14 * GB)


def test_our_own_growth_and_an_old_look_are_no_pace() -> None:
    """What we take leaves the room and is ours; after two seconds nothing is told of a pace."""
    lookout = Lookout()
    lookout.look(GB, GB, 100.0)
    lookout.look(GB // 10, GB + 9 * GB // 10, 100.1)
    assert lookout.within(9 * GB, 100.1) == 9 * GB
    lookout.look(GB // 100, GB, 103.0)
    assert lookout.within(9 * GB, 103.0) == 9 * GB


def test_nothing_held_is_nothing_to_give_back() -> None:
    """A full host is no reason for a cap on what is not there."""
    lookout = Lookout()
    lookout.look(-GB, 0, 100.0)
    assert lookout.within(GB, 100.0) == GB


def test_a_look_that_cannot_be_made_is_not_tried_again_at_once() -> None:
    """Else a crew would burn a CPU while a shard is at work or a disk does not answer."""
    lookout = Lookout()
    lookout.later(100.0)
    assert lookout.pause_s(100.0) == pytest.approx(0.03)
    lookout.later(100.0, 1.0)
    assert lookout.pause_s(100.0) == pytest.approx(1.0)


def test_controller_and_stressers_know_the_same_fastest_tenant() -> None:
    """The island imports nothing, so the figure is written twice."""
    assert FASTEST_BYTES_PER_S == BURST_BYTES_PER_S
