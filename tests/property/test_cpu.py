"""What control of the CPU never does, whatever tenant and counters have been before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from optimizer.control.decide import GLANCE_RATIO, ControlState, decide, decide_cpu, still_above
from optimizer.control.resource import ResourceState
from optimizer.counters import CpuCounters, HostReading, OwnCounters, Reading
from optimizer.model import Observation, PerResource
from optimizer.orders import Inhibit, Orders
from tests.fakes import policy

TINY = 1e-9
STEP_S = 0.1
RISE_PER_S = policy().cpu_rise_per_s
"""How fast the policy of these tests lets the demand rise."""
DEBT_LIMIT_S = 0.1
PAYBACK_S = 1.0
"""The most that is ever owed, and the shortest time in which it is paid back."""


@dataclass
class Loop:
    """Control on a host where the tenant comes first and we get what it leaves, at once.

    `gain` is what the stressers really use of their lease: less where something
    starves them, a little more where they overrun.
    """

    target: float = 0.4
    cpus: int = 2
    gain: float = 1.0
    rough: bool = False
    """Whether the counters are shown in whole hundredths of a second."""
    at_s: float = 1000.0
    idle_s: float = 0.0
    total_s: float = 0.0
    own_s: float = 0.0
    demand: float = 0.0
    ceiling: float = 0.9
    state: ControlState = field(default_factory=ControlState)
    busy: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """A full cycle has allowed all that the target asks for."""
        rest = ResourceState()
        cpu = ResourceState(goal_ratio=self.target)
        self.state = ControlState(resources=PerResource(cpu=cpu, memory=rest, disk=rest))

    def copy(self) -> Loop:
        """The same history, to go on in another way."""
        other = replace(self, busy=list(self.busy))
        other.state = self.state
        return other

    def live(self, tenant: float, *, step_s: float = STEP_S) -> None:
        """Let the host run for a step with the present demand."""
        own = min(self.demand * self.gain, 1.0 - tenant)
        capacity_s = step_s * self.cpus
        self.at_s += step_s
        self.total_s += capacity_s
        self.idle_s += (1.0 - tenant - own) * capacity_s
        self.own_s += own * capacity_s
        self.busy.append(tenant + own)

    def counters(self) -> CpuCounters:
        """What the kernel shows."""
        shown = (lambda s: int(s * 100) / 100) if self.rough else (lambda s: s)
        return CpuCounters(
            total_s=shown(self.total_s),
            idle_s=shown(self.idle_s),
            steal_s=0.0,
            cpus=self.cpus,
        )

    def think(self, cpu: CpuCounters | None) -> float:
        """One cycle on these counters; the demand."""
        orders = Orders(policy=policy(cpu=self.target))
        self.state, self.demand = decide_cpu(self.state, self.at_s, cpu, self.own_s, orders)
        assert self.demand == self.state.resources.cpu.governor.demand_ratio
        return self.demand

    def step(self, tenant: float, *, step_s: float = STEP_S) -> float:
        """A step and the cycle at its end; the demand."""
        self.live(tenant, step_s=step_s)
        return self.think(self.counters())

    def run(self, history: list[tuple[float, int]]) -> None:
        """Steps with the tenant at each share for so many steps."""
        self.think(self.counters())
        for tenant, steps in history:
            for _ in range(steps):
                self.step(tenant)


shares = st.floats(0.0, 1.0).map(lambda share: round(share, 3))
targets = st.floats(0.05, 0.9).map(lambda share: round(share, 2))
histories = st.lists(st.tuples(shares, st.integers(1, 25)), min_size=1, max_size=6)
gains = st.sampled_from([1.0, 0.95, 0.5, 1.05])
cpus = st.sampled_from([1, 2, 16, 256])
loops = st.builds(Loop, target=targets, cpus=cpus, gain=gains, rough=st.booleans())
exact_loops = st.builds(Loop, target=targets, cpus=cpus, gain=gains)


@given(loop=loops, history=histories, more=st.lists(shares, min_size=1, max_size=20))
def test_demand_is_within_the_ceiling_and_rises_no_faster_than_it_may(
    loop: Loop, history: list[tuple[float, int]], more: list[float]
) -> None:
    """0 to ceiling less tenant, and 0.1 s raises it by a tenth of the rate at most."""
    loop.run(history)
    for tenant in more:
        before = loop.demand
        demand = loop.step(tenant)
        usage = loop.state.track.utilisation()
        assert usage is not None
        assert 0.0 <= demand <= max(0.0, loop.ceiling - usage.organic_ratio) + TINY
        assert demand <= before + RISE_PER_S * STEP_S + TINY


@given(loop=loops, history=histories, glances=st.integers(0, 4), after=shares)
def test_waiting_for_the_tenant_ends_when_it_has_left(
    loop: Loop, history: list[tuple[float, int]], glances: int, after: float
) -> None:
    """Glances change nothing that is decided; the first below the setpoint decides, and fully."""
    loop.run([*history, (1.0, 25)])
    assert loop.demand == 0.0
    orders = Orders(policy=policy(cpu=loop.target))
    for _ in range(glances):
        loop.live(1.0)
        waiting = still_above(loop.state, loop.at_s, loop.counters(), orders)
        assert waiting is not None
        assert waiting.resources is loop.state.resources
        loop.state = waiting
    loop.live(after)
    waiting = still_above(loop.state, loop.at_s, loop.counters(), orders)
    rounding = 0.02 / (loop.cpus * STEP_S)
    if after < loop.target + GLANCE_RATIO - rounding:
        assert waiting is None
    if after > loop.target + GLANCE_RATIO + rounding:
        assert waiting is not None
    missing = loop.target - after - rounding
    if missing > rounding + 0.05:
        assert loop.think(loop.counters()) >= min(missing, RISE_PER_S * STEP_S) - TINY


def orders_with(ban: str, target: float) -> Orders:
    """What forbids all load in one of several ways; or nothing does."""
    rules = policy(cpu=0.0 if ban == "target" else target)
    inhibit = None
    if ban == "inhibit":
        inhibit = Inhibit(reason="test", by="test", until_utc_s=None)
    return Orders(
        policy=replace(rules, own_hours_max=1e-9 if ban == "hours" else None), inhibit=inhibit
    )


bans = st.sampled_from(["", "", "inhibit", "target", "hours"])
cycles = st.tuples(shares, st.booleans(), bans)


@given(loop=loops, cycles=st.lists(cycles, max_size=60))
def test_what_a_full_cycle_forbids_the_cycles_between_keep(
    loop: Loop, cycles: list[tuple[float, bool, str]]
) -> None:
    """Full cycles, cycles between and glances in any order: no lease under a ban, no jump ever."""
    state, orders, banned = ControlState(), orders_with("", loop.target), False
    for index, (tenant, full, ban) in enumerate(cycles):
        before = loop.demand
        loop.live(tenant)
        cpu = loop.counters()
        if full or index == 0:
            orders = orders_with(ban, loop.target)
            host = HostReading(
                monotonic_s=loop.at_s, utc_s=1e6 + loop.at_s, cpu=cpu, memory=None, disks=None
            )
            own = OwnCounters(cpu_s=loop.own_s)
            verdict = decide(state, Reading(host=host, own=own), Observation(own=own), orders)
            state, loop.demand = verdict.state, verdict.plan.cpu.lease
            used = state.hours.used_s > 0
            banned = ban in {"inhibit", "target"} or (ban == "hours" and used)
        else:
            waiting = still_above(state, loop.at_s, cpu, orders)
            if waiting is None:
                state, loop.demand = decide_cpu(state, loop.at_s, cpu, loop.own_s, orders)
            else:
                state = waiting
                assert loop.demand == 0.0
        assert loop.demand == 0.0 if banned else 0.0 <= loop.demand <= loop.ceiling
        assert loop.demand <= before + RISE_PER_S * STEP_S + TINY


@given(loop=loops, history=histories, steps_s=st.lists(st.floats(0.001, 4.0), max_size=10))
def test_a_late_cycle_raises_no_more_than_a_second_may(
    loop: Loop, history: list[tuple[float, int]], steps_s: list[float]
) -> None:
    """Whatever the steps, gaps included: a step counts for its length, a second at most."""
    loop.run(history)
    for step_s in steps_s:
        before = loop.demand
        demand = loop.step(0.0, step_s=step_s)
        assert demand <= before + RISE_PER_S * min(step_s, 1.0) + TINY


@settings(max_examples=400)
@given(
    loop=loops,
    history=histories,
    calm=st.integers(1, 220),
    wavers=st.lists(st.floats(-0.1, 0.1), max_size=10),
    newest=st.floats(-0.1, 0.2),
    more=st.floats(0.0, 0.1),
)
@example(
    loop=Loop(cpus=16, gain=0.8),
    history=[(0.1, 1)],
    calm=100,
    wavers=[],
    newest=0.029,
    more=0.001,
)
@example(
    loop=Loop(cpus=16, gain=1.05),
    history=[(0.0, 1)],
    calm=15,
    wavers=[],
    newest=0.029,
    more=0.01,
)
@example(  # counters so coarse that a share is measured below 0
    loop=Loop(target=0.9, gain=0.95, rough=True),
    history=[(0.0207, 55), (0.0, 9), (0.1106, 1), (0.0, 1)],
    calm=1,
    wavers=[],
    newest=0.01,
    more=0.005,
)
@example(  # stressers that get half of their lease
    loop=Loop(target=0.5, cpus=256, gain=0.5),
    history=[(0.1, 1)],
    calm=11,
    wavers=[],
    newest=0.008,
    more=0.001,
)
def test_more_tenant_never_means_more_demand(
    loop: Loop,
    history: list[tuple[float, int]],
    calm: int,
    wavers: list[float],
    newest: float,
    more: float,
) -> None:
    """Two copies of one history whose last step differs in the tenant's work alone.

    The steps before the last waver around a share that was kept for a while,
    so that the last one comes near to what is taken for a change.
    """
    share = history[-1][0]

    def near(by: float) -> float:
        return min(1.0, max(0.0, share + by))

    loop = loop.copy()
    loop.run([*history, (share, calm), *((near(by), 1) for by in wavers)])
    busier = loop.copy()
    assert busier.step(near(newest + more)) <= loop.step(near(newest)) + TINY


def _missing(loop: Loop, _: float) -> CpuCounters | None:
    del loop
    return None


def _frozen(loop: Loop, _: float) -> CpuCounters | None:
    """The host's counters stand still while time and our own go on."""
    cpu = loop.counters()
    last = loop.state.track.points
    if not last:
        return None
    return cpu._replace(idle_s=last[-1].away_s, total_s=last[-1].total_s)


def _idle_back(loop: Loop, by: float) -> CpuCounters | None:
    last = loop.state.track.points
    return loop.counters()._replace(idle_s=last[-1].away_s - by) if last else None


def _all_back(loop: Loop, by: float) -> CpuCounters | None:
    last = loop.state.track.points
    if not last:
        return None
    return loop.counters()._replace(
        idle_s=last[-1].away_s - by, total_s=max(0.0, last[-1].total_s - by)
    )


def _own_back(loop: Loop, by: float) -> CpuCounters | None:
    loop.own_s -= by + STEP_S * loop.cpus
    return loop.counters()


@pytest.mark.parametrize("spoil", [_missing, _frozen, _idle_back, _all_back, _own_back])
@given(
    loop=loops,
    history=histories,
    during=st.lists(shares, min_size=1, max_size=10),
    by=st.floats(1e-6, 10.0),
)
def test_spoiled_counters_never_raise(
    spoil: Callable[[Loop, float], CpuCounters | None],
    loop: Loop,
    history: list[tuple[float, int]],
    during: list[float],
    by: float,
) -> None:
    """However long they are missing, stand still or run back, the demand only falls."""
    loop.run(history)
    for tenant in during:
        before = loop.demand
        loop.live(tenant)
        assert loop.think(spoil(loop, by)) <= before + TINY


@given(
    loop=exact_loops,
    history=histories,
    above=st.floats(0.0, 1.0),
    saturated=st.integers(1, 300),
    share=st.floats(0.0, 1.0),
)
def test_nothing_is_owed_from_a_saturation(
    loop: Loop, history: list[tuple[float, int]], above: float, saturated: int, share: float
) -> None:
    """After the tenant alone was at the target, only what falls short later counts.

    Once that is seen there is no debt; afterwards the demand is at most what is
    missing by the measured share, and what has been missing since the tenant
    went, paid back in a second. The mean of no second is above the target by
    more than may be owed at all, and what the tenant may do unseen in it: with
    a change of 0.75 point and 1.5 hundredths of a second of rounding, in
    readings 1 to 10 after it, 0.0075 and 0.15 / (CPUs x readings) on average.
    """
    loop.run(history)
    for _ in range(saturated):
        loop.step(loop.target + above * (1.0 - loop.target))
    owed_s = loop.state.resources.cpu.governor.debt_s
    if loop.state.track.organic_ratio > loop.target + TINY:
        assert owed_s == 0.0
    tenant, short_s = share * loop.target * 0.9, max(0.0, owed_s)
    loop.busy.clear()
    for _ in range(40):
        demand = loop.step(tenant)
        short_s += max(0.0, loop.target - loop.busy[-1]) * STEP_S
        missing = loop.target - loop.state.track.organic_ratio
        assert demand <= max(0.0, missing) + min(short_s, DEBT_LIMIT_S) / PAYBACK_S + TINY
    unseen = 0.0075 + 0.05 / loop.cpus
    for start in range(30):
        mean = sum(loop.busy[start : start + 10]) / 10
        assert mean <= loop.target + DEBT_LIMIT_S / PAYBACK_S + unseen
