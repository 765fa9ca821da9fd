"""Files of an installation: changed only where they differ, and each change is told."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from optimizer.atomic import replace_file

if sys.platform != "win32":
    import grp
    import pwd


class PlacedFiles:
    """Places files below `root`, which is / but in tests and packages.

    What is as it should be is left alone, so that a second run changes
    nothing and one that was killed is completed by the next. `changed` tells
    whether anything was.
    """

    def __init__(self, root: Path, tell: Callable[[str], None]) -> None:
        self.root = root
        self.changed = False
        self._tell = tell

    def at(self, path: Path) -> Path:
        """Where a path of the system is below the root."""
        return self.root / path.relative_to("/")

    def note(self, what: str) -> None:
        """Tell of a change."""
        self.changed = True
        self._tell(what)

    def put(self, path: Path, content: bytes, *, mode: int = 0o644, group: str = "root") -> bool:
        """A file with this content, mode and group, of root; whether it differed. Raises OSError.

        A group that there is not counts as root's.
        """
        place, gid = self.at(path), self._gid(group)
        if _is_file(place) and place.read_bytes() == content:
            return self._own(place, path, mode, gid)
        place.parent.mkdir(parents=True, exist_ok=True)
        replace_file(place, content, durable=True, mode=mode if gid == 0 else mode & ~0o077)
        self._own(place, None, mode, gid)
        self.note(f"changed: {path}")
        return True

    def owned(self, path: Path, *, mode: int, group: str) -> bool:
        """An existing file with this mode and group, of root; whether it differed."""
        return self._own(self.at(path), path, mode, self._gid(group))

    def directory(self, path: Path, mode: int) -> None:
        """A directory; one that is there keeps its mode. Raises OSError."""
        place = self.at(path)
        if not place.is_dir():
            place.mkdir(parents=True)
            place.chmod(mode)
            self.note(f"changed: {path}")

    def link(self, path: Path, target: Path) -> None:
        """A symbolic link; a file that is no link stays, with a word. Raises OSError."""
        place = self.at(path)
        if place.is_symlink() and place.readlink() == target:
            return
        if os.path.lexists(place) and not place.is_symlink():
            self._tell(f"note: {path} is not ours and stays; the program is {target}")
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{place.name}.{os.getpid()}")
        beside.unlink(missing_ok=True)
        beside.symlink_to(target)
        beside.replace(place)
        self.note(f"changed: {path}")

    def remove(self, path: Path) -> bool:
        """No such file or link; whether there was one. Raises OSError."""
        place = self.at(path)
        if not os.path.lexists(place):
            return False
        place.unlink()
        self.note(f"removed: {path}")
        return True

    def remove_tree(self, path: Path) -> None:
        """No such directory; links in it are not followed, and something mounted in it is refused.

        Raises OSError.
        """
        place = self.at(path)
        if place.is_dir() and not place.is_symlink():
            mounted = _mounted_in(place)
            if mounted is not None:
                raise OSError(errno.EBUSY, "would be emptied too; unmount it first", mounted)
            shutil.rmtree(place)
            self.note(f"removed: {path}")

    def remove_empty(self, path: Path) -> None:
        """No such directory, if it is empty."""
        place = self.at(path)
        try:
            place.rmdir()
        except OSError:
            return
        self.note(f"removed: {path}")

    def _own(self, place: Path, told: Path | None, mode: int, gid: int) -> bool:
        found = place.lstat()
        differs = stat.S_IMODE(found.st_mode) != mode
        if sys.platform != "win32" and os.geteuid() == 0:
            if (found.st_uid, found.st_gid) != (0, gid):
                os.chown(place, 0, gid, follow_symlinks=False)
                differs = True
        if differs:
            place.chmod(mode)
            if told is not None:
                self.note(f"changed: {told} (mode and owner)")
        return differs and told is not None

    @staticmethod
    def _gid(group: str) -> int:
        found = _group(group)
        return 0 if found is None else found


if sys.platform == "win32":

    def ids_of(user: str) -> tuple[int, int] | None:  # noqa: ARG001 - as on other systems
        """No user has such an id here."""
        return None

    def _group(_: str) -> int | None:
        return None

else:

    def ids_of(user: str) -> tuple[int, int] | None:
        """User and group id of a user, None where there is none."""
        try:
            found = pwd.getpwnam(user)
        except KeyError:
            return None
        return found.pw_uid, found.pw_gid

    def _group(name: str) -> int | None:
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            return None


def others_may_change(path: Path) -> Path | None:
    """The first part of a path that somebody else than root may change; None if nobody can.

    What root runs must not be such a place. Raises OSError.
    """
    for part in (path, *path.parents):
        found = part.stat()
        open_to_all = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
        if found.st_uid != 0 or open_to_all:
            return part
    return None


def _mounted_in(folder: Path) -> str | None:
    above = folder.resolve()
    points = (part.mountpoint for part in psutil.disk_partitions(all=True))
    return next((point for point in points if above in Path(point).parents), None)


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
