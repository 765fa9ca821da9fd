"""Kills a daemon at random moments and counts what is left; run by test_controller_kill.py.

    python -m tests.hostile.kill_trials ORDER

ORDER is a JSON object, see scene.py, with the `moments` to take, all without
it; what comes out is one on each line, for each trial. This process is the
observer: standard library only.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from typing import Any

from tests.hostile import leftovers
from tests.hostile.scene import MIB, Scene, after_ms, cpu_ticks, idle_ratio, ordered, replace, tell

GIVE_UP_S = 5.0
"""Whoever lives so long after the kill is an orphan."""


class Kills:
    """One daemon after another on the same folder, each killed at another moment."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._observer = scene.observer
        self._moments = {
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
        if scene.disk is None:
            del self._moments["growing disk"]
        wanted = scene.order.get("moments") or self._moments
        self._moments = {name: act for name, act in self._moments.items() if name in wanted}

    def run(self, count: int) -> Iterator[dict[str, Any]]:
        """So many trials, the moments in turn."""
        with leftovers.memory_group() as self._scene.group:
            for number in range(count):
                yield self._trial(list(self._moments)[number % len(self._moments)])

    def _trial(self, moment: str) -> dict[str, Any]:
        observer, begun_s, ticks_then = self._observer, time.monotonic(), cpu_ticks()
        daemon = self._scene.start()
        reached = self._moments[moment]()
        observer.look()
        known = observer.living()
        held = self._scene.memory_bytes(), self._scene.on_disk_bytes()
        kill_s = time.monotonic()
        daemon.signal(signal.SIGKILL)
        gone = observer.wait(observer.alone, GIVE_UP_S)
        orphans = 0 if gone else observer.kill_all()
        return {
            "moment": moment,
            "reached": reached,
            "code": daemon.code,
            "processes": len(known) + len(observer.late),
            "unseen": len(observer.late),
            "orphans": orphans,
            "dead_ms": after_ms(kill_s, known, observer.late),
            "holders_dead_ms": after_ms(kill_s, [one for one in known if one.kind != "cpu"]),
            "idle": idle_ratio(ticks_then),
            "memory_held": held[0],
            "disk_held": held[1],
            **self._scene.left(daemon),
            "seconds": time.monotonic() - begun_s,
        }

    def _start(self) -> bool:
        self._scene.rest(0.5)
        return True

    def _spawning(self) -> bool:
        reached = self._observer.wait(lambda: len(self._observer.living()) > 1, 5.0)
        self._scene.rest(0.15)
        return reached

    def _growing_memory(self) -> bool:
        reached = self._scene.holds(96 * MIB)
        self._scene.rest(0.6)
        return reached

    def _growing_disk(self) -> bool:
        reached = self._observer.wait(lambda: self._scene.on_disk_bytes() > MIB, 5.0)
        self._scene.rest(0.6)
        return reached

    def _holding(self) -> bool:
        reached = self._scene.holds(640 * MIB)
        self._scene.rest(0.8)
        return reached

    def _shrinking(self) -> bool:
        if not self._scene.holds(320 * MIB):
            return False  # a signal may come before anybody has asked for it
        self._scene.configure(1.0, 5.0)
        self._scene.signal(signal.SIGHUP)
        most_bytes = self._observer.held_bytes()
        reached = self._observer.wait(
            lambda: self._observer.held_bytes() < most_bytes - 16 * MIB, 3.0
        )
        self._scene.rest(0.05)
        return reached

    def _reloading(self) -> bool:
        if not self._scene.holds(96 * MIB):
            return False
        self._scene.configure(2.0, 20.0)
        self._scene.signal(signal.SIGHUP)
        self._scene.rest(1.2)
        return True

    def _pausing(self) -> bool:
        if not self._scene.holds(96 * MIB):
            return False  # its state directory may not be there yet
        order = {"reason": "a test", "by": "test", "until_utc_s": None, "since_utc_s": time.time()}
        replace(self._scene.folder / "state" / "inhibit", json.dumps(order))
        self._scene.rest(0.9)
        return True

    def _stopping(self) -> bool:
        if not self._scene.holds(96 * MIB):
            return False
        self._scene.signal(signal.SIGTERM)
        self._scene.rest(0.05)
        return True


if __name__ == "__main__":
    tell(Kills(Scene(ordered())).run(ordered()["trials"]))
