"""Kills a daemon at random moments and counts what is left; run by test_controller_kill.py.

    python -m tests.hostile.kill_trials ORDER

ORDER is a JSON object, see `Order`; what comes out is one on each line, for
each trial. This process is the observer: standard library only.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hostile import leftovers
from tests.hostile.observer import Observer, Seen, text

GIVE_UP_S = 5.0
"""Whoever lives so long after the kill is an orphan."""
MIB = 1 << 20
SETTINGS = {
    "GLANCES_ENABLED": "false",
    "CHECK_INTERVAL_SECONDS": "1",
    "HOLD_OFF_SECONDS": "1",
    "TARGET_CPU": "80",
    "MEMORY_RISE_MB_PER_MINUTE": "60000",
    "DISK_RISE_MB_PER_SECOND": "1024",
}
_MEMORY_POINTS = 4.0
"""Held beside what the host uses: about a GiB of 24."""


class Trials:
    """One daemon after another on the same folder, each killed at another moment.

    `command` runs a daemon and is followed by the configuration file, which
    lies beside `folder`; `disk` is a filesystem of our own, None: no disk.
    """

    def __init__(self, command: list[str], folder: Path, disk: Path | None, seed: int) -> None:
        self._command = command
        self._folder = folder
        self._disk = disk
        self._chance = random.Random(seed)
        self._observer = Observer()
        self._file = folder.with_suffix(".env")
        self._errors = folder.with_suffix(".stderr")
        self._free_bytes = leftovers.free_bytes(disk) if disk else 0
        self._moments: dict[str, Callable[[], bool]] = {
            "start": self._start,
            "spawning": self._spawning,
            "growing memory": self._growing_memory,
            "growing disk": self._growing_disk,
            "holding": self._holding,
            "shrinking": self._shrinking,
            "reloading": self._reloading,
            "pausing": self._pausing,
            "stopping": self._stopping,
        }
        if disk is None:
            del self._moments["growing disk"]

    def run(self, count: int) -> None:
        """So many trials, all moments in turn; prints each."""
        with leftovers.memory_group() as group:
            for number in range(count):
                moment = list(self._moments)[number % len(self._moments)]
                print(json.dumps(self._trial(moment, group)), flush=True)

    def _trial(self, moment: str, group: Path | None) -> dict[str, Any]:
        observer, begun_s, ticks_then = self._observer, time.monotonic(), cpu_ticks()
        (self._folder / "state" / "inhibit").unlink(missing_ok=True)
        self._configure(_MEMORY_POINTS, 40)
        daemon = observer.start([*self._command, str(self._file)], self._errors, group)
        reached = self._moments[moment]()
        observer.look()
        known = observer.living()
        held_bytes = leftovers.memory_bytes(group) or observer.held_bytes()
        on_disk = self._free_bytes - leftovers.free_bytes(self._disk) if self._disk else 0
        kill_s = time.monotonic()
        daemon.signal(signal.SIGKILL)
        gone = observer.wait(observer.alone, GIVE_UP_S)
        orphans = 0 if gone else observer.kill_all()
        idle, ticks = (now - then for now, then in zip(cpu_ticks(), ticks_then, strict=True))
        odd, fragments = leftovers.files(self._folder, *([self._disk] if self._disk else []))
        groups, in_groups = leftovers.groups(daemon.pid)
        return {
            "moment": moment,
            "reached": reached,
            "code": observer.code,
            "processes": len(known) + len(observer.late),
            "unseen": len(observer.late),
            "orphans": orphans,
            "dead_ms": _after_ms(kill_s, known, observer.late),
            "holders_dead_ms": _after_ms(kill_s, [one for one in known if one.kind != "cpu"], []),
            "idle": idle / max(1, ticks),
            "memory_held": held_bytes,
            "disk_held": on_disk,
            "memory_left": leftovers.memory_bytes(group),
            "disk_left": leftovers.disk_bytes(self._disk, self._free_bytes),
            "files": odd,
            "fragments": fragments,
            "groups": groups,
            "in_groups": in_groups,
            "seconds": time.monotonic() - begun_s,
        }

    def _configure(self, memory_points: float, disk: float) -> None:
        """Write the configuration: so much memory beside what is used now, and so much disk."""
        own_ratio = self._observer.held_bytes() / _meminfo("MemTotal")
        target = min(80.0, 100 * (used_ratio() - own_ratio) + memory_points)
        settings = {
            **SETTINGS,
            "WORKSPACE_DIR": str(self._folder),
            "TARGET_MEMORY": f"{target:.2f}" if memory_points else "0",
            "TARGET_DISK": f"{disk:g}" if self._disk else "0",
            "DISK_STRESS_PATH": str(self._disk or ""),
        }
        _replace(self._file, "".join(f"{key}={value}\n" for key, value in settings.items()))

    def _rest(self, most_s: float) -> None:
        self._observer.pause(self._chance.uniform(0, most_s))

    def _held(self, least_bytes: int) -> bool:
        return self._observer.held_bytes() >= least_bytes

    def _start(self) -> bool:
        self._rest(0.5)
        return True

    def _spawning(self) -> bool:
        reached = self._observer.wait(lambda: len(self._observer.living()) > 1, 5.0)
        self._rest(0.15)
        return reached

    def _growing_memory(self) -> bool:
        reached = self._observer.wait(lambda: self._held(96 * MIB), 5.0)
        self._rest(0.6)
        return reached

    def _growing_disk(self) -> bool:
        reached = self._observer.wait(self._on_disk, 5.0)
        self._rest(0.6)
        return reached

    def _on_disk(self) -> bool:
        disk = self._disk
        return disk is not None and self._free_bytes - leftovers.free_bytes(disk) > MIB

    def _holding(self) -> bool:
        reached = self._observer.wait(lambda: self._held(640 * MIB), 5.0)
        self._rest(0.8)
        return reached

    def _shrinking(self) -> bool:
        reached = self._observer.wait(lambda: self._held(320 * MIB), 5.0)
        self._configure(1.0, 5)
        self._hang_up()
        most = self._observer.held_bytes()
        reached = self._observer.wait(lambda: self._fallen(most), 3.0) and reached
        self._rest(0.05)
        return reached

    def _fallen(self, most_bytes: int) -> bool:
        return self._observer.held_bytes() < most_bytes - 16 * MIB

    def _reloading(self) -> bool:
        reached = self._observer.wait(lambda: self._held(96 * MIB), 5.0)
        self._configure(2.0, 20)
        self._hang_up()
        self._rest(1.2)
        return reached

    def _pausing(self) -> bool:
        reached = self._observer.wait(lambda: self._held(96 * MIB), 5.0)
        order = {"reason": "a test", "by": "test", "until_utc_s": None, "since_utc_s": time.time()}
        _replace(self._folder / "state" / "inhibit", json.dumps(order))
        self._rest(0.9)
        return reached

    def _stopping(self) -> bool:
        reached = self._observer.wait(lambda: self._held(96 * MIB), 5.0)
        self._signal(signal.SIGTERM)
        self._rest(0.05)
        return reached

    def _hang_up(self) -> None:
        self._signal(signal.SIGHUP)

    def _signal(self, number: int) -> None:
        if self._observer.daemon is not None:
            self._observer.daemon.signal(number)


def _after_ms(kill_s: float, known: list[Seen], late_s: list[float]) -> float:
    """How long after the kill the last of them ended, 0 when all had ended before."""
    ends_s = [one.died_s for one in known if one.died_s is not None] + late_s
    return 1000 * max(0.0, max(ends_s, default=kill_s) - kill_s)


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


def _replace(path: Path, content: str) -> None:
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(content, encoding="utf-8")
    os.replace(beside, path)


def main() -> None:
    """Do what the order says."""
    order = json.loads(sys.argv[1])
    disk = Path(order["disk"]) if order["disk"] else None
    folder = Path(order["folder"])
    folder.mkdir()
    Trials(order["command"], folder, disk, order["seed"]).run(order["trials"])


if __name__ == "__main__":
    main()
