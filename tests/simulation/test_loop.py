"""The whole loop on a model host with a fake clock: minutes of host time in moments."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest

from optimizer.counters import CpuCounters, HostReading
from optimizer.model import ExitCause, Reason, Resource, StresserExit
from optimizer.orders import Inhibit
from optimizer.outcome import PeriodMeans
from tests.fakes import GIB, FakeHost, policy
from tests.simulation.rig import Rig


def caught_up(rig: Rig, resource: Resource, target: float) -> float:
    """The setpoint by its definition: what the window lacks so far, made up for within a day.

    The window of 30 days has only begun, so its rest is long. Hold aims 0.05 points higher.
    """
    lack_s = 0.0
    for record in rig.history.records:
        usage = record.sample.usage.of(resource)
        assert usage is not None
        lack_s += (target + 0.0005 - usage.total_ratio) * record.sample.span_s
    return target + 0.0005 + lack_s / 86_400


def test_an_idle_host_is_held_at_the_target() -> None:
    """After 5 s the CPU is at 40 % within a tenth of a point over a minute."""
    rig = Rig()
    rig.run_for(5)
    assert rig.cpu_mean(60) == pytest.approx(0.40, abs=0.001)
    assert rig.plan.cpu.reason is Reason.HOLDING


def test_memory_rises_at_its_slew_rate_and_stops_at_the_target() -> None:
    """1024 MB a minute: 1 GiB after 60 s; 40 % of 24 GiB = 9.6 GiB is reached and kept.

    Then the minutes of the rise are made up for: the judge counts them, so the planner does.
    """
    rig = Rig()
    rig.run_for(60)
    assert rig.host.held[Resource.MEMORY] == pytest.approx(1 * GIB, rel=0.02)
    assert rig.plan.memory.reason is Reason.RISING
    rig.run_for(600)
    setpoint = caught_up(rig, Resource.MEMORY, 0.40)
    assert rig.plan.memory.setpoint_ratio == pytest.approx(setpoint, abs=2e-5)
    # 9.6 GiB at 1 GiB a minute: 9.6 minutes that lack 20 points on average, made up for in a day.
    assert setpoint == pytest.approx(0.4005 + 9.6 * 0.20 / 1440, abs=2e-4)
    assert rig.host.held[Resource.MEMORY] == pytest.approx(setpoint * 24 * GIB, rel=0.003)
    assert rig.plan.memory.reason is Reason.HOLDING


def test_disk_is_taken_to_the_target() -> None:
    """40 % of 100 GiB, at 256 MiB a second: there after 160 s."""
    rig = Rig()
    rig.run_for(200)
    assert rig.host.held[Resource.DISK] == pytest.approx(40 * GIB, rel=0.003)


def test_a_tenant_that_takes_all_cores_has_them_and_the_target_comes_back() -> None:
    """From 20 s to 40 s the tenant wants everything: our duty is 0 within 1 s, back after."""
    rig = Rig(FakeHost(tenant_cpu=lambda t: 1.0 if 1020 <= t < 1040 else 0.0))
    rig.run_for(21)
    assert rig.plan.cpu.lease == 0.0
    assert rig.plan.cpu.reason is Reason.TENANT_ABOVE
    rig.run_for(21)
    assert rig.cpu_mean(10) == pytest.approx(0.40, abs=0.005)


def test_a_partial_tenant_is_filled_up_to_the_target() -> None:
    """Tenant at 25 %: own 15 %, together 40 %."""
    rig = Rig(FakeHost(tenant_cpu=lambda _: 0.25))
    rig.run_for(5)
    assert rig.cpu_mean(20) == pytest.approx(0.40, abs=0.001)
    assert rig.plan.cpu.demand_ratio == pytest.approx(0.15, abs=0.01)


def test_memory_is_given_back_within_a_second_when_the_tenant_wants_it() -> None:
    """Held 9.6 GiB and what catches up; the tenant takes 8 GiB: the rest is ours 0.7 s later."""
    rig = Rig(FakeHost(tenant_memory_bytes=lambda t: 8 * GIB if t >= 1700 else 0))
    rig.run_for(699.9)
    setpoint_bytes = caught_up(rig, Resource.MEMORY, 0.40) * 24 * GIB
    assert rig.host.held[Resource.MEMORY] == pytest.approx(setpoint_bytes, rel=0.003)
    rig.run_for(0.7)
    assert rig.host.held[Resource.MEMORY] == pytest.approx(setpoint_bytes - 8 * GIB, rel=0.02)


def test_a_touched_memory_floor_stops_growth_for_the_hold_off() -> None:
    """The tenant leaves less than 5 %: what is missing is given back, then nothing grows."""
    rig = Rig(
        FakeHost(
            memory_bytes=8 * GIB,
            tenant_memory_bytes=lambda t: int(7.5 * GIB) if 1100 <= t < 1110 else 0,
        ),
        rules=policy(memory=0.4, hold_off_s=100.0),
    )
    rig.run_for(99.9)
    assert rig.host.held[Resource.MEMORY] > GIB
    rig.run_for(0.7)
    assert rig.host.held[Resource.MEMORY] == 0
    rig.run_for(50)  # the tenant has gone at 1110; hold-off until 1200
    assert rig.host.held[Resource.MEMORY] == 0
    assert rig.plan.memory.reason is Reason.HOLD_OFF
    rig.run_for(60)
    assert rig.host.held[Resource.MEMORY] > 0


def test_inhibit_takes_all_load_away_and_its_end_brings_it_back() -> None:
    """The order is obeyed within a second, and load is back when it has expired."""
    rig = Rig()
    rig.run_for(30)
    rig.switch.order = Inhibit(reason="patch", by="ops", until_utc_s=rig.host.utc() + 10)
    rig.run_for(0.7)
    assert all(d.lease == 0 and d.stop and d.reason is Reason.INHIBITED for d in rig.plan)
    rig.run_for(15)
    assert rig.plan.cpu.lease > 0.3


def test_samples_are_recorded_each_interval_with_own_and_organic_apart() -> None:
    """In ten minutes ten samples of 60 s, the settled ones at 40 % with 20 % of it ours."""
    rig = Rig(FakeHost(tenant_cpu=lambda _: 0.20))
    rig.run_for(601)
    spans = [record.sample.span_s for record in rig.history.records]
    assert spans == pytest.approx([60.0] * 10, abs=0.11)
    usage = rig.history.records[-1].sample.usage.cpu
    assert usage is not None
    assert usage.total_ratio == pytest.approx(0.40, abs=0.001)
    assert usage.own_ratio == pytest.approx(0.20, abs=0.001)
    assert usage.organic_ratio == pytest.approx(0.20, abs=0.001)


def test_the_interval_does_not_drift() -> None:
    """An hour of 60 s samples ends within a second of an hour."""
    rig = Rig(FakeHost(step_s=0.1))
    assert rig.live(3601) == 0
    assert len(rig.history.records) == 60
    first, last = rig.history.records[0].sample.utc_s, rig.history.records[-1].sample.utc_s
    assert last - first == pytest.approx(59 * 60, abs=1.0)


def test_after_a_gap_the_first_cycle_only_measures() -> None:
    """A suspend of ten minutes: no lease rises, and the sample of the gap is not recorded."""
    rig = Rig()
    rig.run_for(30)
    before = rig.plan
    rig.host.wait_until(rig.host.now_s + 600)
    rig.daemon.cycle()
    assert {d.reason for d in rig.plan} == {Reason.MEASURING}
    for was, now in zip(before, rig.plan, strict=True):
        assert now.lease <= was.lease
    rig.run_for(30)
    assert rig.history.records == []


def test_a_failing_sensor_is_a_missing_value_and_lets_go_after_a_while() -> None:
    """CPU counters gone: lease kept at most for 3 s, then 0; the sample has None, not 0."""
    rig = Rig(interval_s=10)
    rig.run_for(30)
    rig.host.failing = frozenset({"cpu"})
    kept = rig.plan.cpu.lease
    rig.run_for(2)
    assert rig.plan.cpu.reason is Reason.NO_READING
    assert 0 < rig.plan.cpu.lease <= kept
    rig.run_for(12)
    assert rig.plan.cpu.lease == 0
    assert rig.history.records[-1].sample.usage.cpu is None
    assert rig.history.records[-1].sample.usage.memory is not None


def test_a_killed_memory_stresser_backs_off() -> None:
    """The OOM killer took it: nothing is held for the hold-off, then it rises again slowly."""
    rig = Rig(rules=policy(hold_off_s=60.0))
    rig.run_for(60)
    rig.host.exits.append(
        StresserExit(resource=Resource.MEMORY, cause=ExitCause.KILLED, detail="killed")
    )
    rig.run_for(59)
    assert rig.plan.memory.reason is Reason.STRESSER_DOWN
    assert rig.host.held[Resource.MEMORY] == 0
    assert rig.plan.cpu.lease > 0.3  # the others go on
    rig.run_for(5)
    assert 0 < rig.host.held[Resource.MEMORY] < 0.2 * GIB
    assert "stresser.exited" in rig.log.names()


def test_a_crash_loop_trips_until_resumed() -> None:
    """Five ends in ten seconds latch the resource off; `resume` lifts it."""
    rig = Rig()
    event = StresserExit(resource=Resource.CPU, cause=ExitCause.FAILED, detail="exit code 1")
    for _ in range(5):
        rig.host.exits.append(event)
        rig.run_for(1.2)
    rig.run_for(100)
    assert rig.plan.cpu.reason is Reason.STRESSER_TRIPPED
    rig.switch.resume_pending = True
    rig.run_for(5)
    assert rig.plan.cpu.reason is Reason.HOLDING


def test_without_a_data_disk_nothing_is_done_to_the_disk_and_it_is_said() -> None:
    """The reason is in the plan, and the other two are held all the same."""
    rig = Rig(FakeHost(has_disk=False), disk_reason=Reason.NO_DATA_DISK)
    rig.run_for(10)
    assert rig.plan.disk.reason is Reason.NO_DATA_DISK
    assert rig.plan.disk.lease == 0
    assert rig.plan.cpu.reason is Reason.HOLDING


def test_a_changed_target_is_obeyed_in_the_next_cycles() -> None:
    """Live reload: the same daemon goes from 40 % to 20 % and on to 60 %."""
    rig = Rig()
    rig.run_for(5)
    for target in (0.2, 0.6):
        rig.settled = dataclasses.replace(rig.settled, policy=policy(cpu=target))
        rig.run_for(3)
        assert rig.cpu_mean(10) == pytest.approx(target, abs=0.002)


@pytest.mark.parametrize("own_way", [True, False])
@pytest.mark.parametrize("leaves_s", [1030.03, 1030.41, 1030.77])
def test_a_tenant_that_leaves_is_made_up_for_at_once(leaves_s: float, *, own_way: bool) -> None:
    """Above the target for 20 s without a demand of ours; a third of a second after it: 40 %."""

    def tenant(now_s: float) -> float:
        return 0.8 if 1010 <= now_s < leaves_s else 0.1

    host = FakeHost(tenant_cpu=tenant)
    rig = Rig(host)
    if own_way:
        rig.live(27)
        assert rig.plan.cpu.reason is Reason.TENANT_ABOVE
        assert rig.plan.cpu.demand_ratio == 0.0
    else:
        rig.run_for(leaves_s - host.now_s + 0.3)
        assert rig.plan.cpu.demand_ratio == pytest.approx(0.3, abs=0.05)


class BrokenSensors:
    """Raises for a number of reads, then works: a bug, for sensors never raise."""

    def __init__(self, host: FakeHost, failures: int) -> None:
        self.host, self.left = host, failures

    def read_cpu(self) -> tuple[float, CpuCounters | None]:
        """The same."""
        self.read()
        return self.host.read_cpu()

    def read(self) -> object:
        """Raise while failures are left."""
        if self.left:
            self.left -= 1
            raise RuntimeError("a bug")
        return self.host.read()


def test_a_host_so_swamped_that_every_cycle_is_late_is_left_alone() -> None:
    """A cycle every 2.1 s never has a value to compare with: all load is gone soon."""
    rig = Rig()
    rig.run_for(30)
    assert rig.plan.cpu.lease > 0.3
    for _ in range(10):
        rig.host.wait_until(rig.host.now_s + 2.1)
        rig.daemon.cycle()
    assert [d.lease for d in rig.plan] == [0.0, 0.0, 0.0]


def test_failures_of_full_cycles_alone_count_in_a_row_too() -> None:
    """What breaks only the full cycle ends the daemon as well; CPU cycles between do not help."""
    rig = Rig()
    calls = 0

    def broken_from_the_fourth() -> None:
        nonlocal calls
        calls += 1
        if calls >= 4:
            raise RuntimeError("a bug")

    rig.daemon._tend = broken_from_the_fourth
    assert rig.daemon.run() == 1
    assert rig.log.names().count("cycle.failed") == 3


def test_failures_of_cycles_between_full_ones_end_the_daemon_too() -> None:
    """A full cycle that works after each of them does not prove that they work."""

    class Blind(FakeHost):
        def read_cpu(self) -> tuple[float, CpuCounters | None]:
            if self.now_s > 1010:
                raise RuntimeError("a bug")
            return super().read_cpu()

    # A tenant that moves, for in a calm time there are full cycles only.
    rig = Rig(Blind(tenant_cpu=lambda t: 0.1 if int(t) % 2 else 0.3))
    assert rig.live(60) == 1
    assert rig.log.names().count("cycle.failed") == 3
    assert rig.host.now_s < 1020


def test_rare_failures_do_not_add_up() -> None:
    """One a minute is survived for as long as it likes."""

    class Flaky(FakeHost):
        failed_s = 0.0

        def read(self) -> HostReading:
            if self.now_s >= self.failed_s + 60.0:
                self.failed_s = self.now_s
                raise RuntimeError("a bug")
            return super().read()

    rig = Rig(Flaky())
    assert rig.live(300) == 0
    assert rig.log.names().count("cycle.failed") == 6


def test_an_exception_lifts_no_ban() -> None:
    """The memory stresser was killed, so for 300 s it is not started again, whatever fails."""
    host = FakeHost()
    rig = Rig(host)
    rig.run_for(20)
    host.exits.append(
        StresserExit(resource=Resource.MEMORY, cause=ExitCause.KILLED, detail="killed from outside")
    )
    rig.run_for(2)
    assert rig.plan.memory.lease == 0.0
    rig.daemon._ports.sensors = BrokenSensors(host, 1)  # type: ignore[assignment] # a fake bug
    rig.live(30)
    assert rig.log.names().count("cycle.failed") == 1
    assert rig.plan.memory.lease == 0.0
    assert rig.plan.cpu.demand_ratio == pytest.approx(0.4, abs=0.01)


def test_a_limit_that_cannot_be_read_ends_the_load_after_a_while() -> None:
    """Full readings fail while the counters alone can be read: no load after three seconds."""

    class Limited(FakeHost):
        def read(self) -> HostReading:
            reading = super().read()
            return replace(reading, cpu=None) if self.now_s > 1010 else reading

        def read_cpu(self) -> tuple[float, CpuCounters | None]:
            at_s, cpu = super().read_cpu()
            return at_s, None if self.now_s > 1010 else cpu

    rig = Rig(Limited())
    rig.run_for(9)
    assert rig.host.duty == pytest.approx(0.4, abs=0.01)
    rig.run_for(6)
    assert rig.host.duty == 0.0
    assert rig.plan.cpu.reason is Reason.NO_READING


def test_while_room_is_short_memory_is_looked_at_in_every_cycle() -> None:
    """8 GiB, 5.5 held by the tenant, 2.1 by us at 95 %: a tenant's step is answered in 0.2 s."""
    rules = policy(memory=0.85, memory_rise_bytes_per_s=float(GIB))
    step_s = 1000 + 60.15
    rig = Rig(
        FakeHost(
            memory_bytes=8 * GIB,
            tenant_memory_bytes=lambda t: (GIB * 11) // 2 + (GIB // 4 if t >= step_s else 0),
        ),
        rules=rules,
    )
    rig.run_for(60.15)
    held = rig.host.held[Resource.MEMORY]
    assert held > GIB
    rig.run_for(0.2)
    assert rig.host.held[Resource.MEMORY] < held - GIB // 5


def test_a_history_that_answers_slowly_is_asked_seldom() -> None:
    """A query of one second with a sample every five: asked again after 500 s, not each time."""
    rig = Rig(interval_s=5.0)
    asked: list[float] = []
    answer = rig.history.means

    def slow(now_utc_s: float, days: float) -> PeriodMeans:
        asked.append(rig.host.now_s)
        rig.host.wait_until(rig.host.now_s + 1.0)
        return answer(now_utc_s, days)

    rig.history.means = slow  # type: ignore[method-assign] # a fake that is slower
    rig.run_for(300)
    assert len(asked) == 1


@pytest.mark.parametrize(("failures", "code"), [(2, 0), (3, 1)])
def test_an_exception_lets_go_and_three_in_a_row_end_the_daemon(failures: int, code: int) -> None:
    """Two failed cycles are survived with all load released; the third is the end, exit 1."""
    rig = Rig()
    rig.daemon._ports.sensors = BrokenSensors(rig.host, failures)  # type: ignore[assignment] # a fake bug
    cycles = 0

    def stop_soon() -> None:
        nonlocal cycles
        cycles += 1
        if cycles == 3:
            rig.daemon.stop()

    rig.daemon._tend = stop_soon
    assert rig.daemon.run() == code
    assert rig.log.names().count("cycle.failed") == failures
    assert rig.host.closed
    assert rig.host.duty == 0.0


def test_all_load_is_gone_when_the_loop_returns() -> None:
    """Stop ends the loop after the cycle under way and closes the actuators."""
    rig = Rig()
    rig.daemon._tend = rig.daemon.stop
    assert rig.daemon.run() == 0
    assert rig.host.closed


@pytest.mark.parametrize("sign", ["stalls", "swap", "taken"])
def test_a_sign_of_memory_pressure_takes_all_memory_away(sign: str) -> None:
    """Within a second, for the hold-off of 100 s; CPU and disk go on; then it comes back."""
    rig = Rig(rules=policy(memory=0.4, hold_off_s=100.0))
    rig.run_for(200)
    assert rig.host.held[Resource.MEMORY] > 3 * GIB
    if sign == "stalls":
        rig.host.stalled_s = 1.0
    elif sign == "swap":
        rig.host.swapped_out_bytes = 0
        rig.run_for(1)
        rig.host.swapped_out_bytes = 64 << 20
    else:
        rig.host.taken_bytes = 100 << 20
    rig.run_for(1)
    assert rig.host.held[Resource.MEMORY] == 0
    assert rig.plan.memory.reason is Reason.PRESSURE
    assert rig.host.held[Resource.DISK] > 0
    assert rig.plan.cpu.demand_ratio == pytest.approx(0.4, abs=0.02)
    rig.run_for(98)
    assert rig.host.held[Resource.MEMORY] == 0
    rig.run_for(60)
    assert rig.host.held[Resource.MEMORY] > 0


def test_pages_that_the_kernel_took_count_while_the_sensor_fails() -> None:
    """What the stressers tell is enough: within a second nothing is held, for the hold-off."""
    rig = Rig(rules=policy(memory=0.4, hold_off_s=100.0))
    rig.run_for(200)
    assert rig.host.held[Resource.MEMORY] > 3 * GIB
    rig.host.failing = frozenset({"memory"})
    rig.host.taken_bytes = 100 << 20
    rig.run_for(1)
    assert rig.plan.memory.lease == 0
    rig.host.failing = frozenset()
    rig.run_for(98)
    assert rig.plan.memory.lease == 0
    assert rig.plan.memory.reason is Reason.PRESSURE


def test_a_released_filesystem_is_let_go_and_comes_back() -> None:
    """Within a second nothing is held there and no stresser may touch it, until it is withdrawn."""
    rig = Rig()
    rig.run_for(200)
    assert rig.host.held[Resource.DISK] > 0
    rig.switch.asked_for = frozenset({"/data"})
    rig.run_for(1)
    assert rig.host.held[Resource.DISK] == 0
    assert rig.plan.disk.parts == ()
    assert rig.plan.disk.reason is Reason.RELEASED
    rig.switch.asked_for = frozenset()
    rig.run_for(200)
    assert rig.host.held[Resource.DISK] > 0


def test_memory_never_grows_by_more_than_one_percent_a_second() -> None:
    """Whatever the configuration: of 24 GiB at most 0.24 in each second."""
    rig = Rig(rules=policy(memory_rise_bytes_per_s=100.0 * GIB))
    before = 0
    for _ in range(30):
        rig.run_for(1)
        now = rig.host.held[Resource.MEMORY]
        # A look comes each 0.8 s, so a second may hold what two of them allow.
        assert now - before <= 2 * 0.8 * 0.01 * 24 * GIB + 1
        before = now
    assert before >= 0.2 * 24 * GIB
