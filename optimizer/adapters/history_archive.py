"""The file of a backup: a gzip'd tar of a manifest, the history and the configuration.

Read strictly and in one pass: three known names in this order, regular files,
sizes that the manifest says, and checksums, so that a hostile file can lead
nowhere and fill nothing. Any tar and gzip can read it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from optimizer.adapters.history_manifest import (
    FORMAT_VERSION,
    Manifest,
    Member,
    NewerError,
    parsed,
    rendered,
)
from optimizer.errors import BackupError

MANIFEST_NAME = "manifest.json"
DATABASE_NAME = "history.sqlite3"
CONFIG_NAME = "optimizer.env"
MOST_BYTES: Mapping[str, int] = {
    MANIFEST_NAME: 1 << 16,
    DATABASE_NAME: 4 << 30,
    CONFIG_NAME: 1 << 16,
}
"""How large each member may be; a year at one row in ten seconds is 0.5 GB."""
_BINARY = getattr(os, "O_BINARY", 0)
CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY
READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY
"""A pipe with the name of a file holds up nobody."""
_BLOCK_BYTES = 512
"""Source: tar(5), as of the next."""
_MOST_END_BYTES = 1 << 20
"""Blocks of zeros at the end: two, filled up to a record of 10 KiB or what another tar takes."""
_PIECE_BYTES = 1 << 20


def member_of(path: Path, *, was_at: Path) -> Member:
    """What the manifest says of a file. Raises OSError."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
    return Member(size_bytes=size, sha256=digest.hexdigest(), path=str(was_at))


def write(target: BinaryIO, manifest: Manifest, folder: Path) -> None:
    """Write the archive of what lies in the folder under the names of the members.

    Raises OSError, and BackupError when something is too large.
    """
    (folder / MANIFEST_NAME).write_bytes(rendered(manifest))
    names = [MANIFEST_NAME, DATABASE_NAME] + [CONFIG_NAME] * (manifest.config is not None)
    moment = int(manifest.created_utc_s)
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=target, compresslevel=6, mtime=moment) as out,
        tarfile.open(fileobj=out, mode="w|", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = (folder / name).stat().st_size, 0o600, moment
            if entry.size > MOST_BYTES[name]:
                raise BackupError(
                    f"{name} has {entry.size} bytes, a backup takes up to {MOST_BYTES[name]}: "
                    "shorten MONITOR_PERIOD_DAYS, or copy the file by hand"
                )
            with (folder / name).open("rb") as stream:
                archive.addfile(entry, stream)


def read_manifest(source: BinaryIO, name: Path) -> Manifest:
    """The manifest alone; the rest is not looked at. Raises BackupError, OSError."""
    return _Reader(source, name).manifest()


def unpack(source: BinaryIO, name: Path, folder: Path) -> tuple[Manifest, bytes | None]:
    """Check the whole archive and put its history into the folder; with its configuration.

    `name` is for messages. Raises BackupError, with what is wrong, and OSError.
    """
    return _Reader(source, name).unpack(folder)


def need_room(folder: Path, wanted_bytes: int, remedy: str) -> None:
    """Raise BackupError unless the filesystem of the folder has that much free."""
    free = shutil.disk_usage(folder).free
    if free < wanted_bytes:
        raise BackupError(
            f"{wanted_bytes / 1e6:.1f} MB are needed in {folder}, {free / 1e6:.1f} MB are free: "
            f"{remedy}"
        )


class _Reader:
    def __init__(self, source: BinaryIO, name: Path) -> None:
        self._stream = gzip.GzipFile(fileobj=source, mode="rb")
        self._name = name

    def manifest(self) -> Manifest:
        header = self._header()
        if header is None or header.name != MANIFEST_NAME:
            found = "nothing" if header is None else repr(header.name)
            raise self._foreign(f"it begins with {found}, not with {MANIFEST_NAME}")
        content = self._exactly(header.size)
        self._exactly(-header.size % _BLOCK_BYTES)
        try:
            return parsed(json.loads(content))
        except NewerError as exc:
            raise BackupError(
                f"{self._name} has format version {exc}, this program knows up to "
                f"{FORMAT_VERSION}: restore it with the newer program"
            ) from exc
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
            raise self._foreign(f"its {MANIFEST_NAME} has a fault ({exc!r})") from exc

    def unpack(self, folder: Path) -> tuple[Manifest, bytes | None]:
        manifest = self.manifest()
        need_room(folder.parent, manifest.history.size_bytes + 2**20, "free some space there")
        descriptor = os.open(folder / DATABASE_NAME, CREATE_FLAGS, 0o600)
        with open(descriptor, "wb") as file:
            self._copy(manifest.history, DATABASE_NAME, file)
            file.flush()
            os.fsync(descriptor)
        config = None
        if manifest.config is not None:
            config = io.BytesIO()
            self._copy(manifest.config, CONFIG_NAME, config)
        header = self._header()
        if header is not None:
            raise self._foreign(f"it has {header.name!r} beside what belongs to it")
        self._end()
        return manifest, None if config is None else config.getvalue()

    def _copy(self, member: Member, name: str, target: BinaryIO) -> None:
        """The next member, which must be the one of that name, as its manifest says."""
        header = self._header()
        if header is None or header.name != name:
            found = "nothing" if header is None else repr(header.name)
            raise self._foreign(f"it has {found} where {name} should be")
        if header.size != member.size_bytes:
            raise self._foreign(f"{name} has {header.size} bytes, not {member.size_bytes}")
        digest = hashlib.sha256()
        left = member.size_bytes
        while left:
            piece = self._exactly(min(left, _PIECE_BYTES))
            digest.update(piece)
            target.write(piece)
            left -= len(piece)
        self._exactly(-member.size_bytes % _BLOCK_BYTES)
        if digest.hexdigest() != member.sha256:
            raise self._damaged(f"the checksum of {name} is not the one that was noted")

    def _header(self) -> tarfile.TarInfo | None:
        """The next member; None at the end. The kinds that carry paths or sizes are refused."""
        block = self._exactly(_BLOCK_BYTES)
        if not any(block):
            return None
        try:
            header = tarfile.TarInfo.frombuf(block, "ascii", "backslashreplace")
        except tarfile.HeaderError as exc:
            raise self._foreign(f"there is no tar in it ({exc})") from exc
        if header.type not in {tarfile.REGTYPE, tarfile.AREGTYPE}:
            raise self._foreign(f"{header.name!r} is no regular file in it")
        if header.name not in MOST_BYTES:
            raise self._foreign(f"{header.name!r} does not belong to a backup")
        if not 0 <= header.size <= MOST_BYTES[header.name]:
            raise self._foreign(
                f"{header.name} has {header.size} bytes, a backup takes up to "
                f"{MOST_BYTES[header.name]}"
            )
        return header

    def _end(self) -> None:
        """Read to the end, for the checksum of gzip stands there."""
        length = 0
        while piece := self._some(_PIECE_BYTES):
            length += len(piece)
            if any(piece) or length > _MOST_END_BYTES:
                raise self._foreign("something follows its last member")

    def _exactly(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            piece = self._some(size - len(content))
            if not piece:
                raise self._damaged("it ends too early")
            content += piece
        return content

    def _some(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except EOFError as exc:
            raise self._damaged("it ends too early") from exc
        except gzip.BadGzipFile as exc:
            raise self._damaged(str(exc)) from exc
        except zlib.error as exc:
            raise self._damaged(str(exc)) from exc

    def _foreign(self, cause: str) -> BackupError:
        return BackupError(
            f"{self._name} is not a backup of this program: {cause}; name a file that "
            "`optimizer history backup` has written"
        )

    def _damaged(self, cause: str) -> BackupError:
        return BackupError(f"{self._name} is damaged: {cause}; use another backup")
