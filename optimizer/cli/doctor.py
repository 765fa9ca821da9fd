"""`optimizer doctor`: what is wrong here, with the evidence and the remedy; changes nothing.

Imports the standard library only, for it must run where anything else is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from optimizer.cli.common import Configured, examined
from optimizer.cli.common import define as define_common
from optimizer.errors import OptimizerError
from optimizer.examine import apart
from optimizer.examine.subject import Subject
from optimizer.report.doctor import (
    Area,
    Code,
    Finding,
    Severity,
    as_json,
    exit_code,
    in_order,
    worst,
)
from optimizer.report.doctor_daemon import STALE_S
from optimizer.report.doctor_text import text


def define(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add this command's options."""
    define_common(parser)
    parser.add_argument("--json", action="store_true", help="the findings, for programs")
    parser.epilog = (
        "Exit 0 when nothing is wrong (notes do not count), 1 when there is a fault or a warning; "
        "a broken configuration is a finding like others. Run it as the user of the daemon or as "
        "root to see everything."
    )
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Examine all areas, print the findings; exit 1 when there is a fault or a warning."""
    started_s = time.monotonic()
    config = None if args.config is None else str(args.config)
    findings = in_order(apart.examine(list(Area), config, args.overrides))
    took_s = time.monotonic() - started_s
    if args.json:
        document = {
            "version": 1,
            "took_s": round(took_s, 2),
            "worst": worst(findings).value,
            "findings": [as_json(one) for one in findings],
        }
        print(json.dumps(document, indent=2))
    else:
        print(f"Examined{_who()} in {took_s:.1f} s; nothing was changed.\n")
        print(text(findings), end="")
    return exit_code(findings)


def _who() -> str:
    if sys.platform == "win32":
        return ""
    return " as root" if os.geteuid() == 0 else f" as user {os.geteuid()}, not as root,"


def answer(asked: dict[str, Any]) -> None:
    """Examine one area and print its findings as JSON; runs in a process of its own."""
    area = Area(asked["area"])
    file = None if asked["config"] is None else Path(asked["config"])
    subject = examined(file, asked["overrides"])
    try:
        found = _look(area)(subject)
    except ImportError as exc:
        found = [
            Finding(
                area=area,
                code=Code.NOT_EXAMINED,
                severity=Severity.NOTE,
                found=f"not looked at, for this cannot be imported: {exc}",
                remedy="see what is said of the dependencies",
            )
        ]
    except (OSError, OptimizerError) as exc:
        found = [apart.failed(area, str(exc))]
    print(json.dumps([as_json(one) for one in found]))


_EXAMINERS = {
    Area.INSTALL: ("install", "examine_install"),
    Area.CONFIG: ("install", "examine_config"),
    Area.DAEMON: ("daemon", "examine_daemon"),
    Area.ORDERS: ("daemon", "examine_orders"),
    Area.DISKS: ("host", "examine_disks"),
    Area.KERNEL: ("kernel", "examine_kernel"),
    Area.CLOCK: ("kernel", "examine_clock"),
    Area.HISTORY: ("history", "examine_history"),
    Area.FILES: ("files", "examine_files"),
    Area.LOG: ("log_lines", "examine_log"),
    Area.PAGE: ("page", "examine_page"),
}
"""File in optimizer.examine and function for each area that needs nothing else."""


def _look(area: Area) -> Callable[[Subject], list[Finding]]:
    """What examines an area; imported only now, for each may need a library that is missing."""
    if area is Area.TARGETS:
        return _targets
    if area is Area.STRESSERS:
        return _stressers
    file, name = _EXAMINERS[area]
    found: Callable[[Subject], list[Finding]] = getattr(
        import_module(f"optimizer.examine.{file}"), name
    )
    return found


def _targets(subject: Subject) -> list[Finding]:
    """From the status of a healthy daemon, else measured as `optimizer plan` does."""
    from optimizer.cli.plan import measured_status
    from optimizer.examine.host import examine_targets

    status = subject.live_status(STALE_S)
    if status is None:
        status = measured_status(
            Configured(
                loaded=subject.loaded,
                directories=subject.directories,
                overrides={},
                explicit_file=None,
            )
        )
    return examine_targets(subject, status)


def _stressers(subject: Subject) -> list[Finding]:
    from optimizer.examine.stressers import examine_stressers

    return examine_stressers(subject, lambda: _disk_places(subject))


def _disk_places(subject: Subject) -> tuple[str, ...]:
    """Where disk space would be held; none where that cannot be told without a library."""
    try:
        from optimizer.examine.host import held_places
    except ImportError:
        return ()
    return held_places(subject)
