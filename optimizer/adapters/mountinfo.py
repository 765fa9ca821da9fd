"""The table of mounts as the kernel gives it; no mounted filesystem is touched."""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
from dataclasses import dataclass
from pathlib import Path

_OCTAL = re.compile(r"\\([0-7]{3})")
_FEWEST_FIELDS = 10
"""Six before the optional ones, a dash, and three after it. Source: proc(5), mountinfo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of mountinfo: what is mounted where.

    `source` is the device, or whatever the filesystem has instead. `root` is
    the directory of the filesystem that `point` shows; for a cgroup hierarchy
    in a container the container's group, unless a namespace hides it.
    """

    root: str
    point: str
    kind: str
    source: str = ""
    options: frozenset[str]


class MountTable:
    """Tells when something was mounted or unmounted; holds a file open until it is closed."""

    def __init__(self, path: Path = Path("/proc/self/mountinfo")) -> None:
        self._file = -1
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def changed(self) -> bool:
        """Whether the table has changed since last asked; false where the kernel does not tell.

        Source: proc(5), /proc/pid/mounts: a change is an exceptional condition for poll(2).
        """
        if sys.platform != "linux" or self._file < 0:
            return False
        poll = select.poll()
        poll.register(self._file, select.POLLPRI)
        return any(event & select.POLLPRI for _, event in poll.poll(0))

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """The lines of /proc/self/mountinfo in their order; what is no such line is left out.

    Source: proc(5), /proc/pid/mountinfo.
    """
    found = []
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) < _FEWEST_FIELDS or "-" not in fields[6:-3]:
            continue
        after = fields.index("-", 6)
        found.append(
            Mount(
                root=_plain(fields[3]),
                point=_plain(fields[4]),
                kind=fields[after + 1],
                source=_plain(fields[after + 2]),
                options=frozenset(fields[after + 3].split(",")),
            )
        )
    return tuple(found)


def _plain(field: str) -> str:
    """A path without the octal escapes of blanks and backslashes."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)
