"""Files that history is taken from: told apart by their content, whatever their names."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from optimizer.adapters import sysstat, sysstat_rows
from optimizer.adapters.history_text import lines_of, parse_csv, parse_jsonl, shown
from optimizer.errors import SourceError
from optimizer.orders import MemoryMetric
from optimizer.outcome import HistoryRow

LARGEST_BYTES = 256 * 2**20
"""Unpacked; a month of minutes is 6 MB."""
STDIN = "-"
_GZIP = b"\x1f\x8b"
_XZ = (b"\xfd7zXZ\x00", b"BZh")
_HEAD_CHARS = 64


@dataclass(slots=True)
class Found:
    """The rows of each source in the order of the command line, sysstat's files as one.

    `sysstat` tells whether there were any of these; `without_own` names the
    files without columns of our own load, and these columns.
    """

    sources: list[Sequence[HistoryRow]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    sysstat: bool = False
    without_own: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)


def read_files(
    names: Sequence[str], *, metric: MemoryMetric, count_steal: bool, places: Sequence[str]
) -> Found:
    """What the files have; raises SourceError for one that cannot be used at all."""
    found, recording = Found(), sysstat.Recording()
    for name in names:
        content = _content(name)
        if content[:2] in sysstat.BINARY_MAGIC:
            if name == STDIN:
                raise SourceError("a binary sysstat file must be given by its name, not as -")
            sysstat.read_binary(Path(name), recording)
            found.sysstat = True
            continue
        text = _text(content, name)
        head = text[:_HEAD_CHARS].lstrip()
        if "".join(head.split()).startswith(sysstat.JSON_HEAD):
            sysstat.read_json(text, name, recording)
            found.sysstat = True
        elif head.startswith(sysstat.TEXT_HEAD):
            sysstat.read_text(lines_of(text), name, recording)
            found.sysstat = True
        else:
            parse = parse_jsonl if head.startswith("{") else parse_csv
            parsed = parse(lines_of(text), name)
            found.sources.append(parsed.rows)
            found.faults += parsed.faults
            if not parsed.rows and not parsed.faults:
                raise SourceError(f"{name} has no rows; was it written to its end?")
            if parsed.without_own:
                found.without_own.append((name, parsed.without_own))
    if found.sysstat:
        found.faults += recording.faults
        rows = sysstat_rows.rows(recording, metric=metric, count_steal=count_steal, places=places)
        if not rows and not recording.faults:
            raise SourceError(
                f"{', '.join(names)}: the recording has no rows; was it written to its end?"
            )
        found.sources.append(rows)
    return found


def _content(name: str) -> bytes:
    """The unpacked bytes of a file or of the standard input."""
    try:
        if name == STDIN:
            content = _bounded(sys.stdin.buffer, name)
        else:
            with Path(name).open("rb") as file:
                content = _bounded(file, name)
        if content.startswith(_GZIP):
            with gzip.open(io.BytesIO(content)) as file:
                content = _bounded(file, name)
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise SourceError(f"{name}: {exc}; the compressed file is cut off or damaged") from exc
    except OSError as exc:
        raise SourceError(f"cannot read {name}: {exc.strerror or exc}") from exc
    if content.startswith(_XZ):
        raise SourceError(f"{name} is compressed with xz or bzip2; unpack it first")
    return content


def _bounded(file: BinaryIO | gzip.GzipFile, name: str) -> bytes:
    content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise SourceError(
            f"{name} is larger than {LARGEST_BYTES >> 20} MB unpacked; give it in parts, such as "
            "a month each"
        )
    return content


def _text(content: bytes, name: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        text = "\0"
        cause: Exception | None = exc
    else:
        cause = None
    if "\0" in text:
        raise SourceError(
            f"{name} begins with {shown(content[:8])} and is no text; give a file of `optimizer "
            "history export`, of sar or of sadf"
        ) from cause
    if not text.strip():
        raise SourceError(f"{name} is empty; was it written to its end?")
    return text
