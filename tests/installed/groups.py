"""The control groups in which a rig lives: one below ours in each hierarchy, version 1 or 2."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_INHERITED = ("cpuset.cpus", "cpuset.mems")
"""Empty in a new group of version 1, which then takes no process. Source: cpusets.rst."""


_PERIOD_US = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group of the rig in one hierarchy."""

    folder: Path
    outside: Path
    """Where we are in it ourselves."""
    options: str
    """What mount(8) is told, such as `cpu,cpuacct` or `none,name=systemd`; empty for version 2."""

    @property
    def place(self) -> str:
        """The folder below /sys/fs/cgroup where systemd looks for this hierarchy."""
        return self.options.removeprefix("none,name=") if self.options else "unified"


def planned(name: str, *, unified: bool) -> list[Group]:
    """The groups that a rig of that name is to get; with `unified` version 2 alone."""
    found = []
    ours = _ours()
    for root, point, kind, options in _mounted():
        home = point / _below(ours.get(options if kind == "cgroup" else "", "/"), root)
        if kind == "cgroup2":
            # A group that has processes may not have controllers for its children.
            plain = point if (point / "cgroup.controllers").read_text().strip() else home
            found.append(Group(folder=plain / name, outside=home, options=""))
        elif not unified:
            found.append(Group(folder=home / name, outside=home, options=options))
    return found


def make(groups: list[Group]) -> None:
    """Make them; on version 2 with the controllers that there are. Raises OSError."""
    for group in groups:
        group.folder.mkdir()
        if not group.options:
            have = (group.folder / "cgroup.controllers").read_text(encoding="ascii").split()
            words = " ".join(f"+{name}" for name in have if name != "cpuset")
            # Its own children get them once systemd has moved itself out of the way.
            with contextlib.suppress(OSError):
                (group.folder.parent / "cgroup.subtree_control").write_text(words)
        for name in _INHERITED:
            file = group.folder / name
            if group.options and file.exists():
                file.write_text((group.folder.parent / name).read_text())
                (group.folder / "cgroup.clone_children").write_text("1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much of the machine a rig gets."""

    cpus: float
    memory_mb: int

    def apply(self, groups: list[Group]) -> None:
        """Put them on the rig's groups, of either version. Raises OSError."""
        quota, memory = f"{round(self.cpus * _PERIOD_US)}", f"{self.memory_mb * 2**20}"
        # Weighed like ten others, so that it gets its small quota on a busy machine too.
        wanted = {
            "cpu.cfs_period_us": str(_PERIOD_US),
            "cpu.cfs_quota_us": quota,
            "cpu.shares": "10240",
            "memory.limit_in_bytes": memory,
            "cpu.max": f"{quota} {_PERIOD_US}",
            "cpu.weight": "1000",
            "memory.max": memory,
        }
        for group in groups:
            for name, value in wanted.items():
                if (group.folder / name).exists():
                    (group.folder / name).write_text(value, encoding="ascii")


def remove(folders: list[Path], *, deadline_s: float = 20.0) -> None:
    """Kill who is in them and remove them and all below; raises OSError when they stay."""
    end_s = time.monotonic() + deadline_s
    while any(folder.exists() for folder in folders):
        for folder in folders:
            for path, _, _ in os.walk(folder, topdown=False):
                for pid in _members(Path(path)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(OSError):
                    Path(path).rmdir()
        if time.monotonic() > end_s:
            left = [str(folder) for folder in folders if folder.exists()]
            raise OSError(f"control groups that cannot be removed: {' '.join(left)}")
        time.sleep(0.02)


def _members(folder: Path) -> list[int]:
    try:
        words = (folder / "cgroup.procs").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [int(word) for word in words if word != "0"]


def _mounted() -> list[tuple[str, Path, str, str]]:
    """Root, mount point, type and version 1 options of each hierarchy; the first mount counts."""
    found: dict[str, tuple[str, Path, str, str]] = {}
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _, source = line.partition(" - ")
        kind, _, options = source.split(" ", 2)
        root, point = fields.split()[3:5]
        if kind == "cgroup":
            words = [w for w in options.split(",") if w in _controllers() or w[:5] == "name="]
            key = "none," * words[0].startswith("name=") + ",".join(words)
            found.setdefault(key, (root, Path(point), kind, key))
        elif kind == "cgroup2":
            found.setdefault("", (root, Path(point), kind, ""))
    return list(found.values())


def _controllers() -> set[str]:
    lines = Path("/proc/cgroups").read_text(encoding="ascii").splitlines()[1:]
    return {line.split()[0] for line in lines}


def _ours() -> dict[str, str]:
    """Our group in each hierarchy, by its mount options."""
    found = {}
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, names, path = line.split(":", 2)
        found[f"none,{names}" if names.startswith("name=") else names] = path
    return found


def _below(path: str, root: str) -> str:
    # Below its mount point; a group outside of what is mounted is as good as its root.
    inside = path == root or path.startswith(root.rstrip("/") + "/")
    return path[len(root.rstrip("/")) :].lstrip("/") if inside else ""
