"""`optimizer history compare`: two periods side by side, and what stands out in the second."""

from __future__ import annotations

import argparse
import json
import sys
import time

from optimizer.cli.common import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_USAGE,
    as_far_as_good,
    say_faults,
    where_running,
)
from optimizer.cli.common import define as define_common
from optimizer.errors import ConfigError, HistoryError


def define(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    define_common(parser)
    parser.add_argument(
        "periods",
        nargs="*",
        metavar="A B",
        help="two periods: 7d, previous-7d, today, yesterday, this-week, last-week, 2026-11-01, "
        "2026-11-01..2026-11-08; one alone is compared with the time just before it "
        "(default: previous-7d 7d)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Print the comparison."""
    from optimizer.adapters.history_account import read_account
    from optimizer.derive import derive, look
    from optimizer.directories import HISTORY_NAME
    from optimizer.report.compare import compare, reading_from
    from optimizer.report.compare_text import document, lines
    from optimizer.report.periods import period

    now_s = time.time()
    asked = args.periods or ["7d"]
    if len(asked) > 2:
        print(f"optimizer: {len(asked)} periods are given; give two, or one", file=sys.stderr)
        return EXIT_USAGE
    try:
        after = period(asked[-1], now_s)
        before = period(asked[0], now_s) if len(asked) == 2 else after.before()
    except ValueError as exc:
        print(f"optimizer: {exc}", file=sys.stderr)
        return EXIT_USAGE
    try:
        found = as_far_as_good(args)
        settings = found.loaded.settings
        path = where_running(found.directories).state / HISTORY_NAME
        columns, _ = read_account(path, reading_from(before, after), now_s, now_s)
    except ConfigError as exc:
        return say_faults(exc)
    except HistoryError as exc:
        print(f"optimizer: {exc}", file=sys.stderr)
        return EXIT_FAILED
    target = derive(settings, look(settings)).settled.policy.target
    result = compare(columns, before, after, target)
    if args.json:
        print(json.dumps(document(result), indent=2, allow_nan=False))
    else:
        print("\n".join(lines(result)))
    return EXIT_OK
