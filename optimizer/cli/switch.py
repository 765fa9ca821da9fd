"""`optimizer pause` and `optimizer resume`: orders through files, also to a daemon that hangs."""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from optimizer import durations
from optimizer.cli.common import (
    EXIT_FAILED,
    EXIT_OK,
    Configured,
    as_far_as_good,
    running,
    say_faults,
    where_running,
)
from optimizer.cli.common import define as define_common
from optimizer.directories import Directories
from optimizer.errors import ConfigError, SwitchError

if TYPE_CHECKING:
    from optimizer.maintenance import MaintenanceSwitch


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
    from optimizer.adapters.steady import steady_s

    now_s = time.time()
    until_s = None if args.duration is None else now_s + args.duration
    try:
        found = as_far_as_good(args)
        places = where_running(found.directories)
        places.state.mkdir(parents=True, exist_ok=True)
        orders = _orders(places, found)
        before = switch.FileSwitch(places.state, steady=steady_s).inhibit(now_s)
        switch.pause(
            places.state,
            until_utc_s=until_s,
            reason=args.reason,
            by=_who(),
            now_utc_s=now_s,
        )
        after = orders.inhibit(now_s)
    except ConfigError as exc:
        return say_faults(exc)
    except (SwitchError, OSError) as exc:
        print(f"optimizer: cannot pause: {exc}", file=sys.stderr)
        return EXIT_FAILED
    print(f"Paused {_end(until_s, now_s)}: {args.reason}.")
    if before is not None:
        end = _end(before.until_utc_s, now_s)
        print(f"This replaces the pause by {before.by} {end}: {before.reason}.")
    if after is not None and after.scheduled:
        end = _end(after.until_utc_s, now_s)
        print(f"The maintenance window {after.reason!r}, which lasts {end}, ends later and counts.")
    if running(places) is None:
        print(f"No daemon runs on {places.runtime} now; this holds for one that starts there.")
    else:
        print("All load is released within a second.")
    return EXIT_OK


def resume(args: argparse.Namespace) -> int:
    """Lift the order, the windows that run, and the latch of stressers that ended too often."""
    from optimizer.adapters import switch

    now_s = time.time()
    try:
        found = as_far_as_good(args)
        places = where_running(found.directories)
        orders = _orders(places, found)
        before = orders.maintenance(now_s)
        switch.resume(places.state)
    except ConfigError as exc:
        return say_faults(exc)
    except (SwitchError, OSError) as exc:
        print(f"optimizer: cannot resume: {exc}", file=sys.stderr)
        return EXIT_FAILED
    print("Resumed: load comes back at its allowed rise.")
    if before.running is not None:
        end = _end(before.running.until_utc_s, now_s)
        print(f"The maintenance window {before.running.window!r} is lifted {end}, its end.")
    if before.next is not None:
        start = durations.words(before.next.start_utc_s - now_s)
        print(f"The next maintenance window: {before.next.local}, in {start}.")
    return EXIT_OK


def _orders(places: Directories, found: Configured) -> MaintenanceSwitch:
    """The orders in the files and the windows of the configuration."""
    from optimizer.adapters.steady import steady_s
    from optimizer.adapters.switch import FileSwitch
    from optimizer.maintenance import MaintenanceSwitch

    windows = found.loaded.settings.maintenance_windows or ()
    return MaintenanceSwitch(FileSwitch(places.state, steady=steady_s), lambda: windows)


def _end(until_s: float | None, now_s: float) -> str:
    """`until 2026-03-05 14:00:00 CET, in 2 h`, on this host's clock."""
    if until_s is None:
        return "until `optimizer resume`"
    try:
        end = datetime.fromtimestamp(until_s, UTC).astimezone()
    except (OverflowError, ValueError, OSError):
        return "until a time that no calendar has"
    return f"until {end:%Y-%m-%d %H:%M:%S %Z}, in {durations.words(until_s - now_s)}"


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown user"
