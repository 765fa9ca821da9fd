"""Steps the UTC clock of a daemon by ten years and back; run by test_surroundings.py.

    python -m tests.hostile.clock_trials ORDER

See scene.py and altered_daemon.py. This process is the observer: standard
library only.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

from tests.hostile.scene import Scene, ordered, tell

TEN_YEARS_S = 10 * 365 * 86_400
DEADLINE_S = 20.0


class Steps:
    """One daemon whose clock steps again and again."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._observer = scene.observer
        self._clock = scene.file.with_suffix(".clock")

    def run(self, count: int) -> Iterator[dict[str, Any]]:
        """So many steps away, each with one back; last comes how it ended."""
        daemon = self._scene.start_altered(clock=str(self._clock))
        self._observer.wait(self._scene.rows, DEADLINE_S)
        for number in range(count):
            self._observer.wait(lambda: self._observer.stressers("memory"), DEADLINE_S)
            self._scene.rest(0.7)
            years = 10 if number % 2 else -10
            begun_s = time.monotonic()
            away = self._step(years // 10 * TEN_YEARS_S)
            self._scene.rest(1.0)
            back = self._step(0)
            yield {
                "years": years,
                "alive": daemon.alive,
                "away": away,
                "back": back,
                "seconds": time.monotonic() - begun_s,
            }
        yield {"years": 0, **self._scene.end(daemon)}

    def _step(self, ahead_s: int) -> dict[str, Any]:
        """One step: whether it was named, a row came after it, load and older rows are there."""
        observer, said, rows = self._observer, len(self._scene.said()), self._scene.rows()
        self._clock.write_text(str(ahead_s), encoding="ascii")
        self._scene.signal(signal.SIGUSR2)
        utc_s, most = time.time() + ahead_s, True

        def recorded() -> bool:
            nonlocal most
            most = most and self._scene.within_target()
            fresh = self._scene.rows() - rows
            return any(abs(row - utc_s) < 60 for row in fresh)

        named = observer.wait(lambda: "clock.stepped" in self._scene.said()[said:], DEADLINE_S)
        row = observer.wait(recorded, DEADLINE_S)
        loaded = observer.wait(lambda: observer.stressers("memory"), DEADLINE_S)
        return {
            "named": named,
            "recorded": row,
            "loaded": bool(loaded),
            "within_target": most,
            "rows_lost": len(rows - self._scene.rows()),
        }


if __name__ == "__main__":
    tell(Steps(Scene(ordered(), LOG_LEVEL="info")).run(ordered()["trials"]))
