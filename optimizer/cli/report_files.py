"""Where the files of `optimizer report` go, and what to do when they cannot be written."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from optimizer.cli import output

STDOUT = "-"
_FULL = "free some space, or name a file on another filesystem"
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "free some of the quota, or name a file on another filesystem",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or name a file on a "
    "filesystem that takes larger ones",
    errno.ENAMETOOLONG: "name a file with a shorter name",
    errno.ENOENT: "make the directory, or name a file in a directory that you may write to",
    errno.EIO: "look into the kernel log for the disk, or name a file on another filesystem",
}
_REMEDY = "name a file in a directory that you may write to"


def clash(asked: Mapping[str, str]) -> str | None:
    """What is wrong with the targets by their options: two for one place; None when nothing is."""
    for (one, target), (other, place) in combinations(asked.items(), 2):
        if target == place == STDOUT:
            return "only one of --csv, --json and --html can be -; name a file"
        if STDOUT not in (target, place) and _same(Path(target), Path(place)):
            return f"{one} and {other} name the same file, {place}: name two"
    return None


def _same(one: Path, other: Path) -> bool:
    try:
        return one.resolve() == other.resolve()
    except (OSError, RuntimeError):
        return one == other


def put(target: str, content: str) -> bool:
    """Whether it could be written as UTF-8; a device or a folder is left as it is."""
    data = content.encode("utf-8", "replace")
    if target != STDOUT:
        return _written(Path(target), data)
    output.put(data)  # what is written says itself that it is UTF-8
    return True


def _written(path: Path, data: bytes) -> bool:
    from optimizer.atomic import replace_file

    try:
        place = path.resolve()
        if place.exists() and not place.is_file():
            what = "a directory" if place.is_dir() else "no regular file"
            message = (
                f"cannot write {path}: it is {what}; name a file, or - for the standard output"
            )
            print(f"optimizer: {message}", file=sys.stderr)
            return False
        replace_file(place, data, durable=True)
    except OSError as exc:
        why = exc.strerror or exc
        remedy = _REMEDIES.get(exc.errno or 0, _REMEDY)
        print(f"optimizer: cannot write {path}: {why}; {remedy}", file=sys.stderr)
        return False
    return True
