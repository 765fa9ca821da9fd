"""`optimizer run`: the daemon in the foreground."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.cli.common import (
    EXIT_FAILED,
    EXIT_TRY_LATER,
    Configured,
    configured,
    say_faults,
)
from optimizer.cli.common import define as define_common
from optimizer.errors import AlreadyRunningError, ConfigError, OptimizerError

if TYPE_CHECKING:
    from optimizer.derive import Machine
    from optimizer.orders import Terms
    from optimizer.upkeep import Derived


def define(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add this command's options."""
    define_common(parser)
    parser.add_argument(
        "--no-page",
        action="store_true",
        help="start no web page: optimizer-glances.service runs it",
    )
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the daemon until a signal ends it."""
    _outlive_reloads()
    try:
        found = configured(args)
        return _run(found, page=not args.no_page)
    except ConfigError as exc:
        return say_faults(exc)
    except AlreadyRunningError as exc:
        print(f"optimizer: {exc}", file=sys.stderr)
        return EXIT_TRY_LATER
    except OptimizerError as exc:
        print(f"optimizer: {exc}", file=sys.stderr)
        return EXIT_FAILED


def _outlive_reloads() -> None:
    """Let a SIGHUP that means reload do nothing until the daemon has its own handler.

    The file is about to be read anyway. A handler, for a program that is
    started would inherit that the signal is ignored.
    """
    if sys.platform != "win32" and not os.isatty(0):
        signal.signal(signal.SIGHUP, lambda *_: None)


def _run(found: Configured, *, page: bool) -> int:
    from optimizer import app
    from optimizer.adapters import log as log_adapter
    from optimizer.directories import make
    from optimizer.settings import SettingsWatch

    settings = found.loaded.settings
    make(found.directories)
    log = log_adapter.configure(
        directory=found.directories.log,
        level=settings.log_level,
        max_mb=settings.log_max_mb,
        total_mb=settings.log_total_mb,
        keep_days=settings.log_keep_days,
        console=sys.stderr,
    )
    log.info(
        "daemon.started",
        pid=os.getpid(),
        python=sys.executable,
        code=str(Path(__file__).resolve().parents[1]),
    )
    for warning in found.loaded.warnings:
        log.warning("config.warned", message=warning)
    watch = SettingsWatch(
        found.loaded, find=found.find, environ=dict(os.environ), overrides=found.overrides
    )
    try:
        code = app.run(
            found.loaded,
            found.directories,
            watch=watch,
            log=log,
            page=page,
            announce=lambda machine, derived: _announce(found, machine, derived),
        )
        log.info("daemon.stopped", exit_code=code)
    finally:
        log_adapter.shutdown()
    return code


def _announce(found: Configured, machine: Machine, derived: Derived) -> None:
    """Say in plain words what will be held, where, and how to end it."""
    settings, policy = found.loaded.settings, derived.settled.policy
    target, scope, terms = policy.target, derived.scope, policy.terms
    file = found.loaded.file or "built-in defaults"
    lines = [
        f"CloudResourceOptimizer on {machine.platform}: {machine.cpus} CPUs, "
        f"{machine.nominal_memory_gb:g} GB ({machine.host_class.value} host), {file}",
        f"  policy  {terms.preset}, strategy {terms.strategy.value}: "
        "`optimizer plan` tells what that means now",
        f"  CPU     {_held(target.cpu, terms)} of {machine.cpus} CPUs",
        f"  memory  {_held(target.memory, terms)} ({settings.memory_metric.value}), "
        f"rising by at most {settings.memory_rise_mb_per_minute:g} MB a minute",
    ]
    if target.disk <= 0:
        lines.append("  disk    only watched: its target is 0 %")
    elif not scope.places:
        lines.append(f"  disk    nothing is done: {scope.note}")
    else:
        lines.append(
            f"  disk    {_held(target.disk, terms)} of {', '.join(p.mount for p in scope.places)}, "
            f"in unlinked files in {', '.join(p.path for p in scope.places)}"
        )
    lines += [
        f"  files   history and inhibit in {found.directories.state}, "
        f"log in {found.directories.log}",
        "  Ctrl-C or SIGTERM releases everything. `optimizer status`, `optimizer pause` "
        "from another terminal.",
    ]
    print("\n".join(lines), file=sys.stderr, flush=True)


def _held(ratio: float, terms: Terms) -> str:
    verb = "held at" if terms.strategy.value == "hold" else "target"
    return f"{verb} {100 * ratio:g} %" if ratio > 0 else "only watched: target 0 %"
