"""Fillers of memory and disk that are told a size at once: our stressers leased, and others.

Each one begins to hold when told, lets go when asked (a lease of 0; for others
SIGTERM or their own command), and can be killed. All run in a box.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self

import meminfo
from boxes import Box
from leased import Closing, Ours, ended, started

MEMORY_ARMS = ("ours", "ours-4k", "stress-ng", "stress-ng-busy", "lookbusy", "blade")
DISK_ARMS = ("ours", "stress-ng")
_PROGRAMS = {"stress-ng-busy": "stress-ng"}


class Filler(Protocol):
    """What holds memory or disk space; starts with nothing held."""

    box: Box

    def begin(self, size_bytes: int) -> None:
        """Hold that much from now on. Raises OSError."""
        ...

    def renew(self) -> None:
        """Go on; raises OSError when it has ended by itself."""
        ...

    def release(self) -> None:
        """Ask for everything back; returns at once."""
        ...

    def close(self) -> None:
        """Ended, with all that it has started."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


class Other(Closing):
    """A program that is given its size when it starts; `undo` ends one that detaches."""

    def __init__(
        self, box: Box, command: Callable[[int], Sequence[str]], undo: Sequence[str] = ()
    ) -> None:
        self.box = box
        self._command = command
        self._undo = undo
        self._process: subprocess.Popen[bytes] | None = None
        self._place = tempfile.mkdtemp(prefix="bench-filler-")

    def begin(self, size_bytes: int) -> None:
        """See Filler."""
        # stress-ng wants to write where it is.
        self._process = started(self._command(size_bytes), self.box, None, self._place)

    def renew(self) -> None:
        """See Filler."""
        if self._process is None or (self._process.poll() is not None and not self._undo):
            message = f"{self._command(0)[0]} has ended by itself"
            raise OSError(message)

    def release(self) -> None:
        """See Filler."""
        if self._undo:
            subprocess.Popen(self._undo, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        elif self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)

    def close(self) -> None:
        """See Filler."""
        if self._process is not None:
            self.release()
            ended(self._process, self.box)
        shutil.rmtree(self._place, ignore_errors=True)


def _vm(size_bytes: int, *words: str) -> tuple[str, ...]:
    # It divides the bytes by the workers (0.15); --vm-hang 0 fills once and then sleeps.
    return ("stress-ng", "--quiet", "--vm", "4", "--vm-bytes", str(size_bytes), "--vm-keep", *words)


def _blade(size_bytes: int) -> tuple[str, ...]:
    now = meminfo.read()
    percent = 100 * (meminfo.used(now, "available") + size_bytes) / now["MemTotal"]
    return ("blade", "create", "mem", "load", "--mode", "ram", "--mem-percent", f"{percent:.0f}")


def memory(name: str, box: Box) -> Filler:
    """The memory filler of that name. Raises OSError, and KeyError for a name that is none."""
    if name in {"ours", "ours-4k"}:
        return Ours(box, "memory", "--shards", "4", huge=name == "ours")
    if name == "blade":
        return Other(box, _blade, ("blade", "destroy", "mem", "load"))
    commands: dict[str, Callable[[int], Sequence[str]]] = {
        "stress-ng": lambda size: _vm(size, "--vm-hang", "0"),
        "stress-ng-busy": lambda size: _vm(size, "--vm-method", "zero-one"),
        "lookbusy": lambda size: ("lookbusy", "-c", "0", "-m", f"{size}B"),
    }
    return Other(box, commands[name])


def disk(name: str, box: Box, place: Path) -> Filler:
    """The disk filler of that name, on that directory. Raises OSError."""
    if name == "ours":
        return Ours(box, "disk", "--path", str(place))
    return Other(box, functools.partial(_hdd, place))


def _hdd(place: Path, size_bytes: int) -> tuple[str, ...]:
    words = ("--hdd", "1", "--hdd-bytes", str(size_bytes), "--temp-path", str(place))
    return ("stress-ng", "--quiet", *words)


def find(names: Sequence[str], known: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arms of those that can run here, and a sentence for each that cannot.

    Raises ValueError for a name that is none.
    """
    found, missing = [], []
    for name in names:
        if name not in known:
            message = f"{name!r} is no filler; known are {', '.join(known)}"
            raise ValueError(message)
        program = _PROGRAMS.get(name, name)
        if not name.startswith("ours") and shutil.which(program) is None:
            missing.append(f"{name}: left out, {program} is not on the PATH")
        else:
            found.append(name)
    return found, missing
