"""Real containers' worth of groups, a real affinity, and CPUs that come and go."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.cpu_scope import AGE_S, CapacityWatch
from optimizer.adapters.sensors import HostSensors
from optimizer.adapters.stresser_pool import StresserPool
from optimizer.counters import CapacityScope
from optimizer.model import Decision, PerResource, Plan, Reason, Resource
from tests.rig import environment, eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")

CONTROLLERS = ("cpu", "cpuacct", "cpuset")
CGROUPS = Path("/sys/fs/cgroup")
CPU1 = Path("/sys/devices/system/cpu/cpu1/online")


class Group:
    """A group of version 1 in each controller that matters, to be shown as a container's root."""

    def __init__(self, name: str) -> None:
        self.paths = {controller: CGROUPS / controller / name for controller in CONTROLLERS}

    def write(self, controller: str, file: str, value: str) -> None:
        """Set one of its limits."""
        (self.paths[controller] / file).write_text(value, encoding="ascii")

    def used_s(self) -> float:
        """CPU time of all its programs, by the kernel's own count."""
        return int((self.paths["cpuacct"] / "cpuacct.usage").read_bytes()) / 1e9

    def throttled(self) -> int:
        """In how many periods its quota has run out."""
        text = (self.paths["cpu"] / "cpu.stat").read_text(encoding="ascii")
        return int(dict(line.split() for line in text.splitlines())["nr_throttled"])

    def command(self, *words: str) -> list[str]:
        """How to run a program inside: in the group, which is all that it sees."""
        enter = [f"echo $$ > {path}/cgroup.procs" for path in self.paths.values()]
        show = [f"mount --bind {path} {CGROUPS}/{name}" for name, path in self.paths.items()]
        return ["unshare", "-m", "sh", "-ec", "; ".join([*enter, *show, 'exec "$@"']), "sh", *words]


@pytest.fixture
def group() -> Iterator[Group]:
    """A group that is removed when its programs have ended."""
    found = Group(f"optimizer-test.{os.getpid()}")
    try:
        for path in found.paths.values():
            if not (path.parent / "cgroup.procs").exists():
                pytest.skip("cpu, cpuacct and cpuset are not mounted one by one (version 1)")
            path.mkdir()
        for file in ("cpuset.cpus", "cpuset.mems"):
            found.write("cpuset", file, (CGROUPS / "cpuset" / file).read_text(encoding="ascii"))
        subprocess.run(found.command("true"), check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.CalledProcessError) as exc:
        _remove(found)
        pytest.skip(f"cannot make groups and mount namespaces here: {exc}")
    try:
        yield found
    finally:
        _remove(found)


def _remove(group: Group) -> None:
    for path in group.paths.values():
        if path.is_dir():
            eventually(lambda path=path: _removed(path), what=f"{path} is empty")


def _removed(path: Path) -> bool:
    with contextlib.suppress(OSError):
        path.rmdir()
    return not path.exists()


@contextlib.contextmanager
def daemon_behind(folder: Path, *before: str, **settings: str) -> Iterator[None]:
    """A daemon that is started by other words (unshare, taskset); ended at the end."""
    folder.mkdir()
    options = {**settings, "GLANCES_ENABLED": "false", "WORKSPACE_DIR": str(folder)}
    options |= {"TARGET_MEMORY": "0", "TARGET_DISK": "0"}
    words = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    process = subprocess.Popen(
        [*before, sys.executable, "-m", "optimizer", "run", *words],
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env=environment(),
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


def status(folder: Path) -> dict[str, Any]:
    """The daemon's status.json; empty while there is none."""
    try:
        found: dict[str, Any] = json.loads((folder / "run/status.json").read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return found


def cpu(folder: Path) -> dict[str, Any]:
    """What the status says of the CPU; empty while there is none."""
    found: dict[str, Any] = status(folder).get("resources", {}).get("cpu", {})
    return found


def test_a_containers_share_is_held_by_the_kernels_own_count(group: Group, tmp_path: Path) -> None:
    """Half a CPU of quota and a target of 40 %: 0.2 CPUs are used, and the quota never runs out.

    40 % of the host would be twice the quota or more.
    """
    group.write("cpu", "cpu.cfs_quota_us", "50000")
    folder = tmp_path / "work"
    with daemon_behind(folder, *group.command(), TARGET_CPU="40"):
        eventually(lambda: cpu(folder).get("reason") == "holding", what="holding")
        scope = status(folder)["cpu_scope"]
        assert (scope["scope"], scope["quota"], scope["capacity"]) == ("container", 0.5, 0.5)
        assert scope["workers"] == 1

        def held() -> bool:
            at_s, used_s = time.monotonic(), group.used_s()
            before = group.throttled()
            time.sleep(2.0)
            ratio = (group.used_s() - used_s) / (time.monotonic() - at_s) / 0.5
            return 0.37 < ratio < 0.43 and group.throttled() == before

        eventually(held, deadline_s=40.0, what="40 % of the quota is used")


def test_a_cpuset_is_a_container_too(group: Group, tmp_path: Path) -> None:
    """One CPU of several: the share is of that one."""
    if (os.cpu_count() or 1) < 2:
        pytest.skip("there is one CPU only")
    group.write("cpuset", "cpuset.cpus", "0")
    folder = tmp_path / "work"
    with daemon_behind(folder, *group.command(), TARGET_CPU="40"):
        eventually(lambda: cpu(folder).get("pids"), what="stressers")
        scope = status(folder)["cpu_scope"]
        assert (scope["scope"], scope["quota"], scope["capacity"]) == ("container", None, 1.0)
        assert cpu(folder)["capacity"] == 1.0


def test_a_quota_that_is_changed_in_place_is_followed(group: Group, tmp_path: Path) -> None:
    """From 0.5 to 1 CPU while it runs: the capacity follows within seconds."""
    group.write("cpu", "cpu.cfs_quota_us", "50000")
    folder = tmp_path / "work"
    with daemon_behind(folder, *group.command(), TARGET_CPU="20"):

        def capacity() -> float | None:
            found: float | None = status(folder).get("cpu_scope", {}).get("capacity")
            return found

        eventually(lambda: capacity() == 0.5, what="a capacity of 0.5")
        eventually(lambda: cpu(folder).get("pids"), what="stressers")
        group.write("cpu", "cpu.cfs_quota_us", "100000")
        eventually(lambda: capacity() == 1.0, what="a capacity of 1")
        eventually(lambda: cpu(folder).get("pids"), what="stressers again")


def test_affinity_limits_the_load_and_says_so(tmp_path: Path) -> None:
    """On one CPU of several a target of 99 % of the host is out of reach.

    So high that other programs must take half of the machine to be in the way.
    """
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        pytest.skip("there is one CPU only")
    folder = tmp_path / "work"
    taskset = ("taskset", "-c", str(usable[0]))
    high = {"TARGET_CPU": "99", "CPU_CEILING": "99", "CEILING_OVERRIDE": "true"}
    with daemon_behind(folder, *taskset, CPU_SCOPE="host", **high):

        def limited() -> dict[str, Any]:
            found = status(folder)
            reason = found.get("resources", {}).get("cpu", {}).get("reason")
            return found if reason == Reason.CPU_LIMITED.value else {}

        found = eventually(limited, deadline_s=60.0, what="limited")
    online = found["cpu_scope"]["online"]
    assert found["cpu_scope"]["usable"] == found["cpu_scope"]["workers"] == 1
    assert found["cpu_scope"]["capacity"] == online
    assert found["resources"]["cpu"]["demand"] <= 1 / online + 1e-5


def test_this_machine_says_what_it_has() -> None:
    """The real files are understood: some CPUs, of which we can use some."""
    capacity = CapacityWatch().capacity
    assert 0 < capacity.reach_cpus <= capacity.capacity_cpus <= capacity.online_cpus
    assert capacity.usable == frozenset(os.sched_getaffinity(0))
    assert 1 <= capacity.workers <= len(capacity.usable)


def _plan(lease: float) -> Plan:
    """That duty for the CPU, nothing else."""

    def one(resource: Resource, duty: float) -> Decision:
        return Decision(
            resource=resource,
            target_ratio=duty,
            setpoint_ratio=duty,
            wanted_ratio=duty,
            demand_ratio=duty,
            lease=duty,
            reason=Reason.HOLDING if duty else Reason.NO_TARGET,
            stop=duty == 0,
        )

    return PerResource(
        cpu=one(Resource.CPU, lease),
        memory=one(Resource.MEMORY, 0.0),
        disk=one(Resource.DISK, 0.0),
    )


@pytest.mark.long
def test_a_cpu_that_goes_and_comes_back_is_followed() -> None:
    """Counters go on with one CPU less, the crew is started anew with a worker less, and back.

    It switches a CPU of this machine off for a second or two, so it runs only when asked for.
    """
    if not CPU1.exists() or os.geteuid() != 0 or 1 not in os.sched_getaffinity(0):
        pytest.skip("cannot switch a CPU off here")
    watch = CapacityWatch(CapacityScope.HOST)
    pool = StresserPool(
        cpus=lambda: watch.capacity.workers,
        cpu_room=lambda: watch.capacity,
    )
    whole = watch.capacity.online_cpus

    def crew_of(workers: int, sensors: HostSensors) -> bool:
        time.sleep(AGE_S / 10)
        found = sensors.read().cpu
        pool.apply(_plan(0.05))
        pool.observe()
        return (
            found is not None
            and found.cpus == workers
            and len(pool.states().cpu.pids) == workers + 1
        )

    with closing(HostSensors((), capacity=watch)) as sensors:
        try:
            eventually(lambda: crew_of(whole, sensors), what="a worker for each CPU")
            try:
                CPU1.write_text("0", encoding="ascii")
                eventually(lambda: crew_of(whole - 1, sensors), what="one worker less")
            finally:
                CPU1.write_text("1", encoding="ascii")
            eventually(lambda: crew_of(whole, sensors), what="the worker is back")
        finally:
            assert pool.close(5.0) == ()
