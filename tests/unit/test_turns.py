"""The joint budget: never all three ramps at once on a host that shows pressure."""

from __future__ import annotations

from optimizer.control.brake import Brake
from optimizer.control.governor import GovernorState
from optimizer.control.pressure import Pressure
from optimizer.control.resource import ResourceState
from optimizer.control.turns import has_risen, is_short, waiting
from optimizer.model import PerResource, Reason, Resource
from tests.fakes import GIB, FakeHost
from tests.simulation.rig import Rig

IDLE = PerResource(cpu=ResourceState(), memory=ResourceState(), disk=ResourceState())


def test_each_sign_of_pressure_counts() -> None:
    """Memory pressure, steal, a hold-off: any of them, and none on a calm host."""
    assert not is_short(IDLE, Pressure(), Brake(), 100.0)
    assert is_short(IDLE, Pressure(until_s=101.0), Brake(), 100.0)
    assert is_short(IDLE, Pressure(), Brake(most_ratio=0.5), 100.0)
    held = PerResource(
        cpu=ResourceState(), memory=ResourceState(hold_off_until_s=101.0), disk=ResourceState()
    )
    assert is_short(held, Pressure(), Brake(), 100.0)


def test_who_waits_keeps_what_it_has() -> None:
    """The cap is what was held before, and only while short and while another rises."""
    before = ResourceState(governor=GovernorState(demand_ratio=0.2))
    after = ResourceState(governor=GovernorState(demand_ratio=0.3))
    assert has_risen(before, after)
    assert not has_risen(before, before)
    (cap,) = waiting(before, short=True, others=True)
    assert (cap.demand_ratio, cap.reason) == (0.2, Reason.TAKING_TURNS)
    assert waiting(before, short=False, others=True) == ()
    assert waiting(before, short=True, others=False) == ()


def test_the_disk_waits_while_the_memory_rises_on_a_host_with_steal() -> None:
    """With steal the disk stays where it is until the memory has stopped rising, then follows."""
    host = FakeHost(memory_bytes=4 * GIB)
    rig = Rig(host)
    rig.run_for(1)
    held = host.held[Resource.DISK]
    rig.daemon._state = rig.daemon._state._replace(brake=Brake(most_ratio=0.0, at_s=host.now_s))
    rig.run_for(20)
    assert rig.plan.disk.reason is Reason.TAKING_TURNS
    assert host.held[Resource.DISK] <= held + 300 * 2**20
    assert rig.plan.memory.reason is Reason.RISING
    rig.run_for(300)
    assert host.held[Resource.DISK] > 30 * GIB
