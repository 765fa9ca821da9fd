"""What all commands share: --config and --set, exit codes, where the files are."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.directories import LOCK_NAME, Directories, directories
from optimizer.errors import ConfigError
from optimizer.settings import Loaded, Settings, find_file, load, parse_overrides

if TYPE_CHECKING:
    from optimizer.adapters.instance_lock import Holder
    from optimizer.examine.subject import Subject

_CHECKOUT = Path(__file__).resolve().parent.parent.parent
"""Where start.sh is when this runs from a checkout: its config folder comes first, for all."""

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
"""As argparse ends for a command line that does not do."""
EXIT_TRY_LATER = 75
"""EX_TEMPFAIL of sysexits(3): another instance runs."""
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits(3): the configuration has faults."""


MOST_DAYS = 366
"""As MONITOR_PERIOD_DAYS may be: no more history is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """The configuration in force and the directories that follow from it."""

    loaded: Loaded
    directories: Directories
    overrides: dict[str, str]
    explicit_file: Path | None

    def find(self) -> Path | None:
        """The configuration file as it would be found now."""
        return _find(self.explicit_file, self.overrides)


def define(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the configuration."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="configuration file (default: optimizer.env or .env in CONFIG_DIR, else built-in)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="set one key, above environment and file; may be repeated",
    )


def days(text: str, most: int = MOST_DAYS) -> float:
    """A number of days above 0, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= most:
        message = f"{text!r} is no number of days above 0 and up to {most}; write for example 7"
        raise argparse.ArgumentTypeError(message)
    return number


def configured(args: argparse.Namespace) -> Configured:
    """Load what the arguments, the environment and the file say. Raises ConfigError."""
    overrides = parse_overrides(args.overrides)
    file = _find(args.config, overrides)
    loaded = load(file=file, environ=os.environ, overrides=overrides)
    return Configured(
        loaded=loaded,
        directories=_directories(loaded.settings),
        overrides=overrides,
        explicit_file=args.config,
    )


def as_far_as_good(args: argparse.Namespace) -> Configured:
    """As configured(), but only the good part of a configuration with faults, and a word on them.

    For what must work all the same: to pause, resume and release, and to see
    how things are. Raises ConfigError for what the command line says wrong.
    """
    try:
        return configured(args)
    except ConfigError:
        from optimizer.settings_salvage import salvage

        overrides = parse_overrides(args.overrides)
        file = _find(args.config, overrides)
        found = salvage(file=file, environ=os.environ, overrides=overrides)
    print(
        f"optimizer: the configuration has faults ({len(found.faults)}, see "
        "`optimizer check-config`); this goes by the part of it that is good",
        file=sys.stderr,
    )
    return Configured(
        loaded=found.loaded,
        directories=_directories(found.loaded.settings),
        overrides=overrides,
        explicit_file=args.config,
    )


def examined(file: Path | None, pairs: Sequence[str]) -> Subject:
    """The daemon to examine, also where its configuration is broken; never raises for that.

    `file` and `pairs` are what --config and --set say.
    """
    from optimizer.examine.subject import Subject, look, status_of, whose
    from optimizer.settings_salvage import salvage

    odd: tuple[str, ...] = ()
    try:
        overrides = parse_overrides(pairs)
    except ConfigError as exc:
        odd, overrides = exc.faults, parse_overrides([pair for pair in pairs if "=" in pair])
    found = salvage(file=_find(file, overrides), environ=os.environ, overrides=overrides)
    places = whose(_directories(found.loaded.settings), _usual(is_root=True))
    runs, unseen = look(places)
    return Subject(
        loaded=found.loaded,
        directories=places,
        faults=(*odd, *found.faults),
        unread=found.unread,
        holder=runs,
        unseen=unseen,
        status=status_of(places),
    )


def say_faults(error: ConfigError) -> int:
    """Print every fault for a person; the exit code for them."""
    count = len(error.faults)
    print(f"The configuration has {count} fault{'s' * (count != 1)}:", file=sys.stderr)
    for fault in error.faults:
        print(f"  - {fault}", file=sys.stderr)
    return EXIT_CONFIG


def running(directories: Directories) -> Holder | None:
    """The daemon that runs on these directories now, None if there is none."""
    from optimizer.adapters.instance_lock import holder

    return holder(directories.runtime / LOCK_NAME)


@contextmanager
def stopped(places: Directories) -> Iterator[None]:
    """No daemon runs on these directories, and none can start; raises AlreadyRunningError.

    Raises OptimizerError and OSError, too, when the lock cannot be used. The
    directories must be there.
    """
    from optimizer.adapters.foreign import rights_of
    from optimizer.adapters.instance_lock import InstanceLock

    lock = InstanceLock(places.runtime / LOCK_NAME)
    # As the daemon's user: a lock file of root's would bar it when this is killed.
    with rights_of(places.runtime):
        lock.acquire()
    try:
        yield
    finally:
        with rights_of(places.runtime):
            lock.release()


def where_running(own: Directories) -> Directories:
    """The directories of the daemon to talk to: those configured, else the system's daemon.

    A plain user who asks for the status means the daemon of the host, which
    keeps its files where root's daemon does.
    """
    system = _usual(is_root=True)
    if running(own) is None and running(system) is not None:
        return system
    return own


def system_directories() -> Directories:
    """Where root's daemon, and the service, keep their files.

    Whatever the environment says, but for Windows' own variable.
    """
    return directories(
        workspace=None,
        log=None,
        config=None,
        environ={k: v for k, v in os.environ.items() if k == "PROGRAMDATA"},
        is_root=True,
        platform=sys.platform,
        home=Path.home(),
    )


def _find(explicit: Path | None, overrides: dict[str, str]) -> Path | None:
    environ = {**os.environ, **{k: v for k, v in overrides.items() if v}}
    workspace = environ.get("WORKSPACE_DIR", "").strip()
    default = _usual(is_root=_is_root(), workspace=Path(workspace) if workspace else None)
    here = _CHECKOUT / "config"
    if explicit is None and not environ.get("CONFIG_DIR", "").strip() and not workspace:
        in_checkout = find_file(explicit=None, environ={}, default_config_dir=here)
        if in_checkout is not None and (_CHECKOUT / "start.sh").exists():
            return in_checkout
    return find_file(explicit=explicit, environ=environ, default_config_dir=default.config)


def _directories(settings: Settings) -> Directories:
    return directories(
        workspace=settings.workspace_dir,
        log=settings.log_dir,
        config=settings.config_dir,
        environ=os.environ,
        is_root=_is_root(),
        platform=sys.platform,
        home=Path.home(),
    )


def _usual(*, is_root: bool, workspace: Path | None = None) -> Directories:
    environ = {k: v for k, v in os.environ.items() if not (is_root and k.startswith("XDG_"))}
    return directories(
        workspace=workspace,
        log=None,
        config=None,
        environ=environ,
        is_root=is_root,
        platform=sys.platform,
        home=Path.home(),
    )


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def program_version() -> str:
    """As installed, or as the checkout says that this runs from."""
    import configparser
    import importlib.metadata

    try:
        return importlib.metadata.version("cloud-resource-optimizer")
    except importlib.metadata.PackageNotFoundError:
        setup = configparser.ConfigParser()
        setup.read(Path(__file__).resolve().parent.parent.parent / "setup.cfg", encoding="utf-8")
        return setup.get("metadata", "version", fallback="unknown")
