"""Folder, filesystem and configuration of one daemon after another; standard library only."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.hostile import leftovers
from tests.hostile.observer import Observer, Seen, text

MIB = 1 << 20
SETTINGS = {
    "GLANCES_ENABLED": "false",
    "CHECK_INTERVAL_SECONDS": "1",
    "HOLD_OFF_SECONDS": "1",
    "TARGET_CPU": "80",
    "MEMORY_RISE_MB_PER_MINUTE": "60000",
    "DISK_RISE_MB_PER_SECOND": "1024",
}
MEMORY_POINTS = 4.0
"""Held beside what the host uses: about a GiB of 24."""
DISK_PERCENT = 40.0


class Scene:
    """Where the trials of one order take place.

    The order has `command`, a Python and what runs a daemon with it; `folder`
    for the daemon, which does not exist yet; `disk`, a mounted filesystem of
    our own or null; `seed`. Configuration and output lie beside the folder or
    the path `beside`. `more` are further settings.
    """

    def __init__(self, order: dict[str, Any], **more: str) -> None:
        self.order = order
        self.command: list[str] = order["command"]
        self.folder = Path(order["folder"])
        self.disk = Path(order["disk"]) if order["disk"] else None
        self.chance = random.Random(order["seed"])
        self.observer = Observer()
        beside = Path(order.get("beside") or self.folder)
        self.file = beside.with_suffix(".env")
        self.errors = beside.with_suffix(".stderr")
        self.group: Path | None = None
        self._more = more
        self._free_bytes = leftovers.free_bytes(self.disk) if self.disk else 0

    def start(self) -> Seen:
        """Start a daemon with its usual load."""
        return self._start(self.command)

    def start_altered(self, **alteration: object) -> Seen:
        """The same with altered_daemon.py."""
        python = self.command[0]
        return self._start(
            [python, "-m", "tests.hostile.altered_daemon", json.dumps(alteration), "run"]
        )

    def _start(self, command: list[str]) -> Seen:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "state" / "inhibit").unlink(missing_ok=True)
        self.configure()
        return self.observer.start([*command, "--config", str(self.file)], self.errors, self.group)

    def configure(
        self, memory_points: float = MEMORY_POINTS, disk_percent: float = DISK_PERCENT
    ) -> None:
        """Write the configuration: so much memory beside what others use now, and so much disk."""
        own_ratio = self.observer.held_bytes() / _meminfo("MemTotal")
        target = min(80.0, 100 * (used_ratio() - own_ratio) + memory_points)
        settings = {
            **SETTINGS,
            "WORKSPACE_DIR": str(self.folder),
            "TARGET_MEMORY": f"{target:.2f}",
            "TARGET_DISK": f"{disk_percent:g}" if self.disk else "0",
            "DISK_STRESS_PATH": str(self.disk or ""),
            **self._more,
        }
        replace(self.file, "".join(f"{key}={value}\n" for key, value in settings.items()))

    def signal(self, number: signal.Signals) -> None:
        """Send the daemon a signal."""
        if self.observer.daemon is not None:
            self.observer.daemon.signal(number)

    def rest(self, most_s: float) -> None:
        """Look for a random time."""
        self.observer.pause(self.chance.uniform(0, most_s))

    def holds(self, least_bytes: int, deadline_s: float = 5.0) -> bool:
        """Wait until so much memory is held; whether it was before the deadline."""
        return self.observer.wait(lambda: self.observer.held_bytes() >= least_bytes, deadline_s)

    def within_target(self, memory_points: float = MEMORY_POINTS) -> bool:
        """Whether not much more memory is held than asked for; others come and go meanwhile."""
        most_bytes = (memory_points + 2.0) / 100 * _meminfo("MemTotal")
        return self.observer.held_bytes() <= most_bytes

    def said(self) -> str:
        """All that the daemons have printed until now."""
        return text(self.errors)

    def rows(self) -> set[int]:
        """The seconds of all rows of the history; none while it cannot be read."""
        path = self.folder / "state" / "history.sqlite3"
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as db:
                return {utc_s for (utc_s,) in db.execute("SELECT utc_s FROM sample")}
        except sqlite3.Error:
            return set()

    def on_disk_bytes(self) -> int:
        """What is held of the filesystem."""
        return self._free_bytes - leftovers.free_bytes(self.disk) if self.disk else 0

    def memory_bytes(self) -> int:
        """What is held of the memory, as the kernel counts it where it does."""
        counted = leftovers.memory_bytes(self.group)
        return self.observer.held_bytes() if counted is None else counted

    def end(self, daemon: Seen, deadline_s: float = 15.0) -> dict[str, Any]:
        """End it with SIGTERM: its exit code, who had to be killed, and what is left.

        `left_behind` tells that it has named somebody who was not dead yet.
        """
        said = len(self.said())
        daemon.signal(signal.SIGTERM)
        gone = self.observer.wait(self.observer.alone, deadline_s)
        orphans = 0 if gone else self.observer.kill_all()
        behind = "stresser.left_behind" in self.said()[said:]
        left = {"code": daemon.code, "orphans": orphans, "left_behind": behind}
        return {**left, **self.left(daemon)}

    def left(self, daemon: Seen) -> dict[str, Any]:
        """What there still is of a daemon that has ended."""
        disks = [self.disk] if self.disk else []
        odd, fragments = leftovers.files(self.folder, *disks)
        groups, in_groups = leftovers.groups(daemon.pid)
        return {
            "memory_left": leftovers.memory_bytes(self.group),
            "disk_left": leftovers.disk_bytes(self.disk, self._free_bytes),
            "files": odd,
            "fragments": fragments,
            "groups": groups,
            "in_groups": in_groups,
        }


def ordered() -> dict[str, Any]:
    """The order on the command line."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    return order


def tell(results: Iterator[dict[str, Any]]) -> None:
    """Print each result on a line of its own."""
    for result in results:
        print(json.dumps(result), flush=True)


def after_ms(begun_s: float, seen: list[Seen], late_s: list[float] | None = None) -> float:
    """How long after that time the last of them ended, 0 when all had ended before."""
    ends_s = [one.died_s for one in seen if one.died_s is not None] + (late_s or [])
    return 1000 * max(0.0, max(ends_s, default=begun_s) - begun_s)


def used_ratio() -> float:
    """What the host uses of its memory now, 0 to 1."""
    return 1 - _meminfo("MemAvailable") / _meminfo("MemTotal")


def _meminfo(key: str) -> int:
    told = dict(line.split(":") for line in text("/proc/meminfo").splitlines())
    return int(told[key].split()[0]) * 1024


def cpu_ticks() -> tuple[int, int]:
    """Clock ticks of all CPUs since the boot: idle, and all. Source: proc(5), /proc/stat."""
    ticks = [int(word) for word in text("/proc/stat").split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def idle_ratio(then: tuple[int, int]) -> float:
    """Idle share of all CPUs since cpu_ticks() said that, 0 to 1; 0 within the same tick."""
    idle, ticks = (now - before for now, before in zip(cpu_ticks(), then, strict=True))
    return idle / max(1, ticks)


def replace(path: Path, content: str) -> None:
    """Put a file in the place of another one."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(content, encoding="utf-8")
    os.replace(beside, path)
