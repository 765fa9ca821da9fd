"""Whose memory is a share of what: the host's, or a container's that has a limit."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from optimizer.adapters.cgroups import hierarchy, is_root, text_of
from optimizer.adapters.kernel_file import KernelFile
from optimizer.adapters.mountinfo import parse_mounts
from optimizer.counters import CapacityScope, MemoryBound, MemoryCounters

AGE_S = 5.0
"""Limits change seldom; they are read again when they are older than this."""
PLACES_AGE_S = 60.0
"""The groups that we are in change hardly ever; the table of mounts may be long."""
_USAGE_BYTES = 64
_STAT_BYTES = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the files and fields of one version of control groups are called."""

    limits: tuple[str, ...]
    usage: str
    inactive: str
    files: str
    shared: str


LEGACY = Names(
    limits=("memory.limit_in_bytes",),
    usage="memory.usage_in_bytes",
    inactive="total_inactive_file",
    files="total_cache",
    shared="total_shmem",
)
"""Source: Linux Documentation/admin-guide/cgroup-v1/memory.rst."""
UNIFIED = Names(
    limits=("memory.max", "memory.high"),
    usage="memory.current",
    inactive="inactive_file",
    files="file",
    shared="shmem",
)
"""Above memory.high programs are slowed down, so that it is a limit for us too.

Source: Linux Documentation/admin-guide/cgroup-v2.rst.
"""


def parse_limit(text: str) -> float:
    """A limit in bytes, infinite where there is none: "max", or a number beyond all memory."""
    text = text.strip()
    return int(text) if text.isdecimal() else math.inf


def parse_fields(text: bytes, names: Names) -> tuple[int, int, int]:
    """Inactive file pages, all file pages and shared pages of a group's memory.stat, in bytes.

    Raises ValueError when the first two are missing.
    """
    found = dict(re.findall(rb"^(\w+) (\d{1,18})$", text, re.MULTILINE))
    try:
        inactive, files = int(found[names.inactive.encode()]), int(found[names.files.encode()])
    except KeyError as exc:
        raise ValueError(f"memory.stat has no {exc.args[0].decode()}") from exc
    return inactive, files, int(found.get(names.shared.encode(), 0))


class Group:
    """One control group with a limit on its memory; holds two files open."""

    def __init__(self, directory: Path, names: Names, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._names = names
        self._usage = KernelFile(directory / names.usage, _USAGE_BYTES)
        self._stat = KernelFile(directory / "memory.stat", _STAT_BYTES)

    def counters(self) -> MemoryCounters:
        """The counters of a host that has as much memory as the limit. Raises as read().

        Available is limit - (usage - inactive files), as the kubelet counts it.

        Source: Kubernetes, node-pressure eviction, memory.available.
        """
        usage = int(self._usage.read())
        inactive, files, shared = parse_fields(self._stat.read(), self._names)
        free = max(0, self.limit_bytes - usage)
        return MemoryCounters(
            total_bytes=self.limit_bytes,
            available_bytes=min(self.limit_bytes, free + inactive),
            free_bytes=free,
            cache_bytes=min(max(0, files - shared), self.limit_bytes - free),
        )

    def close(self) -> None:
        """Close the files."""
        self._usage.close()
        self._stat.close()


class MemoryScope:
    """Knows the limits on our memory, and looks for them again now and then.

    `scope` is what the configuration says; it may be set anew. In a container
    the topmost group in sight is the container's own, and its limit is what
    shares are shares of. A limit below that (on this service, for example)
    only bounds what may be taken.
    """

    def __init__(
        self,
        scope: CapacityScope = CapacityScope.AUTO,
        *,
        proc: Path = Path("/proc"),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scope = scope
        self._proc = proc
        self._monotonic = monotonic
        self._directories: tuple[Path, ...] = ()
        self._names = UNIFIED
        self._contained = False
        self._groups: dict[Path, Group] = {}
        self._until_s = self._found_until_s = -math.inf

    def seen(self, host: MemoryCounters) -> MemoryCounters:
        """The host's counters as they are seen from inside of the limits on us.

        Raises OSError or ValueError when one cannot be read: a limit that is not
        known is not taken for none.
        """
        if sys.platform != "linux":
            return host
        self._look(host.total_bytes)
        if not self._groups:
            return host
        counters, bounds = host, []
        for directory, group in self._groups.items():
            try:
                inside = group.counters()
            except OSError:
                self._until_s = self._found_until_s = -math.inf  # we may have been moved
                raise
            if directory == self._directories[0] and self._is_capacity():
                counters = _within(host, inside)
                bounds.append(MemoryBound(host.total_bytes, host.available_bytes))
            else:
                bounds.append(MemoryBound(inside.total_bytes, inside.available_bytes))
        return replace(counters, bounds=tuple(bounds))

    def capacity_bytes(self, host_bytes: int) -> int | None:
        """The limit that shares are shares of, None where they are of the host."""
        try:
            self._look(host_bytes)
        except (OSError, ValueError):
            return None
        if not self._directories or not self._is_capacity():
            return None
        top = self._groups.get(self._directories[0])
        return None if top is None else top.limit_bytes

    def close(self) -> None:
        """Close the files that are kept open; they are opened again when needed."""
        for group in self._groups.values():
            group.close()
        self._groups = {}
        self._until_s = -math.inf

    def _is_capacity(self) -> bool:
        if self.scope is CapacityScope.AUTO:
            return self._contained
        return self.scope is CapacityScope.CONTAINER

    def _look(self, host_bytes: int) -> None:
        now_s = self._monotonic()
        if now_s < self._until_s:
            return
        if now_s >= self._found_until_s:
            self._find()
            self._found_until_s = now_s + PLACES_AGE_S
        limits = {
            directory: min(parse_limit(text_of(directory / name)) for name in self._names.limits)
            for directory in self._directories
        }
        for directory in [
            d for d, group in self._groups.items() if limits.get(d) != group.limit_bytes
        ]:
            self._groups.pop(directory).close()
        for directory, limit in limits.items():
            if limit < host_bytes and directory not in self._groups:
                self._groups[directory] = Group(directory, self._names, int(limit))
        self._until_s = now_s + AGE_S

    def _find(self) -> None:
        mounts = parse_mounts(text_of(self._proc / "self/mountinfo"))
        found = hierarchy("memory", mounts, text_of(self._proc / "self/cgroup"))
        if found is None:
            self._directories = ()
            return
        self._directories = found.groups
        self._names = UNIFIED if found.unified else LEGACY
        self._contained = not is_root(found)


def _within(host: MemoryCounters, inside: MemoryCounters) -> MemoryCounters:
    """A container's counters; it cannot have more than the host has left."""
    free = min(inside.free_bytes, host.free_bytes)
    return replace(
        inside,
        available_bytes=min(inside.available_bytes, host.available_bytes),
        free_bytes=free,
        cache_bytes=min(inside.cache_bytes, inside.total_bytes - free),
    )
