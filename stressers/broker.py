"""Moves a worker that asks into the idle group of its service; root, without any capability.

Priority counts only among siblings, so the group must be at the top of the
hierarchy, where the user of a service may move nobody. A service manager
starts this for the first that asks, with a listening socket, and it ends when
nobody has asked for a while:

    python -I -m stressers.broker --user NAME --group SLICE/UNIT

It moves exactly the process that asks: the kernel vouches for its pid and
user, and as long as its connection stands nobody else can have its pid.

Source: sd_listen_fds(3), unix(7), cgroups(7).
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import sys
import time

from stressers.joining import ANSWER_BYTES, JOINED, REQUEST
from stressers.moving import SYSFS, Refusal, folders, move

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

if sys.platform != "linux":
    message = "control groups are Linux's"
    raise ImportError(message)

IDLE_S = 30.0
"""It ends when nobody has asked for so long; the next one has it started again."""
ASK_S = 1.0
"""How long somebody may be connected before he asks."""
MOST_CLIENTS = 64
"""More wait until one of these has gone."""
MOST_A_SECOND = 2000
"""Twice as many as one crew has workers; more are refused."""
_FIRST_FD = 3
"""SD_LISTEN_FDS_START."""
_CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid."""


class Asker:
    """Somebody who is connected, until he has been answered."""

    def __init__(self, connection: socket.socket, until_s: float) -> None:
        self.connection = connection
        self.until_s = until_s

    def pid(self, uid: int, proc: str = "/proc") -> tuple[int, int]:
        """The pid that asks, and a pidfd of it. Raises Refusal, OSError when nobody has asked yet.

        The sender and who connected must be the same process, of that user and
        alive: a connection that was handed on proves nothing.
        """
        pid, sender = self._sender()
        peer, _, _ = _CREDENTIALS.unpack(
            self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        if sender != uid:
            raise Refusal(f"user {sender} may not ask")
        if pid <= 0 or pid != peer:
            raise Refusal(f"process {pid} asks through a connection of {peer}")
        try:
            descriptor = os.pidfd_open(pid)
        except OSError as exc:
            raise Refusal(f"process {pid}: {exc.strerror}") from exc
        fault = self._fault(pid, descriptor, uid, proc)
        if fault is not None:
            os.close(descriptor)
            raise Refusal(fault)
        return pid, descriptor

    def _fault(self, pid: int, descriptor: int, uid: int, proc: str) -> str | None:
        """Why the process of that pidfd is not the one that asks; None when it is."""
        try:
            owner = _real_user(f"{proc}/{pid}/status")
        except (OSError, ValueError) as exc:
            return f"process {pid} cannot be seen: {exc}"
        if owner != uid:
            return f"process {pid} is user {owner}'s"
        return None if self.stands(descriptor) else f"process {pid} has gone"

    def _sender(self) -> tuple[int, int]:
        """Pid and user of who has sent the request."""
        size = socket.CMSG_SPACE(_CREDENTIALS.size)
        request, extras, flags, _ = self.connection.recvmsg(len(REQUEST) + 1, size)
        pid, uid = 0, -1
        for level, kind, data in extras:
            if level != socket.SOL_SOCKET:
                continue
            if kind == socket.SCM_CREDENTIALS and len(data) >= _CREDENTIALS.size:
                pid, uid, _ = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])
            elif kind == socket.SCM_RIGHTS:
                for (given,) in struct.iter_unpack("i", data[: len(data) // 4 * 4]):
                    os.close(given)
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or request != REQUEST:
            raise Refusal(f"not a request: {request!r}")
        return pid, uid

    def stands(self, descriptor: int) -> bool:
        """Whether the process of that pidfd lives and has not hung up."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(self.connection, select.POLLRDHUP)
        return not poll.poll(0)

    def answer(self, words: bytes) -> None:
        """Answer and hang up; one who does not listen is not waited for."""
        with contextlib.suppress(OSError):  # he has gone
            self.connection.send(words[:ANSWER_BYTES])
        self.connection.close()


def _real_user(path: str) -> int:
    """The real user of a process. Raises OSError, ValueError. Source: proc(5), status."""
    with open(path, encoding="utf-8", errors="replace") as status:
        for line in status:
            if line.startswith("Uid:"):
                return int(line.split()[1])
    raise ValueError(f"no user in {path}")


class Serving:
    """Answers on a listening socket until nobody has asked for `idle_s`."""

    def __init__(
        self,
        listener: socket.socket,
        group: str,
        uid: int,
        *,
        idle_s: float = IDLE_S,
        sysfs: str = SYSFS,
        mountinfo: str = "/proc/self/mountinfo",
    ) -> None:
        self._listener = listener
        self._group = group
        self._uid = uid
        self._idle_s = idle_s
        self._sysfs = sysfs
        self._mountinfo = mountinfo
        self._askers: dict[int, Asker] = {}
        self._second, self._count = 0, 0
        listener.setblocking(False)
        # Accepted sockets inherit it. Who connects before this has none: hence PassCredentials=.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def run(self) -> None:
        """Serve until idle, or until the socket is closed for good."""
        try:
            self._run()
        finally:
            for asker in self._askers.values():
                asker.connection.close()

    def _run(self) -> None:
        until_s = time.monotonic() + self._idle_s
        while self._askers or time.monotonic() < until_s:
            poll = select.poll()
            if len(self._askers) < MOST_CLIENTS:
                poll.register(self._listener, select.POLLIN)
            for number in self._askers:
                poll.register(number, select.POLLIN)
            ends_s = min([until_s, *(asker.until_s for asker in self._askers.values())])
            called = poll.poll(max(0.0, ends_s - time.monotonic()) * 1000 + 1)
            if called:
                until_s = time.monotonic() + self._idle_s
            for number, event in called:
                if number == self._listener.fileno():
                    if event & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                        return
                    self._accept()
                else:
                    self._serve(self._askers.pop(number))
            self._drop_late()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # he has gone again
        connection.setblocking(False)
        self._askers[connection.fileno()] = Asker(connection, time.monotonic() + ASK_S)

    def _drop_late(self) -> None:
        now_s = time.monotonic()
        for number in [n for n, asker in self._askers.items() if asker.until_s <= now_s]:
            self._askers.pop(number).answer(b"nothing was asked")

    def _serve(self, asker: Asker) -> None:
        try:
            self._spend()
            pid, descriptor = asker.pid(self._uid)
        except Refusal as refusal:
            _tell(f"refused: {refusal}")
            asker.answer(str(refusal).encode())
            return
        except OSError as exc:
            asker.answer(str(exc.strerror).encode())
            return
        words = JOINED
        try:
            with open(self._mountinfo, encoding="utf-8", errors="surrogateescape") as mounts:
                found = folders(mounts.read(), self._group, self._sysfs)
            move(pid, found)
            if not asker.stands(descriptor):
                _tell(f"process {pid} has gone while it was moved")
        except (OSError, Refusal) as exc:
            _tell(f"process {pid} was not moved: {exc}")
            words = str(exc).encode()
        finally:
            os.close(descriptor)
        asker.answer(words)

    def _spend(self) -> None:
        """Count a request. Raises Refusal when there are too many."""
        second = int(time.monotonic())
        self._second, self._count = second, self._count + 1 if second == self._second else 1
        if self._count > MOST_A_SECOND:
            raise Refusal(f"more than {MOST_A_SECOND} requests in a second")


def _tell(text: str) -> None:
    sys.stderr.write(f"<4>{text}\n")
    sys.stderr.flush()


def inherited(environ: dict[str, str]) -> socket.socket:
    """The listening socket that a service manager has passed. Raises ValueError, OSError."""
    if environ.get("LISTEN_PID") != str(os.getpid()) or environ.get("LISTEN_FDS") != "1":
        raise ValueError("no listening socket was passed: start optimizer-load.socket")
    os.set_inheritable(_FIRST_FD, False)
    listener = socket.socket(fileno=_FIRST_FD)
    if listener.family != socket.AF_UNIX or listener.type != socket.SOCK_SEQPACKET:
        raise ValueError("the socket that was passed is not a sequential-packet one")
    return listener


def main(words: Sequence[str]) -> int:
    """The exit code: 0 nobody asks any more, 1 failed, 2 usage."""
    options = dict(zip(words[::2], words[1::2], strict=False))
    if len(words) != 4 or set(options) != {"--user", "--group"}:
        sys.stderr.write("usage: --user NAME|UID --group SLICE/UNIT\n")
        return 2
    name, group = options["--user"], options["--group"]
    if group.startswith("/") or ".." in group.split("/") or "/" not in group:
        sys.stderr.write(f"broker: --group {group}: expected SLICE/UNIT\n")
        return 2
    try:
        uid = int(name) if name.isdecimal() else _uid_of(name)
        Serving(inherited(dict(os.environ)), group, uid).run()
    except (OSError, ValueError, KeyError) as exc:
        sys.stderr.write(f"broker: {exc}\n")
        return 1
    return 0


def _uid_of(name: str) -> int:
    import pwd  # noqa: PLC0415  # a number needs none

    return pwd.getpwnam(name).pw_uid


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
