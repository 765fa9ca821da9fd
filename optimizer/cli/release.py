"""`optimizer release`: nothing is held on one filesystem for a while, to unmount it for example."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from optimizer.cli.common import EXIT_FAILED, EXIT_OK, configured, say_faults, where_running
from optimizer.cli.common import define as define_common
from optimizer.cli.switch import duration_s
from optimizer.directories import Directories
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
    from optimizer.adapters import platform, releases
    from optimizer.app import running

    now_s = time.time()
    until_s = now_s + args.duration
    if not os.path.lexists(args.path):
        print(f"optimizer: no such path: {args.path}", file=sys.stderr)
        return EXIT_FAILED
    try:
        places = where_running(configured(args).directories)
        mounts = {platform.mount_point_of(args.path)} | _same(args.path, _told(places))
        places.state.mkdir(parents=True, exist_ok=True)
        releases.release(places.state, mounts, until_utc_s=until_s, now_utc_s=now_s)
    except ConfigError as exc:
        return say_faults(exc)
    except (SwitchError, OSError) as exc:
        print(f"optimizer: cannot release: {exc}", file=sys.stderr)
        return EXIT_FAILED
    names = ", ".join(sorted(mounts))
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What the daemon last said: when (UTC seconds), of each filesystem, and its disk stressers."""

    updated_utc_s: float = 0.0
    filesystems: tuple[Mapping[str, Any], ...] = ()
    pids: tuple[int, ...] = ()


def _told(places: Directories) -> _Told:
    from optimizer.adapters import status_file
    from optimizer.app import STATUS_NAME

    status: Any = status_file.read(places.runtime / STATUS_NAME)
    if status is None:
        return _Told()
    disk = status["resources"]["disk"]
    return _Told(
        updated_utc_s=float(status.get("updated_utc_s") or 0.0),
        filesystems=tuple(disk["filesystems"]),
        pids=tuple(disk["pids"]),
    )


def _same(path: str, told: _Told) -> set[str]:
    """The mount points of the filesystem that a path is on, as the daemon names them."""
    device = os.stat(path).st_dev
    found = set()
    for one in told.filesystems:
        with contextlib.suppress(OSError):  # unmounted since
            if os.stat(one["mount"]).st_dev == device:
                found.add(str(one["mount"]))
    return found


def _is_free(places: Directories, mounts: set[str], since_utc_s: float) -> bool:
    """Whether, within a while, the daemon says that it holds nothing on any of them.

    Or, if it says nothing any more, that its disk stressers have ended.
    """
    from optimizer.adapters import platform

    until_s, told = time.monotonic() + WAIT_S, _Told()
    while time.monotonic() < until_s:
        told = _told(places)
        held = sum(one["own_bytes"] for one in told.filesystems if one["mount"] in mounts)
        if told.updated_utc_s > since_utc_s and held == 0:
            return True
        time.sleep(_LOOK_S)
    return not any(platform.is_running(pid) for pid in told.pids)
