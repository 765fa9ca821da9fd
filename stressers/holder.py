"""An open file without a name: its space is free again as soon as it is closed, by whatever."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys

from stressers import kernel

FALLBACK_DIRECTORY = ".cloud-resource-optimizer"
"""Where a file has its name for an instant, on filesystems that know no unnamed files."""
_ATTEMPTS = 8
_UNNAMED_UNKNOWN = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}
"""What open(2) says to O_TMPFILE where filesystem or kernel do not know it."""


def open_unnamed(directory: str) -> tuple[int, bool]:
    """A new file that nobody else can open; whether it never had a name.

    Raises OSError.
    """
    if sys.platform == "win32":
        return _open_temporary(directory), False
    if sys.platform == "linux":
        flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC | os.O_EXCL
        try:
            return os.open(directory, flags, 0o600), True
        except OSError as exc:
            if exc.errno not in _UNNAMED_UNKNOWN:
                raise
    return open_and_unlink(directory), False


def open_and_unlink(directory: str) -> int:
    """The same with a name for an instant, in a directory of our own. Raises OSError."""
    if sys.platform == "win32":
        raise NotImplementedError
    if os.path.basename(directory) == FALLBACK_DIRECTORY:
        directory = os.path.dirname(directory)  # it is one of our own already
    above = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(_ATTEMPTS):
            try:
                return _in_own_directory(above)
            except FileNotFoundError:
                continue  # another stresser has just removed the empty directory
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), directory)
    finally:
        os.close(above)


def _in_own_directory(above: int) -> int:
    if sys.platform == "win32":
        raise NotImplementedError
    with contextlib.suppress(FileExistsError):  # checked below, whoever made it
        os.mkdir(FALLBACK_DIRECTORY, 0o700, dir_fd=above)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    own = os.open(FALLBACK_DIRECTORY, flags, dir_fd=above)
    try:
        found = os.fstat(own)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) != 0o700:
            raise PermissionError(errno.EPERM, "not ours alone", FALLBACK_DIRECTORY)
        name = f"held-{os.urandom(8).hex()}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=own)
        os.unlink(name, dir_fd=own)
    finally:
        os.close(own)
    with contextlib.suppress(OSError):  # another stresser is in it, and removes it
        os.rmdir(FALLBACK_DIRECTORY, dir_fd=above)
    return descriptor


def _open_temporary(directory: str) -> int:
    """Windows deletes the file when its last handle is closed, however the process ends."""
    if sys.platform != "win32":
        raise NotImplementedError
    path = os.path.join(directory, f"cloud-resource-optimizer-{os.urandom(8).hex()}.tmp")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_TEMPORARY | os.O_BINARY | os.O_NOINHERIT
    return os.open(path, flags, 0o600)


def extend(descriptor: int, held: int, by: int) -> None:
    """Take `by` more bytes of space without writing data. Raises OSError."""
    if sys.platform == "win32":
        _set_end(descriptor, held + by)
        return
    while True:
        try:
            kernel.fallocate(descriptor, held, by)
        except InterruptedError:
            continue
        except OSError:
            # A filesystem may have taken a part before it refused the rest.
            os.ftruncate(descriptor, held)
            raise
        return


def cut(descriptor: int, to: int) -> None:
    """Give back all but the first `to` bytes. Raises OSError."""
    if sys.platform == "win32":
        _set_end(descriptor, to)
    else:
        os.ftruncate(descriptor, to)


def _set_end(descriptor: int, size: int) -> None:
    """Set the file's end, which takes space but writes nothing (ftruncate would write zeros).

    Source: SetEndOfFile, fileapi.h.
    """
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415  # only here
        import msvcrt  # noqa: PLC0415  # exists on Windows only

        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        handle = ctypes.c_void_p(msvcrt.get_osfhandle(descriptor))
        moved = kernel32.SetFilePointerEx(handle, ctypes.c_int64(size), None, 0)
        if not moved or not kernel32.SetEndOfFile(handle):
            raise ctypes.WinError(ctypes.get_last_error())
