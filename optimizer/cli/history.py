"""`optimizer history`: what was recorded; works beside a running daemon and without one."""

from __future__ import annotations

import argparse
import json
import sys
import time

from optimizer.cli import (
    history_backup,
    history_compare,
    history_export,
    history_import,
    history_restore,
)
from optimizer.cli.common import EXIT_FAILED, EXIT_OK, as_far_as_good, say_faults, where_running
from optimizer.cli.common import days as number_of_days
from optimizer.cli.common import define as define_common
from optimizer.errors import ConfigError, HistoryError


def define(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add the commands of this group."""
    commands = parser.add_subparsers(dest="history_command", required=True, metavar="WHAT")
    shown = commands.add_parser(
        "events",
        help="starts, pauses, maintenance windows and what else explains the load",
        description="Events of the last days, oldest first.",
    )
    define_common(shown)
    shown.add_argument(
        "--days",
        type=number_of_days,
        metavar="N",
        help="so many days back from now (default: MONITOR_PERIOD_DAYS)",
    )
    shown.add_argument("--json", action="store_true", help="one JSON list, for programs")
    shown.set_defaults(execute=events)
    history_backup.define(commands)
    history_restore.define(commands)
    history_export.define(
        commands.add_parser(
            "export",
            help="the recorded rows as CSV or JSON lines",
            description="The recorded rows, as ratios 0 to 1; empty where unknown.",
        )
    )
    history_import.define(
        commands.add_parser(
            "import",
            help="add rows from an export, from sar or from a Prometheus server",
            description="Adds rows of times that the history does not know; while no daemon runs.",
        )
    )
    history_compare.define(
        commands.add_parser(
            "compare",
            help="one week against another, and the hours that stand out",
            description="Holds period B against period A; all times are UTC.",
        )
    )


def events(args: argparse.Namespace) -> int:
    """Print the events."""
    from dataclasses import asdict

    from optimizer.adapters.history_file import DAY_S
    from optimizer.adapters.history_reading import read_events
    from optimizer.directories import HISTORY_NAME
    from optimizer.report.events_text import line

    try:
        found = as_far_as_good(args)
        places = where_running(found.directories)
        days = args.days or found.loaded.settings.monitor_period_days
        now_s = time.time()
        noted = read_events(places.state / HISTORY_NAME, now_s - days * DAY_S, now_s)
    except ConfigError as exc:
        return say_faults(exc)
    except HistoryError as exc:
        print(f"optimizer: {exc}", file=sys.stderr)
        return EXIT_FAILED
    if args.json:
        print(json.dumps([asdict(event) | {"kind": event.kind.value} for event in noted], indent=2))
    elif not noted:
        print(f"Nothing was noted in the last {days:g} days.")
    else:
        print("\n".join(line(event) for event in noted))
    return EXIT_OK
