"""The same tests on the model host and on the real pool with real stressers, small loads."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from optimizer.adapters.stresser_pool import StresserPool
from optimizer.counters import Place
from optimizer.model import (
    Decision,
    ExitCause,
    Part,
    PerResource,
    Plan,
    Reason,
    Resource,
    StresserExit,
)
from optimizer.ports import Actuators
from stressers import free
from tests.fakes import GIB, FakeHost
from tests.rig import alive, eventually

MIB = 1 << 20
HELD = 64 * MIB


def decision(resource: Resource, lease: float, *, stop: bool = False) -> Decision:
    """A decision with this lease; the ratios do not matter to actuators."""
    return Decision(
        resource=resource,
        target_ratio=0.4,
        setpoint_ratio=0.4,
        wanted_ratio=0.4,
        demand_ratio=0.4,
        lease=lease,
        reason=Reason.HOLDING,
        stop=stop,
    )


def plan(cpu: float, memory: float, *, stop: bool = False) -> Plan:
    """A plan with these leases and nothing for the disk."""
    return PerResource(
        cpu=decision(Resource.CPU, cpu, stop=stop),
        memory=decision(Resource.MEMORY, memory, stop=stop),
        disk=decision(Resource.DISK, 0.0, stop=True),
    )


Run = Callable[[Callable[[], bool]], None]


@pytest.fixture(params=["fake", "real"])
def actuators(request: pytest.FixtureRequest) -> Iterator[tuple[Actuators, Run]]:
    """The actuators, and a way to let time pass until something is so."""
    if request.param == "fake":
        host = FakeHost()

        def advance(condition: Callable[[], bool]) -> None:
            for _ in range(100):
                if condition():
                    return
                host.wait_until(host.now_s + 0.1)
            pytest.fail("not so after 10 s")

        yield host, advance
        return
    if sys.platform != "linux":
        pytest.skip("real stressers are checked on Linux")
    pool = StresserPool(cpus=lambda: 1)
    yield pool, eventually
    assert pool.close(5.0) == ()


def test_what_is_leased_is_held_and_given_back(actuators: tuple[Actuators, Run]) -> None:
    """Memory follows its lease up and down; CPU seconds are counted and never fall."""
    pool, until = actuators
    used: list[float] = []

    def holds(size: float, cpu: float) -> bool:
        pool.apply(plan(cpu, size))
        seen = pool.observe()
        used.append(seen.own.cpu_s)
        assert seen.exits == ()
        return seen.own.memory_bytes == size

    until(lambda: holds(HELD, 0.3))
    until(lambda: holds(HELD, 0.3) and used[-1] - used[0] > 0.05)
    until(lambda: holds(0.0, 0.0))
    assert used == sorted(used)


def test_stop_ends_and_a_later_lease_starts_again(actuators: tuple[Actuators, Run]) -> None:
    """An ordered end is no exit to report; the CPU seconds of the ended are kept."""
    pool, until = actuators

    def held(size: float) -> bool:
        pool.apply(plan(0.2, size))
        return pool.observe().own.memory_bytes == size

    until(lambda: held(HELD))
    before_s = pool.observe().own.cpu_s
    pool.apply(plan(0.0, 0.0, stop=True))
    after = pool.observe()
    assert after.own.memory_bytes == 0
    assert after.own.cpu_s >= before_s
    assert after.exits == ()
    until(lambda: held(HELD))
    assert pool.observe().own.cpu_s >= before_s


def test_a_renewal_moves_what_runs_and_starts_nothing(
    actuators: tuple[Actuators, Run],
) -> None:
    """Told that there is nobody to obey, before the first start and after a stop."""
    pool, until = actuators
    pool.apply(plan(0.0, 0.0))
    assert not pool.renew_cpu(0.5)
    assert pool.states().cpu.pids == ()
    pool.apply(plan(0.2, 0.0))
    start_s = pool.observe().own.cpu_s
    until(lambda: pool.renew_cpu(0.3) and pool.observe().own.cpu_s - start_s > 0.1)
    assert pool.renew_cpu(0.0)
    pool.apply(plan(0.0, 0.0, stop=True))
    assert not pool.renew_cpu(0.5)
    assert pool.states().cpu.pids == ()


def test_release_lets_go_of_everything_at_once(actuators: tuple[Actuators, Run]) -> None:
    """After release nothing is held and nothing is reported as an unwanted end."""
    pool, until = actuators
    until(lambda: (pool.apply(plan(0.1, HELD)), pool.observe().own.memory_bytes == HELD)[1])
    pool.release()
    seen = pool.observe()
    assert (seen.own.memory_bytes, seen.exits) == (0, ())


@pytest.mark.skipif(sys.platform != "linux", reason="kills by pid and reads /proc")
@pytest.mark.parametrize(
    ("resource", "index", "number", "cause"),
    [
        (Resource.CPU, 0, signal.SIGKILL, ExitCause.KILLED),
        (Resource.CPU, 1, signal.SIGKILL, ExitCause.KILLED),
        (Resource.MEMORY, 2, signal.SIGKILL, ExitCause.KILLED),
        (Resource.MEMORY, 0, signal.SIGALRM, ExitCause.EXPIRED),
        (Resource.CPU, 0, signal.SIGTERM, ExitCause.FAILED),
    ],
)
def test_an_unwanted_end_is_reported_once_and_takes_the_whole_crew(
    resource: Resource, index: int, number: signal.Signals, cause: ExitCause
) -> None:
    """Crew or worker, by which signal: one exit with its cause, all its processes gone."""
    pool = StresserPool(cpus=lambda: 1)
    try:
        exits = []

        def ready() -> bool:
            pool.apply(plan(0.1, HELD))
            exits.extend(pool.observe().exits)
            return bool(pool.states().of(resource).means) and (
                pool.observe().own.memory_bytes == HELD
            )

        eventually(ready, what="both stressers ready")
        assert exits == []
        pids = pool.states().of(resource).pids
        os.kill(pids[index], number)

        def seen() -> bool:
            exits.extend(pool.observe().exits)
            return bool(exits)

        eventually(seen, what="the end is seen")
        time.sleep(0.2)
        exits.extend(pool.observe().exits)
        assert [(event.resource, event.cause) for event in exits] == [(resource, cause)]
        eventually(lambda: not alive(set(pids)), what="all its processes are gone")
        assert pool.states().of(resource).pids == ()
    finally:
        assert pool.close(5.0) == ()


@pytest.mark.skipif(sys.platform != "linux", reason="real stressers are checked on Linux")
def test_a_stresser_that_cannot_start_is_an_exit_with_its_cause() -> None:
    """No exception reaches the loop: the failure is an event like any other end."""

    def refuse(_resource: Resource, _arguments: tuple[str, ...]) -> object:
        raise OSError("no more processes")

    pool = StresserPool(cpus=lambda: 1, start=refuse)  # type: ignore[arg-type] # never returns
    pool.apply(dataclasses.replace(plan(0.1, 0.0)))
    (event,) = pool.observe().exits
    assert (event.resource, event.cause) == (Resource.CPU, ExitCause.FAILED)
    assert "no more processes" in event.detail


@pytest.mark.skipif(sys.platform != "linux", reason="real stressers are checked on Linux")
def test_fewer_workers_than_cpus_work_more_each() -> None:
    """One worker on a host of two CPUs: a demand of 10 % of the host is 20 % of its CPU.

    An idle worker gets less beside a busy neighbour, so some two seconds count.
    """
    pool = StresserPool(cpus=lambda: 1, cpu_scale=lambda: 2.0)
    try:
        used: list[tuple[float, float]] = []

        def worked() -> float:
            """The share of a CPU in the last two seconds, once it is a fifth; else 0."""
            pool.observe()
            pool.apply(plan(0.1, 0.0))
            now_s = time.monotonic()
            if pool.states().cpu.means:
                used.append((now_s, pool.cpu_used_s() - time.process_time()))
            recent = [point for point in used if now_s - point[0] <= 2.0]
            if len(used) == len(recent):
                return 0.0
            (first_s, before_s), (last_s, after_s) = recent[0], recent[-1]
            share = (after_s - before_s) / (last_s - first_s)
            assert share < 0.30
            return share if share > 0.15 else 0.0

        eventually(worked, deadline_s=30.0)
    finally:
        assert pool.close(5.0) == ()


@pytest.mark.skipif(sys.platform != "linux", reason="real stressers are checked on Linux")
def test_other_arguments_start_the_stresser_anew() -> None:
    """A CPU that came: the crew of one is replaced by a crew of two."""
    cpus = [1]
    pool = StresserPool(cpus=lambda: cpus[0])
    try:

        def workers(count: int) -> bool:
            pool.apply(plan(0.1, 0.0))
            pool.observe()
            return len(pool.states().cpu.pids) == count + 1

        eventually(lambda: workers(1))
        cpus[0] = 2
        eventually(lambda: workers(2))
    finally:
        assert pool.close(5.0) == ()


@pytest.mark.skipif(sys.platform != "linux", reason="tests/windows has the same for Windows")
def test_without_fork_each_cpu_has_a_process_of_its_own() -> None:
    """As on Windows: two CPUs are two stressers of one worker; memory is one, whatever the CPUs."""
    pool = StresserPool(cpus=lambda: 2, forks=False)
    try:
        pool.apply(plan(0.02, float(MIB)))
        assert [one.arguments for one in pool._running[Resource.CPU]] == [("--workers", "1")] * 2
        assert len(pool._running[Resource.MEMORY]) == 1
    finally:
        assert pool.close(5.0) == ()


def disk_plan(leases: dict[str, int]) -> Plan:
    """A plan that holds on these paths only."""
    nothing = plan(0.0, 0.0)
    parts = tuple(Part(Place(path, path), size) for path, size in leases.items())
    disk = dataclasses.replace(
        nothing.disk, lease=float(sum(leases.values())), stop=False, parts=parts
    )
    return dataclasses.replace(nothing, disk=disk)


@pytest.mark.skipif(sys.platform != "linux", reason="real stressers are checked on Linux")
def test_each_filesystem_has_a_stresser_of_its_own(tmp_path: Path) -> None:
    """Two paths are held apart; one that leaves the plan is let go, one that fails ends alone."""
    if free.disk_room(str(tmp_path)) < GIB:
        pytest.skip("less than 1 GiB may be taken here")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first, second, gone = (str(tmp_path / name) for name in ("first", "second", "gone"))
    pool = StresserPool(cpus=lambda: 1)
    exits: list[StresserExit] = []

    def held(leases: dict[str, int]) -> dict[str, int]:
        pool.apply(disk_plan(leases))
        seen = pool.observe()
        exits.extend(seen.exits)
        return dict(seen.own.disks)

    try:
        both = {first: 8 * MIB, second: 4 * MIB}
        eventually(lambda: held(both) == both)
        assert pool.observe().own.disk_bytes == 12 * MIB
        assert len(pool.states().disk.pids) == 2
        eventually(lambda: held({first: 8 * MIB}) == {first: 8 * MIB})
        assert len(pool.states().disk.pids) == 1
        eventually(lambda: bool(held({first: 8 * MIB, gone: 4 * MIB}) and exits))
        assert [(over.path, over.cause) for over in exits] == [(gone, ExitCause.FAILED)]
        assert dict(pool.observe().own.disks)[first] == 8 * MIB
        assert gone in dict(pool.states().disk.faults)
    finally:
        assert pool.close(5.0) == ()


@pytest.mark.skipif(sys.platform != "linux", reason="state D is Linux's")
def test_one_that_the_kernel_keeps_waiting_is_no_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stresser on a frozen disk takes no lease and is known for it; any other one is doubted."""
    now_s = [time.monotonic()]
    pool = StresserPool(cpus=lambda: 1, monotonic=lambda: now_s[0])
    try:
        pool.apply(plan(0.05, 0.0))
        eventually(lambda: (pool.observe(), pool.states().cpu.means)[1])
        assert pool.doubts() == ()
        now_s[0] += 60.0
        assert "has taken no lease" in pool.doubts()[0]
        monkeypatch.setattr("optimizer.adapters.identity.state", lambda _pid: "D")
        pool.doubts()
        now_s[0] += 60.0
        assert pool.doubts() == ()
    finally:
        monkeypatch.undo()
        assert pool.close(5.0) == ()
