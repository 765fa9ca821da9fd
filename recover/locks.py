"""The lock of a daemon: whether somebody holds it, and taking it so that none starts."""

from __future__ import annotations

import errno
import os
import struct
import sys

from recover.folder import Folder

LOCK = "lock"
_BUSY = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_WINDOWS_LOCK_OFFSET = 1 << 30
_BUSY_ERRORS = {33, 997}
_FAIL_IMMEDIATELY = 1
"""As optimizer/adapters/instance_lock.py has them."""
_RECORD = "hhqqi4x"
"""struct flock of Linux with 64-bit offsets: type, whence, start, length, pid."""


def probe_lock(folder: Folder) -> tuple[bool | None, os.stat_result]:
    """Whether somebody holds the lock, None when that cannot be told; and the file.

    Raises OSError.
    """
    if sys.platform == "win32":
        return _probe_on_windows(os.path.join(folder.path, LOCK))
    import fcntl

    descriptor = folder.open(LOCK)
    try:
        status = os.fstat(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return _has_record_lock(descriptor), status
        except OSError as exc:
            return (True if exc.errno in _BUSY else None), status
    finally:
        os.close(descriptor)


def _has_record_lock(descriptor: int) -> bool:
    """Whether somebody holds any part of the file by fcntl(2), which flock does not see.

    Only Linux has two kinds of locks that know nothing of each other. Source:
    flock(2). Raises OSError.
    """
    if sys.platform != "linux":
        return False
    import fcntl

    asked = struct.pack(_RECORD, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
    return bool(struct.unpack(_RECORD, answer)[0] != fcntl.F_UNLCK)


def _probe_on_windows(path: str) -> tuple[bool | None, os.stat_result]:
    """The same: the daemon has locked one byte far beyond the end."""
    if sys.platform != "win32":
        raise NotImplementedError
    import ctypes
    import msvcrt
    from ctypes import wintypes

    class Overlapped(ctypes.Structure):
        _fields_ = (
            ("internal", ctypes.c_void_p),
            ("internal_high", ctypes.c_void_p),
            ("offset", wintypes.DWORD),
            ("offset_high", wintypes.DWORD),
            ("event", wintypes.HANDLE),
        )

    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_BINARY)
    try:
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(descriptor))
        where = Overlapped(offset=_WINDOWS_LOCK_OFFSET)
        # Shared: two that look at the same time do not take each other for the daemon.
        if kernel32.LockFileEx(handle, _FAIL_IMMEDIATELY, 0, 1, 0, ctypes.byref(where)):
            return False, os.fstat(descriptor)
        held = True if ctypes.get_last_error() in _BUSY_ERRORS else None
        return held, os.fstat(descriptor)
    finally:
        os.close(descriptor)


def take_lock(folder: Folder) -> int | None:
    """The lock, held until the descriptor is closed; -1 when there is none; None when denied."""
    if sys.platform == "win32":
        return -1  # an open file cannot be removed there
    import fcntl

    try:
        descriptor = folder.open(LOCK)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        at_name = None if _has_record_lock(descriptor) else folder.look(LOCK)
    except OSError:
        at_name = None
    # A daemon may have removed the file meanwhile, and the next one made its own.
    if at_name is None or not os.path.samestat(at_name, os.fstat(descriptor)):
        os.close(descriptor)
        return None
    return descriptor
