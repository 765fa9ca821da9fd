"""Tells the controller what a stresser does: one JSON object a line, never blocking."""

from __future__ import annotations

import json
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Teller(Protocol):
        """Hears what a stresser does. What returns a bool says whether the message is on its way.

        Known to type checkers only: importing typing costs each process 1.5 MB.
        """

        def ready(
            self, pids: list[int], means: list[str], missing: list[str], place: str | None
        ) -> bool:
            """All processes that use CPU for us, and by which means they stand back."""
            ...

        def held(self, held_bytes: int) -> bool:
            """The ledger: told before a growth begins and after a shrink has ended."""
            ...

        def limited(self, by: str, held_bytes: int) -> bool:
            """It could not or would not grow to its lease, and what it holds instead."""
            ...

        def taken(self, taken_bytes: int) -> bool:
            """The kernel has taken so much of what is held; all of it is being given back."""
            ...

        def stirred(self) -> bool:
            """The host is not as busy as the lease said."""
            ...

        def error(self, message: str) -> bool:
            """It is about to give up, and why."""
            ...

        def tick(self, now_s: float) -> None:
            """A round of the loop; at least once a second."""
            ...


class Reports:
    """Writes the reports to a pipe; what does not fit is dropped.

    A report that was begun is finished first, so that the reader never sees
    two halves joined.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""
        if sys.platform != "win32" and stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.set_blocking(descriptor, False)

    def ready(
        self, pids: list[int], means: list[str], missing: list[str], place: str | None
    ) -> bool:
        """See Teller."""
        return self._send(
            {"report": "ready", "pids": pids, "means": means, "missing": missing, "place": place}
        )

    def held(self, held_bytes: int) -> bool:
        """See Teller."""
        return self._send({"report": "held", "bytes": held_bytes})

    def limited(self, by: str, held_bytes: int) -> bool:
        """See Teller."""
        return self._send({"report": "limited", "by": by, "bytes": held_bytes})

    def taken(self, taken_bytes: int) -> bool:
        """See Teller."""
        return self._send({"report": "taken", "bytes": taken_bytes})

    def stirred(self) -> bool:
        """See Teller."""
        return self._send({"report": "stirred"})

    def error(self, message: str) -> bool:
        """See Teller."""
        return self._send({"report": "error", "message": message})

    def tick(self, now_s: float) -> None:  # noqa: ARG002  # the interface has it
        """Send the rest of a report that was begun."""
        self._flush()

    def _send(self, report: dict[str, object]) -> bool:
        if not self._flush():
            return False
        line = json.dumps(report).encode() + b"\n"
        self._rest = line
        self._flush()
        if len(self._rest) == len(line):
            self._rest = b""
            return False
        return True

    def _flush(self) -> bool:
        """Whether nothing is left over; never waits."""
        if self._rest:
            try:
                self._rest = self._rest[os.write(self._descriptor, self._rest) :]
            except (BlockingIOError, BrokenPipeError):
                return False
        return not self._rest
