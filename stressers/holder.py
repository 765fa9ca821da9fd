"""An open file without a name: its space is free again as soon as it is closed, by whatever."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys

from stressers import kernel, windows

FALLBACK_DIRECTORY = ".cloud-resource-optimizer"
"""Where a file has its name for an instant, on filesystems that know no unnamed files."""
_PREFIX = "cloud-resource-optimizer-"
"""How the names of files begin that Windows removes with their last handle."""
_LEFT = re.compile(r"cloud-resource-optimizer-[0-9a-f]{16}\.tmp")
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
    import msvcrt  # noqa: PLC0415  # exists on Windows only

    calls = windows.system()
    sweep(directory)
    handle = calls.create(os.path.join(directory, f"{_PREFIX}{os.urandom(8).hex()}.tmp"))
    try:
        return msvcrt.open_osfhandle(handle, os.O_BINARY | os.O_NOINHERIT)
    except OSError:
        calls.close(handle)
        raise


def sweep(directory: str) -> list[str]:
    """Remove what a power loss has left of files of _open_temporary(); the names.

    Only what has such a name and is empty, as ours are whatever they hold; one
    that is in use cannot be removed.
    """
    found = []
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            try:
                if not _LEFT.fullmatch(entry.name) or entry.is_symlink():
                    continue
                if not entry.is_file() or entry.stat(follow_symlinks=False).st_size:
                    continue
                os.unlink(entry.path)
            except OSError:
                continue  # in use by another stresser
            found.append(entry.name)
    return found


def extend(descriptor: int, held: int, by: int) -> None:
    """Take `by` more bytes of space without writing data. Raises OSError."""
    if sys.platform == "win32":
        set_space(windows.system(), _handle(descriptor), held, held + by)
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
        windows.system().allocate(_handle(descriptor), to)
    else:
        os.ftruncate(descriptor, to)


def set_space(calls: windows.Windows, handle: int, held: int, size: int) -> None:
    """Let a file of `held` bytes have `size`. Raises OSError, and then it has what it had.

    EOPNOTSUPP where the filesystem says that it does and does not.
    """
    calls.allocate(handle, size)
    if calls.allocated(handle) < size:
        calls.allocate(handle, held)
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def _handle(descriptor: int) -> int:
    if sys.platform != "win32":
        raise NotImplementedError
    import msvcrt  # noqa: PLC0415  # exists on Windows only

    return msvcrt.get_osfhandle(descriptor)
