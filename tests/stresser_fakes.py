"""A crew and a teller without processes, for tests of what a stresser does with a lease."""

from __future__ import annotations

from stressers.board import Board


class Heard:
    """A teller that writes down what it is told; `deaf` drops all."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, object]] = []
        self.deaf = False

    def _hear(self, kind: str, value: object) -> bool:
        if not self.deaf:
            self.lines.append((kind, value))
        return not self.deaf

    def ready(
        self, pids: list[int], means: list[str], missing: list[str], place: str | None
    ) -> bool:
        """See Teller."""
        return self._hear("ready", (pids, means, missing, place))

    def held(self, held_bytes: int) -> bool:
        """See Teller."""
        return self._hear("held", held_bytes)

    def limited(self, by: str, held_bytes: int) -> bool:
        """See Teller."""
        return self._hear("limited", (by, held_bytes))

    def taken(self, taken_bytes: int) -> bool:
        """See Teller."""
        return self._hear("taken", taken_bytes)

    def stirred(self) -> bool:
        """See Teller."""
        return self._hear("stirred", None)

    def error(self, message: str) -> bool:
        """See Teller."""
        return self._hear("error", message)

    def tick(self, now_s: float) -> None:
        """See Teller."""


class FakeCrew:
    """Shards that obey at once when `obey_all` is called; `errno` lets growth fail."""

    def __init__(self, board: Board, heard: Heard) -> None:
        self.board = board
        self.pids: dict[int, int] = {}
        self.denied = 0
        self.real = [0.0] * 8
        self.errno = 0
        self.denied = 0
        self._heard = heard
        self._woken: list[int] = []

    def start(self, workers: int) -> None:
        """All shards hold nothing."""
        self.real = [0.0] * workers

    def wake(self, index: int) -> None:
        """Remember who was called."""
        self._woken.append(index)

    def attend(self) -> None:
        """Nothing to hear."""

    def end(self) -> None:
        """All shards let go."""
        self.real = [0.0] * len(self.real)

    def obey_all(self) -> None:
        """Every shard does what it was told; the ledger must have said so before it grows."""
        for index in self._woken:
            order = self.board.order(index)
            if order is None:
                continue
            number, target = order
            if target > self.real[index] and self.errno:
                self.board.answer(index, number, self.real[index], self.errno)
                continue
            self.real[index] = target
            self.board.answer(index, number, target, 0)
            told = [value for kind, value in self._heard.lines if kind == "held"]
            assert isinstance(told[-1], int)
            assert told[-1] >= sum(self.real)
        self._woken = []
