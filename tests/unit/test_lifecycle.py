"""When a stresser that ended may start again."""

from __future__ import annotations

import pytest

from optimizer.control.lifecycle import Life, ended, obstacle, rested, resumed
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


@pytest.mark.parametrize("cause", list(ExitCause))
@pytest.mark.parametrize(
    ("times_s", "tripped"),
    [
        ([0, 1, 2, 3], False),  # four within ten seconds
        ([0, 1, 2, 3, 4], True),  # five within ten seconds
        ([0, 1, 2, 3, 20, 21, 22, 23], False),  # four twice
    ],
)
def test_five_ends_in_ten_seconds_trip(
    cause: ExitCause, times_s: list[float], tripped: bool
) -> None:
    """A crash loop ends in a latch, whatever ends it."""
    event = StresserExit(resource=Resource.CPU, cause=cause, detail="")
    assert after_ends(times_s, event).tripped is tripped


@pytest.mark.parametrize(
    ("cause", "gap_s", "tripped"),
    [
        (ExitCause.FAILED, 3, True),  # as slow as a busy host makes a crash loop
        (ExitCause.FAILED, 9.9, True),
        (ExitCause.FAILED, 10, False),  # it works for a while each time
        (ExitCause.EXPIRED, 3, False),  # a host that starves it
        (ExitCause.KILLED, 3, False),
    ],
)
def test_faults_in_close_succession_trip_also_when_they_come_slowly(
    cause: ExitCause, gap_s: float, tripped: bool
) -> None:
    """Five faults of its own, each less than ten seconds after the one before."""
    event = StresserExit(resource=Resource.CPU, cause=cause, detail="")
    assert not after_ends([gap_s * i for i in range(4)], event).tripped
    assert after_ends([gap_s * i for i in range(5)], event).tripped is tripped


def test_expiries_between_faults_do_not_make_more_faults_of_them() -> None:
    """Only the faults count: four of them and many expiries do not trip."""
    life = Life()
    for at_s in range(0, 60, 3):
        cause = ExitCause.FAILED if at_s % 15 == 0 else ExitCause.EXPIRED
        event = StresserExit(resource=Resource.CPU, cause=cause, detail="")
        life = ended(life, event, float(at_s), 300.0)
    assert not life.tripped


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


def test_after_an_error_of_ours_it_waits_a_second() -> None:
    """At most one start a second, whoever ended it; a longer wait is not cut short."""
    assert obstacle(rested(Life(), 10.0), 10.9) is Reason.STRESSER_DOWN
    assert obstacle(rested(Life(), 10.0), 11.0) is None
    assert rested(Life(wait_until_s=300.0), 10.0).wait_until_s == 300.0
