"""The log: lines for people on the console, JSON lines in a file that rotates by day and size.

Events are called `noun.verb_past` and carry their facts as fields. Writing
never raises: a line that cannot be written is dropped and counted.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any, TextIO, cast

from optimizer.adapters.log_file import LOGGER, DatedFile, iso


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
        to_file = DatedFile(
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
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(LOGGER))


def shutdown() -> None:
    """Close the outputs that `configure` opened; does nothing when there are none."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _Console | DatedFile):
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
        first = {"timestamp": iso(self._now()), "level": event.pop("level")}
        return {**first, "event": event.pop("event"), **event}


class _RepeatLimit:
    """Lets a warning or error through at once, then once a minute, with `suppressed=n`.

    What repeats is told by the event's name, its `resource` and its `faults`,
    if it has them: another broken configuration is another event.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def __call__(self, _logger: Any, method: str, event: Event) -> Event:
        if method not in _ALARMS:
            return event
        about = f"{event.get('resource', '')}{event.get('faults', '')}"
        key = (str(event.get("event")), about)
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
