"""Puts garbage where the configuration should be; run by test_surroundings.py.

    python -m tests.hostile.config_trials ORDER

See scene.py. This process is the observer: standard library only.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.hostile.observer import text
from tests.hostile.scene import Scene, ordered, tell

DEADLINE_S = 20.0
_LARGE_BYTES = 10 << 20


def _noise(path: Path, chance: random.Random) -> None:
    # Two bytes that begin no character, so that it is never valid by chance.
    path.write_bytes(b"\xff\xfe" + chance.randbytes(chance.randint(1, 4096)))


def _nuls(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"TARGET_CPU=40\n" + bytes(chance.randint(1, 4096)))


def _long_line(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"TARGET_CPU=" + b"4" * chance.randint(5000, 60_000))


def _large(path: Path, _: random.Random) -> None:
    path.write_bytes((b"TARGET_CPU=40\n" * (_LARGE_BYTES // 14 + 1))[:_LARGE_BYTES])


def _folder(path: Path, _: random.Random) -> None:
    path.mkdir()


def _loop(path: Path, _: random.Random) -> None:
    path.symlink_to(path)


def _pipe(path: Path, _: random.Random) -> None:
    os.mkfifo(path)


def _missing(_path: Path, _: random.Random) -> None:
    return


def _unknown(path: Path, chance: random.Random) -> None:
    path.write_text("".join(f"KEY_{chance.random()}=1\n" for _ in range(100)), encoding="ascii")


def _values(path: Path, _: random.Random) -> None:
    path.write_text("TARGET_CPU=nan\nTARGET_MEMORY=1e3\nTARGET_DISK=-1\n", encoding="ascii")


GARBAGE: dict[str, Callable[[Path, random.Random], None]] = {
    "noise": _noise,
    "NUL bytes": _nuls,
    "a long line": _long_line,
    "10 MB": _large,
    "a directory": _folder,
    "a link to itself": _loop,
    "a pipe": _pipe,
    "nothing": _missing,
    "unknown keys": _unknown,
    "values out of range": _values,
}


class Garbage:
    """One kind of garbage after another, at a start or at a reload."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._observer = scene.observer

    def run(self, count: int) -> Iterator[dict[str, Any]]:
        """So many trials, the first half of them starts; last comes how the last daemon ended."""
        kinds = list(GARBAGE)
        for number in range(count // 2):
            yield self._at_start(kinds[number % len(kinds)])
        self._clean()
        daemon = self._scene.start()
        self._observer.wait(lambda: self._observer.stressers("memory"), DEADLINE_S)
        for number in range(count - count // 2):
            yield self._at_reload(kinds[number % len(kinds)])
        yield {"kind": "", "when": "end", **self._scene.end(daemon)}

    def _at_start(self, kind: str) -> dict[str, Any]:
        scene, said = self._scene, len(self._scene.said())
        self._put(kind)
        # Named again for the daemon that, against all that is promised, would run.
        override = ["--set", f"WORKSPACE_DIR={scene.folder}"]
        daemon = self._observer.start(
            [*scene.command, *override, "--config", str(scene.file)], scene.errors
        )
        ended = self._observer.wait(self._observer.alone, DEADLINE_S)
        orphans = 0 if ended else self._observer.kill_all()
        return {
            "kind": kind,
            "when": "start",
            "code": daemon.code,
            "orphans": orphans,
            "touched": scene.folder.exists(),
            "named": str(scene.file) in scene.said()[said:],
        }

    def _at_reload(self, kind: str) -> dict[str, Any]:
        scene, observer = self._scene, self._observer
        crews = observer.stressers("memory", crews=True)
        self._put(kind)
        scene.signal(signal.SIGHUP)
        begun_s = time.monotonic()
        # In the status, for the log names no more than so many of a kind in a while.
        named = observer.wait(lambda: str(scene.file) in (self._rejected() or ""), DEADLINE_S)
        scene.rest(0.5)
        kept, within = all(one.alive for one in crews), scene.within_target()
        self._clean()
        scene.configure()
        scene.signal(signal.SIGHUP)
        mended = observer.wait(lambda: self._rejected() == "", DEADLINE_S)
        return {
            "kind": kind,
            "when": "reload",
            "named": named,
            "kept": kept and bool(crews),
            "within_target": within,
            "mended": mended,
            "seconds": time.monotonic() - begun_s,
        }

    def _put(self, kind: str) -> None:
        self._clean()
        GARBAGE[kind](self._scene.file, self._scene.chance)

    def _clean(self) -> None:
        file = self._scene.file
        if file.is_dir():
            shutil.rmtree(file)
        file.unlink(missing_ok=True)

    def _rejected(self) -> str | None:
        """What the daemon says against its configuration, "": nothing; None without a status."""
        try:
            found = json.loads(text(self._scene.folder / "run" / "status.json"))["config"]
        except (ValueError, KeyError):
            return None
        return "" if found["ok"] else str(found["message"])


if __name__ == "__main__":
    tell(Garbage(Scene(ordered())).run(ordered()["trials"]))
