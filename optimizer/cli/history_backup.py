"""`optimizer history backup`: history and configuration in one file, beside a running daemon."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.cli.common import (
    EXIT_OK,
    EXIT_TRY_LATER,
    as_far_as_good,
    days,
    program_version,
    say_faults,
    where_running,
)
from optimizer.cli.common import define as define_common
from optimizer.cli.output import tell
from optimizer.errors import AlreadyRunningError, ConfigError

if TYPE_CHECKING:
    from optimizer.adapters.history_backup import Backup
    from optimizer.adapters.history_manifest import Manifest

LONGEST_KEPT_DAYS = 36_600
"""A backup may be kept for longer than the history reaches back."""
FOLDER_NAME = "backups"
"""Where backups go in the state directory."""
_CRON = """each night at 02:00, in /etc/cron.d/optimizer-backup:
  0 2 * * *  root  optimizer history backup --to /var/backups/optimizer --keep-days 7
Cron mails what goes wrong; exit 0 only when the backup was read again and found good."""


def define(commands: Any) -> None:
    """Add the command to its group."""
    parser = commands.add_parser(
        "backup",
        help="history and configuration into one file; the daemon may run",
        description="Writes history and configuration into one compressed file, reads it again, "
        "and removes backups of this host that are too old. The file may hold a password.",
        epilog=_CRON,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    define_common(parser)
    parser.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help="directory to write to (default: backups in the state directory)",
    )
    parser.add_argument(
        "--keep-days",
        type=partial(days, most=LONGEST_KEPT_DAYS),
        default=7.0,
        metavar="N",
        help="remove older backups in DIR, after a good one only (default 7)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
    parser.set_defaults(execute=backup)


def backup(args: argparse.Namespace) -> int:
    """Make the backup, and say in one line what was kept."""
    from optimizer.adapters import history_backup
    from optimizer.directories import HISTORY_NAME

    end_in_order()
    try:
        found = as_far_as_good(args)
        places = where_running(found.directories)
        made = history_backup.back_up(
            history_backup.Order(
                history=places.state / HISTORY_NAME,
                config=found.loaded.file,
                directory=args.to.absolute() if args.to else places.state / FOLDER_NAME,
                ruled_by=args.to.absolute() if args.to else places.state,
                host=host(),
                program_version=program_version(),
                keep_days=args.keep_days,
            ),
            now_utc_s=time.time(),
        )
    except ConfigError as exc:
        return say_faults(exc)
    except AlreadyRunningError as exc:
        print(f"optimizer: {exc}", file=sys.stderr)
        return EXIT_TRY_LATER
    for fault in made.expired.faults:
        print(f"optimizer: {fault}", file=sys.stderr)
    tell(_json(made) if args.json else _line(made, args.keep_days))
    return EXIT_OK


def host() -> str:
    """The name of this host."""
    import socket

    return socket.gethostname()


def end_in_order() -> None:
    """Have SIGTERM clean up as Ctrl-C does."""
    if sys.platform != "win32":
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def holds(manifest: Manifest) -> str:
    """What history a backup holds, in words."""
    from optimizer.report.fields import time

    inside = manifest.contents
    words = _counted(inside.rows, "row")
    if inside.rows:
        words += f" from {time(inside.first_utc_s)} to {time(inside.last_utc_s)}"
    return f"{words}, {_counted(inside.events, 'event')}"


def also(manifest: Manifest) -> str:
    """Which configuration file it holds, in words."""
    from optimizer.report.fields import clean

    return clean(manifest.config.path) if manifest.config else "no configuration file"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _line(made: Backup, keep_days: float) -> str:
    removed = len(made.expired.removed)
    size = f"{made.size_bytes / 1e6:.1f} MB" if made.size_bytes >= 1e5 else f"{made.size_bytes} B"
    return (
        f"Backup completed: {made.file}, {size}: {holds(made.manifest)}, {also(made.manifest)}. "
        f"{removed} older than {keep_days:g} days removed, {made.expired.left} here now."
    )


def _json(made: Backup) -> str:
    from dataclasses import asdict

    told = {"file": str(made.file), "size_bytes": made.size_bytes}
    return json.dumps(told | asdict(made.manifest) | asdict(made.expired), indent=2)
