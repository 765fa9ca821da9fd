"""What affinity, quotas and containers change in the decision on the CPU, and in its words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from optimizer.control.decide import ControlState, Verdict, decide
from optimizer.control.guard import Limited, limit
from optimizer.counters import (
    CapacityScope,
    CpuCapacity,
    CpuCounters,
    HostReading,
    OwnCounters,
    Reading,
)
from optimizer.model import Observation, Reason, Utilisation
from optimizer.orders import Orders
from optimizer.report.explain import Pace, sentences
from optimizer.report.status import _capacity
from optimizer.report.status_text import table
from tests.fakes import policy


class Box:
    """A container of `cpus` CPUs whose tenant uses a constant share, and a load that obeys."""

    def __init__(self, cpus: float, *, tenant: float = 0.0, **counters: Any) -> None:
        self.cpus = cpus
        self.tenant = tenant
        self.counters = counters
        self.at_s = self.busy_s = self.own_s = 0.0
        self.state = ControlState()
        self.orders = Orders(policy=policy(cpu=0.8))

    def run(self, seconds: float) -> Verdict:
        """Decide ten times a second."""
        for _ in range(round(seconds * 10)):
            cpu = CpuCounters(
                total_s=self.at_s * self.cpus,
                idle_s=self.at_s * self.cpus - self.busy_s,
                steal_s=0.0,
                cpus=self.cpus,
                **self.counters,
            )
            host = HostReading(
                monotonic_s=self.at_s, utc_s=self.at_s, cpu=cpu, memory=None, disks=None
            )
            own = OwnCounters(cpu_s=self.own_s)
            found = decide(
                self.state, Reading(host=host, own=own), Observation(own=own), self.orders
            )
            self.state = found.state
            self.at_s += 0.1
            self.own_s += found.plan.cpu.lease * 0.1 * self.cpus
            self.busy_s += (found.plan.cpu.lease + self.tenant) * 0.1 * self.cpus
        return found


@pytest.mark.parametrize("cpus", [0.1, 0.5, 1.5, 64.0])
def test_a_share_of_any_number_of_cpus_is_held(cpus: float) -> None:
    """A fraction of a CPU is a capacity like any other: tenant 20 %, target 80 %, so 60 %."""
    found = Box(cpus, tenant=0.2).run(40.0).plan.cpu
    assert found.reason is Reason.HOLDING
    assert found.demand_ratio == pytest.approx(0.6, abs=0.005)


def test_what_is_out_of_reach_is_not_demanded_and_the_reason_is_said() -> None:
    """Half of the host in reach, 80 % wanted."""
    box = Box(2.0, reach_ratio=0.5)
    found = box.run(20.0).plan.cpu
    assert (found.demand_ratio, found.reason) == (0.5, Reason.CPU_LIMITED)
    assert found.wanted_ratio > 0.5


def test_no_debt_builds_up_while_out_of_reach() -> None:
    """Twenty seconds at 50 instead of 80 %, then all is in reach: only the last step is owed."""
    box = Box(2.0, reach_ratio=0.5)
    box.run(20.0)
    box.counters = {}
    # One step of 0.1 s was 0.3 short: 0.03 s, paid back over 4 s; a debt at its limit were 0.1 s.
    assert box.run(0.1).plan.cpu.demand_ratio <= 0.8 + 0.0075 + 1e-9


def test_a_quota_that_runs_out_lowers_the_demand() -> None:
    """Counted while tenant and load both use it: a quarter of the load's 0.6 is left."""
    box = Box(1.0, tenant=0.2)
    box.run(20.0)
    box.counters = {"throttled": 3}
    found = box.run(3.0).plan.cpu
    assert found.reason is Reason.THROTTLED
    assert found.demand_ratio == pytest.approx(0.15, abs=0.01)


@pytest.mark.parametrize("watchable", [True, False])
def test_cycles_come_less_often_only_where_stressers_can_watch(watchable: bool) -> None:
    """A container's counters are not those of /proc/stat."""
    found = Box(2.0, tenant=0.2, watchable=watchable).run(40.0)
    assert found.calm is watchable
    assert (found.plan.cpu.level_ratio is not None) is watchable


def test_the_lowest_cap_counts_and_names_its_reason() -> None:
    """Caps only lower: what is below them stays as it is."""
    caps = (
        Limited(demand_ratio=0.5, reason=Reason.CPU_LIMITED),
        Limited(demand_ratio=0.3, reason=Reason.THROTTLED),
    )
    usage = Utilisation(total_ratio=0.0, own_ratio=0.0, capacity=2.0, room_ratio=1.0)

    def limited(demand: float) -> Limited:
        return limit(
            demand,
            usage=usage,
            ceiling_ratio=0.9,
            previous_ratio=0.0,
            holding_off=False,
            has_floor=False,
            caps=caps,
        )

    assert limited(0.4) == caps[1]
    assert limited(0.2) == Limited(demand_ratio=0.2)


# --- words ---------------------------------------------------------------------

CONTAINER = CpuCapacity(
    scope=CapacityScope.CONTAINER,
    online_cpus=4,
    usable=frozenset({0, 1}),
    quota_cpus=1.5,
    capacity_cpus=1.5,
    reach_cpus=1.5,
    workers=2,
)


def cpu_line(capacity: CpuCapacity) -> str:
    """The line of the status table that says what the shares are of."""
    shown = table({"cpu_scope": _capacity(capacity)})
    return next(line for line in shown.splitlines() if "shares are of" in line)


def test_status_says_what_the_shares_are_of() -> None:
    """Scope, online and usable CPUs, quota; and a limit on the load alone if there is one."""
    assert cpu_line(CONTAINER).split(maxsplit=1)[1] == (
        "shares are of this container: 1.5 CPUs (4 online, 2 usable, quota 1.5)"
    )
    host = replace(
        CONTAINER, scope=CapacityScope.HOST, quota_cpus=None, capacity_cpus=4.0, reach_cpus=2.0
    )
    assert cpu_line(host).split(maxsplit=1)[1] == (
        "shares are of the host: 4 CPUs (4 online, 2 usable, no quota, load limited to 2)"
    )


def test_plan_says_how_far_it_gets() -> None:
    """Organic 10 %, half of the host in reach: 80 % ends at 60."""
    facts = {
        "reason": "cpu_limited",
        "target": 0.8,
        "now": 0.6,
        "organic": 0.1,
        "own": 0.5,
        "capacity": 2.0,
        "ceiling": 0.9,
        "room": 0.4,
        "reach": 0.5,
        "note": "",
        "means": [],
        "place": None,
    }
    off = {"reason": "no_target", "target": 0.0}
    status = {"inhibit": None, "resources": {"cpu": facts, "memory": off, "disk": off}}
    said = sentences(status, Pace(memory_bytes_per_s=1.0, disk_bytes_per_s=1.0))[0]
    assert "affinity, a cpuset or a quota leaves no more, so it ends at 60.0 %" in said
