"""Works in a directory with the rights of whoever rules it, not with root's.

A service user may put a symbolic link where root is about to write. Root that
has taken on the rights of that user can be led only where the user could go.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

if sys.platform != "win32":
    import pwd


class Ruler(NamedTuple):
    """The user and group whose rights count in a directory."""

    uid: int
    gid: int


def ruler(directory: Path) -> Ruler:
    """Who rules it: its owner; where that is root, the first other owner on the way to it.

    Of what does not exist yet, the nearest directory that does. Raises OSError.
    """
    way = Path(os.path.abspath(directory))
    while not way.exists() and way != way.parent:
        way = way.parent
    real = Path(os.path.realpath(way))
    for part in (real, *reversed(way.parents), way, *reversed(real.parents)):
        found = os.lstat(part)
        if found.st_uid:
            return Ruler(found.st_uid, found.st_gid)
    return Ruler(0, 0)


@contextmanager
def rights_of(directory: Path) -> Iterator[None]:
    """Root has only the rights of the directory's ruler meanwhile; others keep their own.

    They count for what is opened or renamed in here, not for what is open
    already, and for all threads. Raises OSError.
    """
    if sys.platform == "win32":
        yield
        return
    if os.geteuid() != 0 or (whose := ruler(directory)).uid == 0:
        yield
        return
    before = os.getegid(), os.getgroups()
    try:
        os.setgroups(_groups(whose))
        os.setegid(whose.gid)
        os.seteuid(whose.uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(before[0])
        os.setgroups(before[1])


if sys.platform == "win32":

    def _groups(_: Ruler) -> list[int]:
        return []

else:

    def _groups(whose: Ruler) -> list[int]:
        try:
            user = pwd.getpwuid(whose.uid)
        except KeyError:
            return [whose.gid]
        return os.getgrouplist(user.pw_name, whose.gid)
