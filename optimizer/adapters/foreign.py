"""Works in a directory with the rights of whoever rules it, not with root's.

A service user may put a symbolic link where root is about to write. Root that
has taken on the rights of that user can be led only where the user could go.
"""

from __future__ import annotations

import codecs
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

if sys.platform != "win32":
    import pwd

_CODECS = ("ascii", "latin-1", "utf-8")
"""Python imports them when they are first used, which may be where it cannot read itself."""


class Ruler(NamedTuple):
    """The user and group whose rights count in a directory."""

    uid: int
    gid: int


def ruler(directory: Path) -> Ruler:
    """Who rules it: its owner, or whoever made a symbolic link on the way to it and is not root.

    Of what does not exist yet, the nearest directory that does. Raises OSError.
    """
    way = Path(os.path.abspath(directory))
    while not way.exists() and way != way.parent:
        way = way.parent
    for part in (*reversed(way.parents), way):
        found = os.lstat(part)
        if found.st_uid and stat.S_ISLNK(found.st_mode):
            return Ruler(found.st_uid, found.st_gid)
    found = os.stat(way)
    return Ruler(found.st_uid, found.st_gid)


@contextmanager
def rights_of(directory: Path) -> Iterator[None]:
    """Root has only the rights of the directory's ruler meanwhile; others keep their own.

    They count for what is opened or renamed in here, not for what is open
    already, and for all threads. A module that is imported in here may not be
    found. Raises OSError.
    """
    if sys.platform == "win32":
        yield
        return
    if os.geteuid() != 0 or (whose := ruler(directory)).uid == 0:
        yield
        return
    with _being(whose, _groups(whose)):
        yield


@contextmanager
def own_rights() -> Iterator[None]:
    """Root that has taken on the rights of another has its own meanwhile. Raises OSError."""
    if sys.platform == "win32":
        yield
        return
    if os.getuid() != 0 or os.geteuid() == 0:
        yield
        return
    with _being(Ruler(0, os.getgid()), [os.getgid()]):
        yield


if sys.platform == "win32":

    def _being(_who: Ruler, _groups: list[int]) -> AbstractContextManager[None]:
        return nullcontext()

    def _groups(_: Ruler) -> list[int]:
        return []

else:

    @contextmanager
    def _being(who: Ruler, groups: list[int]) -> Iterator[None]:
        for name in _CODECS:
            codecs.lookup(name)
        before = Ruler(os.geteuid(), os.getegid()), os.getgroups()
        try:
            _become(who, groups)
            yield
        finally:
            _become(*before)

    def _become(who: Ruler, groups: list[int]) -> None:
        os.seteuid(0)
        os.setgroups(groups)
        os.setegid(who.gid)
        os.seteuid(who.uid)

    def _groups(whose: Ruler) -> list[int]:
        try:
            user = pwd.getpwuid(whose.uid)
        except KeyError:
            return [whose.gid]
        return os.getgrouplist(user.pw_name, whose.gid)
