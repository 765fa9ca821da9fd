"""`optimizer status`: what the daemon holds now, and why; works while it hangs or is gone."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
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
from optimizer.directories import HISTORY_NAME, STATUS_NAME, Directories
from optimizer.errors import ConfigError, HistoryError
from optimizer.settings import Settings

STALE_S = 12.0
"""A status that is older than this was not written by a healthy daemon.

It writes each two seconds, and each five while nothing moves.
"""
WATCH_S = 1.0


def define(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add this command's options."""
    define_common(parser)
    parser.add_argument("--json", action="store_true", help="the status document, for programs")
    parser.add_argument("--watch", action="store_true", help="again every second until Ctrl-C")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Print the status; exit 0 when a healthy daemon runs, 1 when none does or it hangs."""
    try:
        found = as_far_as_good(args)
    except ConfigError as exc:
        return say_faults(exc)
    try:
        while True:
            places = where_running(found.directories)
            document = _document(places, found.loaded.settings)
            text = json.dumps(document, indent=2) if args.json else _shown(document, places)
            if args.watch and not args.json and sys.stdout.isatty():
                print("\x1b[H\x1b[2J", end="")
            print(text, flush=True)
            if not args.watch:
                return EXIT_OK if document["running"] and not document["stale"] else EXIT_FAILED
            time.sleep(WATCH_S)
    except KeyboardInterrupt:
        return EXIT_OK


def _document(places: Directories, settings: Settings) -> dict[str, Any]:
    """The daemon's status document with `running` and `stale` added.

    Without a daemon it has only the means of the history, the pause and the
    maintenance windows. What a daemon that hangs wrote of a pause is replaced
    by the order that is there now.
    """
    from optimizer.adapters import status_file

    holder = running(places)
    status = status_file.read(places.runtime / STATUS_NAME) if holder else None
    if status is None:
        return {
            "running": holder is not None,
            "stale": holder is not None,
            "pid": None if holder is None else holder.pid,
            "updated_utc_s": time.time(),
            **_orders(places, settings),
            "means": _means(places, settings.monitor_period_days),
        }
    age_s = time.time() - float(str(status.get("updated_utc_s") or 0.0))
    stale = abs(age_s) > STALE_S
    document = {"running": True, "stale": stale, "age_s": round(age_s, 1), **status}
    return document | _orders(places, settings) if stale else document


def _orders(places: Directories, settings: Settings) -> dict[str, Any]:
    """What is ordered now, from the files and the configuration alone."""
    from optimizer.adapters.steady import steady_s
    from optimizer.adapters.switch import FileSwitch
    from optimizer.maintenance import MaintenanceSwitch
    from optimizer.report.orders_facts import inhibit_facts, maintenance_facts

    windows = settings.maintenance_windows or ()
    switch, now_s = (
        MaintenanceSwitch(FileSwitch(places.state, steady=steady_s), lambda: windows),
        time.time(),
    )
    return {
        "inhibit": inhibit_facts(switch.inhibit(now_s)),
        "maintenance": maintenance_facts(switch.maintenance(now_s)),
    }


def _means(places: Directories, days: float) -> dict[str, Any]:
    from optimizer.adapters.history_reading import read_means
    from optimizer.model import Resource

    try:
        means = read_means(places.state / HISTORY_NAME, time.time(), days)
    except HistoryError as exc:
        return {"error": str(exc)}
    return {
        resource.value: {
            "mean": means.of.of(resource).mean_ratio,
            "own_mean": means.of.of(resource).own_mean_ratio,
            "coverage": means.of.of(resource).coverage_ratio,
        }
        for resource in Resource
    } | {"days": means.days, "rows": means.rows}


def _shown(document: dict[str, Any], places: Directories) -> str:
    """The status in words, and the last day as the history has it, if it can be read."""
    from optimizer.adapters.history_account import read_last_day
    from optimizer.report.spark import last_day, pieces_of, shows_blocks

    now_s = time.time()
    try:
        past = read_last_day(places.state / HISTORY_NAME, now_s)
    except HistoryError:
        past = []  # what is wrong with it is said by the status itself
    width, blocks = shutil.get_terminal_size().columns, shows_blocks(sys.stdout.encoding)
    drawn = last_day(pieces_of(past), now_s, width=width, blocks=blocks)
    return "\n".join([_words(document).rstrip("\n"), *(["", *drawn] if drawn else [])])


def _words(document: dict[str, Any]) -> str:
    from optimizer.report.orders_text import paused, windows
    from optimizer.report.status_text import table

    if "resources" in document:
        note = ""
        if document["stale"]:
            note = (
                f"The daemon (pid {document['pid']}) has written nothing for "
                f"{document['age_s']:.0f} s: it hangs or is stopped; its stressers end by "
                "themselves when their leases run out.\n"
            )
        return note + table(document)
    if document["running"]:
        return f"The daemon (pid {document['pid']}) runs but has written no status yet."
    lines = ["No daemon runs here. Start it with ./start.sh or `optimizer run`."]
    now_s = document["updated_utc_s"]
    if document["inhibit"]:
        lines.append(f"Paused {paused(document['inhibit'], now_s)}; `optimizer resume` lifts it.")
    lines += [f"Maintenance window {text}." for text in windows(document["maintenance"], now_s)]
    means = document["means"]
    if "error" in means:
        lines.append(f"History: {means['error']}")
    else:
        lines.append(f"Means of the last {means['days']:g} days ({means['rows']} samples):")
        for name in ("cpu", "memory", "disk"):
            mean, coverage = means[name]["mean"], means[name]["coverage"]
            value = "unknown" if mean is None else f"{100 * mean:.1f} %"
            lines.append(f"  {name:<7} {value}, coverage {100 * coverage:.1f} %")
    return "\n".join(lines)
