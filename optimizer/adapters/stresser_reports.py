"""The output of a stresser, read without ever waiting for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections import deque
from typing import Any

_PIPE_NOWAIT = 1


class PolledReports:
    """Where pipes can be polled."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def read(self) -> bytes:
        """What has come since last asked."""
        try:
            return os.read(self.descriptor, 1 << 16)
        except (BlockingIOError, OSError):
            return b""


class ThreadedReports:
    """For Windows, whose pipes cannot be polled: a thread reads them."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._chunks: deque[bytes] = deque(maxlen=256)
        threading.Thread(target=self._pump, daemon=True).start()

    def _pump(self) -> None:
        with contextlib.suppress(OSError):
            while chunk := os.read(self.descriptor, 1 << 16):
                self._chunks.append(chunk)

    def read(self) -> bytes:
        """What has come since last asked."""
        chunks = []
        while self._chunks:
            chunks.append(self._chunks.popleft())
        return b"".join(chunks)


def never_wait(kernel32: Any, handle: int) -> None:
    """Let a write to a pipe that is full take nothing, in place of waiting for its reader.

    Also of a pipe without a name. Raises OSError.

    Source: SetNamedPipeHandleState, PIPE_NOWAIT.
    """
    import ctypes  # noqa: PLC0415  # costs the daemon memory where nobody needs it

    mode = ctypes.c_uint32(_PIPE_NOWAIT)
    if not kernel32.SetNamedPipeHandleState(handle, ctypes.byref(mode), None, None):
        message = "the input of a stresser cannot be made one that never waits"
        raise OSError(message)


def reports_of(process: subprocess.Popen[bytes]) -> PolledReports | ThreadedReports:
    """The reports of a stresser that was just started. Raises OSError."""
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        message = "the stresser was started without pipes"
        raise OSError(message)
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415  # as above
        import msvcrt  # noqa: PLC0415  # exists on Windows only

        library = ctypes.WinDLL("kernel32", use_last_error=True)
        library.SetNamedPipeHandleState.argtypes = (ctypes.c_void_p,) * 4
        never_wait(library, msvcrt.get_osfhandle(stdin.fileno()))
        return ThreadedReports(stdout.fileno())
    os.set_blocking(stdin.fileno(), False)
    os.set_blocking(stdout.fileno(), False)
    return PolledReports(stdout.fileno())
