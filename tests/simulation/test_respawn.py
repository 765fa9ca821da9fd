"""A stresser that ends at once is started seldom, then not at all: for each resource by itself."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from optimizer.control.lifecycle import BURST_LIMIT, BURST_WINDOW_S, RESTART_DELAY_S
from optimizer.model import ExitCause, Observation, Plan, Reason, Resource, StresserExit
from tests.fakes import FakeHost, policy
from tests.simulation.rig import Rig


@dataclass
class FaultyHost(FakeHost):
    """Whatever is started of `faulty` ends at once; each start is written down with its time."""

    faulty: frozenset[Resource] = frozenset({Resource.CPU})
    starts: dict[Resource, list[float]] = field(default_factory=dict)
    broken_until_s: float = 0.0

    def apply(self, plan: Plan) -> None:
        """See FakeHost; a start is a lease above 0 where nothing runs."""
        runs = {Resource.CPU: self.cpu_runs, Resource.MEMORY: self.held.get(Resource.MEMORY, 0) > 0}
        super().apply(plan)
        for resource in self.faulty:
            if plan.of(resource).lease > 0 and not runs[resource]:
                self.starts.setdefault(resource, []).append(self.now_s)
                self.exits.append(
                    StresserExit(resource=resource, cause=ExitCause.FAILED, detail="exit code 1")
                )

    def observe(self) -> Observation:
        """See FakeHost; fails until then."""
        if self.now_s < self.broken_until_s:
            raise RuntimeError("broken")
        return super().observe()


def most_within(times_s: list[float], window_s: float) -> int:
    """The largest number of them in any window of that length."""
    return max(sum(start <= at < start + window_s for at in times_s) for start in times_s)


def checked(times_s: list[float]) -> int:
    """How many starts there were, once their rate has been checked."""
    assert most_within(times_s, RESTART_DELAY_S - 1e-6) == 1
    assert most_within(times_s, BURST_WINDOW_S) <= BURST_LIMIT
    return len(times_s)


@pytest.mark.parametrize("faulty", [Resource.CPU, Resource.MEMORY])
def test_it_is_started_five_times_and_then_stays_off(faulty: Resource) -> None:
    """At most once a second and five times in ten; ten minutes later it is off."""
    host = FaultyHost(faulty=frozenset({faulty}))
    rig = Rig(host)
    rig.run_for(60)
    assert checked(host.starts[faulty]) == BURST_LIMIT
    rig.run_for(600)
    assert len(host.starts[faulty]) == BURST_LIMIT
    assert rig.plan.of(faulty).reason is Reason.STRESSER_TRIPPED
    told = [fields for _, event, fields in rig.log.events if event == "stresser.tripped"]
    assert [one["resource"] for one in told] == [faulty.value]
    assert "optimizer resume" in str(told[0]["remedy"])


def test_the_others_go_on() -> None:
    """The latch is that of one resource: memory and disk reach their targets meanwhile."""
    host = FaultyHost()
    rig = Rig(host)
    rig.run_for(900)
    assert rig.plan.cpu.reason is Reason.STRESSER_TRIPPED
    assert rig.plan.memory.reason is Reason.HOLDING
    assert rig.plan.disk.reason is Reason.HOLDING


def test_a_resume_lifts_the_latch_for_five_more() -> None:
    """Only an operator's word does, and what is still faulty trips again."""
    host = FaultyHost()
    rig = Rig(host)
    rig.run_for(60)
    rig.switch.resume_pending = True
    rig.run_for(60)
    assert checked(host.starts[Resource.CPU]) == 2 * BURST_LIMIT
    assert rig.plan.cpu.reason is Reason.STRESSER_TRIPPED


def test_neither_a_failing_cycle_nor_a_reload_lifts_it() -> None:
    """Both replace what else the loop remembers."""
    host = FaultyHost()
    rig = Rig(host)
    rig.run_for(60)
    host.broken_until_s = host.now_s + 0.05
    assert rig.live(30) == 0
    assert "cycle.failed" in rig.log.names()
    rig.settled = replace(rig.settled, policy=policy(cpu=0.5))
    rig.daemon._stopping = False
    rig.run_for(30)
    assert rig.plan.cpu.target_ratio == 0.5
    assert len(host.starts[Resource.CPU]) == BURST_LIMIT
    assert rig.plan.cpu.reason is Reason.STRESSER_TRIPPED


def test_ends_that_come_slowly_do_not_trip() -> None:
    """One expiry each three seconds, as on a host that starves its stressers, is no fault."""
    host = FakeHost()
    rig = Rig(host)
    for _ in range(20):
        rig.run_for(3)
        host.exits.append(
            StresserExit(resource=Resource.CPU, cause=ExitCause.EXPIRED, detail="its lease ran out")
        )
    rig.run_for(5)
    assert rig.plan.cpu.lease > 0
