"""When a stresser that ended may start again."""

from __future__ import annotations

import pytest

from optimizer.control.lifecycle import Life, ended, obstacle, resumed
from optimizer.model import ExitCause, Reason, Resource, StresserExit

CPU_FAILED = StresserExit(resource=Resource.CPU, cause=ExitCause.FAILED, detail="exit code 1")
MEMORY_KILLED = StresserExit(resource=Resource.MEMORY, cause=ExitCause.KILLED, detail="killed")


def after_ends(times_s: list[float], event: StresserExit = CPU_FAILED) -> Life:
    """The life after ends at these times."""
    life = Life()
    for at_s in times_s:
        life = ended(life, event, at_s, 300.0)
    return life


def test_a_stresser_may_run_at_first() -> None:
    """Nothing has happened yet: no obstacle."""
    assert obstacle(Life(), 0.0) is None


def test_one_end_costs_a_second() -> None:
    """At most one start per second."""
    life = after_ends([10.0])
    assert obstacle(life, 10.9) is Reason.STRESSER_DOWN
    assert obstacle(life, 11.0) is None


@pytest.mark.parametrize(
    ("times_s", "tripped"),
    [
        ([0, 1, 2, 3], False),  # four within ten seconds
        ([0, 1, 2, 3, 4], True),  # five within ten seconds
        ([0, 3, 6, 9, 12], False),  # five, but never more than four within ten
    ],
)
def test_five_ends_in_ten_seconds_trip(times_s: list[float], tripped: bool) -> None:
    """A crash loop ends in a latch, a slow drip does not."""
    assert after_ends(times_s).tripped is tripped


def test_a_trip_stays_until_resumed() -> None:
    """Time alone does not lift the latch; an operator does."""
    life = after_ends([0, 1, 2, 3, 4])
    assert obstacle(life, 1e6) is Reason.STRESSER_TRIPPED
    assert obstacle(resumed(life), 1e6) is None


def test_a_killed_memory_stresser_waits_for_the_whole_hold_off() -> None:
    """SIGKILL on memory is read as the OOM killer's word: back off, do not respawn."""
    life = after_ends([100.0], MEMORY_KILLED)
    assert obstacle(life, 399.0) is Reason.STRESSER_DOWN
    assert obstacle(life, 400.0) is None


def test_resume_does_not_shorten_a_back_off() -> None:
    """An operator's resume lifts the latch but not the wait after a kill."""
    life = resumed(after_ends([100.0], MEMORY_KILLED))
    assert obstacle(life, 399.0) is Reason.STRESSER_DOWN
