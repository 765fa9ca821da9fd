"""`optimizer report`: what the host did in a period, and how its policy judges that."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import time
from typing import TYPE_CHECKING

from optimizer.cli.common import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_USAGE,
    Configured,
    as_far_as_good,
    program_version,
    say_faults,
    where_running,
)
from optimizer.cli.common import days as number_of_days
from optimizer.cli.common import define as define_common
from optimizer.cli.output import show
from optimizer.errors import ConfigError, OptimizerError

if TYPE_CHECKING:
    from optimizer.directories import Directories
    from optimizer.model import PerResource
    from optimizer.report.account import Account
    from optimizer.report.assemble import Subject
    from optimizer.report.text_style import Style

_SLOTS = """\
What is judged are slots of 60 s, or longer ones where the window is longer than
30 days or CHECK_INTERVAL_SECONDS is above 60: neighbouring rows are averaged
into a slot first. So percentiles and peaks are of these means, not of the rows
of `optimizer history export`; slot_s of --json is the length of a slot."""


def define(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add this command's options."""
    from optimizer.report.account_json import COLUMNS

    define_common(parser)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    columns = "\n".join(f"  {name:24} {meaning}" for name, meaning in COLUMNS.items())
    parser.epilog = f"{_SLOTS}\n\ncolumns of --csv, one row for each day and resource:\n{columns}"
    parser.add_argument(
        "--days",
        type=number_of_days,
        metavar="N",
        help="so many days back from now (default: MONITOR_PERIOD_DAYS)",
    )
    parser.add_argument("--csv", metavar="FILE", help="for auditors; - is the standard output")
    parser.add_argument("--json", metavar="FILE", help="for programs; - is the standard output")
    parser.add_argument("--html", metavar="FILE", help="for people, as one page with pictures")
    parser.add_argument("--lang", choices=("en", "zh"), help="language of --html (default: en)")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Print the report, or write the files that are asked for."""
    from optimizer.cli.report_files import clash, put
    from optimizer.report import account_json
    from optimizer.report.account_text import text
    from optimizer.report.html import page

    def html(account: Account) -> str:
        return page(account, args.lang or "en")

    wanted = {"--csv": args.csv, "--json": args.json, "--html": args.html}
    makers = {"--csv": account_json.table, "--json": account_json.document, "--html": html}
    asked = {option: target for option, target in wanted.items() if target is not None}
    fault = clash(asked)
    if args.lang is not None and args.html is None:
        fault = f"--lang {args.lang} is the language of --html: give --html FILE, or leave it out"
    if fault is not None:
        print(f"optimizer: {fault}", file=sys.stderr)
        return EXIT_USAGE
    try:
        found = as_far_as_good(args)
    except ConfigError as exc:
        return say_faults(exc)
    account = account_of(found, args.days, time.time())
    if not asked:
        show(text(account, style()))
        return EXIT_OK
    for option, target in asked.items():
        if not put(target, makers[option](account)):
            return EXIT_FAILED
    return EXIT_OK


def account_of(found: Configured, days: float | None, now_s: float) -> Account:
    """The account of the daemon that runs, or of the one that this configuration is for.

    Raises HistoryError, and OptimizerError where numpy is missing.
    """
    from optimizer.adapters.history_account import read_account
    from optimizer.adapters.history_file import DAY_S
    from optimizer.directories import HISTORY_NAME
    from optimizer.report.assemble import assemble, reading_from

    places = where_running(found.directories)
    days = days or found.loaded.settings.monitor_period_days
    subject = _subject(found, places)
    columns, events = read_account(
        places.state / HISTORY_NAME,
        reading_from(subject.policy, days, now_s),
        now_s,
        now_s - days * DAY_S,
    )
    try:
        return assemble(columns, events, subject, days=days, to_utc_s=now_s)
    except ImportError as exc:
        raise OptimizerError(
            f"reports need numpy, which {sys.executable} cannot import ({exc}): run ./start.sh "
            "once, or pip install numpy"
        ) from exc


def style() -> Style:
    """What the terminal of this process can show; https://no-color.org."""
    from optimizer.report.spark import shows_blocks
    from optimizer.report.text_style import Style

    is_terminal = sys.stdout.isatty()
    dull = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Style(
        width=shutil.get_terminal_size().columns,
        blocks=shows_blocks(sys.stdout.encoding),
        colour=is_terminal and not dull and sys.platform != "win32",
    )


def _subject(found: Configured, places: Directories) -> Subject:
    from optimizer.derive import look, policy_of
    from optimizer.report.assemble import Subject

    settings = found.loaded.settings
    machine = look(settings)
    return Subject(
        host=platform.node() or "unknown",
        version=program_version(),
        policy=policy_of(settings, machine),
        interval_s=settings.check_interval_seconds,
        cpus=machine.cpus,
        nominal_memory_gb=machine.nominal_memory_gb,
        size_class=machine.host_class.value,
        capacity=_capacities(places, float(machine.cpus), float(machine.memory_bytes)),
    )


def _capacities(places: Directories, cpus: float, memory: float) -> PerResource[float | None]:
    """As the daemon that runs says; without one those of the machine, and no disk's."""
    from optimizer.adapters import status_file
    from optimizer.directories import STATUS_NAME
    from optimizer.model import PerResource
    from optimizer.report.fields import mapping, number

    resources = mapping(status_file.read(places.runtime / STATUS_NAME) or {}, "resources")

    def said(name: str) -> float | None:
        return number(mapping(resources, name), "capacity") or None

    return PerResource(cpu=said("cpu") or cpus, memory=said("memory") or memory, disk=said("disk"))
