"""`optimizer history restore`: the history of a backup in the place of the present one."""

from __future__ import annotations

import argparse
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from optimizer.cli.common import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_TRY_LATER,
    EXIT_USAGE,
    Configured,
    as_far_as_good,
    configured,
    say_faults,
    stopped,
)
from optimizer.cli.common import define as define_common
from optimizer.cli.history_backup import also, end_in_order, holds
from optimizer.cli.output import complain, tell
from optimizer.errors import AlreadyRunningError, BackupError, ConfigError
from optimizer.settings import FILE_NAMES

if TYPE_CHECKING:
    from optimizer.adapters.history_restore import Checked


def define(commands: Any) -> None:
    """Add the command to its group."""
    parser = commands.add_parser(
        "restore",
        help="the history of a backup in the place of the present one",
        description="Checks a backup and puts its history in the place of the present one, which "
        "is kept beside it. The daemon must not run: `optimizer history restore --dry-run` needs "
        "no stop and changes nothing.",
    )
    define_common(parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="what `history backup` wrote")
    parser.add_argument(
        "--with-config",
        action="store_true",
        help="restore the configuration file too; one with faults is refused",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="only check the backup")
    parser.set_defaults(execute=restore)


def restore(args: argparse.Namespace) -> int:
    """Check the backup, ask, and restore it."""
    if not (args.yes or args.dry_run or sys.stdin.isatty()):
        print(
            "optimizer: nobody is there to confirm the restore; add --yes, or look with --dry-run",
            file=sys.stderr,
        )
        return EXIT_USAGE
    end_in_order()
    done: list[str] = []
    try:
        found = as_far_as_good(args)
        with _archive(args.file) as archive:
            if args.dry_run:
                done += _look(args, archive, found)
                code = EXIT_OK
            else:
                with _alone(found):
                    code = _restore(args, archive, found, done)
    except ConfigError as exc:
        return say_faults(exc)
    except AlreadyRunningError as exc:
        print(f"optimizer: {exc}", file=sys.stderr)
        return EXIT_TRY_LATER
    except KeyboardInterrupt:
        if done:
            complain("\n".join([*done, "optimizer: interrupted; all else is as it was"]))
        raise
    except OSError as exc:
        rest = "this was done before:" if done else "the history is as it was"
        print(f"optimizer: cannot restore {args.file}: {exc}; {rest}", file=sys.stderr)
        code = EXIT_FAILED
    # Only now, for a print that fails says nothing of what was restored.
    if done:
        (print if args.dry_run else tell)("\n".join(done))
    return code


@contextmanager
def _archive(file: Path) -> Iterator[BinaryIO]:
    """The file of the backup, open; raises BackupError."""
    from optimizer.adapters.history_archive import READ_FLAGS

    try:
        descriptor = os.open(file, READ_FLAGS)
    except OSError as exc:
        raise BackupError(
            f"cannot read {file}: {exc.strerror or exc}; name a backup that you can read"
        ) from exc
    with open(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise BackupError(f"{file} is not a regular file; name a backup")
        yield stream


@contextmanager
def _alone(found: Configured) -> Iterator[None]:
    """No daemon runs on the directories; raises AlreadyRunningError."""
    from optimizer.directories import make

    make(found.directories)
    with ExitStack() as held:
        try:
            held.enter_context(stopped(found.directories))
        except AlreadyRunningError as exc:
            raise AlreadyRunningError(f"{exc}; a restore needs it stopped") from exc
        yield


def _look(args: argparse.Namespace, archive: BinaryIO, found: Configured) -> list[str]:
    """Check the backup and change nothing; what there is to say."""
    from optimizer.adapters.history_restore import checked

    with (
        tempfile.TemporaryDirectory(prefix="optimizer-restore-") as folder,
        checked(archive, args.file, Path(folder)) as backup,
    ):
        said = [
            f"{args.file} is good: {_about(backup)}, {also(backup.manifest)}.",
            f"Its history would become the one in {found.directories.state}.",
        ]
        if args.with_config:
            config = _config_place(found)
            _check_config(args, backup, config, found)
            said.append(f"Its configuration is good and would become {config}.")
    return [*said, "Nothing was changed."]


def _restore(
    args: argparse.Namespace, archive: BinaryIO, found: Configured, done: list[str]
) -> int:
    """Restore all that is asked for; `done` grows by what was restored. Returns the exit code."""
    from optimizer.adapters.foreign import own_rights, rights_of
    from optimizer.adapters.history_restore import checked, put_in_place, sweep
    from optimizer.directories import HISTORY_NAME

    state, config, now_utc_s = found.directories.state, _config_place(found), time.time()
    history = state / HISTORY_NAME
    with rights_of(state):
        sweep(state)
        with checked(archive, args.file, state) as backup:
            with own_rights():
                if args.with_config:
                    _check_config(args, backup, config, found)
                if not args.yes and not _confirmed(args, backup, history, config):
                    done.append("Nothing was changed.")
                    return EXIT_FAILED
            aside = put_in_place(backup, history, now_utc_s=now_utc_s)
            done.append(f"Restored the history of {_about(backup)}.")
            kept = f"; the one before is {aside.name} beside it." if aside else "."
            done.append(f"It is {history}{kept}")
    if args.with_config and backup.config is not None:
        return _restore_config(backup.config, config, now_utc_s, done)
    return EXIT_OK


def _restore_config(content: bytes, config: Path, now_utc_s: float, done: list[str]) -> int:
    from optimizer.adapters.config_restore import put_config
    from optimizer.adapters.foreign import rights_of

    try:
        with rights_of(config.parent):
            before = put_config(content, config, now_utc_s=now_utc_s)
    except (OSError, BackupError) as exc:
        print(
            f"optimizer: the history was restored, the configuration {config} was not: {exc}",
            file=sys.stderr,
        )
        return EXIT_FAILED
    kept = f"; the one before is {before.name} beside it" if before else ""
    done.append(f"The configuration {config} was restored{kept}.")
    return EXIT_OK


def _about(backup: Checked) -> str:
    from optimizer.report.fields import clean, time

    made = backup.manifest
    return f"{clean(made.host)}, kept {time(made.created_utc_s)}: {holds(made)}"


def _config_place(found: Configured) -> Path:
    """Where a restored configuration goes: the file in force, else the usual name of one."""
    return (found.loaded.file or found.directories.config / FILE_NAMES[0]).absolute()


def _check_config(
    args: argparse.Namespace, backup: Checked, config: Path, found: Configured
) -> None:
    """Raise ConfigError or BackupError unless the configuration in the backup can be restored."""
    from optimizer.adapters.config_restore import refuse_link

    if backup.config is None:
        raise BackupError(
            f"{args.file} holds no configuration: the host had none; leave out --with-config"
        )
    refuse_link(config)
    written = backup.folder / FILE_NAMES[0]
    written.write_bytes(backup.config)
    try:
        meant = configured(argparse.Namespace(config=written, overrides=args.overrides))
    except ConfigError as exc:
        named = [
            fault.replace(str(written), f"{config.name} in {args.file}") for fault in exc.faults
        ]
        raise ConfigError(named) from exc
    if meant.directories.state != found.directories.state:
        raise BackupError(
            f"with the configuration in {args.file} the state directory is "
            f"{meant.directories.state}, now it is {found.directories.state}: restore to there "
            f"with --set WORKSPACE_DIR=, or without --with-config"
        )


def _confirmed(args: argparse.Namespace, backup: Checked, history: Path, config: Path) -> bool:
    print(f"{args.file} is good: {_about(backup)}, {also(backup.manifest)}.")
    print(f"Its history becomes {history}; the one there now is kept beside it.")
    if args.with_config:
        print(f"Its configuration becomes {config}; the one there now is kept beside it.")
    try:
        return input("Restore it? [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        return False
