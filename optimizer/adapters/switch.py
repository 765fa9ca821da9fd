"""The inhibit file: present means no load, whoever wrote it and whatever is in it."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from optimizer.adapters.deadline import Deadlines, Given
from optimizer.adapters.identity import boot_id
from optimizer.adapters.releases import Releases, withdraw
from optimizer.adapters.steady import steady_s
from optimizer.atomic import replace_file, sync_directory
from optimizer.errors import SwitchError
from optimizer.orders import Inhibit

INHIBIT_NAME = "inhibit"
"""The file whose presence in the state directory means: no load."""
RESUMED_NAME = "resumed"
"""The file whose every change tells the daemon that an operator resumed; its time tells when."""
REASON_LIMIT_CHARS = 200
"""Longest reason that is kept, so that a status line stays a line."""
CONTENT_LIMIT_BYTES = 64 * 1024
"""A larger inhibit file is not read; its presence is order enough."""

_SETTLED_NS = 2_000_000_000
"""Two changes within one tick of a filesystem's clock look alike; FAT has the coarsest tick."""
_FILE_MARK = "inhibit file"

_Signature = tuple[int, int, int]
_Order = tuple[Inhibit, Given | None]


class FileSwitch:
    """The operator's orders, read from the state directory; implements ports.Switch.

    Cheap enough for every cycle: one lstat(2) for each question; the content
    is read again only after a change. With `steady`, seconds that no step of a
    clock moves, an order ends when its time has passed by that (deadline.py);
    without, when UTC says so. `boot` names the boot that they count in.
    """

    def __init__(
        self,
        directory: Path,
        *,
        steady: Callable[[], float] | None = None,
        boot: Callable[[], str | None] = boot_id,
    ) -> None:
        self._inhibit_path = directory / INHIBIT_NAME
        self._resumed_path = directory / RESUMED_NAME
        self._parsed: tuple[_Signature, _Order] | None = None
        self._resumed_seen = _signature_or_none(self._resumed_path)
        self._steady = steady
        self._boot = None if steady is None else boot()
        self._deadlines = Deadlines()
        self._releases = Releases(directory, steady=steady, boot=boot)

    def released(self, now_utc_s: float) -> frozenset[str]:
        """The mount points on which nothing is to be held now; never raises."""
        return self._releases.now(now_utc_s)

    def inhibit(self, now_utc_s: float) -> Inhibit | None:
        """The order not to load that is in force now; None when there is none or it has expired.

        Only a missing file counts as none. A file that is not a proper order
        (empty, garbage, a directory, a link, unreadable, too large) is an
        order without an end, and its reason says what is odd. Never raises.
        """
        if self._steady is not None:
            self._deadlines.look(now_utc_s, self._steady())
        try:
            status = os.lstat(self._inhibit_path)
            signature = _signature(status)
            if self._parsed is None or self._parsed[0] != signature:
                order = _read(self._inhibit_path, status, self._boot)
                settled = time.time_ns() - status.st_mtime_ns > _SETTLED_NS
                self._parsed = (signature, order) if settled else None
            else:
                order = self._parsed[1]
        except FileNotFoundError:
            self._parsed = None
            self._deadlines.keep(())
            return None
        except OSError as exc:
            self._parsed = None
            return _odd(f"cannot be read: {exc.strerror or exc}")
        return self._in_force(order, status.st_mtime, now_utc_s)

    def _in_force(self, read: _Order, written_utc_s: float, now_utc_s: float) -> Inhibit | None:
        """The order with its end by the present clock; None when it has ended."""
        order, given = read
        end_utc_s = order.until_utc_s
        if end_utc_s is None:
            return order
        if self._steady is not None:
            end_utc_s = self._deadlines.end_utc_s(
                (order, written_utc_s),
                end_utc_s,
                written_utc_s if order.since_utc_s is None else order.since_utc_s,
                given,
            )
        if end_utc_s <= now_utc_s:
            return None
        return order if end_utc_s == order.until_utc_s else replace(order, until_utc_s=end_utc_s)

    def resumed(self) -> bool:
        """True once after each `optimizer resume` since this switch was made; never raises."""
        signature = _signature_or_none(self._resumed_path)
        if signature is None or signature == self._resumed_seen:
            return False
        self._resumed_seen = signature
        return True

    def resumed_utc_s(self) -> float | None:
        """When an operator last resumed, None when never; never raises."""
        signature = _signature_or_none(self._resumed_path)
        return None if signature is None else signature[0] / 1e9


def pause(
    directory: Path,
    *,
    until_utc_s: float | None,
    reason: str,
    by: str,
    now_utc_s: float,
    steady: Callable[[], float] = steady_s,
    boot: Callable[[], str | None] = boot_id,
) -> None:
    """Write the order not to load; it replaces an earlier one and survives a restart.

    With its times it says by `given` which they are on the steady clock of this
    boot. Whoever changes the times by hand need not mind that: then it is void.

    `until_utc_s` None means until lifted. Control characters are taken out of
    `reason` and `by`, and both are capped. On a full disk an empty file is
    left, which is an order without an end, and the error says so.

    Raises SwitchError.
    """
    path = directory / INHIBIT_NAME
    order = {
        "reason": _line(reason),
        "by": _line(by),
        "until_utc_s": until_utc_s,
        "since_utc_s": now_utc_s,
        "given": {
            "boot_id": boot(),
            "steady_s": steady(),
            "utc_s": now_utc_s,
            "until_utc_s": until_utc_s,
        },
    }
    content = json.dumps(order).encode() + b"\n"
    try:
        replace_file(path, content, durable=True)
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT) and _create_empty(path):
            raise SwitchError(
                f"no space for {path}: an empty one is left, so load is paused, but without the"
                " reason and the end that were asked for; `optimizer resume` lifts it"
            ) from exc
        raise SwitchError(f"cannot write {path}: {_described(exc)}") from exc


def resume(directory: Path) -> None:
    """Lift the order not to load and all releases, and tell the daemon that this was asked for.

    Raises SwitchError.
    """
    withdraw(directory)
    path = directory / INHIBIT_NAME
    try:
        path.unlink(missing_ok=True)
        sync_directory(directory)
    except OSError as exc:
        raise SwitchError(f"cannot remove {path}: {_described(exc)}") from exc
    mark = directory / RESUMED_NAME
    try:
        # Empty on purpose: a full disk still has room for it.
        replace_file(mark, b"", durable=True)
    except OSError as exc:
        raise SwitchError(
            f"no order is in force any more, but the daemon cannot be told through {mark}:"
            f" {_described(exc)}"
        ) from exc


def _signature(status: os.stat_result) -> _Signature:
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _signature_or_none(path: Path) -> _Signature | None:
    try:
        return _signature(os.lstat(path))
    except OSError:
        return None


def _read(path: Path, status: os.stat_result, boot: str | None) -> _Order:
    """The order in the file, and when it was given; raises OSError when it cannot be read."""
    if not stat.S_ISREG(status.st_mode):
        return _odd("is not a regular file"), None
    flags = os.O_RDONLY
    if sys.platform != "win32":
        # It may have become a pipe or a link since it was looked at.
        flags |= os.O_NONBLOCK | os.O_NOFOLLOW
    with open(os.open(path, flags), "rb") as file:
        content = file.read(CONTENT_LIMIT_BYTES + 1) or b""
    if len(content) > CONTENT_LIMIT_BYTES:
        return _odd(f"is larger than {CONTENT_LIMIT_BYTES} bytes"), None
    order = parse(content)
    return order, _given(content, order, boot)


def _given(content: bytes, order: Inhibit, boot: str | None) -> Given | None:
    """When pause() wrote this order; None for that of another boot, and for times changed since."""
    if boot is None or order.until_utc_s is None or order.since_utc_s is None:
        return None
    given = json.loads(content).get("given")
    if not isinstance(given, dict) or given.get("boot_id") != boot:
        return None
    if (given.get("utc_s"), given.get("until_utc_s")) != (order.since_utc_s, order.until_utc_s):
        return None
    return Given(order.since_utc_s, given.get("steady_s"))


def parse(content: bytes) -> Inhibit:
    """The order that the content of an inhibit file gives; never raises.

    Anything but a JSON object with the right types is an order without an
    end. A missing key counts as not given.
    """
    if not content.strip():
        return _odd("is empty")
    try:
        order = json.loads(content)
    except (ValueError, RecursionError):
        return _odd("is not JSON")
    if not isinstance(order, dict):
        return _odd("is not a JSON object")
    reason, by = order.get("reason", ""), order.get("by", "")
    if not isinstance(reason, str) or not isinstance(by, str):
        return _odd("has a reason or by that is not text")
    try:
        until_utc_s = _time(order.get("until_utc_s"))
        since_utc_s = _time(order.get("since_utc_s"))
    except (TypeError, ValueError):
        return _odd("has a time that is not a number of seconds")
    return Inhibit(
        reason=_line(reason) or "no reason given",
        by=_line(by) or _FILE_MARK,
        until_utc_s=until_utc_s,
        since_utc_s=since_utc_s,
    )


def _time(value: object) -> float | None:
    """Seconds since the epoch; raises TypeError or ValueError unless null or a finite number."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(type(value).__name__)
    try:
        seconds = float(value)
    except OverflowError as exc:
        raise ValueError(str(exc)) from exc
    if not math.isfinite(seconds):
        raise ValueError(str(seconds))
    return seconds


def _odd(what: str) -> Inhibit:
    return Inhibit(reason=f"the {_FILE_MARK} {what}", by=_FILE_MARK, until_utc_s=None)


def _line(text: str) -> str:
    """The text on one line, without characters that steer a terminal, capped in length."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split())[:REASON_LIMIT_CHARS]


def _create_empty(path: Path) -> bool:
    try:
        path.touch(mode=0o644)
    except OSError:
        return False
    return True


def _described(error: OSError) -> str:
    """What went wrong and what to do about it."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        remedy = "there is no such state directory: start the daemon once, or name the right one"
    elif isinstance(error, IsADirectoryError):
        remedy = "remove this directory by hand"
    else:
        remedy = "run this as root or as the user of the daemon"
    return f"{error.strerror or error}; {remedy}"
