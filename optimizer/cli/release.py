"""`optimizer release`: nothing is held on one filesystem for a while, to unmount it for example."""

from __future__ import annotations

import argparse
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any

from optimizer.cli.common import (
    EXIT_FAILED,
    EXIT_OK,
    as_far_as_good,
    running,
    say_faults,
    where_running,
)
from optimizer.cli.common import define as define_common
from optimizer.cli.switch import duration_s
from optimizer.directories import STATUS_NAME, Directories
from optimizer.errors import ConfigError, SwitchError

DEFAULT_S = 3600.0
"""Long enough to unmount, to resize or for a snapshot; then the target is held again."""
WAIT_S = 8.0
"""A daemon that looks every second answers sooner; leases of one that hangs are over by then."""
_LOOK_S = 0.05


def define(parser: argparse.ArgumentParser, _: str) -> None:
    """Add the options."""
    define_common(parser)
    parser.add_argument("path", metavar="PATH", help="any path on the filesystem")
    parser.add_argument(
        "--for",
        dest="duration",
        type=duration_s,
        default=DEFAULT_S,
        metavar="DURATION",
        help="such as 30m, 2h, 1d; default 1h; `optimizer resume` ends it earlier",
    )
    parser.set_defaults(execute=release)


def release(args: argparse.Namespace) -> int:
    """Write the order and wait until the daemon holds nothing there."""
    from optimizer.adapters import mounts as mount_table
    from optimizer.adapters import releases

    now_s = time.time()
    until_s = now_s + args.duration
    if not os.path.lexists(args.path):
        print(f"optimizer: no such path: {args.path}", file=sys.stderr)
        return EXIT_FAILED
    try:
        places = where_running(as_far_as_good(args).directories)
        mount = mount_table.mount_point_of(args.path)
        mounts = frozenset({mount, *mount_table.same_device(mount)})
        places.state.mkdir(parents=True, exist_ok=True)
        releases.release(places.state, mounts, until_utc_s=until_s, now_utc_s=now_s)
    except ConfigError as exc:
        return say_faults(exc)
    except (SwitchError, OSError) as exc:
        print(f"optimizer: cannot release: {exc}", file=sys.stderr)
        return EXIT_FAILED
    names = mount if os.path.realpath(args.path) == mount else f"{mount}, where {args.path} is"
    now_s = time.time()  # what the daemon says from now on, it says with the order in hand
    if running(places) is None:
        print(f"No daemon runs on {places.runtime} now, so nothing is held on {names}.")
    elif not _is_free(places, mounts, now_s):
        print(
            f"optimizer: the daemon has not confirmed within {WAIT_S:g} s that nothing is held on "
            f"{names}; see `optimizer status`, or stop the daemon",
            file=sys.stderr,
        )
        return EXIT_FAILED
    end = f"{datetime.fromtimestamp(until_s, UTC).astimezone():%Y-%m-%d %H:%M:%S %Z}"
    print(f"Nothing is held on {names} until {end} or `optimizer resume`.")
    return EXIT_OK


def _is_free(places: Directories, mounts: frozenset[str], since_utc_s: float) -> bool:
    """Whether, within a while, the daemon says that it holds nothing on any of them.

    Or, if it does not say so, that its disk stressers have ended.
    """
    from optimizer.adapters import status_file
    from optimizer.adapters.identity import identify

    until_s = time.monotonic() + WAIT_S
    pids: list[int] = []
    while time.monotonic() < until_s:
        status: Any = status_file.read(places.runtime / STATUS_NAME)
        if status is not None:
            disk = status["resources"]["disk"]
            pids = disk["pids"]
            told = {one["mount"]: one["own_bytes"] for one in disk["filesystems"]}
            here = [told[mount] for mount in mounts if mount in told]
            # A filesystem that is not told of is not held on, or cannot be read now.
            known = bool(here) or not pids
            if known and not any(here) and status["updated_utc_s"] > since_utc_s:
                return True
        time.sleep(_LOOK_S)
    return not any(identify(pid) for pid in pids)
