"""What the daemon makes of a clock that is set and of a host that sleeps."""

from __future__ import annotations

import pytest

from optimizer.model import Reason, Resource
from tests.fakes import FakeHost, policy
from tests.simulation.rig import Rig

DAY_S = 86_400
YEARS_S = 10 * 365 * DAY_S


def settled(tenant_moves: bool = False) -> Rig:
    """A daemon that has run for five minutes; a tenant that moves keeps the cycles coming."""
    rig = Rig(FakeHost(tenant_cpu=lambda t: 0.1 + 0.1 * (int(t * 5) % 2) * tenant_moves))
    rig.run_for(300)
    return rig


@pytest.mark.parametrize("seconds", [1.0, -1.0, 3600.0, -3600.0, YEARS_S, -YEARS_S])
@pytest.mark.parametrize("tenant_moves", [False, True])
def test_after_a_step_the_next_full_cycle_only_measures(
    seconds: float, *, tenant_moves: bool
) -> None:
    """No lease rises in the next cycle; large steps are seen at once, all within the second."""
    rig = settled(tenant_moves)
    rig.run_for(0.3)
    before = rig.plan
    rig.host.set_clock(seconds)
    for _ in range(9):
        rig.run_for(0.1)
        if rig.plan.cpu.reason is Reason.MEASURING:
            break
    assert {decision.reason for decision in rig.plan} == {Reason.MEASURING}
    assert rig.plan.memory.lease <= before.memory.lease
    assert rig.plan.disk.lease <= before.disk.lease
    steps = [fields["seconds"] for _, name, fields in rig.log.events if name == "clock.stepped"]
    assert steps == [pytest.approx(seconds)]
    rig.run_for(3)
    assert rig.plan.cpu.reason is not Reason.MEASURING
    shown = rig.notifier.published[-1].clock_step
    assert shown is not None
    assert shown.seconds == pytest.approx(seconds)


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_no_sample_spans_a_step(seconds: float) -> None:
    """The interval with the step is left out; the others are whole and lie where they say."""
    rig = Rig(FakeHost(step_s=0.1))
    rig.run_for(150)
    rig.host.set_clock(seconds)
    rig.run_for(300)
    spans = [record.sample.span_s for record in rig.history.records]
    ends = [record.sample.utc_s for record in rig.history.records]
    assert spans == pytest.approx([60.0] * 6, abs=0.9)
    assert ends[2] - spans[2] >= rig.host.utc_offset_s + 1150 - 0.2


def test_slewing_changes_nothing() -> None:
    """A clock that is slewed by 0.05 % for ten minutes: no minute is lost, no step told."""
    host = FakeHost(step_s=0.1)
    rig = Rig(host)
    for _ in range(61):
        rig.run_for(10)
        host.set_clock(0.005)
    assert "clock.stepped" not in rig.log.names()
    assert len(rig.history.records) == 10


def test_a_host_that_slept_measures_anew() -> None:
    """Suspended for eight hours: told as a sleep, not as a step; the interval is not recorded."""
    rig = settled()
    records = len(rig.history.records)
    held = rig.host.held[Resource.MEMORY]
    rig.host.sleep(8 * 3600.0)
    rig.daemon.cycle()
    assert {decision.reason for decision in rig.plan} == {Reason.MEASURING}
    assert rig.host.held[Resource.MEMORY] <= held
    assert "clock.stepped" not in rig.log.names()
    assert ("info", "host.slept", {"seconds": 28800.0}) in rig.log.events
    rig.run_for(59)
    assert len(rig.history.records) == records


def test_a_step_while_memory_runs_short_costs_less_than_a_second() -> None:
    """The cycle that only measures is followed by another at once, so the floor is kept."""
    host = FakeHost(tenant_memory_bytes=lambda t: 20 << 30 if t >= 1300 else 0)
    rig = Rig(host)
    rig.run_for(299.9)
    assert host.held[Resource.MEMORY] > 4 << 30
    rig.run_for(0.2)
    host.set_clock(-3600.0)
    rig.run_for(0.7)
    assert host.held[Resource.MEMORY] < 3 << 30


def test_on_a_calm_host_too_the_cycle_that_only_measures_is_followed_by_another_at_once() -> None:
    """Without load on the CPU nothing moves, so the next cycle would come after 0.9 s."""
    rig = Rig(rules=policy(cpu=0.0))
    begun_s = rig.host.now_s
    rig.live(0.05)
    assert [plan.memory.reason for plan in rig.host.plans] == [Reason.MEASURING, Reason.RISING]
    assert rig.host.now_s - begun_s < 0.3
