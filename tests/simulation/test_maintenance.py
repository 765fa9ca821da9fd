"""A maintenance window in the loop: load gone within a second, back after its end."""

from __future__ import annotations

from datetime import datetime

from optimizer.maintenance import BY, MaintenanceSwitch
from optimizer.model import Reason
from optimizer.outcome import EventKind
from optimizer.schedule import parse
from tests.fakes import FakeHost, FakeSwitch
from tests.simulation.rig import Rig

START_S = datetime.fromisoformat("2026-03-08T02:00+01:00").timestamp()
LASTS_S = 120.0
WINDOWS = parse("0 2 * * sun 2m Europe/Berlin")


def rig_before_window(ahead_s: float) -> tuple[Rig, FakeSwitch]:
    """A daemon that holds, `ahead_s` before the window, in its own time."""
    host = FakeHost()
    host.utc_offset_s = START_S - ahead_s - host.now_s
    rig = Rig(host, interval_s=10.0)
    inner = rig.switch
    rig.daemon._ports.switch = MaintenanceSwitch(inner, lambda: WINDOWS)
    return rig, inner


def test_all_load_is_gone_within_a_second_of_the_start_and_comes_back_after_the_end() -> None:
    """On the daemon's own rhythm, calm or not; the samples and events say why."""
    rig, _ = rig_before_window(60.0)
    seen: list[tuple[float, float]] = []
    apply = rig.host.apply

    def watched(plan: object) -> None:
        apply(plan)  # type: ignore[arg-type]
        held = rig.host.duty + sum(rig.host.held.values())
        seen.append((rig.host.utc() - START_S, held))

    rig.host.apply = watched  # type: ignore[method-assign, assignment]
    rig.live(60.0 + LASTS_S + 60.0)
    before = [held for at_s, held in seen if -5 < at_s < 0]
    during = [held for at_s, held in seen if 1.0 <= at_s < LASTS_S]
    after = [held for at_s, held in seen if at_s > LASTS_S + 2]
    assert before
    assert all(held > 0 for held in before)
    assert during
    assert not any(during)
    assert after
    assert all(held > 0 for held in after)
    assert min(at_s for at_s, held in seen if at_s >= 0 and held == 0) < 1.0
    reasons = {
        round(record.sample.utc_s - START_S): record.plan.cpu.reason
        for record in rig.history.records
    }
    assert {reasons[at_s] for at_s in reasons if 15 < at_s < LASTS_S - 1} == {Reason.INHIBITED}
    assert [event.kind for event in rig.history.events] == [
        EventKind.STARTED,
        EventKind.MAINTENANCE_BEGAN,
        EventKind.MAINTENANCE_ENDED,
        EventKind.STOPPED,
    ]
    began, ended = rig.history.events[1:3]
    assert 0 <= began.utc_s - START_S < 1.0
    assert began.until_utc_s == START_S + LASTS_S
    assert 0 <= ended.utc_s - START_S - LASTS_S < 1.0
    shown = [report.orders.inhibit for report in rig.notifier.published]
    assert any(order is not None and order.by == BY for order in shown)


def test_a_resume_during_a_window_brings_the_load_back() -> None:
    """It stays until the end of the window, and the window's end is no event any more."""
    rig, inner = rig_before_window(5.0)
    rig.run_for(20.0)
    assert rig.plan.cpu.reason is Reason.INHIBITED
    inner.last_resume_utc_s, inner.resume_pending = rig.host.utc(), True
    rig.run_for(LASTS_S)
    assert rig.plan.cpu.reason is Reason.HOLDING
    assert [event.kind for event in rig.history.events] == [
        EventKind.MAINTENANCE_BEGAN,
        EventKind.MAINTENANCE_ENDED,
    ]
    assert "lifted" in rig.history.events[1].detail


def test_a_clock_step_into_a_window_and_out_of_it_is_obeyed() -> None:
    """Whatever the direction: what the clock says now counts."""
    rig, _ = rig_before_window(3600.0)
    rig.run_for(20.0)
    assert rig.host.duty > 0
    rig.host.utc_offset_s += 3600.0
    rig.run_for(2.0)
    assert rig.host.duty == 0
    rig.host.utc_offset_s -= 7200.0
    rig.run_for(10.0)
    assert rig.host.duty > 0
