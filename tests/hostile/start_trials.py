"""Starts many daemons at once on one folder; run by test_surroundings.py.

    python -m tests.hostile.start_trials ORDER

See scene.py; `starts` in the order says how many. This process is the
observer: standard library only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from tests.hostile.observer import KINDS
from tests.hostile.scene import Scene, ordered, tell

DEADLINE_S = 90.0
"""Fifty interpreters have to load a program on a few busy CPUs."""
LOADED_S = 20.0


def run(scene: Scene, count: int, starts: int) -> Iterator[dict[str, Any]]:
    """So many trials."""
    observer = scene.observer
    for _ in range(count):
        begun_s, said = time.monotonic(), len(scene.said())
        first = scene.start()
        command = [*scene.command, "--config", str(scene.file)]
        daemons = [first]
        daemons += [observer.start(command, scene.errors, more=True) for _ in range(starts - 1)]
        alone = observer.wait(lambda these=daemons: sum(d.alive for d in these) <= 1, DEADLINE_S)  # type: ignore[misc]
        loaded = observer.wait(lambda: observer.stressers("memory", crews=True), LOADED_S)
        observer.pause(0.5)
        living = [one for one in daemons if one.alive]
        crews = {kind: len(observer.spawns(kind)) for kind in KINDS}
        within, codes = scene.within_target(), [one.code for one in daemons if not one.alive]
        refusals = scene.said()[said:].count("another daemon runs")
        yield {
            "alone": alone,
            "active": len(living),
            "loaded": loaded,
            "within_target": within,
            "crews": crews,
            "codes": {str(code): codes.count(code) for code in set(codes)},
            "refusals": refusals,
            **scene.end(living[0] if living else first),
            "seconds": time.monotonic() - begun_s,
        }


if __name__ == "__main__":
    tell(run(Scene(ordered()), ordered()["trials"], ordered()["starts"]))
