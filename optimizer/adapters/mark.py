"""The mark of identity: a sealed memfd that a process of ours holds from its start to its end.

The controller sets its own here; stressers/mark.py sets those of the
stressers. A recovery tool believes a mark that tells the pid, the start and
the boot of the process that holds it.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Mapping

from optimizer.adapters.identity import boot_id, identify

NAME = "CloudResourceOptimizer"
_LINK = f"/memfd:{NAME} (deleted)"
_ADD_SEALS, _GET_SEALS, _ALL_SEALS = 1033, 1034, 0xF
"""F_ADD_SEALS, F_GET_SEALS: no seal more, no shrinking, growing, writing. Source: fcntl(2)."""
_NOEXEC_SEAL = 0x8
"""MFD_NOEXEC_SEAL: some hosts refuse what lacks it. Source: linux/memfd.h, since 6.3."""
_LIMIT_BYTES = 16 * 1024


def set_mark(places: Mapping[str, str]) -> int | None:
    """Mark this process as the controller; the descriptor, None where that is denied.

    `places` are its directories: state, runtime and log.
    """
    who = identify(os.getpid())
    if sys.platform != "linux" or who is None or not hasattr(os, "memfd_create"):
        return None
    content = {"role": "controller", "pid": who.pid, "start": who.start, "boot_id": boot_id()}
    try:
        return _sealed(json.dumps({**content, **places}).encode() + b"\n")
    except OSError:
        return None


def read_mark(pid: int) -> dict[str, object] | None:
    """What the mark of a process says; None when it has none that is its own.

    Whoever may not look at a process finds none. One in a pid namespace of its
    own knows another pid of itself, and has none for us.
    """
    who, boot = identify(pid), boot_id()
    if who is None or boot is None:
        return None
    directory = f"/proc/{pid}"
    try:
        owner = os.stat(directory).st_uid
        names = os.listdir(f"{directory}/fd")
    except OSError:
        return None
    for name in names:
        found = _content(f"{directory}/fd/{name}", owner)
        if found is not None and _names(found) == (who.pid, who.start, boot):
            return found
    return None


def _names(mark: dict[str, object]) -> tuple[object, object, object]:
    return mark.get("pid"), mark.get("start"), mark.get("boot_id")


def _content(link: str, owner: int) -> dict[str, object] | None:
    """The JSON object in a sealed memfd of our name of that user's; None for all else."""
    try:
        if os.readlink(link) != _LINK:
            return None
        descriptor = os.open(link, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    try:
        # Another file may have come to that number since.
        true = os.fstat(descriptor)
        if os.readlink(f"/proc/self/fd/{descriptor}") != _LINK or true.st_uid != owner:
            return None
        if not stat.S_ISREG(true.st_mode) or true.st_nlink or not _is_sealed(descriptor):
            return None
        found = json.loads(os.read(descriptor, _LIMIT_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    finally:
        os.close(descriptor)
    return found if isinstance(found, dict) else None


if sys.platform == "linux":
    import fcntl

    def _sealed(content: bytes) -> int:
        """A memfd with that content, which nobody can change any more. Raises OSError."""
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        try:
            descriptor = os.memfd_create(NAME, flags | _NOEXEC_SEAL)
        except OSError:
            descriptor = os.memfd_create(NAME, flags)
        try:
            os.write(descriptor, content)
            fcntl.fcntl(descriptor, _ADD_SEALS, _ALL_SEALS)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _is_sealed(descriptor: int) -> bool:
        """Whether nobody can change it any more. Raises OSError for a file on a disk."""
        return fcntl.fcntl(descriptor, _GET_SEALS) & _ALL_SEALS == _ALL_SEALS

else:

    def _sealed(content: bytes) -> int:
        raise OSError(content)

    def _is_sealed(descriptor: int) -> bool:
        raise OSError(descriptor)
