"""`optimizer glances-config`: the configuration for a Glances that is run apart."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.cli.common import EXIT_FAILED, EXIT_OK, configured, say_faults
from optimizer.cli.common import define as define_common
from optimizer.directories import TEXT_NAME
from optimizer.errors import ConfigError, OptimizerError

if TYPE_CHECKING:
    from optimizer.settings import Settings

_LET_IN_NAME = "50-IPAddressAllow.conf"
"""What `systemctl set-property --runtime` leaves."""
_EXIT_BROKEN = 255
"""Source: systemd.service(5), ExecCondition=: 1 to 254 skip the unit, 255 fails it."""


def define(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add this command's options."""
    define_common(parser)
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write it there instead of printing it"
    )
    parser.add_argument(
        "--runtime",
        type=Path,
        metavar="DIR",
        help="for optimizer-glances.service: write all that it needs there, for the owner of DIR; "
        "exit 1 when no page is wanted",
    )
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Print or write the configuration; exit 1 when that cannot be done."""
    from optimizer.adapters.glances_setup import render_config
    from optimizer.atomic import replace_file

    try:
        found = configured(args)
    except ConfigError as exc:
        return say_faults(exc)
    settings = found.loaded.settings
    if args.runtime is not None:
        return _for_unit(args.runtime, settings)
    try:
        text = render_config(
            status_text=found.directories.runtime / TEXT_NAME,
            platform=sys.platform,
            bind=settings.glances_bind,
            port=settings.glances_port,
        )
        if args.output is None:
            sys.stdout.write(text)
        else:
            replace_file(args.output, text.encode(), durable=True)
    except (OSError, ValueError) as exc:
        sys.stderr.write(f"No configuration for Glances: {exc}\n")
        return EXIT_FAILED
    return EXIT_OK


def _for_unit(directory: Path, settings: Settings) -> int:
    """Exit 1 means to systemd: do not start it, all is well; 255: it has failed."""
    from optimizer.adapters import glances_unit, systemctl
    from optimizer.adapters.glances import UNIT
    from optimizer.adapters.glances_setup import obstacle_installed, obstacle_port
    from optimizer.adapters.systemd_service import LET_IN
    from optimizer.cli.common import system_directories
    from optimizer.settings_keys import is_loopback

    obstacle = None if settings.glances_enabled else "GLANCES_ENABLED=false"
    obstacle = obstacle or obstacle_installed()
    if obstacle is not None:
        print(f"No page: {obstacle}", file=sys.stderr)
        return EXIT_FAILED
    bind = settings.glances_bind
    taken = obstacle_port(bind, settings.glances_port)
    if taken is not None:
        print(f"optimizer: no page: {taken}", file=sys.stderr)
        return _EXIT_BROKEN
    try:
        glances_unit.write(
            directory,
            bind=bind,
            port=settings.glances_port,
            refresh_s=settings.glances_refresh_interval,
            password=settings.glances_password,
            status=system_directories().runtime / TEXT_NAME,
        )
    except (OSError, ValueError, OptimizerError) as exc:
        print(f"optimizer: no page: {exc}", file=sys.stderr)
        return _EXIT_BROKEN
    # The unit keeps all but this host out, unless the page is meant for others.
    local = is_loopback(bind)
    if not local or (LET_IN / _LET_IN_NAME).exists():
        who = "localhost" if local else "any"
        words = ["set-property", "--runtime", UNIT, "IPAddressAllow=", f"IPAddressAllow={who}"]
        said = systemctl.run(["systemctl", *words])
        if said.code != 0:
            print(
                f"optimizer: the page is not for {who} as GLANCES_BIND={bind} says: {said.said}; "
                f"mend this, then systemctl restart {UNIT}",
                file=sys.stderr,
            )
    return EXIT_OK
