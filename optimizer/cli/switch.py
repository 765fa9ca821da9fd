"""`optimizer pause` and `optimizer resume`: orders through files, also to a daemon that hangs."""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from datetime import UTC, datetime

from optimizer import durations
from optimizer.cli.common import EXIT_FAILED, EXIT_OK, configured, say_faults, where_running
from optimizer.cli.common import define as define_common
from optimizer.errors import ConfigError, SwitchError


def define(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of pause or resume."""
    define_common(parser)
    if name == "resume":
        parser.set_defaults(execute=resume)
        return
    parser.add_argument(
        "duration",
        nargs="?",
        type=duration_s,
        metavar="DURATION",
        help="such as 30m, 2h, 1h30m, 1d; without it until `optimizer resume`",
    )
    parser.add_argument("--reason", default="paused by an operator", help="shown in the status")
    parser.set_defaults(execute=pause)


def duration_s(text: str) -> float:
    """Seconds of a duration on the command line; raises argparse.ArgumentTypeError."""
    try:
        return durations.parse(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def pause(args: argparse.Namespace) -> int:
    """Write the order; the daemon obeys it in its next cycle and after any restart."""
    from optimizer.adapters import switch
    from optimizer.app import running

    now_s = time.time()
    until_s = None if args.duration is None else now_s + args.duration
    try:
        places = where_running(configured(args).directories)
        places.state.mkdir(parents=True, exist_ok=True)
        switch.pause(
            places.state,
            until_utc_s=until_s,
            reason=args.reason,
            by=_who(),
            now_utc_s=now_s,
        )
    except ConfigError as exc:
        return say_faults(exc)
    except (SwitchError, OSError) as exc:
        print(f"optimizer: cannot pause: {exc}", file=sys.stderr)
        return EXIT_FAILED
    end = "until `optimizer resume`"
    if until_s is not None:
        end = f"until {datetime.fromtimestamp(until_s, UTC).astimezone():%Y-%m-%d %H:%M:%S %Z}"
    print(f"Paused {end}: {args.reason}.")
    if running(places) is None:
        print(f"No daemon runs on {places.runtime} now; this holds for one that starts there.")
    else:
        print("All load is released within a second.")
    return EXIT_OK


def resume(args: argparse.Namespace) -> int:
    """Lift the order, and the latch of stressers that ended too often."""
    from optimizer.adapters import switch

    try:
        places = where_running(configured(args).directories)
        switch.resume(places.state)
    except ConfigError as exc:
        return say_faults(exc)
    except (SwitchError, OSError) as exc:
        print(f"optimizer: cannot resume: {exc}", file=sys.stderr)
        return EXIT_FAILED
    print("Resumed: load comes back at its allowed rise.")
    return EXIT_OK


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown user"
