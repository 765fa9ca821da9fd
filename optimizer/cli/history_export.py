"""`optimizer history export`: the rows as CSV or JSON lines, beside a running daemon too."""

from __future__ import annotations

import argparse
import gzip
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from optimizer.cli.common import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_USAGE,
    as_far_as_good,
    say_faults,
    where_running,
)
from optimizer.cli.common import days as number_of_days
from optimizer.cli.common import define as define_common
from optimizer.errors import ConfigError, HistoryError

if TYPE_CHECKING:
    from optimizer.outcome import HistoryRow


def define(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    define_common(parser)
    parser.add_argument(
        "--days", type=number_of_days, metavar="N", help="so many days back from now (default: all)"
    )
    parser.add_argument(
        "--from",
        type=instant,
        dest="start",
        metavar="T",
        help="from this UTC date or time on, for example 2026-11-01 or 2026-11-01T06:00",
    )
    parser.add_argument(
        "--to", type=instant, dest="end", metavar="T", help="up to this UTC date or time"
    )
    parser.add_argument(
        "--out",
        default="-",
        metavar="F",
        help="file, replaced as a whole; compressed when its name ends in .gz (default: -, stdout)",
    )
    parser.add_argument("--format", choices=("csv", "jsonl"), help="default: by --out, else csv")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Write the rows."""
    from optimizer.adapters.history_file import DAY_S
    from optimizer.adapters.history_reading import EVER_S, row_slices
    from optimizer.directories import HISTORY_NAME

    if args.days is not None and (args.start is not None or args.end is not None):
        return _refused(
            "--days counts back from now; give either it or --from and --to", EXIT_USAGE
        )
    start_s = -1.0 if args.start is None else args.start
    end_s = EVER_S if args.end is None else args.end
    if args.days is not None:
        end_s = time.time()
        start_s = end_s - args.days * DAY_S
    if end_s <= start_s:
        return _refused("--to is not after --from: exchange the two", EXIT_USAGE)
    try:
        found = as_far_as_good(args)
        places = where_running(found.directories)
        rows = row_slices(places.state / HISTORY_NAME, start_s, end_s)
        name = args.out.removesuffix(".gz")
        kind = args.format or ("jsonl" if name.endswith((".jsonl", ".ndjson")) else "csv")
        count = _write(args.out, rows, kind)
    except ConfigError as exc:
        return say_faults(exc)
    except HistoryError as exc:
        return _refused(str(exc))
    if count is None:
        return EXIT_FAILED
    if not count:
        print("optimizer: the history has no rows of that time", file=sys.stderr)
    elif args.out != "-":
        print(f"{count} rows in {args.out}.")
    return EXIT_OK


def instant(text: str) -> float:
    """Seconds since the epoch of a date or time that an option names."""
    from optimizer.report.periods import moment

    try:
        return moment(text).timestamp()
    except (ValueError, OverflowError) as exc:
        message = (
            f"{text!r} is no date or time; write for example 2026-11-01 or 2026-11-01T06:00 (UTC)"
        )
        raise argparse.ArgumentTypeError(message) from exc


def _write(out: str, slices: Iterator[list[HistoryRow]], kind: str) -> int | None:
    """How many rows were written; None when the file could not be, which is said."""
    from optimizer.adapters.history_text import render

    count = 0

    def write(put: Callable[[str], object]) -> None:
        nonlocal count
        rows = next(slices, [])
        put(render(rows, kind))
        while rows:
            count += len(rows)
            rows = next(slices, [])
            put(render(rows, kind, header=False))

    if out == "-":
        write(sys.stdout.write)
        sys.stdout.flush()
        return count

    def pack(file: BinaryIO) -> None:
        if not out.endswith(".gz"):
            write(lambda text: file.write(text.encode()))
            return
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
            write(lambda text: packed.write(text.encode()))

    return count if _written(Path(out), pack) else None


def _written(path: Path, content: Callable[[BinaryIO], None]) -> bool:
    """Whether the file could be replaced; says why not."""
    from optimizer.atomic import write_file

    try:
        if path.exists() and not path.is_file():
            print(
                f"optimizer: {path} is no regular file; name another, or leave out --out to "
                "write to the standard output",
                file=sys.stderr,
            )
            return False
        write_file(path, content, durable=True)
    except OSError as exc:
        print(
            f"optimizer: cannot write {path}: {exc.strerror or exc}; what was there is unchanged",
            file=sys.stderr,
        )
        return False
    return True


def _refused(message: str, code: int = EXIT_FAILED) -> int:
    print(f"optimizer: {message}", file=sys.stderr)
    return code
