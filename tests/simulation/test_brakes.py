"""Steal and the ceiling on our own hours, seen through the whole loop on a model host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from optimizer.counters import HostReading
from optimizer.model import Reason
from tests.fakes import FakeHost, policy
from tests.simulation.rig import Rig

DAY_S = 86_400


@dataclass
class StolenHost(FakeHost):
    """A model host from whose idle time the hypervisor takes a share."""

    steal: Callable[[float], float] = lambda _: 0.0
    steal_s: float = 0.0

    def wait_until(self, monotonic_s: float) -> None:
        """Let the model host run until then, and count what is stolen."""
        while self.now_s < monotonic_s - 1e-9:
            before_s, share = self.now_s, self.steal(self.now_s)
            super().wait_until(min(monotonic_s, before_s + self.step_s))
            self.steal_s += share * (self.now_s - before_s) * self.cpus

    def read(self) -> HostReading:
        """Counters as the model host has them now."""
        found = super().read()
        assert found.cpu is not None
        cpu = found.cpu._replace(idle_s=found.cpu.idle_s - self.steal_s, steal_s=self.steal_s)
        return replace(found, cpu=cpu)


def limits_said(rig: Rig, reason: Reason) -> list[str]:
    """The log events on one reason, in order."""
    return [name for _, name, fields in rig.log.events if fields.get("reason") == reason.value]


@pytest.mark.parametrize("count_steal", [False, True])
def test_a_minute_of_steal_lowers_the_load_once_and_lets_it_return(*, count_steal: bool) -> None:
    """30 % stolen for a minute: nearly nothing is left of 40 %, and all is back soon after.

    The mean of 30 % is below half of 5 % after 24 s, and 0.5 point a second
    makes 40 points in 80 s: so 110 s after the steal it is held again.
    """
    host = StolenHost(steal=lambda now_s: 0.3 if 1030 <= now_s < 1090 else 0.0)
    rules = replace(policy(), steal_max_ratio=0.05, count_steal=count_steal)
    rig = Rig(host, rules=rules)
    rig.run_for(89)
    # The last two seconds: full cycles and those between them that decide the CPU alone.
    assert max(plan.cpu.demand_ratio for plan in rig.host.plans[-10:]) < 0.01
    assert rig.plan.cpu.reason is Reason.STEAL
    again = Rig(StolenHost(steal=host.steal), rules=rules)
    again.live(89 + 111)
    assert again.plan.cpu.demand_ratio == pytest.approx(0.4, abs=0.01)
    assert again.plan.cpu.reason is Reason.HOLDING
    assert limits_said(again, Reason.STEAL) == ["demand.limited", "demand.freed"]


def test_the_day_s_hours_run_out_and_come_back_at_midnight() -> None:
    """40 % of two CPUs for 36 s are 0.008 core-hours; then nothing until 00:00 UTC."""
    # It begins at 1000 s; midnight is 200 s later. A calm loop ends up to 5 s late.
    host = FakeHost(utc_offset_s=20_000 * DAY_S - 1200.0)
    rig = Rig(host, rules=replace(policy(), own_hours_max=0.008))
    rig.live(180)
    assert rig.plan.cpu.reason is Reason.OWN_HOURS
    assert rig.plan.cpu.lease == 0.0
    # Full cycles count it: at most a second too much of 0.8 CPUs.
    assert 0.008 * 3600 <= host.own_cpu_s <= 0.008 * 3600 + 0.8
    assert rig.plan.memory.demand_ratio > 0.0
    day = rig.notifier.published[-1].own_day_s
    assert day == pytest.approx(host.own_cpu_s)
    fresh = Rig(
        FakeHost(utc_offset_s=host.utc_offset_s), rules=replace(policy(), own_hours_max=0.008)
    )
    fresh.live(220)
    assert fresh.plan.cpu.reason is Reason.HOLDING
    assert limits_said(fresh, Reason.OWN_HOURS) == ["demand.limited", "demand.freed"]


def test_a_limit_that_ends_is_not_made_up_for() -> None:
    """The hours' limit is lifted: 40 % at once, and never more than a rounding above."""
    rig = Rig(rules=replace(policy(), own_hours_max=0.001))
    rig.run_for(60)
    assert rig.plan.cpu.reason is Reason.OWN_HOURS
    rig.settled = replace(rig.settled, policy=policy())
    seen = len(rig.host.plans)
    rig.run_for(10)
    demands = [plan.cpu.demand_ratio for plan in rig.host.plans[seen:]]
    assert max(demands) <= 0.402
    assert demands[-1] == pytest.approx(0.4, abs=0.001)


def test_an_error_in_a_cycle_does_not_give_the_hours_back() -> None:
    """The control state begins anew, what the day has used does not."""

    class Failing(FakeHost):
        broken = False

        def read(self) -> HostReading:
            if self.now_s >= 1060.0 and not self.broken:
                self.broken = True
                raise RuntimeError("sensor broke")
            return super().read()

    rig = Rig(Failing(), rules=replace(policy(), own_hours_max=0.008))
    rig.live(90)
    assert rig.log.names().count("cycle.failed") == 1
    assert rig.plan.cpu.lease == 0.0
    assert rig.host.own_cpu_s <= 0.008 * 3600 + 0.8


def test_hours_used_before_this_start_count() -> None:
    """A daemon that begins with all of them used never loads the CPU that day."""
    rig = Rig(rules=replace(policy(), own_hours_max=1.0), used_s=3600.0)
    rig.live(20)
    assert rig.host.own_cpu_s == 0.0
    assert rig.plan.cpu.reason is Reason.OWN_HOURS
