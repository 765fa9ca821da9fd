"""Which process a pid means: identity that a recycled pid does not have, and safe signals.

A pid is used again; a start time in clock ticks hardly, and the inode of a
pidfd (Linux 6.9 and later) never within one boot. A pidfd that was opened
before the identity was checked means that very process for good.
"""

from __future__ import annotations

import functools
import os
import select
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_DEAD = frozenset("ZX")
"""A process that has ended and only waits to be reaped. Source: proc(5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One process for good.

    `start` is its start time: clock ticks since boot on Linux, elsewhere
    microseconds since the epoch. `pidfs` is the inode of a pidfd of it, None
    where that means nothing.
    """

    pid: int
    start: int
    pidfs: int | None = None


def identify(pid: int, *, parent: int | None = None) -> Identity | None:
    """Who has this pid now; None when nobody has, or not a child of `parent` if that is given."""
    return _identify(pid, parent)


def runs(identity: Identity) -> bool:
    """Whether that very process still runs; one that only waits to be reaped does not."""
    found = _identify(identity.pid, None)
    return found is not None and found.start == identity.start and _may_be(found.pidfs, identity)


def kill(identity: Identity) -> bool:
    """End that very process, by pidfd where there is one; False when it has ended or is denied.

    Without pidfds its start time is checked just before the signal.
    """
    return _kill(identity)


def state(pid: int) -> str:
    """One letter, "D" for deaf to signals; empty where it is not told. Source: proc(5)."""
    found = stat_of(pid) if sys.platform == "linux" else None
    return "" if found is None else found.state


def boot_id() -> str | None:
    """Linux's name for this boot; None elsewhere. Source: random(4)."""
    if sys.platform != "linux":
        return None
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return None


def _may_be(pidfs: int | None, identity: Identity) -> bool:
    """Whether an inode speaks against that process; one that is not known does not."""
    return None in {pidfs, identity.pidfs} or pidfs == identity.pidfs


class Stat(NamedTuple):
    """A line of /proc/PID/stat: name, state, parent, and start in clock ticks since boot."""

    name: str
    state: str
    parent: int
    start: int


def stat_of(pid: int) -> Stat | None:
    """What the kernel says of a process; None when there is none, and where there is no /proc.

    Source: proc(5), /proc/pid/stat, fields 2, 3, 4, 22.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    head, _, tail = text.rpartition(") ")  # the name may have brackets and blanks
    fields, name = tail.split(), head.partition("(")[2]
    return Stat(name, fields[0], int(fields[1]), int(fields[19])) if len(fields) > 19 else None


if sys.platform == "linux":

    def _identify(pid: int, parent: int | None) -> Identity | None:
        descriptor = _open(pid)
        try:
            found = stat_of(pid)
            if found is None or found.state in _DEAD or parent not in {None, found.parent}:
                return None
            if descriptor is not None and _ended(descriptor):
                return None  # what was read may be of the next one with that pid
            return Identity(pid=pid, start=found.start, pidfs=_inode(descriptor))
        finally:
            _close(descriptor)

    def _kill(identity: Identity) -> bool:
        descriptor = _open(identity.pid)
        try:
            found = stat_of(identity.pid)
            if found is None or found.start != identity.start:
                return False
            if descriptor is None:
                os.kill(identity.pid, signal.SIGKILL)
                return True
            # Still alive, so what was read is its own.
            if not _may_be(_inode(descriptor), identity) or _ended(descriptor):
                return False
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except OSError:
            return False
        finally:
            _close(descriptor)
        return True

    def _open(pid: int) -> int | None:
        """A pidfd; None where there is none to be had."""
        try:
            return os.pidfd_open(pid)
        except OSError:
            return None

    def _close(descriptor: int | None) -> None:
        if descriptor is not None:
            os.close(descriptor)

    def _ended(descriptor: int) -> bool:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))

    def _inode(descriptor: int | None) -> int | None:
        """What tells this process from all others of this boot; None where nothing does."""
        if descriptor is None or not _has_pidfs():
            return None
        return os.fstat(descriptor).st_ino

    @functools.cache
    def _has_pidfs() -> bool:
        """Whether pidfds have inodes of their own: before Linux 6.9 they share one with others."""
        descriptor = _open(os.getpid())
        if descriptor is None:
            return False
        try:
            with select.epoll() as other:
                shared = os.fstat(other.fileno())
            return os.fstat(descriptor).st_dev != shared.st_dev
        finally:
            os.close(descriptor)

else:
    from contextlib import suppress

    import psutil

    def _identify(pid: int, parent: int | None) -> Identity | None:
        try:
            process = psutil.Process(pid)
            if parent is not None and process.ppid() != parent:
                return None
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return Identity(pid=pid, start=round(process.create_time() * 1e6))
        except psutil.Error:
            return None

    def _kill(identity: Identity) -> bool:
        if not runs(identity):
            return False
        with suppress(psutil.Error):
            psutil.Process(identity.pid).kill()
            return True
        return False
