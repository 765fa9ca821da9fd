"""A directory opened without following links, and files in it by its descriptor alone."""

from __future__ import annotations

import errno
import os
import stat
import sys

from recover.kernel import DIRECTORY_FLAGS, open_directory, own_user

MOST_BYTES = 1 << 20
"""A larger lock, roster or order is not read."""
_MOST_LINKS = 8
_OTHERS_MAY_WRITE = 0o022
_REPARSE_POINT = 0x400
"""FILE_ATTRIBUTE_REPARSE_POINT: a link or a junction. Source: winnt.h."""
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_PATH_ONLY = getattr(os, "O_PATH", os.O_RDONLY | _NO_WAIT)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class RefusedError(Exception):
    """Something is not as ours would be; the message says what."""


class Folder:
    """An open directory; what is done by its names stays in it, wherever its path leads by then.

    On Windows, where there are no such descriptors, names are joined to the path.
    Raises OSError when there is none, RefusedError when a link is on the way
    that somebody else could have put there.
    """

    def __init__(self, path: str, descriptor: int | None, status: os.stat_result) -> None:
        self.path = path
        self.descriptor = descriptor
        self.uid = status.st_uid
        self.mode = stat.S_IMODE(status.st_mode)

    def __enter__(self) -> Folder:  # noqa: PYI034 - typing.Self is newer than 3.7
        return self

    def __exit__(self, *_: object) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)

    def below(self, name: str) -> Folder:
        """A directory in this one. Raises OSError and RefusedError."""
        path = os.path.join(self.path, name)
        if self.descriptor is None:
            return open_folder(path)
        try:
            descriptor = os.open(name, DIRECTORY_FLAGS, dir_fd=self.descriptor)
        except OSError as exc:
            raise _refused(exc) from exc
        return Folder(path, descriptor, os.fstat(descriptor))

    def names(self) -> list[str]:
        """What is in it. Raises OSError."""
        return sorted(os.listdir(self.path if self.descriptor is None else self.descriptor))

    def look(self, name: str) -> os.stat_result | None:
        """What has that name, links not followed; None when nothing has. Raises OSError."""
        try:
            return os.stat(self._at(name), dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def fault(self, name: str) -> str:
        """Why that file cannot be ours; empty when it can be, or is gone."""
        if sys.platform != "win32" and self.mode & _OTHERS_MAY_WRITE:
            return f"others may write to {self.path} (mode {self.mode:o})"
        try:
            status = self.look(name)
        except OSError as exc:
            return exc.strerror or str(exc)
        return "" if status is None else self.fault_of(status)

    def fault_of(self, status: os.stat_result) -> str:
        """Why a file that is this cannot be ours; empty when it can be."""
        if not stat.S_ISREG(status.st_mode):
            return f"is {_kind(status.st_mode)}, not a regular file"
        if status.st_nlink > 1:
            return f"has {status.st_nlink} names (hard links)"
        if status.st_uid != self.uid:
            return f"belongs to user {status.st_uid}, the directory to user {self.uid}"
        return ""

    def open(self, name: str) -> int:
        """A descriptor to read a regular file. Raises OSError and RefusedError."""
        status = self.look(name)
        if status is not None and not stat.S_ISREG(status.st_mode):
            raise RefusedError(f"is {_kind(status.st_mode)}, not a regular file")
        flags = os.O_RDONLY | _NO_FOLLOW | _NO_WAIT
        descriptor = os.open(self._at(name), flags, dir_fd=self.descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise RefusedError("is not a regular file")
        return descriptor

    def read(self, name: str) -> bytes:
        """The beginning of a regular file. Raises OSError and RefusedError."""
        with open(self.open(name), "rb") as file:
            return file.read(MOST_BYTES)

    def read_ours(self, name: str) -> tuple[bytes, os.stat_result]:
        """The beginning of a file that can be ours, and what it is: of the very file that was read.

        A name may mean another file a moment later. Raises OSError and RefusedError.
        """
        fault = self.fault(name)
        if fault:
            raise RefusedError(fault)
        with open(self.open(name), "rb") as file:
            status = os.fstat(file.fileno())
            fault = self.fault_of(status)
            if fault:
                raise RefusedError(fault)
            return file.read(MOST_BYTES), status

    def remove(self, name: str) -> bool:
        """Remove a file that can only be ours; whether there was one.

        It is looked at twice, by name and by descriptor, and both must mean
        the same file. Raises OSError, and RefusedError when it is not ours.
        """
        fault = self.fault(name)
        if fault:
            raise RefusedError(fault)
        by_name = self.look(name)
        if by_name is None:
            return False
        try:
            flags = _PATH_ONLY | _NO_FOLLOW
            descriptor = os.open(self._at(name), flags, dir_fd=self.descriptor)
        except FileNotFoundError:
            return False
        try:
            by_descriptor = os.fstat(descriptor)
        finally:
            os.close(descriptor)  # at once: Windows removes no open file
        fault = self.fault_of(by_descriptor)
        if fault or not os.path.samestat(by_name, by_descriptor):
            raise RefusedError(fault or "was exchanged while it was looked at")
        os.unlink(self._at(name), dir_fd=self.descriptor)
        return True

    def remove_name(self, name: str) -> bool:
        """Remove whatever has the name but a directory; whether there was something.

        A link is removed, not what it leads to. Raises OSError.
        """
        try:
            os.unlink(self._at(name), dir_fd=self.descriptor)
        except FileNotFoundError:
            return False
        return True

    def remove_directory(self, name: str) -> bool:
        """Remove an empty directory; whether there was one. Raises OSError."""
        try:
            os.rmdir(self._at(name), dir_fd=self.descriptor)
        except FileNotFoundError:
            return False
        return True

    def write(self, name: str, content: bytes) -> None:
        """Make that the content of the file, as a whole or not at all. Raises OSError.

        Whatever has the name, a link too, is replaced and not followed.
        """
        new = f".{name}.{os.urandom(8).hex()}.tmp"
        descriptor = self._create(new)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            here = self.descriptor
            os.replace(self._at(new), self._at(name), src_dir_fd=here, dst_dir_fd=here)
        except OSError:
            self.remove_name(new)
            raise
        if self.descriptor is not None:
            os.fsync(self.descriptor)

    def touch(self, name: str) -> None:
        """Make an empty file, which a full disk still has room for. Raises OSError."""
        os.close(self._create(name))

    def _create(self, name: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | getattr(os, "O_BINARY", 0)
        descriptor = os.open(self._at(name), flags, 0o644, dir_fd=self.descriptor)
        if sys.platform != "win32":
            os.fchmod(descriptor, 0o644)  # the daemon must be able to read it, whatever our umask
        return descriptor

    def _at(self, name: str) -> str:
        return os.path.join(self.path, name) if self.descriptor is None else name


def open_folder(path: str) -> Folder:
    """The directory at an absolute path; see Folder. Raises OSError and RefusedError."""
    if sys.platform == "win32":
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_file_attributes & _REPARSE_POINT:
            raise RefusedError("is no directory, or a link to one")
        return Folder(path, None, status)
    try:
        descriptor = open_directory(_trusted(path))
    except OSError as exc:
        raise _refused(exc) from exc
    return Folder(path, descriptor, os.fstat(descriptor))


def _refused(error: OSError) -> Exception:
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return RefusedError("is no directory, or a symbolic link is on the way")
    return error


def _trusted(path: str) -> str:
    """The path with those links resolved that only root or we can have put there.

    Raises RefusedError for any other.
    """
    left, found = [part for part in path.split("/") if part not in {"", "."}], "/"
    links = 0
    while left:
        part = left.pop(0)
        here = os.path.normpath(os.path.join(found, part))
        try:
            status = os.lstat(here)
        except OSError:
            return os.path.join(here, *left)  # said when it is opened
        if not stat.S_ISLNK(status.st_mode):
            found = here
            continue
        links += 1
        above = os.lstat(found)
        if (
            links > _MOST_LINKS
            or not {status.st_uid, above.st_uid} <= {0, own_user()}
            or above.st_mode & _OTHERS_MAY_WRITE
        ):
            raise RefusedError(
                f"{here} is a symbolic link that user {status.st_uid} made, so it is not "
                "followed; name the directory that it leads to"
            )
        target = os.readlink(here)
        left = [word for word in target.split("/") if word not in {"", "."}] + left
        found = "/" if target.startswith("/") else found
    return found


def _kind(mode: int) -> str:
    for test, word in (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if test(mode):
            return word
    return "a device"
