"""`optimizer history import`: rows from an export, from sar or from Prometheus."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from optimizer.cli.common import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_TRY_LATER,
    EXIT_USAGE,
    configured,
    running,
    say_faults,
    stopped,
    where_running,
)
from optimizer.cli.common import days as number_of_days
from optimizer.cli.common import define as define_common
from optimizer.cli.history_imported import counts, how, say
from optimizer.cli.output import tell
from optimizer.errors import AlreadyRunningError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from optimizer.adapters.history_import import Sifted
    from optimizer.adapters.history_sources import Found
    from optimizer.directories import Directories
    from optimizer.outcome import HistoryRow
    from optimizer.upkeep import Derived

LEAST_STEP_S, MOST_STEP_S = 10, 3600


def define(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    define_common(parser)
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="files of `history export` (CSV, JSON lines), of sar, or of sadf -j or -d; "
        "gzip too; - is the standard input",
    )
    parser.add_argument(
        "--prometheus", metavar="URL", help="a server, for example http://127.0.0.1:9090"
    )
    parser.add_argument(
        "--instance", metavar="HOST", help="this host's instance label there, with or without port"
    )
    parser.add_argument(
        "--days",
        type=number_of_days,
        metavar="N",
        help="so many days from Prometheus (default: all kept)",
    )
    parser.add_argument(
        "--step",
        type=_step,
        default=60,
        metavar="S",
        help="seconds between two rows from Prometheus (default: 60)",
    )
    parser.add_argument(
        "--mount",
        action="append",
        metavar="PATH",
        help="mount point (or device, as sar names it) that counts as the disk; may be repeated "
        "(default: those that the daemon would hold)",
    )
    parser.add_argument(
        "--skip-faulty", action="store_true", help="store the good rows of a source with faults"
    )
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be stored")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Store what is new, or nothing at all."""
    wrong = _wrong_usage(args)
    if wrong:
        print(f"optimizer: {wrong}", file=sys.stderr)
        return EXIT_USAGE
    try:
        return _import(args)
    except ConfigError as exc:
        return say_faults(exc)
    except AlreadyRunningError as exc:
        print(
            f"optimizer: {exc} and is the only writer of the history, so nothing was "
            "imported: stop it, import, and start it again (systemctl stop optimizer, for "
            "example); --dry-run works beside it",
            file=sys.stderr,
        )
        return EXIT_TRY_LATER
    except OSError as exc:
        print(
            f"optimizer: cannot import: {exc}; `optimizer history events` tells whether anything "
            "was stored",
            file=sys.stderr,
        )
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("optimizer: interrupted; nothing was imported", file=sys.stderr)
        return EXIT_FAILED


def _wrong_usage(args: argparse.Namespace) -> str:
    if not args.sources and not args.prometheus:
        return "name a file to import, or a server with --prometheus URL --instance HOST"
    if args.prometheus and not args.instance:
        return "--prometheus needs --instance HOST: which of its hosts is this one"
    if not args.prometheus and (args.instance or args.days):
        return "--instance and --days belong to --prometheus URL; files are taken whole"
    return ""


def _import(args: argparse.Namespace) -> int:
    from optimizer.adapters.history_import import ahead
    from optimizer.derive import derive, kept_days, look
    from optimizer.directories import make

    found = configured(args)
    places = where_running(found.directories)
    if not args.dry_run:
        # Told before a month is fetched; the lock is held while storing only.
        holder = running(places)
        if holder is not None:
            raise AlreadyRunningError(f"a daemon runs (pid {holder.pid or 'unknown'})")
        make(places)
    derived = derive(found.loaded.settings, look(found.loaded.settings))
    days, now_s = kept_days(derived), time.time()
    read = _read(args, derived, now_s, days)
    late = set(ahead((row for source in read.sources for row in source), now_s))
    faults = [*read.faults, *(f"the row of second {row.utc_s} is in the future" for row in late)]
    if faults:
        say(faults, skip=args.skip_faulty)
        if not args.skip_faulty:
            return EXIT_FAILED
    sources = [[row for row in source if row not in late] for source in read.sources]
    count = sum(map(len, sources)) + len(faults)
    if args.dry_run:
        sifted = _sifted(places, sources, now_s - days * 86_400)
    else:
        sifted = _stored(places, sources, now_s, days, _detail(args))
    said = counts(args, sifted, count, len(faults), days)
    (print if args.dry_run else tell)("\n".join([*said, *how(args, derived, read)]))
    return EXIT_OK


def _read(args: argparse.Namespace, derived: Derived, now_s: float, days: int) -> Found:
    """All sources; the disk is that of --mount, or what the daemon would hold."""
    from optimizer.adapters import node_exporter
    from optimizer.adapters.history_sources import read_files
    from optimizer.adapters.prometheus import Prometheus

    policy = derived.settled.policy
    mounts = args.mount or [place.mount for place in derived.scope.places]
    found = read_files(
        args.sources, metric=policy.memory_metric, count_steal=policy.count_steal, places=mounts
    )
    if args.prometheus:
        asked = node_exporter.Asked(
            instance=args.instance,
            step_s=args.step,
            metric=policy.memory_metric,
            count_steal=policy.count_steal,
            mounts=mounts,
        )
        server = Prometheus(args.prometheus)
        start_s = now_s - min(args.days or days, days) * 86_400
        found.sources.append(
            node_exporter.read(server, asked, start_s, now_s, progress=_progress())
        )
    return found


def _progress() -> Callable[[int, int], None]:
    def tell(done: int, of: int) -> None:
        if sys.stderr.isatty():
            print(f"\rday {done + 1} of {of} ", end="\r", file=sys.stderr, flush=True)

    return tell


def _sifted(places: Directories, sources: list[list[HistoryRow]], after_s: float) -> Sifted:
    from optimizer.adapters.foreign import rights_of
    from optimizer.adapters.history_import import sift
    from optimizer.adapters.history_reading import read_spans
    from optimizer.directories import HISTORY_NAME

    path = places.state / HISTORY_NAME
    with rights_of(places.state):
        kept = read_spans(path) if path.exists() else ()
        return sift(sources, kept, after_utc_s=after_s)


def _stored(
    places: Directories,
    sources: list[list[HistoryRow]],
    now_s: float,
    days: int,
    detail: str,
) -> Sifted:
    from optimizer.adapters.foreign import rights_of
    from optimizer.adapters.history_import import store
    from optimizer.directories import HISTORY_NAME

    # Root has the rights of the daemon's user only, who may have put a link there.
    with stopped(places), rights_of(places.state):
        return store(
            places.state / HISTORY_NAME,
            sources,
            now_utc_s=now_s,
            period_days=days,
            detail=detail,
        )


def _detail(args: argparse.Namespace) -> str:
    named = list(args.sources)
    if args.prometheus:
        named.append(f"{args.prometheus} ({args.instance})")
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return ", ".join(named[:3]) + more


def _step(text: str) -> int:
    try:
        step = int(text)
    except ValueError:
        step = 0
    if not LEAST_STEP_S <= step <= MOST_STEP_S:
        message = f"{text!r} is no whole number of seconds from {LEAST_STEP_S} to {MOST_STEP_S}"
        raise argparse.ArgumentTypeError(message)
    return step
