"""`optimizer policies`: who judges by what, with source and date."""

from __future__ import annotations

import argparse
import json
import textwrap

from optimizer.cli.common import EXIT_OK


def define(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add this command's options."""
    parser.add_argument("--json", action="store_true", help="the same for programs")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Print the policies that POLICY may name."""
    from optimizer.control.policy import PRESETS
    from optimizer.model import Resource

    if args.json:
        listed = [
            {
                "name": preset.name,
                "says": preset.says,
                "combination": preset.combination.value,
                "window_days": preset.window_days,
                "goals": {
                    resource.value: {
                        "statistic": str(statistic),
                        "target": preset.targets.of(resource),
                    }
                    for resource in Resource
                    if (statistic := preset.statistics.of(resource)) is not None
                },
                "source": preset.source,
                "as_of": preset.as_of,
            }
            for preset in PRESETS.values()
        ]
        print(json.dumps(listed, indent=2))
        return EXIT_OK
    for preset in PRESETS.values():
        print(preset.name)
        for text in (preset.says, f"Source, as of {preset.as_of}: {preset.source}"):
            print(textwrap.fill(f"{text}.", 88, initial_indent="  ", subsequent_indent="  "))
    print("Choose one with POLICY=; STRATEGY=hold or economy says how it is met.")
    return EXIT_OK
