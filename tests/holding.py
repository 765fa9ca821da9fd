"""What a daemon holds of a filesystem, seen from outside: nothing relies on what it says."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.loopdev import Volume
from tests.rig import PROGRAM, DaemonRig, daemon, descendants, eventually

GIB, MIB = 1 << 30, 1 << 20
_BLOCK_BYTES = 512
"""The unit of st_blocks. Source: stat(2)."""


def held_bytes(pid: int, device: int) -> int:
    """Blocks of nameless files on a device that a process or its descendants have open."""
    return sum(
        file.st_blocks * _BLOCK_BYTES
        for one in (pid, *descendants(pid))
        for file in _open_files(one)
        if file.st_dev == device and file.st_nlink == 0
    )


def _open_files(pid: int) -> Iterator[os.stat_result]:
    with contextlib.suppress(OSError):  # it has ended
        for link in list(Path(f"/proc/{pid}/fd").iterdir()):
            with contextlib.suppress(OSError):  # closed since
                yield link.stat()


class Holder:
    """A daemon that holds 40 % of a filesystem, or as much as is safe, and nothing else."""

    def __init__(self, rig: DaemonRig, disk: Volume) -> None:
        self.rig = rig
        self.disk = disk
        self.look()

    def look(self, place: Path | None = None) -> None:
        """Take note of the device anew, after a mount, or of that of a subvolume."""
        self._device = os.stat(place or self.disk.mount).st_dev

    def held_bytes(self) -> int:
        """What it has of the filesystem now, whatever the path leads to."""
        return held_bytes(self.rig.pid, self._device)

    def holds(self, least_bytes: int, *, deadline_s: float = 30.0) -> int:
        """Wait until it has so much; what it has then."""
        self._wait(
            lambda: self.held_bytes() >= least_bytes, deadline_s, f"{least_bytes} bytes held"
        )
        return self.held_bytes()

    def lets_go(self, *, deadline_s: float = 30.0) -> None:
        """Wait until it has nothing."""
        self._wait(lambda: self.held_bytes() == 0, deadline_s, "let go")

    def said(self) -> str:
        """Why it holds what it holds, in its own words."""
        disk = self.rig.resource("disk")
        return f"{disk.get('reason', '')}: {disk.get('note', '')}"

    def names(self, *words: str, deadline_s: float = 20.0) -> None:
        """Wait until it names one of these as the reason, in words that a person knows."""
        self._wait(
            lambda: any(_plain(word) in self._reason() for word in words),
            deadline_s,
            f"{' or '.join(words)} named",
        )

    def _wait(self, condition: Callable[[], bool], deadline_s: float, what: str) -> None:
        try:
            eventually(condition, deadline_s=deadline_s, what=what)
        except AssertionError as exc:
            message = f"{exc}; {self.held_bytes()} bytes held; it says {self.said()}"
            raise AssertionError(message) from None

    def _reason(self) -> str:
        # A test's folder has the test's name, and with it most likely the word.
        return _plain(re.sub(r"/\S+", "", self.said()))

    def cycles(self, more: int = 1, *, deadline_s: float = 20.0) -> None:
        """Wait until its loop has gone on."""
        first = self.rig.status().get("cycle_count", 0)
        eventually(
            lambda: self.rig.status().get("cycle_count", 0) >= first + more,
            deadline_s=deadline_s,
            what="the loop goes on",
        )


def _plain(text: str) -> str:
    """read_only, Read-only and read only are the same word."""
    return re.sub("[_-]", " ", text.lower())


@contextlib.contextmanager
def holder(
    folder: Path, disk: Volume, *, program: tuple[str, ...] = PROGRAM, **settings: str
) -> Iterator[Holder]:
    """A daemon on that filesystem; gone in the end, and with it all that it held."""
    defaults = {
        "TARGET_CPU": "0",
        "TARGET_MEMORY": "0",
        "TARGET_DISK": "40",
        "DISK_STRESS_PATH": str(disk.mount),
        "DISK_RISE_MB_PER_SECOND": "4096",
        # These tests make it give way, and then wait until it holds again.
        "HOLD_OFF_SECONDS": "1",
    }
    with daemon(folder, program=program, **{**defaults, **settings}) as rig:
        yield Holder(rig, disk)
