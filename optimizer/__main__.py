"""The `optimizer` command: `optimizer COMMAND --help` tells what each one does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from optimizer.cli.output import give_up, watched
from optimizer.errors import OptimizerError, OutputError

EXIT_FAILED = 1
OLDEST_PYTHON = (3, 11)
"""The same as python_requires in setup.cfg."""

# command -> (file of its group in optimizer.cli, one line of help)
COMMANDS = {
    "run": ("run", "run the daemon in the foreground; Ctrl-C releases everything"),
    "status": ("status", "what is held now, and why"),
    "plan": ("plan", "dry run: what it would do now, and why"),
    "simulate": ("simulate", "what a tenant's trace would look like with load: policy met, cost"),
    "report": ("report", "target met or not, coverage, own and organic load; HTML, CSV, JSON"),
    "policies": ("policies", "who judges by what, with source and date"),
    "check-config": ("check_config", "every fault of the configuration; exit 0 or 78"),
    "doctor": ("doctor", "what is wrong here, and the remedy for each"),
    "pause": ("switch", "take all load away, for a while or until resumed"),
    "release": ("release", "hold nothing on one filesystem for a while, to unmount it"),
    "resume": ("switch", "lift a pause, a running window and releases; tripped stressers start"),
    "history": ("history", "what was recorded: events, export, import, compare, backup, restore"),
    "service": ("service", "install, uninstall: run it for good, as a service of this system"),
    "metrics": ("metrics", "the status for Prometheus, by a process beside the daemon"),
    "glances-config": ("glances_config", "write the configuration for Glances"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code (0 done, 1 failed, 2 usage, 75 try later, 78 bad config)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if sys.version_info < OLDEST_PYTHON:
        print(_too_old(), file=sys.stderr)
        return EXIT_FAILED
    try:
        with watched():
            return _executed(arguments)
    except OutputError as exc:
        give_up(exc)
    except OptimizerError as exc:
        print(f"optimizer: {exc}", file=sys.stderr)
    except KeyboardInterrupt:
        pass
    return EXIT_FAILED


def _executed(arguments: list[str]) -> int:
    """The exit code of the command; raises OptimizerError, and SystemExit for its usage."""
    parser = argparse.ArgumentParser(
        prog="optimizer",
        description="Holds this host's CPU, memory and disk utilisation at a target.",
        epilog="`optimizer COMMAND --help` tells more. Start with `optimizer plan`.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="what is installed, and end")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # Only the group that is asked for is imported: the daemon pays for no other.
    asked = next((word for word in arguments if word in COMMANDS), None)
    for name, (group, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name == asked:
            import_module(f"optimizer.cli.{group}").define(command, name)
    args = parser.parse_args(arguments)
    return int(args.execute(args))


class _Version(argparse.Action):
    """Looked up only when asked for: the daemon pays for no reading of metadata."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002
        values: str | Sequence[Any] | None,  # noqa: ARG002
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        from optimizer.cli.common import program_version  # noqa: PLC0415

        print(f"optimizer {program_version()}")
        parser.exit()


def _too_old() -> str:
    """What `doctor` would say, which an older Python cannot run; nor any other command."""
    found, wanted = (".".join(map(str, v)) for v in (sys.version_info[:3], OLDEST_PYTHON))
    return (
        f"fault    python-too-old (install)\n         {sys.executable} is Python {found}; "
        f"{wanted} or newer is needed\n         -> install python{wanted} from your distribution "
        f"and name it:\n            PYTHON=python{wanted} ./start.sh"
    )


if __name__ == "__main__":
    sys.exit(main())
