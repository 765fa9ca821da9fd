"""Makes a daemon hang at random moments and times when its load is gone.

    python -m tests.hostile.hang_trials ORDER

See scene.py; but for those that are stopped, the daemon is altered_daemon.py.
This process is the observer: standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.hostile import leftovers
from tests.hostile.observer import Observer, Seen
from tests.hostile.scene import MIB, Scene, after_ms, cpu_ticks, idle_ratio, ordered, tell

FAULTS = ("stopped", "deadlock", "blocked", "deaf")
PLACES = ("sensors", "switch", "stressers", "history", "status")
GIVE_UP_S = 14.0
"""A stresser that never got a lease waits 10 s for it; it holds nothing."""
_BARE_BYTES = 24 * MIB
"""What an interpreter and a shard without a lease take."""
_SAMPLE_S = 0.05
_BLOCK_BYTES = 512


class Load:
    """Whether the stressers of a daemon load the host, from one look to the next."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._cpu_s: dict[Seen, float] = {}
        self._at_s = time.monotonic()

    def there(self) -> bool:
        """Whether they hold memory or disk, or have used a tenth of a CPU since the last look."""
        now_s, found = time.monotonic(), False
        for one in self._observer.stressers():
            used_s = one.cpu_s()
            busy = used_s - self._cpu_s.get(one, used_s) > 0.1 * (now_s - self._at_s)
            self._cpu_s[one] = used_s
            found = found or (busy and one.kind == "cpu" and not one.crew)
            found = found or one.status("RssAnon") > _BARE_BYTES or _nameless_bytes(one) > 0
        self._at_s = now_s
        return found


def _nameless_bytes(one: Seen) -> int:
    """Blocks of unlinked files that it has open."""
    total = 0
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{one.pid}/fd"):
            with contextlib.suppress(OSError):
                file = os.stat(f"/proc/{one.pid}/fd/{name}")
                on_disk = file.st_nlink == 0 and os.major(file.st_dev) != 0
                total += file.st_blocks * _BLOCK_BYTES if on_disk else 0
    return total


class Hangs:
    """One daemon after another on the same folder; each hangs in another way and place."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._observer = scene.observer
        self._sign = scene.folder.with_suffix(".hung")

    def run(self, count: int) -> Iterator[dict[str, Any]]:
        """So many trials, all ways in turn."""
        with leftovers.memory_group() as self._scene.group:
            for number in range(count):
                place = PLACES[number // len(FAULTS) % len(PLACES)]
                yield self._trial(FAULTS[number % len(FAULTS)], place)

    def _trial(self, fault: str, place: str) -> dict[str, Any]:
        observer, begun_s, ticks_then = self._observer, time.monotonic(), cpu_ticks()
        for path in (self._sign, self._sign.with_suffix(".pipe")):
            path.unlink(missing_ok=True)
        daemon = self._start(fault, place)
        loaded = self._scene.holds(self._scene.chance.choice((96, 320)) * MIB, 10.0)
        self._scene.rest(1.0)
        held = self._scene.memory_bytes(), self._scene.on_disk_bytes()
        hung_s = self._hang(daemon, fault)
        stressers = [one for one in observer.living() if one is not daemon]
        load_ms = self._load_gone_ms(hung_s)
        observer.wait(lambda: not self._others(), GIVE_UP_S)
        left = len(self._others())
        result = {
            "fault": fault,
            "place": place if fault != "stopped" else "",
            "hung": hung_s > 0,
            "loaded": loaded,
            "memory_held": held[0],
            "disk_held": held[1],
            "processes": len(stressers),
            "load_ms": load_ms,
            "idle": idle_ratio(ticks_then),
            "dead_ms": after_ms(hung_s, stressers),
            "left_alive": left,
            "recovered": self._recovers(daemon) if fault == "stopped" else None,
        }
        daemon.signal(signal.SIGKILL)
        gone = observer.wait(observer.alone, 5.0)
        result["orphans"] = 0 if gone else observer.kill_all()
        return result | self._scene.left(daemon) | {"seconds": time.monotonic() - begun_s}

    def _start(self, fault: str, place: str) -> Seen:
        if fault == "stopped":
            return self._scene.start()
        hang = {"fault": fault, "place": place, "sign": str(self._sign)}
        return self._scene.start_altered(hang=hang)

    def _hang(self, daemon: Seen, fault: str) -> float:
        """Make it hang, and wait until it does: since when, 0 when it never did."""
        if fault == "stopped":
            now_s = time.monotonic()
            daemon.signal(signal.SIGSTOP)
            self._observer.look()
            return now_s
        daemon.signal(signal.SIGUSR1)
        if not self._observer.wait(lambda: _content(self._sign), 10.0):
            return 0.0
        return float(_content(self._sign))

    def _load_gone_ms(self, hung_s: float) -> float:
        """How long after that time there was load; at most one look more."""
        load, loaded_s = Load(self._observer), hung_s
        load.there()
        end_s = time.monotonic() + GIVE_UP_S
        while self._others() and time.monotonic() < end_s:
            self._observer.pause(_SAMPLE_S)
            if load.there():
                loaded_s = time.monotonic()
        return 1000 * (loaded_s - hung_s)

    def _others(self) -> list[Seen]:
        return [one for one in self._observer.living() if one is not self._observer.daemon]

    def _recovers(self, daemon: Seen) -> bool:
        daemon.signal(signal.SIGCONT)
        return self._observer.wait(lambda: self._observer.stressers("memory", crews=True), 20.0)


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


if __name__ == "__main__":
    tell(Hangs(Scene(ordered())).run(ordered()["trials"]))
