"""Filesystems that an operator has asked for: nothing is held there for a while."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from optimizer.adapters.deadline import Deadlines, Given
from optimizer.adapters.identity import boot_id
from optimizer.adapters.steady import steady_s
from optimizer.atomic import replace_file
from optimizer.errors import SwitchError

RELEASED_NAME = "released"
"""The file in the state directory: a JSON object of mount points, each until when (UTC seconds)."""
_GIVEN = re.compile(r"([0-9a-f-]{36}) (\S+) (\S+) (.+)", re.DOTALL)
"""A key that is no mount point: boot, UTC of the order, its end, and the mount point that it is
for. Its value is the steady time of the order, which older versions take for an end long ago."""
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
    released = {
        mount: float(until) for mount, until in found.items() if not _GIVEN.fullmatch(mount)
    }
    if any(math.isnan(until) for until in released.values()):
        raise ValueError(f"no number of seconds: {content[:60]!r}")
    return released


def release(
    directory: Path,
    mounts: Iterable[str],
    *,
    until_utc_s: float,
    now_utc_s: float,
    steady: Callable[[], float] = steady_s,
    boot: Callable[[], str | None] = boot_id,
) -> None:
    """Ask for these mount points until then; others stay asked for. Raises SwitchError."""
    path, asked, boot_now = directory / RELEASED_NAME, frozenset(mounts), boot()
    before = Releases(directory, steady=steady, boot=boot)
    held = before.now(now_utc_s)
    kept = {
        mount: until
        for mount, until in before.released.items()
        if mount not in asked and (until > now_utc_s or mount in held)
    }
    given = {order: before.given[order] for order in kept.items() if order in before.given}
    given |= {(mount, until_utc_s): Given(now_utc_s, steady()) for mount in asked}
    kept |= dict.fromkeys(asked, until_utc_s)
    notes = {
        f"{boot_now} {said.utc_s!r} {until!r} {mount}": said.steady_s
        for (mount, until), said in given.items()
        if boot_now is not None
    }
    content = json.dumps(kept | notes).encode() + b"\n"
    if len(content) > _CONTENT_LIMIT_BYTES:
        content = json.dumps(kept).encode() + b"\n"
    try:
        replace_file(path, content, durable=True)
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
    `boot` names the boot that they count in. `released` is what the file says,
    `given` when an order of this boot was given, by mount point and end.
    """

    def __init__(
        self,
        directory: Path,
        *,
        steady: Callable[[], float] | None = None,
        boot: Callable[[], str | None] = boot_id,
    ) -> None:
        self._path = directory / RELEASED_NAME
        self._seen: tuple[int, int, int] | None = None
        self.released: dict[str, float] = {}
        self.given: dict[tuple[str, float], Given] = {}
        self._steady = steady
        self._boot = None if steady is None else boot()
        self._deadlines = Deadlines()

    def now(self, now_utc_s: float) -> frozenset[str]:
        """The mount points asked for now; what was known last where the file cannot be read."""
        if self._steady is not None:
            self._deadlines.look(now_utc_s, self._steady())
        try:
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                content = _content(self._path)
                self.released, self._seen = parse(content), seen
                self.given = _given(content, self._boot)
        except FileNotFoundError:
            self.released, self.given, self._seen = {}, {}, None
        except _FAULTS:
            pass  # half written, or not ours: what was asked for before still holds
        return self._in_force(now_utc_s)

    def _in_force(self, now_utc_s: float) -> frozenset[str]:
        self._deadlines.keep(self.released.items())
        return frozenset(
            mount
            for mount, until in self.released.items()
            if self._end_utc_s(mount, until) > now_utc_s
        )

    def _end_utc_s(self, mount: str, until: float) -> float:
        if self._steady is None or self._seen is None or math.isinf(until):
            return until
        order = (mount, until)
        return self._deadlines.end_utc_s(order, until, self._seen[0] / 1e9, self.given.get(order))


def _given(content: bytes, boot: str | None) -> dict[tuple[str, float], Given]:
    """When the orders of this boot were given; nothing of what is odd."""
    found: dict[tuple[str, float], Given] = {}
    for key, given_s in json.loads(content).items():
        parts = _GIVEN.fullmatch(key)
        if parts is None or parts[1] != boot:
            continue
        with contextlib.suppress(ValueError):
            found[parts[4], float(parts[3])] = Given(float(parts[2]), given_s)
    return found


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_CONTENT_LIMIT_BYTES)
