"""`optimizer service`: installs the daemon as a service of systemd, and takes it away again."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.cli.common import (
    EXIT_CONFIG,
    EXIT_FAILED,
    EXIT_OK,
    EXIT_TRY_LATER,
    configured,
    running,
    say_faults,
)
from optimizer.cli.common import define as define_common
from optimizer.errors import ConfigError, OptimizerError

if TYPE_CHECKING:
    from optimizer.adapters.placed_files import PlacedFiles
    from optimizer.adapters.systemd_service import SystemdService

_TOO_DEEP = (
    "directories lie too deep in one another, which this program does not make; remove those that "
    "`find /var/lib/optimizer /var/log/optimizer -mindepth 9 -maxdepth 9 -type d` shows"
)
_PACKAGED_UNITS = Path("/usr/lib/systemd/system")
"""Where a package manager, and nobody else, puts units."""


def define(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the commands of this system's service manager."""
    if sys.platform == "win32":
        import_module("optimizer.cli.service_windows").define(parser, name)
        return
    words = parser.add_subparsers(dest="word", required=True, metavar="COMMAND")
    install = words.add_parser(
        "install",
        help="users, configuration and units; enabled and started",
        description="Installs what runs this command as a service of systemd, enables and starts "
        "it. What is as it should be is left alone: a second run changes nothing.",
    )
    install.add_argument("--no-start", action="store_true", help="enable only")
    install.set_defaults(execute=_install)
    uninstall = words.add_parser(
        "uninstall",
        help="stop it and remove all but the history",
        description="Stops the service and removes units, users, logs and configuration. The "
        "history stays, and beside it a configuration that was changed.",
    )
    uninstall.add_argument("--purge", action="store_true", help="remove the history too")
    uninstall.set_defaults(execute=_uninstall)
    prepare = words.add_parser(
        "prepare",
        help="let the service's user hold space on data disks (root, before each start)",
        description="Makes a directory of the service's user on each filesystem that counts. It "
        "is used where that user may not write at the top.",
    )
    prepare.add_argument("--undo", action="store_true", help="remove those that are empty")
    define_common(prepare)
    prepare.set_defaults(execute=_prepare)


def _install(args: argparse.Namespace) -> int:
    from optimizer.adapters.systemd_service import CONFIG
    from optimizer.settings import load

    refused = (
        _refused("install")
        or _packaged(
            "start it with `systemctl enable --now optimizer`, or remove the package first"
        )
        or _unsafe()
        or _unbooted(args)
    )
    if refused:
        return refused
    if os.path.lexists(CONFIG):
        try:
            load(file=CONFIG, environ={}, overrides={})
        except ConfigError as exc:
            print("optimizer: nothing was changed", file=sys.stderr)
            return say_faults(exc)
    stranger = _stranger()
    if stranger is not None:
        print(
            f"optimizer: a daemon that is no service runs on /run/optimizer (pid {stranger}); "
            f"stop it (kill {stranger}), then install",
            file=sys.stderr,
        )
        return EXIT_TRY_LATER
    service, files = _service()
    return _done(files, lambda: service.install(start=not args.no_start))


def _uninstall(args: argparse.Namespace) -> int:
    refused = _refused("uninstall") or _packaged(
        "remove the package instead, for example: apt-get remove cloud-resource-optimizer"
    )
    if refused:
        return refused
    service, files = _service()

    def remove() -> None:
        service.stop()
        _tidy_disks(files)
        service.uninstall(purge=args.purge)

    return _done(files, remove)


def _prepare(args: argparse.Namespace) -> int:
    from optimizer.adapters import filler_directories
    from optimizer.adapters.placed_files import ids_of
    from optimizer.adapters.systemd_service import USERS
    from optimizer.derive import disk_scope

    refused = _refused("prepare")
    if refused:
        return refused
    if args.undo:
        _tidy_disks(_service()[1])
        return EXIT_OK
    user = ids_of(USERS[0])
    if user is None:
        print(
            f"optimizer: there is no user {USERS[0]}; make it with `optimizer service install`",
            file=sys.stderr,
        )
        return EXIT_FAILED
    try:
        scope = disk_scope(configured(args).loaded.settings, None)
    except ConfigError:
        return EXIT_CONFIG  # the daemon, about to be started, names all faults
    code = EXIT_OK
    for path in dict.fromkeys(place.path for place in scope.places):
        try:
            if filler_directories.make(path, *user):
                print(f"changed: {path}/{filler_directories.NAME}")
        except OSError as exc:
            print(f"optimizer: no space can be held on {path}: {exc}", file=sys.stderr)
            code = EXIT_FAILED
    return code


def _refused(word: str) -> int:
    """The exit code where this cannot be done here at all, with a word; 0 where it can."""
    if sys.platform != "linux":
        print("optimizer: there is no systemd on this system", file=sys.stderr)
        return EXIT_FAILED
    if os.geteuid() != 0:
        print(f"optimizer: only root may do this: sudo optimizer service {word}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


def _unbooted(args: argparse.Namespace) -> int:
    """The exit code where nothing could be started and that was not asked for; else 0."""
    from optimizer.adapters import systemctl

    if args.no_start or systemctl.booted():
        return EXIT_OK
    print(
        "optimizer: systemd does not run here, so nothing was changed; to place the files all the "
        "same, for an image that will boot: optimizer service install --no-start",
        file=sys.stderr,
    )
    return EXIT_FAILED


def _packaged(remedy: str) -> int:
    """The exit code where a package owns units, users and configuration; else 0."""
    from optimizer.adapters.systemd_service import SERVICE

    unit = _PACKAGED_UNITS / SERVICE
    if not unit.exists():
        return EXIT_OK
    print(
        f"optimizer: {unit} is there: a package has installed this service; {remedy}",
        file=sys.stderr,
    )
    return EXIT_FAILED


def _unsafe() -> int:
    """The exit code where somebody else than root could change what root is to run; else 0."""
    from optimizer.adapters.placed_files import others_may_change
    from optimizer.installed import venv

    part = others_may_change(venv().resolve())
    if part is None:
        return EXIT_OK
    print(
        f"optimizer: this program lies in {venv()}, and others than root may change {part}; the "
        "service would run their code as root. Install it with `sudo ./start.sh --install-service`",
        file=sys.stderr,
    )
    return EXIT_FAILED


def _stranger() -> int | None:
    """A daemon on the system's directories that is not the service's; None without one."""
    from optimizer.adapters import systemctl
    from optimizer.adapters.systemd_service import SERVICE
    from optimizer.cli.common import system_directories

    found = running(system_directories())
    if found is None or found.pid is None:
        return None
    words = systemctl.Systemctl(systemctl.run)
    return None if words.show(SERVICE, "MainPID") == str(found.pid) else found.pid


def _service() -> tuple[SystemdService, PlacedFiles]:
    from optimizer import installed
    from optimizer.adapters import systemctl
    from optimizer.adapters.placed_files import PlacedFiles
    from optimizer.adapters.systemd_service import Origin, SystemdService

    origin = Origin(share=installed.share(), venv=installed.venv(), literal=installed.VENV)
    files = PlacedFiles(Path("/"), _tell)
    service = SystemdService(
        origin, files, run=systemctl.run, booted=systemctl.booted(), tell=_tell
    )
    return service, files


def _done(files: PlacedFiles, work: Callable[[], None]) -> int:
    try:
        work()
    except (OSError, OptimizerError) as exc:
        print(f"optimizer: {exc}; mend this and run the same again to go on", file=sys.stderr)
        return EXIT_FAILED
    except RecursionError:
        print(f"optimizer: {_TOO_DEEP}; then run the same again to go on", file=sys.stderr)
        return EXIT_FAILED
    if not files.changed:
        _tell("nothing changed")
    return EXIT_OK


def _tidy_disks(files: PlacedFiles) -> None:
    """Remove our directories on all local filesystems."""
    from optimizer.adapters import filler_directories, mounts
    from optimizer.adapters.placed_files import ids_of
    from optimizer.adapters.systemd_service import USERS
    from optimizer.control.disks import may_hang

    user = ids_of(USERS[0])
    owners = frozenset({0} if user is None else {0, user[0]})
    local = (one for one in mounts.mounts() if one.device.startswith("/dev/") and not may_hang(one))
    paths = [one.mount for one in local if one.is_directory]
    for path in dict.fromkeys(paths):
        try:
            if filler_directories.remove(path, owners):
                files.note(f"removed: {path}/{filler_directories.NAME}")
        except OSError as exc:
            print(f"optimizer: {path}/{filler_directories.NAME} stays: {exc}", file=sys.stderr)


def _tell(line: str) -> None:
    print(line, flush=True)
