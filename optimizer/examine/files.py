"""Looks whether our directories can be written to, by writing a file without a name."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

from optimizer.examine import processes
from optimizer.examine.subject import Subject
from optimizer.report.doctor import Finding
from optimizer.report.doctor_files import Directory, files

_BLOCK = bytes(4096)


def examine_files(subject: Subject) -> list[Finding]:
    """State, runtime and log directory."""
    user = _user(subject)
    places = subject.directories
    pairs = (("state", places.state), ("runtime", places.runtime), ("log", places.log))
    return files(tuple(look(word, path, user) for word, path in pairs))


def _user(subject: Subject) -> int | None:
    """The user of the daemon: who runs it, else who owns its files; None: nobody yet."""
    found = [subject.directories.state]
    if subject.pid is not None:
        found.insert(0, processes.PROC / str(subject.pid))
    for path in found:
        with contextlib.suppress(OSError):
            return path.stat().st_uid
    return None


def look(word: str, path: Path, user: int | None = None) -> Directory:
    """One directory; `user` is that of the daemon, None where there is none yet."""
    facts = Directory(word=word, path=str(path), exists=True)
    try:
        status = path.stat()
    except OSError as exc:
        above = next((one for one in path.parents if os.path.exists(one)), Path("/"))
        makeable = isinstance(exc, FileNotFoundError) and os.access(above, os.W_OK | os.X_OK)
        error = f"{above} cannot be written to by this user"
        return replace(facts, exists=False, makeable=makeable, error=error)
    if not stat.S_ISDIR(status.st_mode):
        return replace(facts, error="it is not a directory")
    if sys.platform == "win32":
        may = os.access(path, os.W_OK)
        return replace(facts, error=None if may else "this user may not write there")
    space = os.statvfs(path)
    ours = user in {None, os.geteuid()} or os.geteuid() == 0
    facts = replace(
        facts,
        user=_name(status.st_uid if user is None else user),
        ours=ours,
        read_only=bool(space.f_flag & os.ST_RDONLY),
        open_to_all=bool(status.st_mode & stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX,
        # What the daemon itself can take: root also takes what is reserved for it.
        free_bytes=(space.f_bfree if user == 0 else space.f_bavail) * space.f_frsize,
        free_inodes=space.f_favail if space.f_files else None,
    )
    code = _try_to_write(path)
    if code is None:
        return facts
    return replace(
        facts,
        error=os.strerror(code).lower(),
        full=code in {errno.ENOSPC, errno.EDQUOT},
        read_only=facts.read_only or code == errno.EROFS,
    )


def _try_to_write(path: Path) -> int | None:
    """Why a block cannot be written there: an errno; None when it can. Leaves nothing.

    Where there are no files without a name, only the rights are looked at.
    """
    if sys.platform == "linux":
        try:
            descriptor = os.open(path, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC | os.O_EXCL, 0o600)
        except OSError as exc:
            if exc.errno not in {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}:
                return exc.errno
        else:
            try:
                return None if os.write(descriptor, _BLOCK) == len(_BLOCK) else errno.ENOSPC
            except OSError as exc:
                return exc.errno
            finally:
                os.close(descriptor)
    return None if os.access(path, os.W_OK | os.X_OK) else errno.EACCES


def _name(uid: int) -> str:
    if sys.platform != "win32":
        import pwd  # noqa: PLC0415 - does not exist on Windows

        with contextlib.suppress(KeyError):
            return pwd.getpwuid(uid).pw_name
    return f"user {uid}"
