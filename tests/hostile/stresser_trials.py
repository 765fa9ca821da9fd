"""Kills, stops and starves stressers of a running daemon; run by test_stresser_faults.py.

    python -m tests.hostile.stresser_trials ORDER

See scene.py; with `storm` in the order each stresser is killed as soon as it
is seen. This process is the observer: standard library only.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import time
from collections.abc import Iterator
from typing import Any

from tests.hostile import leftovers
from tests.hostile.observer import KINDS, Seen
from tests.hostile.overflow import overflow
from tests.hostile.scene import MIB, Scene, cpu_ticks, idle_ratio, ordered, tell

HOLD_OFF_S = 2.0
SETTLE_S = 30.0
"""How long a resource may take to be loaded again; a disk is tried again after ten seconds."""
STORM_S = 16.0
"""Longer than the window in which five ends trip a resource."""
CALM_S = 3.0
"""Between two faults of a resource, so that it is never tripped by the trials themselves."""
CREW_S = 0.5
"""A crew has forked all its workers within this time after the last of them, on a busy host too."""
FAULTS = {
    "cpu": ("stop worker", "kill crew", "stop crew", "kill worker"),
    "memory": ("stop crew", "kill worker", "stop worker", "kill crew", "oom"),
    "disk": ("kill crew", "stop crew"),
}
_LOADED_BYTES = 96 * MIB


class Fault:
    """One fault of one resource, and what came of it."""

    def __init__(self, kind: str, what: str, victim: Seen, at_s: float) -> None:
        self.kind = kind
        self.what = what
        self.victim = victim
        self.at_s = at_s
        self._ticks = cpu_ticks()
        self.back_s: float | None = None

    @property
    def over(self) -> bool:
        """Whether the victim has ended and another one is there."""
        return not self.victim.alive and self.back_s is not None

    def result(self) -> dict[str, Any]:
        """What to tell of it; times in ms from the fault on, null: never."""
        died_s = self.victim.died_s
        return {
            "idle": idle_ratio(self._ticks),
            "kind": self.kind,
            "fault": self.what,
            "dead_ms": None if died_s is None else 1000 * (died_s - self.at_s),
            "back_ms": None if self.back_s is None else 1000 * (self.back_s - self.at_s),
        }


class Faults:
    """One daemon, whose stressers suffer one thing after another."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._observer = scene.observer
        self._chance = scene.chance
        self._kinds = KINDS if scene.disk else KINDS[:2]
        self._due_s = dict.fromkeys(self._kinds, 0.0)
        self._struck = dict.fromkeys(self._kinds, 0)

    def run(self, count: int) -> Iterator[dict[str, Any]]:
        """So many faults, of all resources side by side; last comes what the daemon did."""
        pending: dict[str, Fault] = {}
        with leftovers.memory_group() as self._scene.group:
            daemon = self._scene.start_altered(roomy=True)
            while count > 0:
                self._observer.pause(0.01)
                for kind in self._kinds:
                    told = self._next(kind, pending)
                    if told is not None:
                        count -= 1
                        yield told
            yield self._end(daemon)

    def storm(self) -> Iterator[dict[str, Any]]:
        """Kill every crew at sight for a while, then resume; the spawns and whether it is back."""
        with leftovers.memory_group() as self._scene.group:
            daemon = self._scene.start_altered(roomy=True)
            begun_s = time.monotonic()
            self._observer.wait(self._killed_at_sight, STORM_S)
            spawns = {kind: self._spawns(kind, begun_s) for kind in self._kinds}
            (self._scene.folder / "state" / "resumed").touch()
            at_s = time.monotonic()
            for kind in self._kinds:
                back = self._observer.wait(lambda kind=kind: self._back_s(kind, at_s), SETTLE_S)  # type: ignore[misc]
                yield {"kind": kind, "fault": "storm", "spawns": spawns[kind], "back": bool(back)}
            yield self._end(daemon)

    def _killed_at_sight(self) -> bool:
        for one in self._observer.stressers(crews=True):
            one.signal(signal.SIGKILL)
        return False

    def _next(self, kind: str, pending: dict[str, Fault]) -> dict[str, Any] | None:
        """Strike that resource once it is loaded, or tell of its last fault once that is over."""
        fault = pending.get(kind)
        if fault is None:
            if time.monotonic() >= self._due_s[kind] and self._loaded(kind):
                struck = self._strike(kind, self._what(kind))
                self._struck[kind] += 1
                if struck is not None:
                    pending[kind] = struck
            return None
        if fault.back_s is None:
            fault.back_s = self._back_s(kind, fault.at_s)
        if not fault.over and time.monotonic() < fault.at_s + SETTLE_S:
            return None
        fault.victim.signal(signal.SIGKILL)  # one that is left is told, and must not stay
        del pending[kind]
        self._due_s[kind] = max(fault.at_s + CALM_S, time.monotonic()) + self._chance.random()
        return fault.result()

    def _what(self, kind: str) -> str:
        return FAULTS[kind][self._struck[kind] % len(FAULTS[kind])]

    def _loaded(self, kind: str) -> bool:
        workers = self._observer.stressers(kind, crews=False)
        if kind == "disk":
            return self._scene.on_disk_bytes() > MIB
        # One that is seen only after the fault would be taken for its successor.
        if not workers or time.monotonic() < max(one.at_s for one in workers) + CREW_S:
            return False
        if kind == "memory":
            held_bytes = sum(one.status("RssAnon") for one in workers)
            # An overflow needs some that are still growing.
            return held_bytes > _LOADED_BYTES or self._what(kind) == "oom"
        return True

    def _back_s(self, kind: str, after_s: float) -> float | None:
        """Since when there is another one of that kind.

        A whole crew, or a worker alone: the lease of a stopped one that got no
        CPU on a busy host may run out before it stops.
        """
        fresh = [one.at_s for one in self._observer.stressers(kind) if one.at_s > after_s]
        return min(fresh, default=None)

    def _strike(self, kind: str, what: str) -> Fault | None:
        """Do it to a random process of that kind; None when there is none."""
        if what == "oom":
            return self._starve(kind)
        crew = what.endswith("crew")
        candidates = self._observer.stressers(kind, crews=crew)
        if not candidates:
            return None
        victim = self._scene.chance.choice(candidates)
        at_s = time.monotonic()
        victim.signal(signal.SIGKILL if what.startswith("kill") else signal.SIGSTOP)
        return Fault(kind, what, victim, at_s)

    def _starve(self, kind: str) -> Fault | None:
        """Have the kernel kill a shard, in a group in which a tenant takes too much."""
        shards = self._observer.stressers(kind, crews=False)
        before = [one for one in shards if one.alive]
        with contextlib.suppress(OSError):
            at_s = time.monotonic()
            if overflow([one.pid for one in shards], self._observer.pause):
                self._observer.look()
                dead = [one for one in before if not one.alive]
                return Fault(kind, "oom", dead[0], at_s) if dead else None
        return None

    def _spawns(self, kind: str, begun_s: float) -> list[float]:
        return [at_s - begun_s for at_s in self._observer.spawns(kind)]

    def _end(self, daemon: Seen) -> dict[str, Any]:
        """End the daemon in good order: its exit code, all its spawns, and what is left."""
        spawns = {kind: self._observer.spawns(kind) for kind in self._kinds}
        return {
            "kind": "end",
            "most_spawns": {kind: most_within(times, 10.0) for kind, times in spawns.items()},
            "least_gap_s": {kind: least_gap_s(times) for kind, times in spawns.items()},
            **self._scene.end(daemon),
        }


def most_within(times_s: list[float], window_s: float) -> int:
    """How many fall into the fullest window of that length."""
    return max((sum(0 <= t - s < window_s for t in times_s) for s in times_s), default=0)


def least_gap_s(times_s: list[float]) -> float | None:
    """The least distance of two; None of fewer."""
    ranked = sorted(times_s)
    return min((b - a for a, b in itertools.pairwise(ranked)), default=None)


def main() -> None:
    """Do what the order says."""
    order = ordered()
    storm = bool(order.get("storm"))
    # Without a hold-off a stresser comes back as often as it ever may.
    faults = Faults(Scene(order, HOLD_OFF_SECONDS="0" if storm else f"{HOLD_OFF_S:g}"))
    tell(faults.storm() if storm else faults.run(order["trials"]))


if __name__ == "__main__":
    main()
