"""Directories of the daemon's user on data disks whose top is not his to write in."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

NAME = ".cloud-resource-optimizer"
"""The same as in stressers/holder.py and recover/homes.py."""
_MODE = 0o700


def place_on(mount: str) -> str:
    """Where space is held on a filesystem: at its top, or in our directory where only that is ours.

    Only for local filesystems: on others this can hang.
    """
    if sys.platform == "win32" or os.access(mount, os.W_OK | os.X_OK):
        return mount
    own = os.path.join(mount, NAME)
    try:
        found = os.lstat(own)
    except OSError:
        return mount
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return own if ours and stat.S_IMODE(found.st_mode) == _MODE else mount


def make(mount: str, uid: int, gid: int) -> bool:
    """Make the directory of that user on a filesystem; whether it was not there yet.

    Root's alone: no link is followed, and what belongs to somebody else is
    refused. So is a directory of root's with something in it: who owns the top
    may have given it this name. Raises OSError.
    """
    if sys.platform == "win32":
        return False
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    top = os.open(mount, flags)
    try:
        made = _made(top)
        own = os.open(NAME, flags, dir_fd=top)
        try:
            found = os.fstat(own)
            if found.st_dev != os.fstat(top).st_dev or found.st_uid not in {0, uid}:
                raise PermissionError(1, f"is user {found.st_uid}'s; remove it", f"{mount}/{NAME}")
            if found.st_uid == 0 != uid and os.listdir(own):
                raise PermissionError(1, "is root's and not empty; remove it", f"{mount}/{NAME}")
            right = (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (uid, gid, _MODE)
            if not right:
                os.fchown(own, uid, gid)
                os.fchmod(own, _MODE)
        finally:
            os.close(own)
    finally:
        os.close(top)
    return made or not right


def _made(top: int) -> bool:
    try:
        os.mkdir(NAME, _MODE, dir_fd=top)
    except FileExistsError:
        return False
    return True


def remove(mount: str, uids: frozenset[int]) -> bool:
    """Remove the directory if it is empty and of one of those users; whether it was there.

    Raises OSError.
    """
    path = Path(mount) / NAME
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in uids:
        return False
    path.rmdir()
    return True
