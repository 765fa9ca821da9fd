"""The log's file: it rotates by day and size, and its total size is capped."""

from __future__ import annotations

import contextlib
import datetime
import errno
import logging
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

LOGGER = "optimizer"
"""Name of the logger that our own events come from."""
_LIVE_NAME = "optimizer.log"
_ROTATED_NAME = re.compile(r"optimizer-(\d{4}-\d{2}-\d{2})(?:\.([1-9]\d{0,8}))?\.log")


class DatedFile(logging.Handler):
    """Appends to optimizer.log; what is there already moves to optimizer-DAY[.n].log.

    That happens when the UTC day changes and when the next line would make
    the file too large. Deletes only regular files with exactly such a name.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int,
        total_bytes: int,
        keep_days: int,
        now: Callable[[], float],
        console: logging.Handler,
    ) -> None:
        super().__init__()
        self._directory = directory
        self._live = directory / _LIVE_NAME
        self._max_bytes = max_bytes
        self._total_bytes = total_bytes
        self._keep_days = keep_days
        self._now = now
        self._console = console
        self._fd: int | None = None
        self._size = 0
        self._day = ""
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, or drop and count it; the first loss is told on the console."""
        try:
            self._write(self._line(record))
            if self._dropped:
                recovered = self._own("log.write_recovered", dropped=self._dropped)
                self._write(self._line(recovered))
                self._dropped = 0
                self._console.handle(recovered)
        except (OSError, TypeError, ValueError) as exc:
            # The two latter: a library's message that does not fit its own arguments.
            self._dropped += 1
            self._close()
            if self._dropped == 1:
                lost = self._own("log.write_failed", path=str(self._live), cause=str(exc))
                self._console.handle(lost)

    def close(self) -> None:
        """Close the file."""
        self.acquire()
        try:
            self._close()
        finally:
            self.release()
        super().close()

    def _own(self, event: str, **fields: object) -> logging.LogRecord:
        """A warning about this file, in the shape that ProcessorFormatter takes from structlog."""
        told = {"timestamp": iso(self._now()), "level": "warning", "event": event, **fields}
        record = logging.LogRecord(LOGGER, logging.WARNING, __file__, 0, told, None, None)
        record.__dict__.update(_logger=None, _name="warning")
        return record

    def _line(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode("utf-8", "backslashreplace")

    def _write(self, line: bytes) -> None:
        today = _day(self._now())
        fd = self._open(today)
        if self._size and (today != self._day or self._size + len(line) > self._max_bytes):
            fd = self._rotate(today)
        written = os.write(fd, line)
        if written < len(line):
            os.ftruncate(fd, self._size)  # no half lines
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written

    def _open(self, today: str) -> int:
        """The descriptor of the live file; opens it anew when somebody moved it away."""
        if self._fd is not None:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._fd), self._live.stat(follow_symlinks=False)):
                    return self._fd
            self._close()
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        for name in ("O_BINARY", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"):
            flags |= getattr(os, name, 0)
        fd = os.open(self._live, flags, 0o640)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file")
        self._fd, self._size = fd, found.st_size
        self._day = _day(found.st_mtime) if found.st_size else today
        self._prune()
        return fd

    def _rotate(self, today: str) -> int:
        self._close()
        numbers = [n for day, n, _ in self._rotated() if day == self._day]
        suffix = f".{max(numbers) + 1}" if numbers else ""
        try:
            os.rename(self._live, self._directory / f"optimizer-{self._day}{suffix}.log")
        except OSError:
            # Windows: somebody reads it. Go on in the same file for a while.
            fd = self._open(today)
            self._day = today
            if self._size >= 2 * self._max_bytes:
                raise
            return fd
        return self._open(today)

    def _rotated(self) -> list[tuple[str, int, os.DirEntry[str]]]:
        """Everything with the name of a rotated file, oldest first."""
        found: list[tuple[str, int, os.DirEntry[str]]] = []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                match = _ROTATED_NAME.fullmatch(entry.name)
                if match:
                    found.append((match[1], int(match[2] or 0), entry))
        return sorted(found, key=lambda item: item[:2])

    def _prune(self) -> None:
        files: list[tuple[str, int, str]] = []
        for day, _, entry in self._rotated():
            with contextlib.suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False):
                    size = entry.stat(follow_symlinks=False).st_size
                    files.append((day, size, entry.path))
        oldest_kept = _day(self._now() - self._keep_days * 86400)
        rotated_bytes = sum(size for _, size, _ in files)
        for day, size, path in files:
            if day < oldest_kept or rotated_bytes > self._total_bytes - self._max_bytes:
                with contextlib.suppress(OSError):
                    os.unlink(path)
                    rotated_bytes -= size

    def _close(self) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None


def iso(utc_s: float) -> str:
    """The time in UTC, ISO 8601 with milliseconds."""
    moment = datetime.datetime.fromtimestamp(utc_s, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _day(utc_s: float) -> str:
    return datetime.datetime.fromtimestamp(utc_s, datetime.UTC).date().isoformat()
