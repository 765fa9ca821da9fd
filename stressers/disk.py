"""Holds disk space in a file without a name, whose blocks are reserved and never written."""

from __future__ import annotations

import errno
import os
import sys

from stressers import free, holder
from stressers.run import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stressers.board import Board
    from stressers.run import AnyCrew
    from stressers.teller import Teller

STEP = 1 << 30
"""Largest growth between two looks at what is free."""
_RETRY_S = 1.0
"""How long after a refused growth the next one is tried."""
_LATE_S = {"btrfs": 30.0}
"""Filesystems whose free space does not show a growth at once: until their commit interval."""
_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"}
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "glusterfs", "virtiofs"}


class PlaceError(OSError):
    """A directory cannot be held on; the message names it and what to do."""


def check_place(path: str) -> str:
    """The directory without symbolic links. Raises PlaceError when nothing can be held there."""
    place = os.path.realpath(path)
    kind = free.filesystem(place)
    if kind in _IN_MEMORY:
        message = f"{path} is on {kind}, which is memory; give a directory on a disk"
        raise PlaceError(message)
    if kind in _REMOTE or kind.startswith("fuse"):
        message = f"{path} is on {kind}, a remote or user-space filesystem; give a local disk"
        raise PlaceError(message)
    if not os.path.isdir(place):
        message = f"no such directory: {path}; create it or give another one"
        raise PlaceError(message)
    if not os.access(place, os.W_OK | os.X_OK):
        message = f"not writable for this user: {path}; give another directory or its owner"
        raise PlaceError(message)
    if sys.platform not in {"linux", "win32"}:
        message = f"{sys.platform} cannot reserve space without writing it; hold on another host"
        raise PlaceError(message)
    return place


class Disk(Work):
    """One process, no workers.

    The file is open only while something is held, so that nothing prevents an
    unmount when nothing is. `open_file` returns a descriptor and whether the
    file never had a name.
    """

    def __init__(
        self,
        place: str,
        join: Callable[[Board], AnyCrew],
        teller: Teller,
        *,
        room: Callable[[int | str], int] = free.disk_room,
        open_file: Callable[[str], tuple[int, bool]] = holder.open_unnamed,
    ) -> None:
        super().__init__(0, join)
        self.place = self._directory = place
        self._teller = teller
        self._room = room
        self._open_file = open_file
        self._filesystem = free.filesystem(place)
        self._device = os.stat(place).st_dev
        self._block = _block_bytes(place)
        self._late_s = _LATE_S.get(self._filesystem, 0.0)
        self._late: list[tuple[float, int]] = []
        self._file: int | None = None
        self._ledger = 0
        self._told = 0
        self._limited: str | None = None
        self._retry_s = 0.0

    @property
    def held_bytes(self) -> int:
        """What is held, growth that has begun included."""
        return self._ledger

    def obey(self, value: float, expires_s: float, now_s: float) -> float:
        """Shrink at once, or grow by one step."""
        pause_s = super().obey(value, expires_s, now_s)
        wanted = int(value) // self._block * self._block
        if wanted < self._ledger:
            self._shrink(wanted)
        elif wanted == self._ledger:
            self._limited = None
        elif now_s < self._retry_s:
            pause_s = min(pause_s, self._retry_s - now_s)
        else:
            try:
                pause_s = self._grow(wanted, now_s)
            except OSError as exc:
                self._give_up(exc, now_s)
        if self._ledger != self._told and self._teller.held(self._ledger):
            self._told = self._ledger
        return pause_s

    def _shrink(self, wanted: int) -> None:
        if self._file is None:
            return
        if wanted > 0:
            holder.cut(self._file, wanted)
        else:
            os.close(self._file)  # the file has no name: this frees it
            self._file = None
        self._ledger = wanted

    def _grow(self, wanted: int, now_s: float) -> float:
        """One step; seconds until the next. Raises OSError."""
        if self._file is None:
            if os.stat(self._directory).st_dev != self._device:
                # After an unmount the same path leads to the filesystem below.
                self._limit("moved", now_s)
                return _RETRY_S
            self._file, _ = self._open_file(self._directory)
        where = self._directory if sys.platform == "win32" else self._file
        self._late = [(s, size) for s, size in self._late if now_s - s < self._late_s]
        room = self._room(where) - sum(size for _, size in self._late)
        step = min(STEP, wanted - self._ledger, room)
        step = step // self._block * self._block
        if step <= 0:
            self._limit("floor", now_s)
            self._close_if_empty()
            return _RETRY_S
        if not self._teller.held(self._ledger + step):
            return _RETRY_S
        self._told = self._ledger + step
        holder.extend(self._file, self._ledger, step)
        self._ledger += step
        if self._late_s:
            self._late.append((now_s, step))
        return 0.0

    def _give_up(self, exc: OSError, now_s: float) -> None:
        self._close_if_empty()
        if exc.errno == errno.EOPNOTSUPP:
            message = f"{self._filesystem} at {self.place} cannot reserve space without writing it"
            raise PlaceError(message) from exc
        self._limit(errno.errorcode.get(exc.errno or 0, str(exc)).lower(), now_s)

    def _close_if_empty(self) -> None:
        if self._ledger == 0:
            self._shrink(0)

    def _limit(self, by: str, now_s: float) -> None:
        self._retry_s = now_s + _RETRY_S
        if by != self._limited and self._teller.limited(by, self._ledger):
            self._limited = by

    def close(self) -> None:
        """Give everything back."""
        self._shrink(0)
        super().close()
        self._teller.held(self._ledger)


def _block_bytes(place: str) -> int:
    """What a filesystem gives out at a time; on Windows the default cluster of NTFS."""
    if sys.platform == "win32":
        return 4096
    return os.statvfs(place).f_frsize
