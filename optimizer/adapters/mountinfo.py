"""The table of mounts as the kernel gives it; no mounted filesystem is touched."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
