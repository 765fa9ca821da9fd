"""A group in each hierarchy of control groups, and how a process is moved into it.

Source: cgroups(7); Linux Documentation/admin-guide/cgroup-v2.rst, cpu.idle.
"""

from __future__ import annotations

import os

from stressers.group import plain

SYSFS = "/sys/fs/cgroup"


class Refusal(Exception):  # noqa: N818  # an answer, not a fault
    """Why somebody was not moved."""


class Folder:
    """The group in one hierarchy: `top` is the topmost group on the way to it."""

    __slots__ = ("path", "top", "tracked")

    def __init__(self, point: str, group: str, *, tracked: bool) -> None:
        self.path = os.path.join(point, group)
        self.top = os.path.join(point, group.split("/", 1)[0])
        self.tracked = tracked


def folders(mounts: str, group: str, sysfs: str = SYSFS) -> list[Folder]:
    """Where the group is, those of the service manager first and that of the CPU last.

    A service manager kills by a hierarchy that is version 2 or that has a name
    instead of controllers. `mounts` is the text of /proc/self/mountinfo.
    """
    found: list[tuple[int, Folder]] = []
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields, after = left.split(), right.split()
        if len(fields) < 6 or len(after) < 3 or after[0] not in {"cgroup", "cgroup2"}:
            continue
        point = plain(fields[4])
        if not f"{point}/".startswith(f"{sysfs}/"):
            continue
        options = after[2].split(",")
        tracked = after[0] == "cgroup2" or any(word.startswith("name=") for word in options)
        folder = Folder(point, group, tracked=tracked)
        if os.path.isdir(folder.path):
            found.append((0 if tracked else 2 if "cpu" in options else 1, folder))
    return [folder for _, folder in sorted(found, key=lambda one: one[0])]


def make_idle(found: list[Folder]) -> None:
    """Make the topmost group idle where the kernel can; a worker looks itself whether it is.

    systemd writes cpu.idle itself from version 252 on, and only in version 2.
    """
    for folder in found:
        try:
            with open(os.path.join(folder.top, "cpu.idle"), "r+", encoding="ascii") as file:
                if file.read(2).strip() != "1":
                    file.write("1")
        except OSError:
            continue


def move(pid: int, found: list[Folder]) -> None:
    """Move a process into the group. Raises Refusal."""
    if not any(folder.tracked for folder in found):
        raise Refusal("there is no such group now: its unit is not active")
    make_idle(found)
    for folder in found:
        try:
            with open(os.path.join(folder.path, "cgroup.procs"), "w", encoding="ascii") as procs:
                procs.write(str(pid))
        except OSError as exc:
            raise Refusal(f"{folder.path}: {exc.strerror}") from exc
