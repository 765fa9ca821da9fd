"""Asks a broker to be moved into the idle group that this user may not write to.

The daemon of a service is not root, and the group must be at the top of the
hierarchy. So each worker asks for itself, and for nobody else: see broker.py.
"""

from __future__ import annotations

import mmap
import os
import socket
import sys
import time

from stressers import kernel

REQUEST = b"join"
JOINED = b"ok"
WAIT_S = 1.0
"""How long a worker waits for the answer; it holds nothing yet, and its lease alarm runs."""
ANSWER_BYTES = 256
_AGAIN_S = 0.02


class Broker:
    """A broker's socket, and why it last did not do what it was asked for.

    Made before any fork: the cause is in memory that a crew and its workers share.
    """

    __slots__ = ("_cause", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._cause = mmap.mmap(-1, ANSWER_BYTES)  # shared on purpose, as the board is

    def enter(self) -> None:
        """Have this process moved, or leave the cause; never raises, never takes longer."""
        cause = ask(self.path)
        if cause is not None:
            self._cause[:] = cause.encode()[:ANSWER_BYTES].ljust(ANSWER_BYTES, b"\0")

    @property
    def cause(self) -> str:
        """Why a worker was not moved; empty when none has said."""
        return self._cause[:].rstrip(b"\0").decode("utf-8", "replace")


class Entered(kernel.Mean):
    """The means of being in the broker's idle group; true is what the kernel says of a worker."""

    __slots__ = ("_broker", "_usual")

    def __init__(self, broker: Broker) -> None:
        usual = kernel.idle_group_of(None)
        super().__init__(usual.name, usual.cost, kernel.in_idle_group)
        self._broker = broker

    def lack(self) -> str:
        """Its name and what its lack costs, with the cause."""
        cause = self._broker.cause or "the broker's group is not idle at the top"
        return f"{self.name}: {kernel.GROUP_COST}; {self._broker.path}: {cause}"


def ask(path: str, wait_s: float = WAIT_S) -> str | None:
    """Ask the broker to move this process; None when it did, else the cause."""
    if sys.platform == "win32":
        return "there is no broker on this system"
    until_s = time.monotonic() + wait_s
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            _connect(connection, path, until_s)
            connection.send(REQUEST)
            connection.settimeout(max(0.001, until_s - time.monotonic()))
            answer = connection.recv(ANSWER_BYTES)
    except TimeoutError:
        return f"no answer within {wait_s:g} s"
    except OSError as exc:
        return os.strerror(exc.errno) if exc.errno else str(exc)
    if answer == JOINED:
        return None
    return answer.decode("utf-8", "replace") or "hung up"


def _connect(connection: socket.socket, path: str, until_s: float) -> None:
    """Connect until then. Raises OSError."""
    while True:
        connection.settimeout(max(0.001, until_s - time.monotonic()))
        try:
            connection.connect(path)
        except BlockingIOError as exc:  # so many wait already
            if time.monotonic() >= until_s:
                raise TimeoutError from exc
            time.sleep(_AGAIN_S)
        else:
            return
