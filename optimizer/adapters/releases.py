"""Filesystems that an operator has asked for: nothing is held there for a while."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from optimizer.adapters.deadline import Deadlines
from optimizer.atomic import replace_file
from optimizer.errors import SwitchError

RELEASED_NAME = "released"
"""The file in the state directory: a JSON object of mount points, each until when (UTC seconds)."""
_CONTENT_LIMIT_BYTES = 64 * 1024
_FAULTS = (OSError, ValueError, TypeError, OverflowError, RecursionError)
"""What a file that is missing, unreadable or no such object raises."""


def parse(content: bytes) -> dict[str, float]:
    """Mount points and until when each is released, in seconds since the epoch.

    Raises TypeError or ValueError when it is anything else.
    """
    found = json.loads(content)
    if not isinstance(found, dict):
        raise TypeError(f"not a JSON object: {content[:60]!r}")
    released = {str(mount): float(until) for mount, until in found.items()}
    if any(math.isnan(until) for until in released.values()):
        raise ValueError(f"no number of seconds: {content[:60]!r}")
    return released


def release(
    directory: Path, mounts: Iterable[str], *, until_utc_s: float, now_utc_s: float
) -> None:
    """Ask for these mount points until then; others stay asked for. Raises SwitchError."""
    path = directory / RELEASED_NAME
    try:
        known = parse(_content(path))
    except _FAULTS:
        known = {}
    kept = {mount: until for mount, until in known.items() if until > now_utc_s}
    kept |= dict.fromkeys(mounts, until_utc_s)
    try:
        replace_file(path, json.dumps(kept).encode() + b"\n", durable=True)
    except OSError as exc:
        raise SwitchError(
            f"cannot write {path}: {exc.strerror or exc}; run this as root or as the user of "
            "the daemon, or `optimizer pause`"
        ) from exc


def withdraw(directory: Path) -> None:
    """Hold again everywhere. Raises SwitchError."""
    path = directory / RELEASED_NAME
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        raise SwitchError(f"cannot remove {path}: {exc.strerror or exc}") from exc


class Releases:
    """Reads that file, once a change: one stat(2) for each question.

    With `steady`, seconds that no step of a clock moves, a release ends when
    its time has passed by that (deadline.py); without, when UTC says so.
    """

    def __init__(self, directory: Path, *, steady: Callable[[], float] | None = None) -> None:
        self._path = directory / RELEASED_NAME
        self._seen: tuple[int, int, int] | None = None
        self._released: dict[str, float] = {}
        self._steady = steady
        self._deadlines = Deadlines()

    def now(self, now_utc_s: float) -> frozenset[str]:
        """The mount points asked for now; what was known last where the file cannot be read."""
        if self._steady is not None:
            self._deadlines.look(now_utc_s, self._steady())
        try:
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                self._released, self._seen = parse(_content(self._path)), seen
        except FileNotFoundError:
            self._released, self._seen = {}, None
        except _FAULTS:
            pass  # half written, or not ours: what was asked for before still holds
        return self._in_force(now_utc_s)

    def _in_force(self, now_utc_s: float) -> frozenset[str]:
        self._deadlines.keep(self._released.items())
        return frozenset(
            mount
            for mount, until in self._released.items()
            if self._end_utc_s(mount, until) > now_utc_s
        )

    def _end_utc_s(self, mount: str, until: float) -> float:
        if self._steady is None or self._seen is None or math.isinf(until):
            return until
        return self._deadlines.end_utc_s((mount, until), until, self._seen[0] / 1e9)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_CONTENT_LIMIT_BYTES)
