"""One daemon per state directory: a lock that the kernel gives back when its holder dies."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from optimizer.adapters.identity import boot_id, identify
from optimizer.errors import AlreadyRunningError, OptimizerError

if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)

    class _Overlapped(ctypes.Structure):
        """OVERLAPPED: where the locked range begins. Source: minwinbase.h."""

        _fields_ = (
            ("internal", ctypes.c_void_p),
            ("internal_high", ctypes.c_void_p),
            ("offset", wintypes.DWORD),
            ("offset_high", wintypes.DWORD),
            ("event", wintypes.HANDLE),
        )

else:
    import fcntl

_TRIES = 10
"""A look by `holder` takes the lock for some microseconds; that is not another daemon."""
_TRY_PAUSE_S = 0.02
_CONTENT_LIMIT_BYTES = 4096
_BUSY_ERRNOS = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})
"""What flock(2) gives when somebody else has the lock."""
_BUSY_ERRORS = frozenset({33, 997})
"""The same on Windows. Source: winerror.h, ERROR_LOCK_VIOLATION, ERROR_IO_PENDING."""
_FAIL_IMMEDIATELY, _EXCLUSIVE = 1, 2
"""Source: LockFileEx, minwinbase.h."""
_WINDOWS_LOCK_OFFSET = 1 << 30
"""Locks are mandatory on Windows; one far beyond the content leaves that readable."""
_YEAR_9999_S = 253_402_300_800.0
"""First second that datetime cannot show."""
_REMEDY = "run this as root or as the user of the daemon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds the lock; a field is None where the file does not say."""

    pid: int | None
    started_utc_s: float | None
    boot_id: str | None


class InstanceLock:
    """The right to be the only daemon; held from `acquire` to `release` or death.

    Programs started by the holder do not inherit it, for Python closes the
    descriptor on exec. Not for network filesystems. `pause` waits some
    seconds between two tries.
    """

    def __init__(self, path: Path, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._path = path
        self._pause = pause
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, and write into the file who has it.

        Raises AlreadyRunningError when another process holds it, and
        OptimizerError when the file cannot be used.
        """
        if self._descriptor is not None:
            return
        try:
            for attempt in range(_TRIES):
                if attempt:
                    self._pause(_TRY_PAUSE_S)
                descriptor = self._take()
                if descriptor is not None:
                    self._descriptor = descriptor
                    return
            found = _content_at(self._path)
        except OSError as exc:
            raise OptimizerError(
                f"cannot take the instance lock {self._path}: {exc.strerror or exc}; {_REMEDY}"
            ) from exc
        raise AlreadyRunningError(
            f"another daemon runs: {_described(found)} holds {self._path};"
            " stop that one first, or see `optimizer status`"
        )

    def release(self) -> None:
        """Give the lock back and remove the file; nothing happens when it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if sys.platform == "win32":
            # An open file cannot be removed there, nor one that the next holder has open.
            os.close(descriptor)
            _unlink(self._path)
        else:
            # While still held: afterwards it could be the file of the next holder.
            if _is_at(descriptor, self._path):
                _unlink(self._path)
            os.close(descriptor)

    def _take(self) -> int | None:
        """A descriptor that holds the lock; None when somebody else has it. Raises OSError."""
        descriptor = _open(self._path, os.O_RDWR | os.O_CREAT)
        try:
            # The last holder may have removed the file between our open and our lock.
            if _lock(descriptor) and _is_at(descriptor, self._path):
                _write_holder(descriptor)
                taken, descriptor = descriptor, -1
                return taken
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        return None


def holder(path: Path) -> Holder | None:
    """Who holds the lock now; None when it is free. Works without the daemon's help.

    Raises OptimizerError when that cannot be told, for example for want of rights.
    """
    try:
        descriptor = _open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise OptimizerError(
            f"cannot look at the instance lock {path}: {exc.strerror or exc}; {_REMEDY}"
        ) from exc
    try:
        return None if _lock(descriptor, shared=True) else _content(descriptor)
    except OSError as exc:
        raise OptimizerError(f"cannot probe the instance lock {path}: {exc}") from exc
    finally:
        os.close(descriptor)


def _open(path: Path, flags: int) -> int:
    if sys.platform != "win32":
        flags |= os.O_NOFOLLOW
    return os.open(path, flags, 0o644)


if sys.platform == "win32":

    def _lock(descriptor: int, *, shared: bool = False) -> bool:
        """As below; by LockFileEx, for msvcrt.locking knows no shared lock: two looks would meet.

        Source: LockFileEx, fileapi.h.
        """
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(descriptor))
        flags = _FAIL_IMMEDIATELY if shared else _FAIL_IMMEDIATELY | _EXCLUSIVE
        where = _Overlapped(offset=_WINDOWS_LOCK_OFFSET)
        if _kernel32.LockFileEx(handle, flags, 0, 1, 0, ctypes.byref(where)):
            return True
        error = ctypes.get_last_error()
        if error in _BUSY_ERRORS:
            return False
        raise ctypes.WinError(error)

else:

    def _lock(descriptor: int, *, shared: bool = False) -> bool:
        """Lock without waiting; False when somebody else has it. Closing the file unlocks."""
        try:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except OSError as exc:
            if exc.errno in _BUSY_ERRNOS:
                return False
            raise
        return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _write_holder(descriptor: int) -> None:
    who = identify(os.getpid())
    content = json.dumps(
        {
            "pid": os.getpid(),
            "started_utc_s": round(time.time(), 3),
            "boot_id": boot_id(),
            "start": None if who is None else who.start,
            "pidfs": None if who is None else who.pidfs,
        }
    )
    # The lock is what counts: a full disk costs the name of its holder, not the start.
    with suppress(OSError):
        if sys.platform != "win32":
            # Everybody who can reach the file may see who holds it, whatever the umask.
            os.fchmod(descriptor, 0o644)
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, content.encode() + b"\n")


def _content_at(path: Path) -> Holder:
    try:
        descriptor = _open(path, os.O_RDONLY)
    except FileNotFoundError:
        return _parsed(b"")
    try:
        return _content(descriptor)
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> Holder:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return _parsed(os.read(descriptor, _CONTENT_LIMIT_BYTES))


def _parsed(content: bytes) -> Holder:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        fields = {}
    pid, started, boot_id = (fields.get(key) for key in ("pid", "started_utc_s", "boot_id"))
    return Holder(
        pid=pid if isinstance(pid, int) else None,
        started_utc_s=started
        if isinstance(started, float) and 0 <= started < _YEAR_9999_S
        else None,
        boot_id=boot_id if isinstance(boot_id, str) else None,
    )


def _described(found: Holder) -> str:
    who = "a process that has not written its pid yet" if found.pid is None else f"pid {found.pid}"
    if found.started_utc_s is None:
        return who
    since = datetime.fromtimestamp(found.started_utc_s, tz=UTC)
    return f"{who}, started {since:%Y-%m-%d %H:%M:%S} UTC,"


def _unlink(path: Path) -> None:
    try:
        path.unlink()
    except OSError:
        # It is unlocked in any case; a file that stays is taken over by the next holder.
        return
