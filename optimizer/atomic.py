"""Replaces a file as a whole: a reader sees the old content or the new, never a part."""

from __future__ import annotations

import math
import os
import re
import stat
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

_SHARING_RETRIES = 20
"""On Windows a file cannot be replaced while somebody reads it; readers are done sooner."""
_SHARING_PAUSE_S = 0.01
_FRAGMENT = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def replace_file(path: Path, content: bytes, *, durable: bool, mode: int = 0o644) -> None:
    """Make `content` the content of `path`; the old file stays if this fails.

    The new content is written beside the old one and renamed over it.
    `durable` also syncs the file and its directory, so that a power cut
    leaves the old or the new content; without it a cut may leave an empty
    file. `mode` does not depend on the umask; Windows ignores it. A symbolic
    link at `path` is replaced, not followed. A process killed in here can
    leave one file named `.<name>.*.tmp` behind; see sweep().

    Raises OSError.
    """
    write_file(path, lambda file: file.write(content), durable=durable, mode=mode)


def write_file(
    path: Path, write: Callable[[BinaryIO], object], *, durable: bool, mode: int = 0o644
) -> None:
    """The same with a content that `write` puts into a file; what that raises changes nothing."""
    name = _beside(path)
    descriptor = os.open(name, _CREATE_FLAGS, 0o600)
    with ExitStack() as undo:
        undo.callback(_remove, name)
        with open(descriptor, "wb") as file:
            if sys.platform != "win32":
                os.fchmod(descriptor, mode)
            write(file)
            file.flush()
            if durable:
                os.fsync(descriptor)
        rename_over(name, path)
        undo.pop_all()
    if durable:
        sync_directory(path.parent)


def sweep(directory: Path, *, before_utc_s: float = math.inf) -> None:
    """Remove what killed processes have left of replace_file(); never raises.

    Only files last written before that time, for a younger one may be about
    to be renamed; without it all, where nobody else writes.
    """
    with suppress(OSError):
        for path in list(directory.iterdir()):
            if not _FRAGMENT.fullmatch(path.name):
                continue
            with suppress(OSError):
                found = path.lstat()
                if stat.S_ISREG(found.st_mode) and found.st_mtime < before_utc_s:
                    path.unlink()


def sync_directory(directory: Path) -> None:
    """Make renames and removals in a directory survive a power cut; nothing to do on Windows.

    Raises OSError.
    """
    if sys.platform == "win32":
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")


def _remove(name: Path) -> None:
    with suppress(OSError):
        name.unlink()


def rename_over(name: Path, path: Path) -> None:
    """Rename a file over another one, on Windows once its readers are done; raises OSError."""
    if sys.platform == "win32":
        replace_when_free(name, path)
    else:
        os.replace(name, path)


def replace_when_free(
    name: Path,
    path: Path,
    replace: Callable[[Path, Path], None] = os.replace,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """The same with some patience for those who have the other file open; raises OSError."""
    for _ in range(_SHARING_RETRIES):
        try:
            replace(name, path)
        except PermissionError:
            pause(_SHARING_PAUSE_S)
        else:
            return
    replace(name, path)
