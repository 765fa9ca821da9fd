"""Makes a backup of the history and the configuration, and checks it.

What has a backup's name is a whole backup: it was read again before it got
that name.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from optimizer.adapters import history_snapshot
from optimizer.adapters.foreign import rights_of
from optimizer.adapters.history_archive import (
    CONFIG_NAME,
    CREATE_FLAGS,
    DATABASE_NAME,
    MOST_BYTES,
    READ_FLAGS,
    member_of,
    need_room,
    unpack,
    write,
)
from optimizer.adapters.history_expiry import Expired, expire, name_of
from optimizer.adapters.history_manifest import Manifest, Member
from optimizer.adapters.instance_lock import InstanceLock
from optimizer.atomic import sync_directory
from optimizer.errors import AlreadyRunningError, BackupError

LEFTOVER_S = 3600.0
"""The folder of a backup that was killed goes when it is as old, with a later backup."""
LOCK_NAME = ".optimizer-backup.lock"
_LEFTOVER = re.compile(r"\.optimizer-backup-[0-9a-f]{16}\.tmp")
_SPARE_BYTES = 1 << 20
_ROOM = "free some, or name another directory with --to"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to keep and where; `config` None: the host runs on built-in defaults.

    `ruled_by` is the directory whose ruler root becomes while it works in
    `directory`. Backups of `host` there that are older than `keep_days` go.
    """

    history: Path
    config: Path | None
    directory: Path
    ruled_by: Path
    host: str
    program_version: str
    keep_days: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup that was made, and what became of older ones."""

    file: Path
    size_bytes: int
    manifest: Manifest
    expired: Expired


def back_up(order: Order, *, now_utc_s: float) -> Backup:
    """Make one, then remove those that are too old.

    Raises AlreadyRunningError while another one is made there, HistoryError
    when the history cannot be read, and BackupError; then there is no new file.
    """
    try:
        with ExitStack() as held:
            with rights_of(order.history.parent):
                files = history_snapshot.still(order.history)
                db = None if files else history_snapshot.opened(order.history)
            if db is not None:
                held.callback(db.close)
            held.enter_context(rights_of(order.ruled_by))
            folder = held.enter_context(_working(order.directory, now_utc_s))
            if db is None:
                need_room(
                    order.directory,
                    sum(os.fstat(f.fileno()).st_size for f in files.values()),
                    _ROOM,
                )
                db = history_snapshot.thawed(files, order.history, folder)
                held.callback(db.close)
            size_bytes = history_snapshot.size_bytes(db, order.history)
            # The copy and the archive of it; then the archive and what was in it.
            need_room(order.directory, 2 * size_bytes + _SPARE_BYTES, _ROOM)
            history_snapshot.copy(db, folder / DATABASE_NAME)
            manifest = _manifest(order, folder, now_utc_s)
            archive = folder / "archive"
            _written(archive, manifest, folder)
            _verified(archive, manifest, folder)
            archive_bytes = archive.stat().st_size
            file = _published(archive, order, now_utc_s)
            expired = expire(order.directory, order.host, order.keep_days, now_utc_s)
    except OSError as exc:
        where = exc.filename or order.directory
        raise BackupError(
            f"cannot write a backup to {order.directory}: {exc.strerror or exc} ({where}); "
            f"{_remedy(exc)}"
        ) from exc
    return Backup(file=file, size_bytes=archive_bytes, manifest=manifest, expired=expired)


@contextmanager
def _working(directory: Path, now_utc_s: float) -> Iterator[Path]:
    """A folder of our own in the directory, which nobody else makes a backup to meanwhile."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = directory / f".optimizer-backup-{os.urandom(8).hex()}.tmp"
    folder.mkdir(mode=0o700)
    lock = InstanceLock(directory / LOCK_NAME)
    try:
        try:
            lock.acquire()
        except AlreadyRunningError as exc:
            raise AlreadyRunningError(
                f"another backup to {directory} is being made: wait until it has ended"
            ) from exc
        _sweep(directory, folder.name, now_utc_s)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _sweep(directory: Path, own: str, now_utc_s: float) -> None:
    """Remove the folders of backups that were killed; a link with such a name stays."""
    with os.scandir(directory) as entries:
        left = [entry for entry in entries if _LEFTOVER.fullmatch(entry.name) and entry.name != own]
    for entry in left:
        with suppress(OSError):
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode) and found.st_mtime < now_utc_s - LEFTOVER_S:
                shutil.rmtree(entry.path, ignore_errors=True)


def _manifest(order: Order, folder: Path, now_utc_s: float) -> Manifest:
    """What the copy holds; with the configuration put beside it."""
    database = folder / DATABASE_NAME
    return Manifest(
        created_utc_s=now_utc_s,
        host=order.host,
        program_version=order.program_version,
        contents=history_snapshot.contents(database, f"the history {order.history}"),
        history=member_of(database, was_at=order.history),
        config=_config(order.config, folder),
    )


def _config(config: Path | None, folder: Path) -> Member | None:
    """A copy of the configuration; None where there is none, as for /dev/null."""
    if config is None:
        return None
    most = MOST_BYTES[CONFIG_NAME]
    try:
        with open(os.open(config, READ_FLAGS), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return None
            content = stream.read(most + 1)
    except OSError as exc:
        raise BackupError(
            f"cannot read the configuration {config}: {exc.strerror}; make it readable for the "
            "user of the daemon, or name with --to a directory of the user who runs this"
        ) from exc
    if len(content) > most:
        raise BackupError(f"the configuration {config} is larger than {most} bytes: shorten it")
    (folder / CONFIG_NAME).write_bytes(content)
    return member_of(folder / CONFIG_NAME, was_at=config)


def _written(archive: Path, manifest: Manifest, folder: Path) -> None:
    descriptor = os.open(archive, CREATE_FLAGS, 0o600)
    with open(descriptor, "wb") as file:
        write(file, manifest, folder)
        file.flush()
        os.fsync(descriptor)
        if sys.platform == "linux":
            # What is read next is what the disk has, not what memory remembers.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    for name in (DATABASE_NAME, CONFIG_NAME):
        (folder / name).unlink(missing_ok=True)


def _verified(archive: Path, manifest: Manifest, folder: Path) -> None:
    """Raise BackupError unless the archive can be read again and holds what it says."""
    with archive.open("rb") as file:
        again, _ = unpack(file, archive, folder)
    found = history_snapshot.contents(folder / DATABASE_NAME, "the copy in the backup")
    if again != manifest or found != manifest.contents:
        raise BackupError(
            f"the backup in {folder.parent} was not what had been written to it: look at the "
            "kernel log and at the disk"
        )


def _published(archive: Path, order: Order, now_utc_s: float) -> Path:
    """Give the archive its name, under which no other file is."""
    number = 1
    while os.path.lexists(file := order.directory / name_of(order.host, now_utc_s, number)):
        number += 1
    os.rename(archive, file)
    try:
        sync_directory(order.directory)
    except OSError:
        file.unlink()
        raise
    return file


def _remedy(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return "free space there or raise the limit, or name another directory with --to"
        case errno.EROFS:
            return "the filesystem is read-only; name another directory with --to"
        case errno.EACCES | errno.EPERM:
            return "run this as the user that the directory belongs to, or name another with --to"
        case errno.ENOTDIR | errno.EEXIST | errno.ENAMETOOLONG | errno.ELOOP:
            return "name a directory with --to"
        case _:
            return "look at the kernel log and at the disk, or name another directory with --to"
