"""The history as text: one row a line, as CSV with a header or as JSON objects."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from optimizer.errors import SourceError
from optimizer.outcome import HistoryRow

FORMATS = ("csv", "jsonl")
LONGEST_SPAN_S = 86_400.0
"""A row over more than a day tells nothing of any hour."""
_YEAR_9999_S = 253_402_300_800
_REASON = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NEEDED = ("utc_s", "span_s")
_SHOWN = 40
"""So many characters of a value that is wrong are shown."""


_OWN = (("cpu", "cpu_own"), ("memory", "memory_own"), ("disk", "disk_own"))
_ROUNDED = 1e-6
"""By so much our own share may be above the total, for others write fewer digits."""


class Parsed(NamedTuple):
    """The rows of a source in its order, and what is wrong with the others, by line.

    `without_own` are the columns of our own load that count as 0, for the
    source has none beside that of the total.
    """

    rows: list[HistoryRow]
    faults: list[str]
    without_own: tuple[str, ...] = ()


def render(rows: Sequence[HistoryRow], kind: str, *, header: bool = True) -> str:
    """The rows as `csv` or `jsonl`; numbers in full, so that reading them gives the same rows.

    Without `header` they go on after others.
    """
    if kind == "jsonl":
        return "".join(json.dumps(row._asdict(), allow_nan=False) + "\n" for row in rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(HistoryRow._fields)
    writer.writerows(rows)
    return text.getvalue()


def parse_csv(lines: Iterable[str], name: str) -> Parsed:
    """Rows from CSV with a header; the columns in any order, those that lack are unknown.

    Without a column of our own load there was none: 0 where the total is known.
    Raises SourceError when it is no such file.
    """
    reader = csv.reader(lines)
    rows: list[HistoryRow] = []
    faults: list[str] = []
    without_own: tuple[str, ...] = ()
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(header, name)
        readers = [_READERS[column] for column in header]
        width = len(header)
        places = [header.index(c) if c in header else None for c in HistoryRow._fields]
        lacking = [(of, own) for of, own in _OWN if of in header and own not in header]
        without_own = tuple(own for _, own in lacking)
        for cells in reader:
            if not cells:
                continue
            if len(cells) != width:
                faults.append(
                    f"{name}, line {reader.line_num}: {len(cells)} columns where the header has "
                    f"{width}; is the line cut off?"
                )
                continue
            try:
                values = [read(cell) for read, cell in zip(readers, cells, strict=True)]
                row = _row([None if at is None else values[at] for at in places])
                zeros: dict[str, Any] = {
                    own: 0.0 for of, own in lacking if getattr(row, of) is not None
                }
                rows.append(row._replace(**zeros) if zeros else row)
            except ValueError as exc:
                where = _where(header, readers, cells)
                faults.append(f"{name}, line {reader.line_num}: {where}{exc}")
    except csv.Error as exc:
        raise SourceError(
            f"{name}, line {reader.line_num}: {exc}; give a file that `optimizer history export` "
            "has written"
        ) from exc
    return Parsed(rows, faults, without_own)


def parse_jsonl(lines: Iterable[str], name: str) -> Parsed:
    """Rows from one JSON object a line, with the columns as keys."""
    rows: list[HistoryRow] = []
    faults: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(_from_object(line))
        except (ValueError, RecursionError) as exc:
            faults.append(f"{name}, line {number}: {exc}")
    return Parsed(rows, faults)


def shown(value: object) -> str:
    """A value of a source, short and printable."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _check_header(header: Sequence[str], name: str) -> None:
    odd = [column for column in header if column not in _READERS]
    lacking = [column for column in _NEEDED if column not in header]
    if odd or lacking or len(set(header)) < len(header):
        said = f"no column {lacking[0]}" if lacking else f"column {shown((odd or header)[0])}"
        raise SourceError(
            f"{name}, line 1: {said} in the header; it must name some of "
            f"{','.join(HistoryRow._fields)}, each once, utc_s and span_s among them; "
            "is it an export, or the output of sadf -j or -d?"
        )


def _from_object(line: str) -> HistoryRow:
    try:
        found = json.loads(line)
    except ValueError as exc:
        raise ValueError(f"{shown(line.strip())} is no JSON; is the line cut off?") from exc
    if not isinstance(found, Mapping):
        raise ValueError(f"{shown(line.strip())} is no JSON object")  # noqa: TRY004 - of the text
    for key, value in found.items():
        if key not in _READERS:
            raise ValueError(f"{shown(key)} is no column of the history")
        if isinstance(value, bool) or not isinstance(value, str | int | float | None):
            raise ValueError(f"{key} {shown(value)} is neither number, text nor null")  # noqa: TRY004 - of the text
    values: list[float | str | None] = []
    for column, read in _READERS.items():
        value = found.get(column)
        try:
            values.append(read("" if value is None else str(value)))
        except ValueError as exc:
            raise ValueError(f"{column} {exc}") from exc
    return _row(values)


def _row(values: Sequence[float | str | None]) -> HistoryRow:
    """A row of values that were read each by its reader; raises ValueError when they disagree.

    Where there is a reason the daemon has recorded them: it reads the two
    counters one after another, and judges by them as they are.
    """
    row = HistoryRow(*values)  # type: ignore[arg-type]
    for of, total, own, reason in (
        ("cpu", row.cpu, row.cpu_own, row.cpu_reason),
        ("memory", row.memory, row.memory_own, row.memory_reason),
        ("disk", row.disk, row.disk_own, row.disk_reason),
    ):
        if total is not None and own is not None and not reason and own > total + _ROUNDED:
            raise ValueError(
                f"{of}_own {own:g} is above {of} {total:g}: {of} must be the whole load, with ours"
            )
    return row


def _where(
    header: Sequence[str], readers: Sequence[Callable[[str], object]], cells: Sequence[str]
) -> str:
    """The name of the first column that cannot be read."""
    for column, read, cell in zip(header, readers, cells, strict=True):
        try:
            read(cell)
        except ValueError:
            return f"{column} "
    return ""


def _second(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < _YEAR_9999_S:
        raise ValueError(f"{shown(text)} is no whole second since 1970-01-01 UTC")
    return value


def _span(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= LONGEST_SPAN_S:
        raise ValueError(
            f"{shown(text)} must be a number of seconds above 0, up to {LONGEST_SPAN_S:.0f}"
        )
    return value


def _ratio(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{shown(text)} must be a ratio from 0 to 1, or empty where unknown")
    return value


def _reason(text: str) -> str | None:
    if not text:
        return None
    if not _REASON.fullmatch(text):
        raise ValueError(f"{shown(text)} is no reason; write for example holding, or nothing")
    return text


def _read_by(column: str) -> Callable[[str], float | str | None]:
    if column == "utc_s":
        return _second
    if column == "span_s":
        return _span
    return _reason if column.endswith("_reason") else _ratio


_READERS = {column: _read_by(column) for column in HistoryRow._fields}


def lines_of(text: str) -> Iterator[str]:
    """The lines of a text, with their ends, as the csv module wants them."""
    return iter(io.StringIO(text, newline=""))
