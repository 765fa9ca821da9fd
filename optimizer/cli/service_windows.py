"""`optimizer service` on Windows: the service as it shall be, with each change named."""

from __future__ import annotations

import argparse
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from optimizer.adapters import windows_plan as plan
from optimizer.cli.common import EXIT_FAILED, EXIT_OK, system_directories
from optimizer.directories import Directories
from optimizer.errors import ServiceError

_ROOT = Path(__file__).resolve().parents[2]
_SHARED = Path(sys.prefix) / "share" / "cloud-resource-optimizer"


def define(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add this command's words."""
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    word = words.add_parser("install", help="register the service, or set right what differs")
    word.add_argument("--no-start", action="store_true", help="do not start it now")
    word = words.add_parser("uninstall", help="stop and remove it; the history stays")
    word.add_argument("--purge", action="store_true", help="remove history and configuration too")
    words.add_parser("start", help="start it and wait until it runs")
    words.add_parser("stop", help="stop it and wait until all load is released")
    words.add_parser("status", help="what the service manager says of it")
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Do it; 0 done, 1 failed."""
    try:
        from optimizer.adapters import windows_scm
    except ImportError as exc:
        print(f"optimizer: the service needs Windows and pywin32 ({exc})", file=sys.stderr)
        print("  remedy: pip install 'cloud-resource-optimizer[windows]'", file=sys.stderr)
        return EXIT_FAILED
    try:
        if args.word == "status":
            return _status()
        if args.word == "install":
            changes = _install(start=not args.no_start)
        elif args.word == "uninstall":
            changes = _uninstall(purge=args.purge)
        else:
            changes = windows_scm.start() if args.word == "start" else windows_scm.stop()
        return _tell(changes)
    except (ServiceError, OSError) as exc:
        print(f"optimizer: {exc}", file=sys.stderr)
        return EXIT_FAILED


def _tell(changes: Iterator[str]) -> int:
    changed = False
    for change in changes:
        changed = True
        print(f"changed: {change}", flush=True)
    if not changed:
        print("nothing changed")
    return EXIT_OK


def _install(*, start: bool) -> Iterator[str]:
    from optimizer.adapters import windows_scm

    command, lacks = _command(), list[str]()
    yield from windows_scm.install(command, lacks)
    if lacks:
        print(f"this Windows does not know: {', '.join(lacks)}", file=sys.stderr)
    sid = plan.service_sid(plan.NAME)
    for path, writes, read_by_all in _places(system_directories()):
        granted = plan.access_list(writes=writes, everybody_reads=read_by_all, sid=sid)
        # The recovery tool knows the daemon's processes by the owner of its directory. Whoever
        # made one of the others, as any user may in ProgramData, could give himself all rights.
        if windows_scm.restrict(path, granted, sid if writes else plan.ADMINISTRATORS):
            yield f"directory {path}"
    if start:
        yield from windows_scm.start()


def _places(found: Directories) -> tuple[tuple[Path, bool, bool], ...]:
    """Each directory; whether the service writes there, and whether all users may read it."""
    return (
        (found.state.parent, False, True),
        (found.config, False, False),
        (found.state, True, False),
        (found.runtime, True, True),
        (found.log, True, False),
    )


def _uninstall(*, purge: bool) -> Iterator[str]:
    from optimizer.adapters import windows_scm

    yield from windows_scm.uninstall()
    found = system_directories()
    gone = [found.state.parent] if purge else [found.runtime, found.log]
    for path in gone:
        if path.exists():
            shutil.rmtree(path)
            yield f"directory {path} removed"


def _status() -> int:
    from optimizer.adapters import windows_scm

    found = windows_scm.look()
    if found is None:
        print(f"The service {plan.NAME} is not installed.")
        return EXIT_FAILED
    words = f", pid {found.pid}" if found.state == "running" else f", exit code {found.code}"
    print(f"The service {plan.NAME} is {found.state}{words}.")
    return EXIT_OK if found.state == "running" else EXIT_FAILED


def _command() -> str:
    """What the manager shall start. Raises ServiceError where its account could not read that."""
    import os

    python = str(getattr(sys, "_base_executable", sys.executable))
    site = sysconfig.get_paths()["purelib"]
    shims = [base / "windows" / "service.py" for base in (_SHARED, _ROOT)]
    shim = next((path for path in shims if path.is_file()), None)
    if shim is None:
        raise ServiceError(f"{shims[0]} is missing; install the package again")
    profiles = str(Path(os.environ.get("PUBLIC", "")).parent) if "PUBLIC" in os.environ else ""
    for path in (python, site, str(shim)):
        if not plan.outside_of_profiles(path, profiles):
            raise ServiceError(
                f"{path} is in a user's folder, which the account {plan.ACCOUNT} cannot read; "
                "use a Python installed for all users and an environment outside of "
                f"{profiles}, for example in C:\\Program Files\\CloudResourceOptimizer"
            )
    data = str(system_directories().state.parents[1])
    return plan.command_line(python, str(shim), site, data)
