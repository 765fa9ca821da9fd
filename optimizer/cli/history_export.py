"""`optimizer history export`: the rows as CSV or JSON lines, beside a running daemon too."""

from __future__ import annotations

import argparse
import gzip
import sys
import time
from pathlib import Path

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

EVER_S = 1e12
"""Later than any row."""


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
    from optimizer.adapters.history_reading import read_rows
    from optimizer.adapters.history_text import render
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
        rows = read_rows(places.state / HISTORY_NAME, start_s, end_s)
    except ConfigError as exc:
        return say_faults(exc)
    except HistoryError as exc:
        return _refused(str(exc))
    name = args.out.removesuffix(".gz")
    kind = args.format or ("jsonl" if name.endswith((".jsonl", ".ndjson")) else "csv")
    text = render(rows, kind)
    if args.out == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
    elif not _written(Path(args.out), text):
        return EXIT_FAILED
    if not rows:
        print("optimizer: the history has no rows of that time", file=sys.stderr)
    elif args.out != "-":
        print(f"{len(rows)} rows in {args.out}.")
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


def _written(path: Path, text: str) -> bool:
    """Whether the file could be replaced; says why not."""
    from optimizer.atomic import replace_file

    content = text.encode()
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=6, mtime=0)
    try:
        if path.exists() and not path.is_file():
            print(
                f"optimizer: {path} is no regular file; name another, or leave out --out to "
                "write to the standard output",
                file=sys.stderr,
            )
            return False
        replace_file(path, content, durable=True)
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
