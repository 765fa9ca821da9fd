"""`optimizer check-config`: every fault of the configuration at once."""

from __future__ import annotations

import argparse

from optimizer.cli.common import EXIT_OK, configured, say_faults
from optimizer.cli.common import define as define_common
from optimizer.errors import ConfigError
from optimizer.settings_keys import KEYS, as_text


def define(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add this command's options."""
    define_common(parser)
    parser.add_argument(
        "--all", action="store_true", help="print every key with its value and origin"
    )
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Print faults (exit 78), or where the configuration comes from (exit 0)."""
    try:
        found = configured(args)
    except ConfigError as exc:
        return say_faults(exc)
    loaded = found.loaded
    print(f"The configuration is good ({loaded.file or 'no file: defaults'}).")
    for warning in loaded.warnings:
        print(f"warning: {warning}")
    for name, origin in loaded.origins.items():
        if args.all or origin != "default":
            secret = KEYS[name].rule.secret
            value = "(hidden)" if secret else as_text(getattr(loaded.settings, name.lower()))
            print(f"  {name}={value}  ({origin})")
    return EXIT_OK
