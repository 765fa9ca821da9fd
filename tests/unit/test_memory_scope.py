"""Whose memory is a share of what: fake trees of /proc and control groups."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from optimizer.adapters.memory_scope import (
    AGE_S,
    LEGACY,
    UNIFIED,
    MemoryScope,
    parse_fields,
    parse_limit,
)
from optimizer.counters import CapacityScope, MemoryBound, MemoryCounters

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")

GIB = 1 << 30
HOST = MemoryCounters(
    total_bytes=16 * GIB, available_bytes=12 * GIB, free_bytes=10 * GIB, cache_bytes=2 * GIB
)
NO_LIMIT = 9223372036854771712  # what version 1 says of a group without one


@dataclass
class Tree:
    """A hierarchy of memory groups; `root` is what the mount shows, / on a host."""

    folder: Path
    unified: bool = True
    root: str = "/"
    own: str = "/"
    now_s: float = 100.0

    def __post_init__(self) -> None:
        kind = "cgroup2 cgroup2 rw" if self.unified else "cgroup cgroup rw,memory"
        controllers = "0::" if self.unified else "4:memory:"
        (self.folder / "self").mkdir()
        (self.folder / "self/mountinfo").write_text(
            f"30 20 0:26 {self.root} {self.folder / 'memory'} rw - {kind}\n"
        )
        (self.folder / "self/cgroup").write_text(f"{controllers}{self.own}\n")
        (self.folder / "memory").mkdir()
        if self.root == "/" and not self.unified:
            (self.folder / "memory/release_agent").write_text("")
        if self.root != "/" and self.unified:
            (self.folder / "memory/cgroup.type").write_text("domain\n")

    def group(self, name: str, limit: int | None, used: int = 0, inactive: int = 0) -> None:
        """Write the files of one group; `used` includes `inactive`, which is all file cache."""
        directory = self.folder / "memory" / name
        directory.mkdir(exist_ok=True)
        names = UNIFIED if self.unified else LEGACY
        none = "max" if self.unified else NO_LIMIT
        (directory / names.limits[0]).write_text(f"{none if limit is None else limit}\n")
        (directory / names.usage).write_text(f"{used}\n")
        (directory / "memory.stat").write_text(
            f"cache 1\n{names.inactive} {inactive}\n{names.files} {inactive}\n{names.shared} 0\n"
        )

    def scope(self, scope: CapacityScope = CapacityScope.AUTO) -> MemoryScope:
        """What is under test, on this tree and its clock."""
        return MemoryScope(scope, proc=self.folder, monotonic=lambda: self.now_s)


@pytest.mark.parametrize("unified", [True, False])
def test_a_host_without_limits_is_itself(tmp_path: Path, unified: bool) -> None:
    """Groups without a limit, or with one above the host's memory, change nothing."""
    tree = Tree(tmp_path, unified=unified, own="/service")
    tree.group("service", None)
    scope = tree.scope()
    assert scope.seen(HOST) == HOST
    tree.group("service", 32 * GIB)
    tree.now_s += AGE_S
    assert scope.seen(HOST) == HOST
    assert scope.capacity_bytes(HOST.total_bytes) is None


@pytest.mark.parametrize("unified", [True, False])
def test_a_limit_on_this_service_is_a_bound(tmp_path: Path, unified: bool) -> None:
    """On a host: 4 GiB, 1.5 used of which 0.5 is cache, leave 3; shares stay those of the host."""
    tree = Tree(tmp_path, unified=unified, own="/service")
    tree.group("service", 4 * GIB, used=3 * GIB // 2, inactive=GIB // 2)
    counters = tree.scope().seen(HOST)
    assert counters.total_bytes == HOST.total_bytes
    assert counters.bounds == (MemoryBound(4 * GIB, 3 * GIB),)


def test_memory_high_is_a_limit_too(tmp_path: Path) -> None:
    """Above it programs are slowed down: 2 GiB of the 4 count."""
    tree = Tree(tmp_path, own="/service")
    tree.group("service", 4 * GIB, used=GIB)
    (tmp_path / "memory/service/memory.high").write_text(f"{2 * GIB}\n")
    assert tree.scope().seen(HOST).bounds == (MemoryBound(2 * GIB, GIB),)


@pytest.mark.parametrize("unified", [True, False])
def test_in_a_container_its_limit_is_the_capacity(tmp_path: Path, unified: bool) -> None:
    """Total 4 GiB, free 2.5, available 3 with the cache; the host and a group below are bounds."""
    tree = Tree(tmp_path, unified=unified, root="/docker/7f", own="/docker/7f/ours")
    tree.group("", 4 * GIB, used=3 * GIB // 2, inactive=GIB // 2)
    tree.group("ours", GIB, used=GIB // 4)
    scope = tree.scope()
    counters = scope.seen(HOST)
    assert (counters.total_bytes, counters.free_bytes) == (4 * GIB, 5 * GIB // 2)
    assert (counters.available_bytes, counters.cache_bytes) == (3 * GIB, GIB // 2)
    host = MemoryBound(HOST.total_bytes, HOST.available_bytes)
    assert counters.bounds == (host, MemoryBound(GIB, 3 * GIB // 4))
    assert scope.capacity_bytes(HOST.total_bytes) == 4 * GIB


def test_a_container_has_no_more_left_than_its_host(tmp_path: Path) -> None:
    """The host is nearly out of memory: what the limit would leave is not there."""
    tree = Tree(tmp_path, root="/docker/7f", own="/docker/7f")
    tree.group("", 4 * GIB, used=GIB)
    poor = MemoryCounters(
        total_bytes=16 * GIB, available_bytes=GIB // 2, free_bytes=GIB // 4, cache_bytes=0
    )
    counters = tree.scope().seen(poor)
    assert (counters.available_bytes, counters.free_bytes) == (GIB // 2, GIB // 4)


def test_the_configuration_decides_otherwise(tmp_path: Path) -> None:
    """host: a container's limit is a bound. container: a service's top group is the capacity."""
    tree = Tree(tmp_path, root="/docker/7f", own="/docker/7f")
    tree.group("", 4 * GIB, used=GIB)
    counters = tree.scope(CapacityScope.HOST).seen(HOST)
    assert counters.total_bytes == HOST.total_bytes
    assert counters.bounds == (MemoryBound(4 * GIB, 3 * GIB),)


def test_a_changed_limit_counts_within_seconds(tmp_path: Path) -> None:
    """Looked at again each five seconds, also when it is taken away."""
    tree = Tree(tmp_path, own="/service")
    tree.group("service", 4 * GIB)
    scope = tree.scope()
    assert scope.seen(HOST).bounds[0].limit_bytes == 4 * GIB
    tree.group("service", 2 * GIB)
    assert scope.seen(HOST).bounds[0].limit_bytes == 4 * GIB
    tree.now_s += AGE_S
    assert scope.seen(HOST).bounds[0].limit_bytes == 2 * GIB
    tree.group("service", None)
    tree.now_s += AGE_S
    assert scope.seen(HOST).bounds == ()
    scope.close()


def test_a_limit_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    """A stat file without the fields is an error, so the memory is unknown and nothing grows."""
    tree = Tree(tmp_path, own="/service")
    tree.group("service", 4 * GIB)
    (tmp_path / "memory/service/memory.stat").write_text("nothing 0\n")
    with pytest.raises(ValueError, match="inactive_file"):
        tree.scope().seen(HOST)


def test_numbers_are_parsed() -> None:
    """A limit is a number or none; the fields come from anywhere in the file."""
    assert parse_limit("1024\n") == 1024
    assert parse_limit("max\n") == float("inf")
    assert parse_limit("") == float("inf")
    assert parse_fields(b"shmem 3\nfile 2\ninactive_file 1\n", UNIFIED) == (1, 2, 3)
