"""What control never does, whatever the numbers."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from optimizer.control.decide import ControlState, decide
from optimizer.control.governor import GovernorState, govern_level, govern_rate
from optimizer.control.guard import limit
from optimizer.counters import (
    CpuCounters,
    DiskCounters,
    HostReading,
    MemoryCounters,
    OwnCounters,
    Place,
    Reading,
)
from optimizer.model import Observation, Resource, Utilisation
from optimizer.orders import Inhibit, Orders
from tests.fakes import GIB, policy

ratios = st.floats(min_value=0.0, max_value=1.0, allow_nan=False)
signed = st.floats(min_value=-1.0, max_value=1.0, allow_nan=False)
TINY = 1e-9


@st.composite
def usages(draw: st.DrawFn) -> Utilisation:
    """Any utilisation with own within total."""
    total = draw(ratios)
    return Utilisation(
        total_ratio=total,
        own_ratio=total * draw(ratios),
        capacity=float(24 * GIB),
        room_ratio=draw(signed),
    )


states = st.builds(
    GovernorState,
    demand_ratio=ratios,
    debt_s=st.floats(min_value=-0.1, max_value=0.1, allow_nan=False),
    payback_s=st.floats(1.0, 4.0),
    limited=st.booleans(),
)


@given(demand=ratios, usage=usages(), ceiling=ratios, previous=ratios, off=st.booleans())
def test_the_guard_never_raises(
    demand: float, usage: Utilisation, ceiling: float, previous: float, off: bool
) -> None:
    """Whatever the host looks like, the guarded demand is at most the demand, and not negative."""
    got = limit(
        demand,
        usage=usage,
        ceiling_ratio=ceiling,
        previous_ratio=previous,
        holding_off=off,
        has_floor=True,
    )
    assert 0.0 <= got.demand_ratio <= demand


@given(state=states, usage=usages(), more=ratios, setpoint=ratios, rise=ratios)
def test_more_tenant_never_means_more_held(
    state: GovernorState, usage: Utilisation, more: float, setpoint: float, rise: float
) -> None:
    """The same for memory and disk, up to the deadband in which nothing is moved."""
    busier = replace(usage, total_ratio=min(1.0, usage.total_ratio + more))

    def demand(now: Utilisation) -> float:
        return govern_level(state, setpoint, usage=now, step_s=0.1, rise_per_s=rise).demand_ratio

    assert demand(busier) <= demand(usage) + 0.0005


@given(
    state=states,
    usage=usages(),
    setpoint=ratios,
    rise=ratios,
    calm_s=st.floats(0.0, 100.0),
    changed=st.booleans(),
)
def test_demand_stays_in_range_and_within_the_slew_rate(
    state: GovernorState,
    usage: Utilisation,
    setpoint: float,
    rise: float,
    calm_s: float,
    changed: bool,
) -> None:
    """Demand is a ratio, and one cycle of 0.1 s raises it by a tenth of the rate at most."""
    got = govern_rate(
        state,
        setpoint,
        organic_ratio=usage.organic_ratio,
        step_ratio=usage.total_ratio,
        step_s=0.1,
        calm_s=calm_s,
        changed=changed,
        rise_per_s=rise,
    )
    assert 0.0 <= got.demand_ratio <= 1.0
    assert got.demand_ratio <= state.demand_ratio + rise * 0.1 + TINY
    level = govern_level(state, setpoint, usage=usage, step_s=0.1, rise_per_s=rise)
    assert 0.0 <= level.demand_ratio <= 1.0
    assert level.demand_ratio <= state.demand_ratio + rise * 0.1 + TINY


counters = st.one_of(
    st.none(),
    st.builds(
        CpuCounters,
        total_s=st.floats(0, 1e6),
        idle_s=st.floats(0, 1e6),
        steal_s=st.floats(0, 1e6),
        cpus=st.integers(1, 8),
    ),
)
memories = st.one_of(
    st.none(),
    st.builds(
        MemoryCounters,
        total_bytes=st.integers(0, 1 << 40),
        available_bytes=st.integers(0, 1 << 40),
        free_bytes=st.integers(0, 1 << 40),
        cache_bytes=st.integers(0, 1 << 40),
    ),
)
disks = st.one_of(
    st.none(),
    st.lists(
        st.builds(
            DiskCounters,
            place=st.just(Place("/data", "/data")),
            used_bytes=st.integers(0, 1 << 44),
            available_bytes=st.integers(0, 1 << 44),
        ),
        max_size=3,
    ).map(
        lambda found: tuple(
            replace(disk, place=Place(f"/{index}", f"/{index}")) for index, disk in enumerate(found)
        )
    ),
)
readings = st.lists(
    st.tuples(st.floats(-1.0, 5.0), counters, memories, disks, st.floats(0, 1e6)), max_size=12
)


@given(steps=readings, inhibited=st.sets(st.integers(0, 12)))
def test_any_sequence_of_readings_keeps_every_demand_within_ceiling_and_inhibit(
    steps: list[
        tuple[
            float,
            CpuCounters | None,
            MemoryCounters | None,
            tuple[DiskCounters, ...] | None,
            float,
        ]
    ],
    inhibited: set[int],
) -> None:
    """Garbage counters, gaps and time running back never break a bound."""
    state, now_s, rules, lease = ControlState(), 100.0, policy(), 0.0
    for index, (step_s, cpu, memory, disk, own_s) in enumerate(steps):
        now_s += step_s
        host = HostReading(monotonic_s=now_s, utc_s=now_s, cpu=cpu, memory=memory, disks=disk)
        order = None
        if index in inhibited:
            order = Inhibit(reason="test", by="test", until_utc_s=None)
        verdict = decide(
            state,
            Reading(host=host, own=OwnCounters(cpu_s=own_s)),
            Observation(own=OwnCounters()),
            Orders(policy=rules, inhibit=order),
        )
        state = verdict.state
        for decision in verdict.plan:
            assert 0.0 <= decision.demand_ratio <= rules.ceiling.of(decision.resource) + TINY
            assert decision.lease >= 0.0
            if order is not None:
                assert decision.lease == 0.0
        if cpu is None:
            assert verdict.plan.cpu.lease <= lease
        lease = verdict.plan.cpu.lease


@given(usage_s=st.floats(0.0, 0.2), missing=st.sampled_from(["cpu", "memory", "disk"]))
def test_a_failing_sensor_never_raises_a_lease(usage_s: float, missing: str) -> None:
    """After some good readings, one without a value keeps the lease at most where it was."""
    state, own = ControlState(), OwnCounters()
    leases: dict[Resource, float] = {}
    for index in range(20):
        blind = index >= 15
        now_s = 100.0 + 0.1 * index
        host = HostReading(
            monotonic_s=now_s,
            utc_s=now_s,
            cpu=None
            if blind and missing == "cpu"
            else CpuCounters(
                total_s=now_s * 2,
                idle_s=now_s * 2 - usage_s * index,
                steal_s=0.0,
                cpus=2,
            ),
            memory=None
            if blind and missing == "memory"
            else MemoryCounters(
                total_bytes=24 * GIB,
                available_bytes=22 * GIB,
                free_bytes=22 * GIB,
                cache_bytes=0,
            ),
            disks=None
            if blind and missing == "disk"
            else (DiskCounters(place=Place("/d", "/d"), used_bytes=GIB, available_bytes=99 * GIB),),
        )
        verdict = decide(
            state, Reading(host=host, own=own), Observation(own=own), Orders(policy=policy())
        )
        state = verdict.state
        for decision in verdict.plan:
            if blind and decision.resource.value == missing:
                assert decision.lease <= leases[decision.resource]
            leases[decision.resource] = decision.lease
