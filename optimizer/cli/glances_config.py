"""`optimizer glances-config`: the configuration for a Glances that is run apart."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from optimizer.cli.common import EXIT_FAILED, EXIT_OK, configured, say_faults
from optimizer.cli.common import define as define_common
from optimizer.directories import TEXT_NAME
from optimizer.errors import ConfigError


def define(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add this command's options."""
    define_common(parser)
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write it there instead of printing it"
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
