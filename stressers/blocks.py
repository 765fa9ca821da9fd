"""Private, zero-filled memory that grows and shrinks in whole huge pages."""

from __future__ import annotations

import ctypes
import errno
import mmap
import sys

from stressers import windows
from stressers.committed import CommittedBlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

UNIT = 2 << 20
"""Everything is held in multiples of this: a huge page on x86-64 and most arm64."""
BLOCK = 64 << 20
"""Size of a mapping and of the largest growth step: a few milliseconds of work."""
POPULATE_WRITE = 23
"""MADVPOPULATE_WRITE, since Linux 5.14. Source: linux/mman.h."""
COLD = 20
"""MADVCOLD, since Linux 5.4. Source: linux/mman.h."""
FREE = 8
"""MADVFREE, since Linux 4.5: the kernel takes the pages back whenever it wants. See madvise(2)."""
HUGEPAGE = 14
"""MADVHUGEPAGE. Source: linux/mman.h."""
_DONTNEED = 4
"""MADV_DONTNEED. Source: linux/mman.h."""


class Block:
    """A mapping of BLOCK bytes of which the first `filled` are taken.

    What is not filled yet costs address space only. `lazy` memory counts as
    used, but the kernel takes it back by itself.
    """

    __slots__ = ("_lazy", "_map", "_start", "filled")

    def __init__(self, *, lazy: bool = False) -> None:
        self.filled = 0
        self._lazy = lazy
        # Older kernels do not align mappings to huge pages, so one is mapped to spare.
        self._map = _private(BLOCK + UNIT)
        self._start = -ctypes.addressof(ctypes.c_char.from_buffer(self._map)) % UNIT
        self._advise(HUGEPAGE, 0, BLOCK)

    def grow(self, size: int) -> None:
        """Take `size` more bytes. Raises OSError when the kernel denies them."""
        try:
            if not self._advise(POPULATE_WRITE, self.filled, size):
                first = self._start + self.filled
                for offset in range(first, first + size, mmap.PAGESIZE):
                    self._map[offset] = 0
        except OSError:
            self._advise(_DONTNEED, self.filled, size)  # what was taken until then
            raise
        if not (self._lazy and self._advise(FREE, self.filled, size)):
            self._advise(COLD, self.filled, size)
        self.filled += size

    def shrink(self, to: int) -> bool:
        """Give back all but the first `to` bytes; False where that cannot be done in part."""
        if not self._advise(_DONTNEED, to, self.filled - to):
            return False
        self.filled = to
        return True

    def close(self) -> None:
        """Give everything back."""
        self._map.close()

    def _advise(self, advice: int, offset: int, size: int) -> bool:
        """Whether the kernel has taken the advice; raises OSError when memory ran out."""
        if sys.platform != "linux":
            return False  # the numbers are Linux's, and elsewhere pages are not given back so
        try:
            self._map.madvise(advice, self._start + offset, size)
        except OSError as exc:
            if exc.errno == errno.EINVAL:
                return False
            raise
        return True


def _private(size: int) -> mmap.mmap:
    if sys.platform == "win32":
        message = "such a mapping is not private on Windows; see CommittedBlock"
        raise OSError(errno.ENOSYS, message)
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def new_block(*, lazy: bool = False) -> Block | CommittedBlock:
    """An empty block of the kind that this platform has. Raises OSError."""
    if sys.platform == "win32":
        return CommittedBlock(windows.system(), BLOCK)
    return Block(lazy=lazy)


class Blocks:
    """All the memory of one shard; grows at its end and shrinks from there.

    `make` returns an empty block; those of this platform by default.
    """

    __slots__ = ("_blocks", "_lazy", "_make", "held")

    def __init__(
        self, *, lazy: bool = False, make: Callable[[], Block | CommittedBlock] | None = None
    ) -> None:
        self.held = 0
        self._lazy = lazy
        self._make = make
        self._blocks: list[Block | CommittedBlock] = []

    def resize(self, target: int) -> int:
        """Hold `target` bytes, a multiple of UNIT; the errno that prevented it, or 0."""
        self._shrink(target)
        try:
            self._grow(target)
        except OSError as exc:
            return exc.errno or errno.ENOMEM
        return 0

    def _shrink(self, target: int) -> None:
        while self.held > target:
            last = self._blocks[-1]
            keep = last.filled - (self.held - target)
            if keep > 0 and last.shrink(keep):
                self.held = target
                return
            self.held -= last.filled
            self._blocks.pop().close()

    def _grow(self, target: int) -> None:
        while self.held < target:
            if not self._blocks or self._blocks[-1].filled == BLOCK:
                self._blocks.append(
                    new_block(lazy=self._lazy) if self._make is None else self._make()
                )
            last = self._blocks[-1]
            size = min(target - self.held, BLOCK - last.filled)
            last.grow(size)
            self.held += size
