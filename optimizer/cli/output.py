"""The standard output of a command: what goes wrong with it is told apart from all other faults."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import IO, Any, cast

from optimizer.errors import OutputError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Watched:
    """A text stream whose errors are OutputError; all else is as of the stream."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Raises OutputError."""
        try:
            return self._stream.write(text)
        except OSError as exc:
            raise _error(exc) from exc

    def flush(self) -> None:
        """Raises OutputError."""
        try:
            self._stream.flush()
        except OSError as exc:
            raise _error(exc) from exc


@contextmanager
def watched() -> Iterator[None]:
    """Within, and at the end, what cannot be written to the standard output is an OutputError.

    One that was closed by whoever started this takes everything and keeps nothing.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - to the end
    stream = _Watched(sys.stdout)
    with redirect_stdout(cast("IO[str]", stream)):
        try:
            yield
        except SystemExit:
            stream.flush()
            raise
        stream.flush()


def tell(text: str) -> None:
    """Print what was done, now; to the standard error when the standard output fails.

    Raises OutputError then, all the same.
    """
    try:
        print(text, flush=True)
    except OutputError:
        complain(text)
        raise


def show(text: str) -> None:
    """Print a text that ends its last line itself, whatever the encoding of the output.

    Raises OutputError.
    """
    encoding = sys.stdout.encoding or "ascii"
    print(text.encode(encoding, "replace").decode(encoding), end="", flush=True)


def put(data: bytes) -> None:
    """Write bytes past the encoding of the terminal. Raises OutputError."""
    sys.stdout.flush()
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as exc:
        raise _error(exc) from exc


def complain(text: str) -> None:
    """Print to the standard error, if that can be written."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def give_up(error: OutputError) -> None:
    """Say why, unless the reader has only ended early, and drop what waits to be written.

    Else Python would try it again at its end, and complain again.
    """
    if not isinstance(error.__cause__, BrokenPipeError):
        complain(f"optimizer: {error}")
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, sys.stdout.fileno())
        finally:
            os.close(null)


def _error(cause: OSError) -> OutputError:
    remedy = "free space there, or send" if cause.errno in _FULL else "send"
    return OutputError(
        f"cannot write the standard output: {cause.strerror or cause}; {remedy} it elsewhere"
    )
