"""The operator's orders and the maintenance windows together."""

from __future__ import annotations

from datetime import datetime

import pytest

from optimizer.maintenance import BY, MaintenanceSwitch
from optimizer.orders import Inhibit
from optimizer.schedule import Window, parse
from tests.fakes import FakeSwitch

DAILY = parse("0 2 * * * 2h UTC")
START_S = datetime.fromisoformat("2026-03-08T02:00Z").timestamp()
END_S = START_S + 7200


def order(until_utc_s: float | None) -> Inhibit:
    """An operator's pause."""
    return Inhibit(reason="patch", by="ops", until_utc_s=until_utc_s, since_utc_s=START_S - 60)


class Rig:
    """A switch with windows that a test may replace."""

    def __init__(self, windows: tuple[Window, ...] = DAILY) -> None:
        self.inner, self.windows = FakeSwitch(), windows
        self.switch = MaintenanceSwitch(self.inner, lambda: self.windows)

    def by(self, now_utc_s: float) -> str | None:
        """Who forbids load at that time."""
        found = self.switch.inhibit(now_utc_s)
        return None if found is None else found.by


def test_a_running_window_is_an_order() -> None:
    """From its start, until its end, with the window as reason."""
    rig = Rig()
    assert rig.switch.inhibit(START_S - 0.1) is None
    assert rig.switch.inhibit(START_S) == Inhibit(
        reason="0 2 * * * 2h UTC",
        by=BY,
        until_utc_s=END_S,
        since_utc_s=START_S,
        scheduled=True,
    )
    assert rig.switch.inhibit(END_S - 0.1) is not None
    assert rig.switch.inhibit(END_S) is None


@pytest.mark.parametrize(
    ("until_utc_s", "by"), [(END_S - 60, BY), (END_S, BY), (END_S + 60, "ops"), (None, "ops")]
)
def test_what_ends_later_counts(until_utc_s: float | None, by: str) -> None:
    """A pause that outlasts the window, or has no end; else the window."""
    rig = Rig()
    rig.inner.order = order(until_utc_s)
    assert rig.by(START_S + 60) == by
    assert rig.by(START_S - 30) == "ops"


def test_a_resume_lifts_the_window_that_runs_until_its_end() -> None:
    """Not the next one, and not for a new process either: it goes by the time of the resume."""
    rig = Rig()
    rig.inner.last_resume_utc_s = START_S + 600
    assert rig.by(START_S + 601) is None
    now = rig.switch.maintenance(START_S + 601)
    assert now.lifted
    assert now.running is not None
    assert MaintenanceSwitch(rig.inner, lambda: DAILY).inhibit(END_S - 1) is None
    assert rig.by(START_S + 86400) == BY


@pytest.mark.parametrize("resumed_s", [START_S - 0.1, START_S - 86400, END_S, END_S + 60])
def test_a_resume_at_another_time_lifts_nothing(resumed_s: float) -> None:
    """The time of the file may be anything."""
    rig = Rig()
    rig.inner.last_resume_utc_s = resumed_s
    assert rig.by(START_S + 60) == BY


def test_a_resume_while_the_clock_is_ahead_does_not_lift_a_window_to_come() -> None:
    """Neither before the time of the file nor after it: nobody resumed this window."""
    rig = Rig()
    rig.inner.last_resume_utc_s = START_S + 1800
    assert rig.by(START_S - 3600) is None
    for now_s in (START_S, START_S + 1799, START_S + 1801, END_S - 1):
        assert rig.by(now_s) == BY
        assert not rig.switch.maintenance(now_s).lifted
    rig.inner.last_resume_utc_s = START_S + 1900
    assert rig.by(START_S + 1901) is None


def test_a_resume_counts_after_a_small_correction_of_the_clock() -> None:
    """Put back by seconds just after the resume: a moment later the window is lifted."""
    rig = Rig()
    rig.inner.last_resume_utc_s = START_S + 600
    assert rig.by(START_S + 601) is None
    assert rig.by(START_S + 595) == BY
    assert rig.by(START_S + 600) is None


def test_a_window_that_begins_after_the_resume_counts() -> None:
    """One that overlaps the lifted one, too; and a pause after the resume."""
    rig = Rig(parse("0 2 * * * 2h UTC; 0 3 * * * 30m UTC"))
    rig.inner.last_resume_utc_s = START_S + 600
    assert rig.by(START_S + 3599) is None
    assert rig.by(START_S + 3600) == BY
    assert not rig.switch.maintenance(START_S + 3600).lifted
    assert rig.by(START_S + 5400) is None
    rig.inner.order = order(END_S - 60)
    assert rig.by(START_S + 5400) == "ops"


def test_a_reload_counts_at_once() -> None:
    """Windows that are new, and windows that are gone."""
    rig = Rig(())
    assert rig.by(START_S) is None
    rig.windows = DAILY
    assert rig.by(START_S + 1) == BY
    rig.windows = parse("0 5 * * * 2h UTC")
    assert rig.by(START_S + 2) is None
    rig.windows = ()
    assert rig.by(START_S + 3 * 3600) is None


def test_a_clock_that_is_put_back_or_forward_is_followed() -> None:
    """Before the start, into the window, far ahead, and back again."""
    rig = Rig()
    decade_s = 3652 * 86400.0
    for now_s, by in (
        (START_S + 60, BY),
        (START_S - 60, None),
        (START_S + 60 + decade_s, BY),
        (START_S + 60 - decade_s, BY),
        (END_S + 60, None),
        (1e300, None),
        (START_S, BY),
    ):
        assert rig.by(now_s) == by


def test_between_two_edges_nothing_is_worked_out() -> None:
    """What was found out at the start is what is told until the end, and no longer."""
    rig = Rig()
    first = rig.switch._standing_at(START_S)
    assert rig.switch._standing_at(END_S - 0.1) is first
    assert rig.switch._standing_at(END_S) is not first


def test_without_windows_the_operator_alone_counts() -> None:
    """And the other questions go to the switch inside."""
    rig = Rig(())
    rig.inner.order = order(None)
    assert rig.by(START_S) == "ops"
    rig.inner.resume_pending, rig.inner.asked_for = True, frozenset({"/data"})
    rig.inner.last_resume_utc_s = 5.0
    assert rig.switch.resumed()
    assert not rig.switch.resumed()
    assert rig.switch.released(START_S) == {"/data"}
    assert rig.switch.resumed_utc_s() == 5.0
