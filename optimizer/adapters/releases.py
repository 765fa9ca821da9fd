"""Filesystems that an operator has asked for: nothing is held there for a while."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from optimizer.adapters.deadline import Deadlines, Given
from optimizer.adapters.identity import boot_id
from optimizer.adapters.steady import steady_s
from optimizer.atomic import replace_file
from optimizer.errors import SwitchError

RELEASED_NAME = "released"
"""The file in the state directory: a JSON object of mount points, each with its order."""
_CONTENT_LIMIT_BYTES = 64 * 1024
_FAULTS = (OSError, ValueError, TypeError, OverflowError, RecursionError)
"""What a file that is missing, unreadable or no such object raises."""


class Asked(NamedTuple):
    """Until when (UTC seconds), and when that was asked for, with the boot that it counts in."""

    until_utc_s: float
    given: Given | None = None
    boot: str | None = None


def parse(content: bytes) -> dict[str, Asked]:
    """The mount points of the file.

    By hand an end alone may be written: `{"/data": 1800000000}`. Raises
    ValueError or TypeError where it is not such an object, OverflowError or
    RecursionError where it is an odd one.
    """
    found = json.loads(content)
    if not isinstance(found, dict):
        raise TypeError(f"not a JSON object: {content[:60]!r}")
    return {str(mount): _asked(order) for mount, order in found.items()}


def _asked(order: object) -> Asked:
    if not isinstance(order, dict):
        return Asked(_seconds(order))
    given = None
    if "given_utc_s" in order:
        steady = order.get("given_steady_s")
        known = isinstance(steady, int | float)
        given = Given(_seconds(order["given_utc_s"]), steady if known else None)
    boot = order.get("boot_id")
    return Asked(_seconds(order.get("until_utc_s")), given, boot if isinstance(boot, str) else None)


def _seconds(value: object) -> float:
    seconds = float(value) if isinstance(value, int | float | str) else math.nan
    if math.isnan(seconds):
        raise ValueError(f"no number of seconds: {value!r}")
    return seconds


def _order(asked: Asked) -> dict[str, object]:
    order: dict[str, object] = {"until_utc_s": asked.until_utc_s}
    if asked.given is not None:
        order["given_utc_s"], order["given_steady_s"] = asked.given
    return order | {"boot_id": asked.boot}


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
    path = directory / RELEASED_NAME
    before = Releases(directory, steady=steady, boot=boot)
    in_force = before.now(now_utc_s)
    kept = {
        mount: asked
        for mount, asked in before.asked.items()
        if asked.until_utc_s > now_utc_s or mount in in_force
    }
    kept |= dict.fromkeys(mounts, Asked(until_utc_s, Given(now_utc_s, steady()), boot()))
    content = json.dumps({mount: _order(asked) for mount, asked in kept.items()})
    if len(content) > _CONTENT_LIMIT_BYTES:
        content = json.dumps({mount: asked.until_utc_s for mount, asked in kept.items()})
    try:
        replace_file(path, content.encode() + b"\n", durable=True)
    except OSError as exc:
        raise SwitchError(
            f"cannot write {path}: {exc.strerror or exc}; run this as root or as the user of "
            "the daemon"
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
    `boot` names the boot that they count in. `asked` is what the file says.
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
        self.asked: Mapping[str, Asked] = {}
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
                self.asked, self._seen = parse(_content(self._path)), seen
        except FileNotFoundError:
            self.asked, self._seen = {}, None
        except _FAULTS:
            pass  # half written, or not ours: what was asked for before still holds
        self._deadlines.keep(self.asked.items())
        return frozenset(
            mount
            for mount, asked in self.asked.items()
            if self._end_utc_s(mount, asked) > now_utc_s
        )

    def _end_utc_s(self, mount: str, asked: Asked) -> float:
        until = asked.until_utc_s
        if self._steady is None or self._seen is None or math.isinf(until):
            return until
        of_this_boot = self._boot is not None and asked.boot == self._boot
        given = asked.given if of_this_boot else None
        return self._deadlines.end_utc_s((mount, asked), until, self._seen[0] / 1e9, given)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_CONTENT_LIMIT_BYTES)
