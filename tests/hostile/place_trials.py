"""Takes the disk away from a daemon's own files; run by test_surroundings.py.

    python -m tests.hostile.place_trials ORDER

See scene.py; `folder` lies on `mount`, an ext4 of our own whose image is
`image`, and `fault` in the order is "full" or "read-only". This process is
the observer: standard library only.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.hostile.observer import Seen
from tests.hostile.scene import Scene, ordered, tell

DEADLINE_S = 20.0
_PIECES_BYTES = (1 << 16, 1 << 12, 1)


class Places:
    """A daemon for each trial, hurt before its start or in the middle of its run."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._observer = scene.observer
        self._mount = Path(scene.order["mount"])
        self._ballast = self._mount / "ballast"

    def full(self, count: int) -> Iterator[dict[str, Any]]:
        """No block is free, every second time at the start already."""
        for number in range(count):
            begun_s, said = time.monotonic(), len(self._scene.said())
            late = number % 2 == 0
            if not late:
                self._fill()
            daemon = self._scene.start()
            rows = self._recorded(self._scene.rows()) if late else self._scene.rows()
            self._scene.rest(0.7)
            if late:
                self._fill()
            result = self._seen(daemon, said, ("history.write_failed", "free space on"))
            self._ballast.unlink()
            freed_s = time.time()
            result["rows_lost"] = len(rows - self._scene.rows())
            self._observer.wait(lambda: max(self._scene.rows(), default=0) > freed_s, DEADLINE_S)  # noqa: B023
            result["mended"] = max(self._scene.rows(), default=0) > freed_s
            result["shown"] = self._observer.wait(lambda: self._shown_s() > freed_s, DEADLINE_S)  # noqa: B023
            yield self._ended(daemon, "late" if late else "start", result, begun_s)

    def read_only(self, count: int) -> Iterator[dict[str, Any]]:
        """An error in the filesystem, after which it is read-only; or it is so at the start."""
        for number in range(count):
            begun_s, said = time.monotonic(), len(self._scene.said())
            if number % 2:
                yield self._refused(begun_s, said)
                continue
            daemon = self._scene.start()
            rows = self._recorded(self._scene.rows())
            self._scene.rest(0.7)
            self._break()
            result = self._seen(daemon, said, ("history.write_failed", "Read-only file system"))
            result |= self._scene.end(daemon)
            self._repair()
            result["rows_lost"] = len(rows - self._scene.rows())
            again = self._scene.start()
            fresh = self._recorded(rows)
            result["mended"] = bool(fresh - rows) and not rows - fresh
            yield self._ended(again, "late", result, begun_s)

    def _refused(self, begun_s: float, said: int) -> dict[str, Any]:
        """A start where nothing can be written."""
        _run("mount", "-o", "remount,ro", str(self._mount))
        self._scene.configure()
        command = [*self._scene.command, "--config", str(self._scene.file)]
        daemon = self._observer.start(command, self._scene.errors)
        ended = self._observer.wait(self._observer.alone, DEADLINE_S)
        orphans = 0 if ended else self._observer.kill_all()
        _run("mount", "-o", "remount,rw", str(self._mount))
        rows = self._scene.rows()
        again = self._scene.start()
        result = {
            "code_at_start": daemon.code,
            "named": "cannot be written to" in self._scene.said()[said:],
            "orphans_at_start": orphans,
            "mended": bool(self._recorded(rows) - rows),
        }
        return self._ended(again, "start", result, begun_s)

    def _seen(self, daemon: Seen, said: int, words: tuple[str, ...]) -> dict[str, Any]:
        """What the daemon does while it lasts."""
        within = True

        def named() -> bool:
            nonlocal within
            within = within and self._scene.within_target()
            found = self._scene.said()[said:]
            return all(word in found for word in words)

        told = self._observer.wait(named, DEADLINE_S)
        self._scene.rest(1.5)
        loaded = self._observer.wait(lambda: self._observer.stressers("memory"), DEADLINE_S)
        within = within and self._scene.within_target()
        return {
            "named": told,
            "alive": daemon.alive,
            "loaded": loaded,
            "within_target": within,
        }

    def _ended(
        self, daemon: Seen, when: str, result: dict[str, Any], begun_s: float
    ) -> dict[str, Any]:
        end = self._scene.end(daemon)
        return {**end, **result, "when": when, "last_code": end["code"]} | {
            "seconds": time.monotonic() - begun_s
        }

    def _recorded(self, before: set[int]) -> set[int]:
        """All rows once there is one more than before."""
        self._observer.wait(lambda: self._scene.rows() - before, DEADLINE_S)
        return self._scene.rows()

    def _shown_s(self) -> float:
        """When the status was last replaced."""
        try:
            return (self._scene.folder / "run" / "status.json").stat().st_mtime
        except OSError:
            return 0.0

    def _fill(self) -> None:
        """Take every block that is free, the part for root included."""
        file = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for size in _PIECES_BYTES:
            try:
                while os.write(file, bytes(size)):
                    pass
            except OSError:
                continue  # no room for a piece of this size
        os.close(file)

    def _break(self) -> None:
        """Have ext4 find an error in itself."""
        _run("mount", "-o", "remount,errors=remount-ro", str(self._mount))
        number = os.stat(self._mount).st_dev
        device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve().name
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("test", encoding="ascii")

    def _repair(self) -> None:
        _run("umount", str(self._mount))
        image = self._scene.order["image"]
        # 1: what was wrong has been corrected. Source: e2fsck(8).
        subprocess.run(["e2fsck", "-f", "-y", image], capture_output=True, check=False)
        _run("mount", "-t", "ext4", "-o", "loop", image, str(self._mount))


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def main() -> None:
    """Do what the order says."""
    order = ordered()
    places = Places(Scene(order))
    run = places.full if order["fault"] == "full" else places.read_only
    tell(run(order["trials"]))


if __name__ == "__main__":
    main()
