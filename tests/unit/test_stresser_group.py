"""Which memory groups bound a stresser, and what their limits leave: texts and folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stressers import free, group

GIB = 1 << 30
HOST = 64 * GIB
V1 = "35 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
V2 = "36 31 0:33 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
CPU = "34 31 0:31 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.mark.parametrize(
    ("mounts", "own", "unified", "groups"),
    [
        # A service on a host with version 2.
        (
            V2.format(root="/"),
            "0::/system.slice/x.service\n",
            True,
            ["", "system.slice", "x.service"],
        ),
        # A container of version 2: its own group is the topmost in sight.
        (V2.format(root="/"), "0::/\n", True, [""]),
        # Version 1 and 2 side by side: the controller is in version 1.
        (
            CPU + V1.format(root="/") + V2.format(root="/"),
            "4:memory:/a/b\n3:cpu,cpuacct:/c\n0::/d\n",
            False,
            ["", "a", "b"],
        ),
        # A container of version 1 sees its group as mounted, and the host's path to it.
        (V1.format(root="/docker/ab"), "4:memory:/docker/ab\n", False, [""]),
        (V1.format(root="/docker/ab"), "4:memory:/docker/ab/inner\n", False, ["", "inner"]),
        # A name that merely begins alike, and a namespace in between.
        (V1.format(root="/docker/ab"), "4:memory:/docker/abc\n", False, [""]),
        (V2.format(root="/"), "0::/../other\n", True, [""]),
        # No such hierarchy.
        (CPU, "3:cpu,cpuacct:/c\n", True, None),
        ("nonsense\n- \n", "", True, None),
    ],
)
def test_the_groups_are_found_from_the_topmost_in_sight(
    mounts: str, own: str, unified: bool, groups: list[str] | None
) -> None:
    """The same rules as for the CPU's groups; `groups` are the names below the mount."""
    found, paths = group.folders(mounts, own)
    assert found is unified
    if groups is None:
        assert paths == []
        return
    point = "/sys/fs/cgroup" if unified else "/sys/fs/cgroup/memory"
    assert paths == [os.path.join(point, *groups[1 : n + 1]) for n in range(len(groups))]


def test_the_usual_place_counts_and_blanks_are_read() -> None:
    """A hierarchy may be mounted twice, at odd places."""
    odd = V2.format(root="/").replace("/sys/fs/cgroup", "/odd\\040place")
    assert group.folders(odd, "0::/a\n") == (True, ["/odd place", "/odd place/a"])
    assert group.folders(V2.format(root="/") + odd, "0::/a\n")[1][0] == "/sys/fs/cgroup"


class Groups:
    """A root and one group below it, as files."""

    def __init__(self, folder: Path, *, unified: bool) -> None:
        self._unified = unified
        self.root, self.own = folder, folder / "own"
        self.own.mkdir()
        self.now_s = 0.0
        self.limits = group.Limits(
            [str(self.root), str(self.own)], unified=unified, monotonic=lambda: self.now_s
        )
        if not unified:
            self.say(self.root, limit=9223372036854771712, usage=GIB, inactive=0)

    def say(self, folder: Path, *, limit: int | None, usage: int, inactive: int) -> None:
        """Let a group's files say that."""
        names = group._UNIFIED if self._unified else group._LEGACY
        (folder / names[0][0]).write_text("max\n" if limit is None else f"{limit}\n")
        (folder / names[1]).write_text(f"{usage}\n")
        (folder / "memory.stat").write_text(
            f"anon 5\ninactive_file {inactive}\ntotal_inactive_file {inactive}\n"
        )


@pytest.fixture(params=[True, False], ids=["v2", "v1"])
def groups(request: pytest.FixtureRequest, tmp_path: Path) -> Groups:
    """Both versions; the root has no limit."""
    return Groups(tmp_path, unified=request.param)


def test_a_limit_leaves_what_is_neither_used_nor_mere_cache(groups: Groups) -> None:
    """Limit less usage, and inactive file pages are given back before anybody is killed."""
    groups.say(groups.own, limit=8 * GIB, usage=5 * GIB, inactive=2 * GIB)
    assert groups.limits.rooms(HOST) == [(8 * GIB, 5 * GIB)]


def test_what_a_limit_says_is_read_at_each_look(groups: Groups) -> None:
    """Usage and limit change; a limit that is lifted bounds no more."""
    groups.say(groups.own, limit=8 * GIB, usage=5 * GIB, inactive=0)
    groups.limits.rooms(HOST)
    groups.say(groups.own, limit=9 * GIB, usage=6 * GIB, inactive=0)
    assert groups.limits.rooms(HOST) == [(9 * GIB, 3 * GIB)]
    groups.say(groups.own, limit=HOST, usage=6 * GIB, inactive=0)
    assert groups.limits.rooms(HOST) == []


def test_a_group_without_a_limit_costs_nothing_and_is_asked_again(groups: Groups) -> None:
    """Its files are not touched for ten seconds; then a new limit is heard."""
    groups.say(groups.own, limit=HOST, usage=0, inactive=0)
    assert groups.limits.rooms(HOST) == []
    groups.say(groups.own, limit=GIB, usage=0, inactive=0)
    groups.now_s = 9.9
    assert groups.limits.rooms(HOST) == []
    groups.now_s = 10.0
    assert groups.limits.rooms(HOST) == [(GIB, GIB)]


@pytest.mark.parametrize("name", ["usage", "memory.stat", "limit"])
def test_a_file_that_cannot_be_read_means_unknown(groups: Groups, name: str) -> None:
    """Nothing is taken for unlimited: the room is unknown, and again at the next look."""
    groups.say(groups.own, limit=8 * GIB, usage=0, inactive=0)
    path = groups.own / {"usage": groups.limits._usage, "limit": groups.limits._names[0]}.get(
        name, name
    )
    path.write_text("nonsense\n")
    room = free.MemoryRoom(groups.limits)
    for _ in range(2):
        with pytest.raises(free.UnknownFreeError, match="control groups"):
            room()


def test_the_room_keeps_the_same_floor_in_a_group(groups: Groups) -> None:
    """1 GiB left of 2 GiB less 512 MiB; of a large limit a twentieth stays."""
    floor = 512 << 20
    groups.say(groups.own, limit=2 * GIB, usage=GIB, inactive=0)
    room = free.MemoryRoom(groups.limits)
    assert room() <= GIB - floor
    groups.say(groups.own, limit=GIB, usage=GIB, inactive=0)
    assert room() == -floor


def test_this_process_finds_its_groups() -> None:
    """On any host: no limit, or some, but never an error."""
    assert isinstance(free.memory_room(), int)
