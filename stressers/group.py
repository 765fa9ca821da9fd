"""The memory control groups that we are in, and what their limits leave."""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_S = 10.0
"""How often groups without a limit are asked whether they have got one."""
_USUAL = "/sys/fs/cgroup"
"""Where a hierarchy is preferred when it is mounted twice."""
_LEGACY = (("memory.limit_in_bytes",), "memory.usage_in_bytes", b"total_inactive_file ")
_UNIFIED = (("memory.max", "memory.high"), "memory.current", b"inactive_file ")
"""Limits, usage, and the line of memory.stat with the cache that is given back first.

Above memory.high programs are slowed down, so that it is a limit for us too.

Source: Linux Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst.
"""


def folders(mounts: str, own: str) -> tuple[bool, list[str]]:
    """Whether the hierarchy is version 2, and our groups from the topmost in sight to our own.

    `mounts` is the text of /proc/self/mountinfo, `own` that of
    /proc/self/cgroup. Version 1 counts first, for a controller is never in
    both. Where our own group is outside what is mounted (a namespace in
    between), only the topmost is told; none where no hierarchy is mounted.

    Source: proc(5), cgroups(7), cgroup_namespaces(7).
    """
    found: dict[bool, list[tuple[str, str]]] = {False: [], True: []}
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields, after = left.split(), right.split()
        if len(fields) < 6 or len(after) < 3:
            continue
        if after[0] == "cgroup2" or (after[0] == "cgroup" and "memory" in after[2].split(",")):
            found[after[0] == "cgroup2"].append((plain(fields[3]), plain(fields[4])))
    for unified in (False, True):
        if found[unified]:
            # Of several at one place the last covers the others.
            usual = [m for m in found[unified] if f"{m[1]}/".startswith(f"{_USUAL}/")]
            root, point = (usual or found[unified])[-1]
            groups = [point]
            for name in _below(root, _own_path("" if unified else "memory", own)):
                groups.append(os.path.join(groups[-1], name))
            return unified, groups
    return True, []


def _own_path(controller: str, own: str) -> str:
    """Our group as /proc/self/cgroup names it; "" is version 2. `/` where it names none."""
    for line in own.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            return path
    return "/"


def _below(root: str, path: str) -> list[str]:
    """The names that lead from the mounted group to ours."""
    root = root.rstrip("/")
    names = path[len(root) :].split("/") if f"{path}/".startswith(f"{root}/") else []
    return [] if ".." in names else [name for name in names if name]


def plain(field: str) -> str:
    """Mount points write blanks and backslashes as octal numbers."""
    for character in (" ", "\t", "\n"):
        field = field.replace(f"\\{ord(character):03o}", character)
    return field.replace("\\134", "\\")


class Limits:
    """What the limits of our groups leave, read from their files at each look.

    Groups without a limit below `most_bytes` are asked again each _LOOK_S only,
    so that a host without limits costs nothing.
    """

    def __init__(
        self,
        groups: list[str],
        *,
        unified: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._groups = groups
        self._names: tuple[str, ...]
        self._names, self._usage, self._cache = _UNIFIED if unified else _LEGACY
        self._monotonic = monotonic
        self._limited: set[str] = set()
        self._look_s = float("-inf")

    def rooms(self, most_bytes: int) -> list[tuple[int, int]]:
        """Limit, and what is left of it without the cache, for each group with a limit.

        Raises OSError and ValueError when a file cannot be read: what is not
        known is not taken for unlimited.
        """
        now_s = self._monotonic()
        look = now_s - self._look_s >= _LOOK_S
        found = []
        for group in self._groups if look else self._limited.copy():
            limit = self._limit_of(group)
            if limit is None or limit >= most_bytes:
                self._limited.discard(group)
                continue
            self._limited.add(group)
            used = int(_text(group, self._usage)) - self._inactive(group)
            found.append((limit, limit - used))
        if look:
            self._look_s = now_s
        return found

    def _limit_of(self, group: str) -> int | None:
        """The lowest limit; None where there is none: "max", or no such file as in the root."""
        found = []
        for name in self._names:
            try:
                text = _text(group, name).strip()
            except FileNotFoundError:
                continue
            if text != b"max":
                found.append(int(text))
        return min(found, default=None)

    def _inactive(self, group: str) -> int:
        for line in _text(group, "memory.stat").splitlines():
            if line.startswith(self._cache):
                return int(line[len(self._cache) :])
        message = f"no {self._cache.decode()}in {group}/memory.stat"
        raise ValueError(message)


def _text(group: str, name: str) -> bytes:
    with open(os.path.join(group, name), "rb") as file:
        return file.read()


def own() -> Limits:
    """The limits of this process. Raises OSError."""
    if sys.platform != "linux":
        return Limits([], unified=True)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        mounts = file.read()
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        unified, groups = folders(mounts, file.read())
    return Limits(groups, unified=unified)
