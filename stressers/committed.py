"""Private, committed, zero-filled memory on Windows, in the same pieces as elsewhere."""

from __future__ import annotations

import ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stressers.windows import Windows


class CommittedBlock:
    """Address space of `size` bytes of which the first `filled` are memory; see blocks.Block.

    Not a mapping of the page file, which could be shared, and would count against
    the commit limit as a whole at once. Never locked.
    """

    __slots__ = ("_start", "_touch", "_windows", "filled")

    def __init__(
        self,
        windows: Windows,
        size: int,
        touch: Callable[[int, int, int], object] = ctypes.memset,
    ) -> None:
        self.filled = 0
        self._windows = windows
        self._touch = touch
        self._start = windows.reserve(size)

    def grow(self, size: int) -> None:
        """Take `size` more bytes, and have them in memory. Raises OSError when they are denied."""
        first = self._start + self.filled
        self._windows.commit(first, size)
        self._touch(first, 0, size)
        self.filled += size

    def shrink(self, to: int) -> bool:
        """Give back all but the first `to` bytes; False where that is denied."""
        try:
            self._windows.decommit(self._start + to, self.filled - to)
        except OSError:
            return False
        self.filled = to
        return True

    def close(self) -> None:
        """Give everything back."""
        self._windows.release(self._start)
        self.filled = 0
