"""Numbers that a crew and its workers share: commands one way, the ledger the other."""

from __future__ import annotations

import mmap

_VALUE, _EXPIRES, _LEVEL, _HEADER = 0, 1, 2, 3
_ORDER, _TARGET, _ANSWERED, _HELD, _ERRNO, _ARMED, _GO, _STIRS, _COLUMNS = range(9)


class Board:
    """Shared memory with one row for each worker, kept after a fork.

    Each number is an aligned 8-byte double, written and read in one piece, and
    has one writer. Whole numbers are exact up to 2**53.
    """

    __slots__ = ("_cells", "_map")

    def __init__(self, workers: int, expires_s: float) -> None:
        size = 8 * (_HEADER + _COLUMNS * workers)
        # Shared on purpose: this page is how the crew speaks to its workers.
        self._map = mmap.mmap(-1, size)
        self._cells = memoryview(self._map).cast("d")
        self._cells[_EXPIRES] = expires_s
        self._cells[_LEVEL] = -1.0

    @property
    def level(self) -> float:
        """The host's utilisation to watch, 0 to 1; negative when there is nothing to watch."""
        return self._cells[_LEVEL]

    def watch(self, level: float | None) -> None:
        """Tell the workers what to watch."""
        self._cells[_LEVEL] = -1.0 if level is None else level

    def stir(self, index: int) -> None:
        """A worker has seen that the host is not as busy as it was said to be."""
        self._cells[_HEADER + _COLUMNS * index + _STIRS] += 1

    def stirs(self, workers: int) -> float:
        """How often workers have seen that, all together."""
        return sum(self._cells[_HEADER + _STIRS : _HEADER + _COLUMNS * workers : _COLUMNS])

    @property
    def expires_s(self) -> float:
        """When the lease ends, on the monotonic clock; changes with each fresh lease."""
        return self._cells[_EXPIRES]

    @property
    def value(self) -> float:
        """What is leased, whether or not the lease has run out."""
        return self._cells[_VALUE]

    def value_at(self, now_s: float) -> float:
        """What is leased now: 0 once the lease has run out."""
        return self._cells[_VALUE] if now_s < self._cells[_EXPIRES] else 0.0

    def publish(self, value: float, expires_s: float) -> None:
        """Tell the workers what is leased and until when."""
        self._cells[_VALUE] = value
        self._cells[_EXPIRES] = expires_s

    def command(self, index: int, target: float) -> None:
        """Order a worker to hold `target` from now on."""
        row = _HEADER + _COLUMNS * index
        self._cells[row + _TARGET] = target
        # Last, because a worker reads the number of the order first.
        self._cells[row + _ORDER] += 1

    def order(self, index: int) -> tuple[float, float] | None:
        """Number and target of the order that a worker has not answered yet."""
        row = _HEADER + _COLUMNS * index
        number = self._cells[row + _ORDER]
        if number == self._cells[row + _ANSWERED]:
            return None
        return number, self._cells[row + _TARGET]

    def answer(self, index: int, number: float, held: float, errno: int) -> None:
        """A worker has carried out an order as far as it could; errno 0 means fully."""
        row = _HEADER + _COLUMNS * index
        self._cells[row + _HELD] = held
        self._cells[row + _ERRNO] = errno
        self._cells[row + _ANSWERED] = number

    def held(self, index: int) -> tuple[float, int]:
        """What a worker held when it last answered, and the errno that stopped it."""
        row = _HEADER + _COLUMNS * index
        return self._cells[row + _HELD], int(self._cells[row + _ERRNO])

    def enlist(self, index: int) -> None:
        """A worker is about to be made: not armed yet, not let go yet."""
        row = _HEADER + _COLUMNS * index
        self._cells[row + _ARMED] = self._cells[row + _GO] = 0.0

    def arm(self, index: int) -> None:
        """A worker says that it can die in all its ways."""
        self._cells[_HEADER + _COLUMNS * index + _ARMED] = 1.0

    def armed(self, index: int) -> bool:
        """Whether a worker has said so."""
        return self._cells[_HEADER + _COLUMNS * index + _ARMED] > 0

    def let_go(self, index: int) -> None:
        """The crew has made a worker stand back, and it may begin."""
        self._cells[_HEADER + _COLUMNS * index + _GO] = 1.0

    def may_go(self, index: int) -> bool:
        """Whether a worker may begin."""
        return self._cells[_HEADER + _COLUMNS * index + _GO] > 0
