"""The log: lines for people on the console, JSON lines in a file that rotates by day and size.

Events are called `noun.verb_past` and carry their facts as fields. Writing
never raises: a line that cannot be written is dropped and counted.
"""

from __future__ import annotations

import contextlib
import datetime
import enum
import errno
import logging
import math
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any, TextIO, cast


@contextlib.contextmanager
def _without(module: str) -> Iterator[None]:
    """Make one module look absent while the block imports others."""
    hidden = module not in sys.modules
    if hidden:
        sys.modules[module] = None  # type: ignore[assignment]  # the documented way to block it
    try:
        yield
    finally:
        if hidden:
            del sys.modules[module]


# structlog imports rich wherever it is installed, for tracebacks that are not
# used here; that would cost the resident process megabytes.
with _without("rich"):
    import structlog

VALUE_CHARS = 2000
"""Longest text of one field, in characters; the rest is cut."""
TRACEBACK_CHARS = 8000
"""Longest traceback, in characters; its end is kept, for the cause stands there."""
REPEAT_S = 60.0
"""Time in which one warning or error is written once, in seconds."""
_VALUE_ITEMS = 50
_VALUE_DEPTH = 3
_REMEMBERED_EVENTS = 256
_LOGGER = "optimizer"
_LIVE_NAME = "optimizer.log"
_ROTATED_NAME = re.compile(r"optimizer-(\d{4}-\d{2}-\d{2})(?:\.([1-9]\d{0,8}))?\.log")
_MIB = 1024 * 1024
_ALARMS = frozenset({"warning", "error", "critical"})

Event = MutableMapping[str, Any]


def configure(
    *,
    directory: Path | None,
    level: str,
    max_mb: int,
    total_mb: int,
    keep_days: int,
    console: TextIO,
    now: Callable[[], float] = time.time,
) -> structlog.typing.FilteringBoundLogger:
    """Send all log lines to `console` and, unless `directory` is None, to its optimizer.log.

    `level` is debug, info, warning or error; `max_mb` is the size of one file
    and `total_mb` that of all together, in MiB; a file is removed when its
    UTC day is more than `keep_days` days ago. `now` gives UTC seconds since
    the epoch. May be called again: the former outputs are closed, and loggers
    handed out before use the new ones. Never raises for the file's sake.
    """
    shutdown()
    threshold = logging.getLevelNamesMapping()[level.upper()]
    colours = console.isatty() and sys.platform != "win32" and "NO_COLOR" not in os.environ
    prepare: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        _Stamp(now),
        structlog.processors.format_exc_info,
        _limit_values,
    ]
    to_console = _Console(console)
    renderer = structlog.dev.ConsoleRenderer(
        colors=colours,
        sort_keys=False,
        pad_event_to=24,
        exception_formatter=structlog.dev.plain_traceback,
    )
    to_console.setFormatter(_formatter(prepare, _escape_for_console, renderer))
    root = logging.getLogger()
    root.addHandler(to_console)
    if directory is not None:
        to_file = _DatedFile(
            directory,
            max_bytes=max_mb * _MIB,
            total_bytes=total_mb * _MIB,
            keep_days=keep_days,
            now=now,
            console=to_console,
        )
        to_file.setFormatter(_formatter(prepare, structlog.processors.JSONRenderer()))
        root.addHandler(to_file)
    root.setLevel(threshold)
    structlog.configure(
        processors=[
            _RepeatLimit(now),
            *prepare,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(_LOGGER))


def shutdown() -> None:
    """Close the outputs that `configure` opened; does nothing when there are none."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _Console | _DatedFile):
            root.removeHandler(handler)
            handler.close()


def _formatter(
    prepare: list[structlog.typing.Processor], *last: structlog.typing.Processor
) -> logging.Formatter:
    """`prepare` is run on what libraries log; our own events went through it already."""
    meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=prepare, processors=[meta, *last])


class _Stamp:
    """Puts the UTC time first, ISO 8601 with milliseconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def __call__(self, _logger: Any, _method: str, event: Event) -> Event:
        first = {"timestamp": _iso(self._now()), "level": event.pop("level")}
        return {**first, "event": event.pop("event"), **event}


class _RepeatLimit:
    """Lets a warning or error through at once, then once a minute, with `suppressed=n`.

    What repeats is told by the event's name and its `resource`, if it has one.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def __call__(self, _logger: Any, method: str, event: Event) -> Event:
        if method not in _ALARMS:
            return event
        key = (str(event.get("event")), str(event.get("resource", "")))
        now = self._now()
        last = self._seen.get(key)
        # A clock that was set back must not silence an event for hours.
        if last is not None and 0 <= now - last[0] < REPEAT_S:
            self._seen[key] = (last[0], last[1] + 1)
            raise structlog.DropEvent
        if last is not None and last[1]:
            event["suppressed"] = last[1]
        if len(self._seen) >= _REMEMBERED_EVENTS:
            self._seen.clear()
        self._seen[key] = (now, 0)
        return event


def _limit_values(_logger: Any, _method: str, event: Event) -> Event:
    """Turn each field into what JSON knows, of limited length."""
    for key, value in event.items():
        if key == "exception":
            event[key] = str(value)[-TRACEBACK_CHARS:]
        elif not key.startswith("_"):
            event[key] = _plain(value, _VALUE_DEPTH)
    return event


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth and isinstance(value, list | tuple):
        return [_plain(item, depth - 1) for item in value[:_VALUE_ITEMS]]
    if depth and isinstance(value, dict):
        pairs = list(value.items())[:_VALUE_ITEMS]
        return {str(key)[:VALUE_CHARS]: _plain(item, depth - 1) for key, item in pairs}
    return str(value)[:VALUE_CHARS]


def _escape_for_console(_logger: Any, _method: str, event: Event) -> Event:
    """Make it impossible for a value to forge a line or to move the terminal's cursor."""
    for key, value in event.items():
        if key == "exception":
            event[key] = "\n".join("    " + _printable(line) for line in value.splitlines())
        elif isinstance(value, str):
            event[key] = _printable(value)
    return event


def _printable(text: str) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


class _Console(logging.StreamHandler[TextIO]):
    """Drops a line that the console does not take, instead of printing a traceback there."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Do nothing."""


class _DatedFile(logging.Handler):
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
        told = {"timestamp": _iso(self._now()), "level": "warning", "event": event, **fields}
        record = logging.LogRecord(_LOGGER, logging.WARNING, __file__, 0, told, None, None)
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


def _iso(utc_s: float) -> str:
    moment = datetime.datetime.fromtimestamp(utc_s, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _day(utc_s: float) -> str:
    return datetime.datetime.fromtimestamp(utc_s, datetime.UTC).date().isoformat()
