"""What CPU a share is a share of: fake trees of /proc, /sys and control groups."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from optimizer.adapters.cgroups import (
    hierarchy,
    parse_throttled,
    parse_usage,
)
from optimizer.adapters.cpu_scope import (
    AGE_S,
    OWN_QUOTA_RATIO,
    CapacityWatch,
    ContainerCounters,
    CpuView,
    container_capacity,
    host_capacity,
)
from optimizer.adapters.mountinfo import Mount, parse_mounts
from optimizer.counters import CapacityScope

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")

ALL = frozenset(range(4))


@dataclass
class Tree:
    """A host with 4 CPUs; groups and mounts are written as a test needs them."""

    root: Path
    mounts: list[str] = field(default_factory=list)
    usable: frozenset[int] = ALL
    now_s: float = 100.0

    def __post_init__(self) -> None:
        self.write("sys/devices/system/cpu/online", "0-3\n")
        self.write("proc/self/cgroup", "")
        self.write("proc/self/mountinfo", "")

    def write(self, name: str, text: str) -> None:
        """One file with its folders."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")

    def mount(self, name: str, kind: str, options: str, root: str = "/") -> None:
        """One more line of mountinfo, for a folder of this tree."""
        point = self.root / name
        self.mounts.append(f"30 1 0:30 {root} {point} rw,nosuid shared:9 - {kind} x {options}")
        self.write("proc/self/mountinfo", "\n".join(self.mounts) + "\n")

    def legacy(self, own: str = "/", root: str = "/") -> None:
        """Version 1, each controller by itself, nothing limited."""
        lines = []
        for number, name in enumerate(("cpu", "cpuacct", "cpuset")):
            self.mount(f"cg/{name}", "cgroup", f"rw,{name}", root)
            lines.append(f"{number + 1}:{name}:{own}")
        self.write("proc/self/cgroup", "\n".join([*lines, "0::/"]) + "\n")
        self.quota("cg/cpu", -1)
        self.write("cg/cpuacct/cpuacct.usage", "2000000000\n")
        self.write("cg/cpuset/cpuset.effective_cpus", "0-3\n")

    def quota(self, group: str, quota_us: int, period_us: int = 100_000) -> None:
        """A quota of version 1."""
        self.write(f"{group}/cpu.cfs_quota_us", f"{quota_us}\n")
        self.write(f"{group}/cpu.cfs_period_us", f"{period_us}\n")

    def unified(self, own: str = "/", root: str = "/") -> None:
        """Version 2, nothing limited."""
        self.mount("cg", "cgroup2", "rw", root)
        self.write("proc/self/cgroup", f"0::{own}\n")
        self.write("cg/cpu.stat", "usage_usec 2000000\nuser_usec 1\n")
        self.write("cg/cpuset.cpus.effective", "0-3\n")

    def watch(
        self, scope: CapacityScope = CapacityScope.AUTO, *, host: str | None = None
    ) -> CapacityWatch:
        """What looks at this tree, on its clock."""
        return CapacityWatch(
            scope,
            proc=self.root / "proc",
            host=None if host is None else self.root / host,
            sysfs=self.root / "sys",
            affinity=lambda: self.usable,
            monotonic=lambda: self.now_s,
        )

    def view(self, scope: CapacityScope = CapacityScope.AUTO) -> CpuView:
        """What is seen of it now."""
        return self.watch(scope).view()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A host without any group."""
    return Tree(tmp_path)


def seen(view: CpuView) -> tuple[CapacityScope, float, float, int]:
    """Scope, capacity, what we can get of it, and workers."""
    capacity = view.capacity
    return capacity.scope, capacity.capacity_cpus, capacity.reach_cpus, capacity.workers


def test_a_host_without_groups_is_the_host_whole(tree: Tree) -> None:
    """No hierarchy in sight limits nothing."""
    assert seen(tree.view()) == (CapacityScope.HOST, 4.0, 4.0, 4)


@pytest.mark.parametrize("version", ["legacy", "unified"])
def test_unlimited_groups_are_the_host(tree: Tree, version: str) -> None:
    """Docker without --cpus: the share is of the host, by /proc/stat."""
    getattr(tree, version)()
    view = tree.view()
    assert seen(view) == (CapacityScope.HOST, 4.0, 4.0, 4)
    assert view.usage is None


def test_a_quota_of_version_2_makes_a_container(tree: Tree) -> None:
    """cpu.max of the topmost group: half of 50 ms in 20 ms is 2.5 CPUs, so 3 workers."""
    tree.unified()
    tree.write("cg/cpu.max", "50000 20000\n")
    tree.write("cg/cpu.stat", "usage_usec 2000000\nnr_periods 9\nnr_throttled 4\n")
    view = tree.view()
    assert seen(view) == (CapacityScope.CONTAINER, 2.5, 2.5, 3)
    assert view.usage == tree.root / "cg/cpu.stat"
    assert (view.throttled, view.watchable) == (4, False)


def test_a_quota_of_version_1_makes_a_container(tree: Tree) -> None:
    """cfs_quota_us over cfs_period_us; its use is what cpuacct counts."""
    tree.legacy(root="/docker/x", own="/docker/x")
    tree.quota("cg/cpu", 50_000)
    view = tree.view()
    assert seen(view) == (CapacityScope.CONTAINER, 0.5, 0.5, 1)
    assert view.usage == tree.root / "cg/cpuacct/cpuacct.usage"


@pytest.mark.parametrize("version", ["legacy", "unified"])
def test_a_cpuset_makes_a_container(tree: Tree, version: str) -> None:
    """Fewer CPUs than are online in the topmost group, which is not the host's root."""
    getattr(tree, version)()
    tree.write("cg/cpuset/cpuset.effective_cpus", "0,2\n")
    tree.write("cg/cpuset.cpus.effective", "0,2\n")
    tree.write("cg/cgroup.type", "domain\n")
    tree.usable = frozenset({0, 2})
    assert seen(tree.view()) == (CapacityScope.CONTAINER, 2.0, 2.0, 2)


@pytest.mark.parametrize("version", ["legacy", "unified"])
def test_the_hosts_own_root_is_no_container(tree: Tree, version: str) -> None:
    """After a CPU has come back the root's cpuset lags behind; it is not believed."""
    getattr(tree, version)()
    tree.write("cg/cpuset/cpuset.effective_cpus", "0-2\n")
    tree.write("cg/cpuset/release_agent", "\n")
    tree.write("cg/cpuset.cpus.effective", "0-2\n")  # version 2: and no cgroup.type
    assert seen(tree.view()) == (CapacityScope.HOST, 4.0, 4.0, 4)


def test_a_quota_as_large_as_the_host_is_no_limit(tree: Tree) -> None:
    """4 CPUs of 4: /proc/stat says the same, and is what others read."""
    tree.unified()
    tree.write("cg/cpu.max", "400000 100000\n")
    assert tree.view().capacity.scope is CapacityScope.HOST


def test_a_quota_on_our_own_unit_limits_us_and_not_the_share(tree: Tree) -> None:
    """CPUQuota=50% of a service: still the host's share, of which 0.9 x 0.5 CPUs are in reach."""
    tree.unified(own="/system.slice/optimizer.service")
    tree.write("cg/system.slice/optimizer.service/cpu.max", "50000 100000\n")
    tree.write("cg/system.slice/cpu.max", "300000 100000\n")
    view = tree.view()
    assert seen(view) == (CapacityScope.HOST, 4.0, OWN_QUOTA_RATIO * 0.5, 1)
    assert view.capacity.quota_cpus == 0.5


def test_the_smallest_quota_on_the_way_up_counts(tree: Tree) -> None:
    """A slice above the service is tighter than the service."""
    tree.legacy(own="/a.slice/b.service")
    tree.quota("cg/cpu/a.slice", 100_000)
    tree.quota("cg/cpu/a.slice/b.service", 300_000)
    assert tree.view().capacity.reach_cpus == OWN_QUOTA_RATIO


def test_a_quota_below_a_containers_own_limits_us_alone(tree: Tree) -> None:
    """The container's 2 CPUs stay the capacity; our group's 1 CPU is what we get, less a tenth."""
    tree.unified(own="/ours")
    tree.write("cg/cpu.max", "200000 100000\n")
    tree.write("cg/ours/cpu.max", "100000 100000\n")
    assert seen(tree.view()) == (CapacityScope.CONTAINER, 2.0, OWN_QUOTA_RATIO, 1)


def test_affinity_on_a_host_limits_us_and_not_the_share(tree: Tree) -> None:
    """With taskset -c 1: one worker, a quarter of the host in reach."""
    tree.usable = frozenset({1})
    assert seen(tree.view()) == (CapacityScope.HOST, 4.0, 1.0, 1)


def test_the_configuration_may_say_host(tree: Tree) -> None:
    """In a container of 1 CPU with CPU_SCOPE=host: a share of 4, of which we get 1 less a tenth."""
    tree.unified()
    tree.write("cg/cpu.max", "100000 100000\n")
    assert seen(tree.view(CapacityScope.HOST)) == (CapacityScope.HOST, 4.0, OWN_QUOTA_RATIO, 1)


def test_the_configuration_may_say_container(tree: Tree) -> None:
    """An unlimited container counts its own programs, over all CPUs; another scope soon holds."""
    tree.unified()
    watch = tree.watch(CapacityScope.CONTAINER)
    assert seen(watch.view()) == (CapacityScope.CONTAINER, 4.0, 4.0, 4)
    watch.scope = CapacityScope.AUTO
    tree.now_s += AGE_S
    assert watch.view().capacity.scope is CapacityScope.HOST


def test_a_container_whose_use_is_not_counted_is_the_host(tree: Tree) -> None:
    """Without the counter there is nothing to hold; the quota still limits us."""
    tree.unified()
    tree.write("cg/cpu.max", "100000 100000\n")
    (tree.root / "cg/cpu.stat").unlink()
    assert seen(tree.view()) == (CapacityScope.HOST, 4.0, OWN_QUOTA_RATIO, 1)


def test_a_fuse_mount_over_proc_stat_is_counted_by_its_lines(tree: Tree) -> None:
    """An lxcfs shows a container's own CPUs there, and nobody watches through a daemon."""
    tree.write("proc/stat", "cpu  1 2 3 4\ncpu0 1 2 3 4\ncpu1 1 2 3 4\nintr 5\n")
    tree.mount("proc/stat", "fuse.lxcfs", "rw,user_id=0")
    view = tree.view()
    assert view.capacity.online_cpus == 2
    assert view.watchable is False


def test_the_hosts_mounted_proc_tells_how_many_cpus_the_host_has(tree: Tree) -> None:
    """HOST_PROC: the pod's own /proc/stat has two CPUs by lxcfs, the node four."""
    tree.write("proc/stat", "cpu  1 2 3 4\ncpu0 1 2 3 4\ncpu1 1 2 3 4\n")
    tree.mount("proc/stat", "fuse.lxcfs", "rw,user_id=0")
    tree.write("sys/devices/system/cpu/online", "0-1\n")
    tree.write("host/proc/stat", "cpu  1 2 3 4\n" + "".join(f"cpu{n} 1 2 3 4\n" for n in range(4)))
    view = tree.watch(CapacityScope.HOST, host="host/proc").view()
    assert view.capacity.online_cpus == 4
    assert view.watchable is False  # the workers see the two


def test_a_mounted_proc_that_has_gone_is_no_host_without_cpus(tree: Tree) -> None:
    """Unknown is not zero: it raises, and nothing is held."""
    with pytest.raises(OSError, match="host/proc/stat"):
        tree.watch(host="host/proc").view()


def test_a_stresser_watches_only_where_it_counts_the_same_cpus(tree: Tree) -> None:
    """It asks the C library how many there are; four of a fake tree are not this machine's."""
    assert tree.view().watchable is (os.cpu_count() == 4)


def test_limits_are_read_again_after_a_second_and_only_when_asked(tree: Tree) -> None:
    """A quota that was changed in place is followed, but not by the fast readings."""
    tree.unified()
    tree.write("cg/cpu.max", "100000 100000\n")
    watch = tree.watch()
    assert watch.view().capacity.capacity_cpus == 1.0
    tree.write("cg/cpu.max", "300000 100000\n")
    assert watch.view().capacity.capacity_cpus == 1.0
    tree.now_s += AGE_S
    assert watch.view(look=False).capacity.capacity_cpus == 1.0
    assert watch.view().capacity.capacity_cpus == 3.0
    assert watch.capacity.capacity_cpus == 3.0


def test_a_limit_that_cannot_be_read_is_not_taken_for_none(tree: Tree) -> None:
    """The reading fails; the last capacity stays for those that only need one."""
    tree.unified()
    tree.write("cg/cpu.max", "100000 100000\n")
    watch = tree.watch()
    watch.view()
    (tree.root / "cg/cpu.max").unlink()
    (tree.root / "cg/cpu.max").mkdir()
    tree.now_s += AGE_S
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            watch.view()
        with pytest.raises(ValueError, match="limits"):
            watch.view(look=False)
    assert watch.capacity.capacity_cpus == 1.0


# --- capacities ----------------------------------------------------------------


def test_a_worker_for_each_cpu_that_can_be_used() -> None:
    """256 CPUs, of which 3 are ours; and a host's CPUs bound what an odd affinity says."""
    assert host_capacity(256, math.inf, frozenset({1, 2, 200})).workers == 3
    assert host_capacity(2, math.inf, frozenset(range(8))).workers == 2


@pytest.mark.parametrize(
    ("quota", "workers"), [(0.1, 1), (1.0, 1), (1.0000000001, 1), (1.01, 2), (7.5, 8), (99.0, 16)]
)
def test_a_quota_is_used_by_as_few_workers_as_can(quota: float, workers: int) -> None:
    """The quota rounded up, 16 CPUs at most; a rounding error is no CPU."""
    assert container_capacity(64, 16, (quota,), frozenset(range(16))).workers == workers


# --- counters ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "used_s"),
    [(b"1500000000\n", 1.5), (b"usage_usec 1500000\nuser_usec 3\n", 1.5), (b"0", 0.0)],
)
def test_use_is_read_in_both_versions(text: bytes, used_s: float) -> None:
    """Nanoseconds in version 1, microseconds in version 2."""
    assert parse_usage(text) == used_s


@pytest.mark.parametrize("text", [b"", b"\n", b"-5\n", b"user_usec 3\n", b"usage_usec x\n"])
def test_what_is_no_use_is_an_error(text: bytes) -> None:
    """Never taken for 0."""
    with pytest.raises(ValueError, match="CPU time"):
        parse_usage(text)


def test_the_count_of_throttled_periods() -> None:
    """None where the file has none, as that of a group without a quota."""
    assert parse_throttled(b"nr_periods 5\nnr_throttled 3\nthrottled_time 1\n") == 3
    assert parse_throttled(b"usage_usec 5\n") is None


def counters(tree: Tree, cpus: float) -> tuple[ContainerCounters, CpuView]:
    """Counters of a container with that many CPUs, and its view."""
    view = CpuView(
        capacity=container_capacity(4, 4, (cpus,), ALL), usage=tree.root / "use", throttled=7
    )
    return ContainerCounters(tree.root / "use", cpus), view


def test_idle_is_capacity_times_time_less_use(tree: Tree) -> None:
    """Half a CPU that has used 1.5 s: all else of half the time was idle."""
    tree.write("use", "1500000000\n")
    container, view = counters(tree, 0.5)
    found = container.cpu(view)
    container.close()
    assert (found.cpus, found.throttled, found.steal_s) == (0.5, 7, 0.0)
    assert found.total_s - found.idle_s == pytest.approx(1.5)


def test_idle_never_runs_back_when_use_is_ahead_of_time(tree: Tree) -> None:
    """Two periods' quotas may be used in one stretch: idle stands still until caught up with."""
    tree.write("use", "0\n")
    container, view = counters(tree, 1.0)
    before = container.cpu(view)
    tree.write("use", "3600000000000\n")  # an hour in an instant
    after = container.cpu(view)
    container.close()
    assert after.idle_s == before.idle_s


def test_a_counter_that_ran_backwards_is_an_error_once(tree: Tree) -> None:
    """The reading fails, and the next goes on from what was counted before."""
    tree.write("use", "5000000000\n")
    container, view = counters(tree, 4.0)
    before = container.cpu(view)
    tree.write("use", "0\n")
    with pytest.raises(ValueError, match="backwards"):
        container.cpu(view)
    after = container.cpu(view)
    container.close()
    # Nothing was used in between as far as is known: idle moved on with time, no further.
    assert after.idle_s - before.idle_s == pytest.approx(after.total_s - before.total_s)


def test_version_2_tells_throttling_with_the_use(tree: Tree) -> None:
    """The same file has both, so the fast reading is fresher than the view."""
    tree.write("use", "usage_usec 10\nnr_throttled 9\n")
    container, view = counters(tree, 1.0)
    assert container.cpu(view).throttled == 9
    container.close()


# --- hierarchies -----------------------------------------------------------------


def test_mountinfo_with_and_without_optional_fields() -> None:
    """Octal escapes are undone; a line that is none is left out."""
    text = (
        "31 23 0:28 / /sys/fs/cgroup rw shared:5 master:1 - tmpfs tmpfs rw,mode=755\n"
        "32 31 0:29 /a\\040b /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        "not a mount\n"
    )
    tmpfs, cpu = parse_mounts(text)
    assert (tmpfs.kind, tmpfs.point) == ("tmpfs", "/sys/fs/cgroup")
    assert (cpu.root, cpu.point) == ("/a b", "/sys/fs/cgroup/cpu")
    assert {"cpu", "cpuacct"} <= cpu.options


def mounted(point: str, root: str = "/", kind: str = "cgroup") -> Mount:
    """A hierarchy of version 1 with the controllers cpu and cpuacct, or version 2."""
    return Mount(root=root, point=point, kind=kind, options=frozenset({"rw", "cpu", "cpuacct"}))


@pytest.mark.parametrize(
    ("root", "own", "names"),
    [
        ("/", "/", []),
        ("/", "/system.slice/x.service", ["system.slice", "x.service"]),
        # A container without a namespace of its own: the mount shows its group.
        ("/docker/7f", "/docker/7f", []),
        ("/docker/7f", "/docker/7f/ours", ["ours"]),
        # A namespace hides where we are, or the mount was made outside of ours.
        ("/docker/7f", "/", []),
        ("/", "/../other", []),
    ],
)
def test_our_place_below_what_is_mounted(root: str, own: str, names: list[str]) -> None:
    """From the topmost group in sight down to ours; only the topmost where that is not known."""
    found = hierarchy(
        "cpu", (mounted("/sys/fs/cgroup/cpu", root),), f"4:cpuacct,cpu:{own}\n0::/z\n"
    )
    assert found is not None
    groups = [Path("/sys/fs/cgroup/cpu")]
    for name in names:
        groups.append(groups[-1] / name)
    assert found.groups == tuple(groups)


def test_version_1_counts_before_version_2() -> None:
    """Where both are mounted the controller is in version 1; else in version 2."""
    both = (mounted("/sys/fs/cgroup/cpu"), mounted("/sys/fs/cgroup/unified", kind="cgroup2"))
    first, second = hierarchy("cpu", both, ""), hierarchy("memory", both, "0::/a\n")
    assert first is not None
    assert second is not None
    assert (first.unified, second.unified) == (False, True)
    assert second.groups[-1] == Path("/sys/fs/cgroup/unified/a")
    assert hierarchy("memory", both[:1], "") is None


def test_the_usual_place_is_preferred_and_the_last_mount_covers_others() -> None:
    """A second mount elsewhere is passed over; of two at one place the upper one is seen."""
    usual, elsewhere = mounted("/sys/fs/cgroup/cpu", "/a"), mounted("/mnt/cg", "/b")
    upper = mounted("/sys/fs/cgroup/cpu", "/c")
    own = "1:cpu:/c/d\n"
    found = hierarchy("cpu", (usual, upper, elsewhere), own)
    assert found is not None
    assert found.groups == (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/cpu/d"))
