"""`optimizer simulate`: what a tenant's trace would look like with load, and what that costs."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gzip
import json
import multiprocessing
import os
import sys
import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING

from optimizer.cli.common import EXIT_FAILED, EXIT_OK, configured, say_faults
from optimizer.cli.common import days as number_of_days
from optimizer.cli.common import define as define_common
from optimizer.cli.output import show
from optimizer.errors import ConfigError, TraceError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from optimizer.orders import Policy
    from optimizer.report.simulation import Result
    from optimizer.trace import Trace

_GIB = 1 << 30
_DAY_MINUTES = 1440


def define(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add this command's options."""
    define_common(parser)
    parser.add_argument(
        "--trace", type=Path, required=True, metavar="FILE", help="CSV: timestamp,value in percent"
    )
    parser.add_argument(
        "--days", type=number_of_days, help="so many days, the trace repeated (default: once)"
    )
    parser.add_argument("--policy", help="POLICY, as `optimizer policies` lists them")
    parser.add_argument("--strategy", help="STRATEGY: hold or economy")
    parser.add_argument(
        "--memory-gb", type=_size, metavar="G", help="memory of the host (default: this one's)"
    )
    parser.add_argument("--cpus", type=_count, help="CPUs of the host (default: this one's)")
    parser.add_argument(
        "--machine",
        metavar="M",
        help="processor of the host as `uname -m` names it, such as aarch64 (default: this one's)",
    )
    parser.add_argument("--json", action="store_true", help="the result for programs")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="a picture: .svg, or .png with matplotlib"
    )
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the planner and the governor of the daemon against a model host; prints each day."""
    from optimizer.control.promise import promise
    from optimizer.derive import derive, look, sized
    from optimizer.report.simulation import document
    from optimizer.report.simulation_text import lines, svg

    for key, value in (("POLICY", args.policy), ("STRATEGY", args.strategy)):
        if value is not None:
            args.overrides.append(f"{key}={value}")
    try:
        settings = configured(args).loaded.settings
    except ConfigError as exc:
        return say_faults(exc)
    trace = _read(args.trace).repeated(args.days)
    machine = look(settings)
    if args.memory_gb is not None:
        machine = sized(machine, settings, args.memory_gb)
    if args.machine is not None:
        machine = dataclasses.replace(machine, processor=args.machine)
    policy = derive(settings, machine).settled.policy
    cpus = args.cpus or os.cpu_count() or 1
    days = len(trace.minutes) // _DAY_MINUTES
    tell = sys.stderr.isatty()

    def progress(minute: int) -> None:
        if tell and minute % _DAY_MINUTES == 0:
            print(f"\rday {minute // _DAY_MINUTES} of {days} ", end="", file=sys.stderr)

    memory_bytes = int(machine.nominal_memory_gb * _GIB)
    held = _Held(trace, policy, cpus, memory_bytes)
    result = _simulated(trace, policy, cpus, memory_bytes, progress)
    target = policy.target.cpu
    result = dataclasses.replace(result, hold_core_hours=held.core_hours())
    if tell:
        print("\r", end="", file=sys.stderr)
    if args.json:
        print(json.dumps(document(result, cpus), indent=2))
    else:
        goal = policy.terms.goals.cpu
        statistic = "mean" if goal is None else str(goal.statistic)
        print(
            f"{args.trace.name}: {machine.nominal_memory_gb:g} GB, {machine.host_class.value}; "
            f"{policy.terms.preset}, {policy.terms.strategy.value}, CPU target {100 * target:g} %"
        )
        show("\n".join([*lines(result, cpus=cpus, statistic=statistic, target=target), ""]))
        print(f"aim: {promise(policy)}")
    if args.plot is not None:
        picture = svg(result, target=target, title=args.trace.name)
        try:
            return _plot(args.plot, picture, result, target)
        except (OSError, ValueError) as exc:
            print(f"optimizer: cannot write the picture {args.plot}: {exc}", file=sys.stderr)
            return EXIT_FAILED
    return EXIT_OK


class _Held:
    """The same host under STRATEGY=hold, simulated at the same time by a process of its own.

    Under that strategy itself there is nothing to compare, and none is started.
    """

    def __init__(self, trace: Trace, policy: Policy, cpus: int, memory_bytes: int) -> None:
        from optimizer.orders import Strategy

        self._wait: Callable[[], object] | None = None
        if policy.terms.strategy is Strategy.HOLD:
            return
        terms = dataclasses.replace(policy.terms, strategy=Strategy.HOLD)
        policy = dataclasses.replace(policy, terms=terms)
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        self._wait = receiver.recv
        given = (sender, trace, policy, cpus, memory_bytes)
        context.Process(target=_hold, args=given, daemon=True).start()
        sender.close()

    def core_hours(self) -> float | None:
        """What hold would cost; waits for it. None where it was not simulated, or failed."""
        if self._wait is None:
            return None
        try:
            return float(str(self._wait()))
        except EOFError:
            return None


def _hold(sender: Connection, trace: Trace, policy: Policy, cpus: int, memory_bytes: int) -> None:
    """Send the core-hours of a simulation."""
    with contextlib.suppress(KeyboardInterrupt, OSError):
        sender.send(_simulated(trace, policy, cpus, memory_bytes).own_core_hours)


def _simulated(
    trace: Trace,
    policy: Policy,
    cpus: int,
    memory_bytes: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Result:
    from optimizer.report.simulation import collect
    from optimizer.simulate import simulate

    minutes = simulate(
        iter(trace.minutes),
        start_utc_s=trace.start_utc_s,
        policy=policy,
        cpus=cpus,
        memory_bytes=memory_bytes,
        progress=progress,
    )
    return collect(minutes, cpus=cpus, policy=policy)


def _read(path: Path) -> Trace:
    from optimizer.trace import read

    opened: Callable[..., IO[str]] = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            return read(file, str(path))
    except UnicodeDecodeError as exc:
        raise TraceError(
            f"cannot read the trace {path}: byte {exc.start} is no text; is it a CSV file?"
        ) from exc
    except (OSError, EOFError, zlib.error) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise TraceError(f"cannot read the trace {path}: {why}; name a CSV file") from exc


def _plot(path: Path, picture: str, result: Result, target: float) -> int:
    if path.suffix.lower() != ".png":
        path.write_text(picture, encoding="utf-8")
        return EXIT_OK
    try:
        mpl = import_module("matplotlib")
    except ImportError:
        print(
            f"optimizer: {path}: PNG needs matplotlib (pip install '.[bench]'); write --plot F.svg",
            file=sys.stderr,
        )
        return EXIT_FAILED
    mpl.use("Agg")
    plt = import_module("matplotlib.pyplot")
    nothing = float("nan")
    organic = [nothing if one is None else 100 * one for one in result.organic]
    own = [nothing if one is None else 100 * one for one in result.own]
    figure, axes = plt.subplots(figsize=(12, 4))
    axes.stackplot(range(len(organic)), organic, own, labels=["tenant", "own load"])
    axes.axhline(100 * target, linestyle="--", color="red", label="target")
    axes.set_xlabel("minutes")
    axes.set_ylabel("% of the CPU")
    axes.legend()
    figure.savefig(path)
    return EXIT_OK


def _size(text: str) -> float:
    return _within(text, 0.1, 1 << 20, "a number of GB above 0")


def _count(text: str) -> int:
    return int(_within(text, 1, 4096, "a number of CPUs from 1 to 4096"))


def _within(text: str, least: float, most: float, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} must be {expected}")
    return value
