"""Holds disk space in a file without a name, whose blocks are reserved and never written."""

from __future__ import annotations

import errno
import os
import sys

from stressers import free, holder
from stressers.lookout import UNREADABLE_S, Lookout
from stressers.place import PlaceError
from stressers.run import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stressers.board import Board
    from stressers.btrfs import Btrfs
    from stressers.run import AnyCrew
    from stressers.teller import Teller

STEP = 1 << 30
"""Largest growth between two looks at what is free."""
_RETRY_S = 1.0
"""How long after a refused growth the next one is tried."""
_SYNC_S = 1.0
"""A growth on btrfs asks for a commit no more often than this; a release does at once."""
_WORDS = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "quota",
    errno.EROFS: "read-only",
}
"""What a refused growth was limited by; other errors are told by their names."""


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
        self._btrfs = _btrfs(place) if self._filesystem == "btrfs" else None
        self._late_s = 0.0 if self._btrfs is None else self._btrfs.late_s
        self._sync_s: float | None = None
        self._synced_s = float("-inf")
        self._late: list[tuple[float, int]] = []
        self._file: int | None = None
        self._ledger = 0
        self._told = 0
        self._limited: str | None = None
        self._retry_s = 0.0
        self._lookout = Lookout()

    @property
    def held_bytes(self) -> int:
        """What is held, growth that has begun included."""
        return self._ledger

    def obey(self, value: float, expires_s: float, now_s: float) -> float:
        """Shrink at once, or grow by one step; shrink also when others need the space."""
        pause_s = super().obey(value, expires_s, now_s)
        if self._file is not None and now_s >= self._lookout.due_s:
            try:
                self._lookout.look(self._room_now(now_s), self._ledger, now_s)
            except OSError:  # said when it is to grow
                self._lookout.later(now_s, UNREADABLE_S)
        wanted = int(self._lookout.within(value, now_s)) // self._block * self._block
        if wanted < self._ledger:
            self._shrink(wanted, now_s)
        elif wanted == self._ledger:
            self._limited = None
        elif now_s < self._retry_s:
            pause_s = min(pause_s, self._retry_s - now_s)
        else:
            try:
                pause_s = self._grow(wanted, now_s)
            except free.InodesError:
                self._limit("inodes", now_s)
                self._close_if_empty()
                pause_s = _RETRY_S
            except OSError as exc:
                self._give_up(exc, now_s)
        if self._sync_s is not None:
            if now_s >= self._sync_s:
                self._sync(now_s)
            else:
                pause_s = min(pause_s, self._sync_s - now_s)
        if self._ledger != self._told and self._teller.held(self._ledger):
            self._told = self._ledger
        return pause_s if self._file is None else min(pause_s, self._lookout.pause_s(now_s))

    def _room_now(self, now_s: float) -> int:
        """How much more may be taken. Raises OSError."""
        where = self._directory if self._file is None or sys.platform == "win32" else self._file
        self._late = [(s, size) for s, size in self._late if now_s - s < self._late_s]
        room = self._room(where) - sum(size for _, size in self._late)
        return room if self._btrfs is None else room - self._btrfs.uncommitted_bytes()

    def _shrink(self, wanted: int, now_s: float = 0.0) -> None:
        if self._file is None:
            return
        try:
            # Also before it is closed: XFS gives back what is closed in the background.
            self._cut(self._file, wanted)
            self._sync(now_s)
        except OSError:
            wanted = 0  # what cannot be cut is given back whole
        if wanted <= 0:
            os.close(self._file)  # the file has no name: this frees it
            self._file = None
            self._ledger = 0

    def _cut(self, file: int, wanted: int) -> None:
        """Give back all but the first bytes. Raises OSError."""
        piece = self._block if self._btrfs is None else self._btrfs.piece_bytes
        whole = wanted // piece * piece
        holder.cut(file, whole)
        self._ledger = whole
        if wanted > whole:
            # An extent is freed as a whole, so what is kept of it is taken anew.
            holder.extend(file, whole, wanted - whole)
            self._ledger = wanted

    def _sync(self, now_s: float) -> None:
        """Let btrfs show what was taken or given back."""
        if self._btrfs is not None and self._file is not None:
            self._btrfs.start_sync(self._file)
            self._synced_s = now_s
        self._sync_s = None

    def _extend(self, file: int, step: int) -> None:
        """Take a step; on btrfs no extent crosses the end of a piece. Raises OSError."""
        target = self._ledger + step
        while self._ledger < target:
            size = target - self._ledger
            if self._btrfs is not None:
                piece = self._btrfs.piece_bytes
                size = min(size, piece - self._ledger % piece)
            holder.extend(file, self._ledger, size)
            self._ledger += size

    def _grow(self, wanted: int, now_s: float) -> float:
        """One step; seconds until the next. Raises OSError."""
        if self._file is None and os.stat(self._directory).st_dev != self._device:
            # After an unmount the same path leads to the filesystem below.
            self._limit("moved", now_s)
            return _RETRY_S
        step = min(STEP, wanted - self._ledger, self._room_now(now_s))
        step = step // self._block * self._block
        if step <= 0:
            self._limit("floor", now_s)
            self._close_if_empty()
            return _RETRY_S
        if self._file is None:
            self._file, _ = self._open_file(self._directory)
        if not self._teller.held(self._ledger + step):
            self._close_if_empty()
            return _RETRY_S
        self._told = self._ledger + step
        if self._late_s:
            self._late.append((now_s, step))
        self._extend(self._file, step)
        if self._btrfs is not None:
            self._sync_s = max(now_s, self._synced_s + _SYNC_S)
        return 0.0

    def _give_up(self, exc: OSError, now_s: float) -> None:
        self._close_if_empty()
        if exc.errno == errno.EOPNOTSUPP:
            message = f"{self._filesystem} at {self.place} cannot reserve space without writing it"
            raise PlaceError(message) from exc
        code = exc.errno or 0
        self._limit(_WORDS.get(code) or errno.errorcode.get(code, "unknown").lower(), now_s)

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


def _btrfs(place: str) -> Btrfs:
    from stressers import btrfs  # noqa: PLC0415  # only where there is one

    return btrfs.mounted_at(place)
