"""What steal and the ceiling on our own hours never do, whatever has been before."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from hypothesis import example, given
from hypothesis import strategies as st

from optimizer.control.brake import Brake, OwnHours, caps, charge, press
from optimizer.control.decide import ControlState, decide
from optimizer.counters import CpuCounters, HostReading, OwnCounters, Reading
from optimizer.model import Decision, Observation, Reason
from optimizer.orders import Orders, Policy
from tests.fakes import policy

TINY = 1e-9
CPUS = 2
STEP_S = 0.5
DAY_S = 86_400
GROWTH_PER_S = 0.005
"""How fast a brake may ease, in capacities per second; the documented value."""


def reading(
    at_s: float, steal_s: float, *, own_s: float = 0.0, utc_s: float = 0.0, total_s: float = -1.0
) -> Reading:
    """Counters of an idle host of two CPUs."""
    total_s = CPUS * at_s if total_s < 0 else total_s
    cpu = CpuCounters(total_s=total_s, idle_s=0.0, steal_s=steal_s, cpus=CPUS)
    host = HostReading(monotonic_s=at_s, utc_s=utc_s, cpu=cpu, memory=None, disks=None)
    return Reading(host=host, own=OwnCounters(cpu_s=own_s))


@dataclass
class Stolen:
    """Control on a host from which a share is stolen, beside a tenant; the load obeys at once."""

    rules: Policy
    at_s: float = 1000.0
    idle_s: float = 0.0
    steal_s: float = 0.0
    own_s: float = 0.0
    demand: float = 0.0
    state: ControlState = field(default_factory=ControlState)

    def live(self, tenant: float, steal: float) -> Reading:
        """Let the host run for a step with the present demand; its counters then."""
        steal = min(steal, 1.0 - tenant)
        own = min(self.demand, 1.0 - tenant - steal)
        self.at_s += STEP_S
        self.steal_s += steal * STEP_S * CPUS
        self.own_s += own * STEP_S * CPUS
        self.idle_s += (1.0 - tenant - steal - own) * STEP_S * CPUS
        cpu = CpuCounters(
            total_s=self.at_s * CPUS, idle_s=self.idle_s, steal_s=self.steal_s, cpus=CPUS
        )
        host = HostReading(monotonic_s=self.at_s, utc_s=self.at_s, cpu=cpu, memory=None, disks=None)
        return Reading(host=host, own=OwnCounters(cpu_s=self.own_s))

    def think(self, now: Reading, state: ControlState, rules: Policy) -> Decision:
        """What control says of this reading; nothing is remembered."""
        return decide(state, now, Observation(own=now.own), Orders(policy=rules)).plan.cpu

    def step(self, tenant: float, steal: float) -> Reading:
        """A step and the cycle at its end; the reading of it."""
        now = self.live(tenant, steal)
        verdict = decide(self.state, now, Observation(own=now.own), Orders(policy=self.rules))
        self.state, self.demand = verdict.state, verdict.plan.cpu.demand_ratio
        return now


shares = st.floats(0.0, 1.0).map(lambda share: round(share, 3))
lives = st.lists(st.tuples(shares, shares, st.integers(1, 20)), min_size=1, max_size=6)
limits = st.sampled_from([0.0, 0.05, 0.5, 1.0])
hours = st.sampled_from([None, 1e-6, 0.001, 1.0])
policies = st.builds(
    lambda limit, most, counted: replace(
        policy(), steal_max_ratio=limit, own_hours_max=most, count_steal=counted
    ),
    limits,
    hours,
    st.booleans(),
)


@given(rules=policies, life=lives)
def test_control_with_its_brakes_never_asks_for_more_than_without(
    rules: Policy, life: list[tuple[float, float, int]]
) -> None:
    """The same state and reading, decided both ways after every step."""
    free = replace(rules, steal_max_ratio=1.0, own_hours_max=None)
    host = Stolen(rules)
    for tenant, steal, steps in life:
        for _ in range(steps):
            before = host.state
            now = host.step(tenant, steal)
            unbraked = host.think(now, before._replace(brake=Brake(), hours=OwnHours()), free)
            assert 0.0 <= host.demand <= unbraked.demand_ratio + TINY


@given(rules=policies, life=lives)
def test_no_debt_is_owed_while_a_brake_limits(
    rules: Policy, life: list[tuple[float, float, int]]
) -> None:
    """What steal or the hours withheld is not paid back later; nothing is left past the hours."""
    host = Stolen(rules)
    for tenant, steal, steps in life:
        for _ in range(steps):
            before = host.state
            now = host.step(tenant, steal)
            said = host.think(now, before, rules)
            if said.reason in {Reason.STEAL, Reason.OWN_HOURS}:
                assert host.state.resources.cpu.governor.debt_s <= 0.0
            if said.reason is Reason.OWN_HOURS:
                assert said.lease == 0.0


counters = st.tuples(
    st.floats(-1.0, 20.0),  # time, also backwards and over a gap
    st.floats(-5.0, 50.0),  # steal, also backwards and more than there was time
    st.floats(-5.0, 50.0),  # all time
    shares,  # what we demand
)


@given(limit=limits, steps=st.lists(counters, max_size=40))
def test_any_counters_keep_the_brake_a_share_that_eases_slowly(
    limit: float, steps: list[tuple[float, float, float, float]]
) -> None:
    """0 to 1 each; growth is 0.005 a second at most, and none while steal is above the limit."""
    rules = replace(policy(), steal_max_ratio=limit)
    brake, at_s, steal_s, total_s = Brake(), 1000.0, 100.0, 2000.0
    for span_s, stolen_s, passed_s, demand in steps:
        at_s, steal_s, total_s = at_s + span_s, steal_s + stolen_s, max(0.0, total_s + passed_s)
        after = press(brake, reading(at_s, steal_s, total_s=total_s), demand, rules)
        assert 0.0 <= after.most_ratio <= 1.0
        assert 0.0 <= after.steal_ratio <= 1.0
        seen_s = 0.0 if brake.at_s is None else at_s - brake.at_s
        assert after.most_ratio <= brake.most_ratio + GROWTH_PER_S * max(0.0, seen_s) + TINY
        if after.steal_ratio > limit:
            assert after.most_ratio <= brake.most_ratio
        brake = after


@given(
    limit=limits,
    history=st.lists(shares, max_size=30),
    demand=shares,
    steal=shares,
    more=shares,
)
@example(limit=0.0, history=[0.938, 0.105], demand=1.0, steal=0.0, more=1.0)
def test_more_steal_never_allows_more(
    limit: float, history: list[float], demand: float, steal: float, more: float
) -> None:
    """Two copies of one history whose last second differs in steal alone."""
    rules = replace(policy(), steal_max_ratio=limit)
    brake, steal_s = press(Brake(), reading(0.0, 0.0), demand, rules), 0.0
    for second, share in enumerate(history, 1):
        steal_s += share * CPUS
        brake = press(brake, reading(float(second), steal_s), demand, rules)
    at_s = len(history) + 1.0

    def most(share: float) -> float:
        return press(brake, reading(at_s, steal_s + share * CPUS), demand, rules).most_ratio

    assert most(min(1.0, steal + more)) <= most(steal) + TINY


@given(rest=shares, life=st.lists(shares, max_size=30))
def test_a_brake_always_ends(rest: float, life: list[float]) -> None:
    """Whatever the limit and the steal before, five minutes without any steal free all.

    A mean of 1 is below 0.0005 after 73 s (0.9^n), and from nothing to all are 200 s.
    """
    rules = replace(policy(), steal_max_ratio=rest)
    brake, at_s, steal_s = Brake(), 0.0, 0.0
    for share in (*life, *([0.0] * 300)):
        at_s, steal_s = at_s + 1.0, steal_s + share * CPUS
        brake = press(brake, reading(at_s, steal_s), 0.4, rules)
    assert caps(brake, OwnHours(), rules) == ()


@given(
    steps=st.lists(
        st.tuples(
            st.floats(-3.0 * DAY_S, 3.0 * DAY_S) | st.just(DAY_S),
            st.floats(-50.0, 50.0),
            st.floats(0.0, 40_000.0),
        ),
        max_size=40,
    )
)
def test_hours_only_fall_once_in_a_day(steps: list[tuple[float, float, float]]) -> None:
    """With any steps of clock and counter: what was used is lost each 20 true hours at most."""
    utc_s, own_s, now_s, fell_s = 1e9, 1000.0, 0.0, -math.inf
    spent = charge(OwnHours(), reading(0.0, 0.0, own_s=own_s, utc_s=utc_s))
    if spent.renewed_s is not None:
        fell_s = now_s
    for clock_s, used_s, passed_s in steps:
        utc_s, own_s, now_s = utc_s + clock_s + passed_s, own_s + used_s, now_s + passed_s
        after = charge(spent, reading(now_s, 0.0, own_s=own_s, utc_s=utc_s))
        assert after.day == utc_s // DAY_S
        anew = after.day != spent.day and now_s - fell_s >= 20 * 3600.0
        assert abs(after.used_s - (0.0 if anew else spent.used_s) - max(0.0, used_s)) < 1e-6
        fell_s = now_s if anew else fell_s
        spent = after
