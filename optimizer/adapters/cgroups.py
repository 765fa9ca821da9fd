"""Control groups: where they are mounted, our place in them, and what those of the CPU say."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from optimizer.adapters.mountinfo import Mount

_CPU_RANGES = re.compile(rb"\d{1,6}(?:-\d{1,6})?(?:,\d{1,6}(?:-\d{1,6})?)*\n?")
_THROTTLED = re.compile(rb"^nr_throttled (\d{1,18})$", re.MULTILINE)
_USUAL = "/sys/fs/cgroup"
"""Where a hierarchy is preferred when it is mounted twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """One controller's groups as far as they are in sight, from the topmost down to our own.

    `unified` tells version 2 from version 1.
    """

    unified: bool
    groups: tuple[Path, ...]

    @property
    def top(self) -> Path:
        """The topmost group in sight: in a container the container's own."""
        return self.groups[0]


def hierarchy(controller: str, mounts: tuple[Mount, ...], own: str) -> Hierarchy | None:
    """The hierarchy that has a controller; None where none is mounted.

    `own` is the text of /proc/self/cgroup. Version 1 counts first, because a
    controller is never in both. Where our own group is outside what is mounted
    (a namespace in between), only the topmost group is told.

    Source: cgroups(7), cgroup_namespaces(7).
    """
    unified = False
    mount = _preferred([m for m in mounts if m.kind == "cgroup" and controller in m.options])
    if mount is None:
        unified = True
        mount = _preferred([m for m in mounts if m.kind == "cgroup2"])
    if mount is None:
        return None
    groups = [Path(mount.point)]
    for name in _below(mount.root, _own_path("" if unified else controller, own)):
        groups.append(groups[-1] / name)
    return Hierarchy(unified=unified, groups=tuple(groups))


def _preferred(mounts: list[Mount]) -> Mount | None:
    """The usual place if it is among them; of several at one place the last covers the others."""
    usual = [m for m in mounts if m.point == _USUAL or m.point.startswith(f"{_USUAL}/")]
    found = usual or mounts
    return found[-1] if found else None


def _own_path(controller: str, own: str) -> str:
    """Our group as /proc/self/cgroup names it; "" is version 2. `/` where it names none."""
    for line in own.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            return path
    return "/"


def _below(root: str, path: str) -> tuple[str, ...]:
    """The names that lead from the mounted group to ours."""
    ours, mounted = PurePosixPath(path), PurePosixPath(root)
    if ".." in ours.parts or not ours.is_relative_to(mounted):
        return ()
    return ours.relative_to(mounted).parts


def parse_cpu_list(text: bytes) -> int:
    """How many CPUs a list such as `0-3,8` names. Raises ValueError when it is none.

    Source: Linux Documentation/admin-guide/cputopology.rst.
    """
    if _CPU_RANGES.fullmatch(text) is None:
        raise ValueError(f"not a list of CPUs: {text[:60]!r}")
    count = 0
    for part in text.split(b","):
        first, _, last = part.partition(b"-")
        count += int(last or first) - int(first) + 1
        if int(last or first) < int(first):
            raise ValueError(f"not a list of CPUs: {text[:60]!r}")
    return count


def parse_usage(text: bytes) -> float:
    """CPU seconds from the first line of cpuacct.usage (version 1) or cpu.stat (version 2).

    Raises ValueError when it is neither.

    Source: Linux Documentation/admin-guide/cgroup-v1/cpuacct.rst, cgroup-v2.rst.
    """
    line, _, _ = text.partition(b"\n")
    if line.isdigit():
        return int(line) / 1e9
    name, _, value = line.partition(b" ")
    if name != b"usage_usec" or not value.isdigit():
        raise ValueError(f"not the CPU time of a group: {text[:60]!r}")
    return int(value) / 1e6


def quotas(cpu: Hierarchy | None) -> tuple[float, ...]:
    """The quota of each group in CPUs, infinite where there is none; from the topmost down.

    Raises OSError.
    """
    if cpu is None:
        return (math.inf,)
    read = _quota_unified if cpu.unified else _quota_legacy
    return tuple(read(group) for group in cpu.groups)


def _quota_unified(group: Path) -> float:
    """Source: Linux Documentation/admin-guide/cgroup-v2.rst, cpu.max; the root group has none."""
    quota, _, period = text_of(group / "cpu.max").strip().partition(" ")
    return _ratio(quota, period or "100000")


def _quota_legacy(group: Path) -> float:
    """Source: Linux Documentation/scheduler/sched-bwc.rst; -1 is none."""
    quota = text_of(group / "cpu.cfs_quota_us").strip()
    return _ratio(quota, text_of(group / "cpu.cfs_period_us").strip())


def _ratio(quota: str, period: str) -> float:
    if not quota.isdecimal() or not period.isdecimal() or int(quota) == 0 or int(period) == 0:
        return math.inf
    return int(quota) / int(period)


def is_root(found: Hierarchy) -> bool:
    """Whether the topmost group in sight is the host's root, which no container is given.

    After a CPU has come back the root's cpuset lags behind, and is no limit.

    Source: cgroups(7): release_agent is in the root alone, cgroup.type in all others.
    """
    if found.unified:
        return not (found.top / "cgroup.type").exists()
    return (found.top / "release_agent").exists()


def cpuset_size(top: Path | None) -> int | None:
    """How many CPUs a container's group has; None where it does not tell. Raises OSError."""
    if top is None:
        return None
    for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
        try:
            return parse_cpu_list((top / name).read_bytes())
        except (FileNotFoundError, ValueError):
            continue  # an empty list: that group leaves it to the one above
    return None


def usage_file(cpu: Hierarchy | None, cpuacct: Hierarchy | None) -> Path | None:
    """What counts the CPU time of the topmost group in sight; None without one. Raises OSError."""
    found = cpuacct if cpuacct is not None and not cpuacct.unified else cpu
    if found is None:
        return None
    path = found.top / ("cpu.stat" if found.unified else "cpuacct.usage")
    try:
        parse_usage(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return path


def throttled_count(cpu: Hierarchy | None) -> int:
    """In how many periods the topmost group in sight has used up its quota; 0 if it does not tell.

    Raises OSError.
    """
    return 0 if cpu is None else parse_throttled(text_of(cpu.top / "cpu.stat").encode()) or 0


def parse_throttled(text: bytes) -> int | None:
    """nr_throttled of cpu.stat; None where there is none.

    Source: Linux Documentation/scheduler/sched-bwc.rst.
    """
    match = _THROTTLED.search(text)
    return int(match[1]) if match else None


def text_of(path: Path) -> str:
    """What a file says; empty where there is none.

    Raises OSError when it cannot be read: what is not known is not taken for
    unlimited.
    """
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""
