"""Tells a service manager that the daemon is ready, alive, and what it does.

One datagram for each message, to the socket that NOTIFY_SOCKET names; nothing
without it. Source: sd_notify(3), systemd.service(5) WatchdogSec=.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, MutableMapping

from optimizer.ports import Log

PINGS = 4
"""So many pings within the watchdog's period, at most: two may be lost or late."""
_STATUS_CHARS = 400


class SystemdNotify:
    """Implements the sending side of sd_notify(3); never raises, never waits.

    Takes the variables out of `environ`, so that no program that we start
    speaks in our name. To be told of each cycle that was found to have done
    what it decided; a watchdog that hears nothing restarts the service.
    """

    def __init__(
        self,
        environ: MutableMapping[str, str],
        *,
        log: Log,
        monotonic: Callable[[], float] = time.monotonic,
        pid: int | None = None,
    ) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        period, whose = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        self._log = log
        self._monotonic = monotonic
        self._ready = self._failed = False
        self._status = ""
        self._ping_due_s = 0.0
        self._pause_s: float | None = None
        if period.isdecimal() and whose in {"", str(os.getpid() if pid is None else pid)}:
            self._pause_s = int(period) / 1e6 / PINGS
        # "@" stands for the zero byte of the abstract namespace; other families are none of ours.
        known = address[:1] in {"/", "@"} and len(address) > 1
        self._address = address.replace("@", "\0", 1) if address[:1] == "@" else address
        self._socket = _unix_socket() if known else None

    def verified(self) -> None:
        """A whole cycle has done what it decided: ready the first time, alive each time."""
        now_s = self._monotonic()
        if not self._ready:
            self._ready = self._send("READY=1", f"STATUS={self._status or 'running'}")
            self._ping_due_s = now_s + (self._pause_s or 0.0)
        elif self._pause_s is not None and now_s >= self._ping_due_s and self._send("WATCHDOG=1"):
            self._ping_due_s = now_s + self._pause_s

    def show(self, text: str) -> None:
        """What `systemctl status` shows from now on; lines become parts of one line."""
        status = "; ".join(text.split("\n"))[:_STATUS_CHARS]
        if status != self._status:
            self._status = status
            if self._ready:
                self._send(f"STATUS={status}")

    def close(self) -> None:
        """Say that the end has come, and nothing any more."""
        self._send("STOPPING=1")
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> bool:
        """Whether the message is on its way; without a socket all are."""
        if self._socket is None:
            return True
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except BlockingIOError:
            return False  # its queue is full; the next cycle says it again
        except OSError as exc:
            if not self._failed:
                remedy = "a unit needs NotifyAccess=main and its socket within reach"
                self._log.warning("notify.failed", cause=str(exc), remedy=remedy)
            self._failed = True
            return False
        self._failed = False
        return True


def _unix_socket() -> socket.socket | None:
    if sys.platform == "win32":
        return None
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    found.setblocking(False)
    return found
