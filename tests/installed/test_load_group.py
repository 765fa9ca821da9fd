"""The idle group of an installed service: who is in it, and that nobody stays in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.installed.booted import booted
from tests.installed.conftest import Installation, free_port
from tests.installed.service import BOUNDS, Service
from tests.rig import eventually

pytestmark = pytest.mark.installed
LOAD = "/optimizer.slice/optimizer-load.service"
DAEMON = "/system.slice/optimizer.service"
UNITS = ("optimizer-load.service", "optimizer-load.socket", "optimizer-load-broker.service")
_LOST_S = 120.0


def groups_of(service: Service, pid: int) -> dict[str, str]:
    """The group of a process in each hierarchy, by its controllers; empty once it has gone."""
    done = service.rig.run(["cat", f"/proc/{pid}/cgroup"], check=False)
    lines = [line.split(":", 2) for line in done.stdout.splitlines()]
    return {controllers: path for _, controllers, path in lines}


def members(service: Service) -> set[int]:
    """Who is in the load group, in any hierarchy, besides the unit's own process."""
    script = f"cat /sys/fs/cgroup{LOAD}/cgroup.procs /sys/fs/cgroup/*{LOAD}/cgroup.procs"
    done = service.rig.run(["sh", "-c", f"{script} 2>/dev/null"], check=False)
    return set(map(int, done.stdout.split())) - {int(service.show("MainPID", UNITS[0]))}


def crew_and_workers(service: Service) -> tuple[int, set[int]]:
    """The CPU stresser, and who burns for it."""
    crew, *workers = service.resource("cpu")["pids"]
    return crew, set(workers)


def wait_until_joined(service: Service) -> set[int]:
    """The workers, once they run and are in the group, and nobody else is."""

    def joined() -> set[int]:
        cpu = service.resource("cpu")
        workers = set(cpu["pids"][1:]) if cpu and cpu["pids"] else set()
        return workers if workers and members(service) == workers else set()

    found: set[int] = eventually(joined, deadline_s=_LOST_S, what=told(service))
    return found


def told(service: Service) -> str:
    """What the units say, for a failure."""
    status = service.control("status", "--no-pager", "optimizer", *UNITS).stdout
    return f"{service.resource('cpu')}\n{status}"


@pytest.fixture(scope="module")
def service(installation: Installation) -> Iterator[Service]:
    """A rig with the installed program; a busy machine may leave its idle workers no CPU."""
    with booted(on=installation.upper, bounds=BOUNDS) as rig:
        made = Service(rig)
        made.configure(GLANCES_PORT=str(free_port()))
        yield made


@pytest.fixture(autouse=True)
def _runs(service: Service) -> None:
    """Each test finds the service running, its workers in the group."""
    if not service.is_active:
        service.control("start", "optimizer")
    wait_until_joined(service)


def test_the_workers_are_in_the_idle_slice_and_the_daemon_is_not(service: Service) -> None:
    """In every hierarchy in which the unit has a group; the slice is idle at the top."""
    workers = wait_until_joined(service)
    crew, _ = crew_and_workers(service)
    for pid in workers:
        found = groups_of(service, pid)
        inside = {name for name, path in found.items() if path == LOAD}
        tracked = {name for name in found if name in {"", "name=systemd"}}
        assert inside >= tracked, found
        assert any("cpu" in name.split(",") for name in inside) or set(found) == {""}, found
        assert {"pids", "memory"} & set(found) <= inside, found
    assert LOAD not in groups_of(service, crew).values()
    assert LOAD not in groups_of(service, service.main).values()
    assert DAEMON in groups_of(service, crew).values()
    script = (
        "cat /sys/fs/cgroup/optimizer.slice/cpu.idle /sys/fs/cgroup/cpu/optimizer.slice/cpu.idle"
    )
    idle = service.rig.run(["sh", "-c", f"{script} 2>/dev/null"], check=False).stdout.split()
    assert idle == ["1"]


def test_status_and_doctor_say_that_the_group_is_had(service: Service) -> None:
    """It is among the means of the CPU stresser, and no finding says otherwise."""
    wait_until_joined(service)
    cpu = service.resource("cpu")
    assert "idle cgroup" in cpu["means"], cpu
    assert not [text for text in cpu["missing"] if "cgroup" in text], cpu
    done = service.rig.run(["optimizer", "doctor"], check=False, timeout=150)
    said = " ".join(done.stdout.split())
    assert "no idle control group" not in said
    assert "the daemon's CPU workers are in it" in said, said


def test_systemd_knows_the_workers_as_the_units(service: Service) -> None:
    """So it shows them there, counts them, and kills by the unit."""
    workers = wait_until_joined(service)
    assert service.show("TasksCurrent", UNITS[0]) == str(len(workers) + 1)
    assert service.show("Slice", UNITS[0]) == "optimizer.slice"
    assert service.show("ControlGroup", UNITS[0]) == LOAD


def test_a_killed_daemon_leaves_nobody_in_the_group(service: Service) -> None:
    """The old workers go with it, by their own means or the unit's; the next ones are moved."""
    before = wait_until_joined(service)
    main = service.main
    service.kill(main)
    eventually(lambda: not before & members(service), deadline_s=_LOST_S, what=told(service))
    service.wait_for_another(main)
    assert not before & wait_until_joined(service)


def test_a_restart_has_a_working_group_again(service: Service) -> None:
    """Units that end with the daemon are there again when it starts."""
    before = wait_until_joined(service)
    for _ in range(2):
        assert service.control("restart", "optimizer").returncode == 0
        assert not before & wait_until_joined(service)
    assert service.show("ActiveState", UNITS[0]) == "active"


def test_a_killed_broker_is_replaced_by_the_next_who_asks(service: Service) -> None:
    """A worker that is forked again asks again, whoever answers."""
    workers = wait_until_joined(service)
    broker = int(service.show("MainPID", UNITS[2]))
    if broker:
        service.kill(broker)
        eventually(lambda: service.show("MainPID", UNITS[2]) != str(broker), deadline_s=_LOST_S)
    assert members(service) == workers
    service.kill(min(workers), "ALRM")

    def replaced() -> bool:
        now = set(service.resource("cpu").get("pids", [])[1:])
        return bool(now) and now != workers and members(service) == now

    eventually(replaced, deadline_s=_LOST_S, what=told(service))


def test_the_broker_can_write_to_no_other_group(service: Service) -> None:
    """Its sandbox shows it the other control groups read-only, and it has no capability."""
    wait_until_joined(service)
    service.kill(min(crew_and_workers(service)[1]), "ALRM")
    eventually(lambda: service.show("MainPID", UNITS[2]) != "0", deadline_s=_LOST_S)
    broker = service.show("MainPID", UNITS[2])
    status = service.rig.read(f"/proc/{broker}/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    script = (
        "for f in /sys/fs/cgroup/*/system.slice/cgroup.procs /sys/fs/cgroup/system.slice/"
        'cgroup.procs; do [ -e "$f" ] || continue; echo looked; '
        'sh -c "echo $$ >>$f" 2>/dev/null && echo written; done; true'
    )
    words = ["nsenter", "-t", broker, "-m", "--", "sh", "-c", script]
    said = service.rig.run(words).stdout
    assert "looked" in said
    assert "written" not in said


def test_the_broker_ends_when_nobody_asks_and_the_workers_stay(service: Service) -> None:
    """No process of root's stays; the group and who is in it do."""
    workers = wait_until_joined(service)
    eventually(lambda: service.show("MainPID", UNITS[2]) == "0", deadline_s=_LOST_S)
    assert service.show("ActiveState", UNITS[0]) == "active"
    assert members(service) == workers
    assert service.show("Result", UNITS[2]) == "success"


def test_nothing_is_left_of_it_after_a_stop(service: Service) -> None:
    """No worker, no group, no socket; and no unit of it is active or has failed."""
    wait_until_joined(service)
    service.stop()
    eventually(lambda: members(service) == set(), deadline_s=_LOST_S, what=told(service))

    def over() -> bool:
        states = [service.show("ActiveState", unit) for unit in UNITS[:2]]
        return states == ["inactive", "inactive"]

    eventually(over, deadline_s=_LOST_S, what=told(service))
    assert service.rig.run(["ls", "/run/optimizer-load.socket"], check=False).returncode != 0
    for unit in UNITS:
        assert service.show("Result", unit) in {"success", ""}, told(service)
