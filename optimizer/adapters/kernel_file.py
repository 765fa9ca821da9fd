"""A file of procfs, sysfs or a cgroup that is read often."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class KernelFile:
    """A file of procfs or sysfs, kept open and read from its start each time."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._descriptor = -1

    def read(self) -> bytes:
        """What it says now. Raises OSError."""
        if self._descriptor >= 0:
            # An open file can go stale, for example when lxcfs is restarted.
            try:
                if text := _pread(self._descriptor, self._most_bytes):
                    return text
            except OSError:
                pass
            self.close()
        self._descriptor = os.open(self._path, os.O_RDONLY)
        return _pread(self._descriptor, self._most_bytes)

    def close(self) -> None:
        """Close it; a later read opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _pread(descriptor: int, most_bytes: int) -> bytes:
    if sys.platform == "win32":  # there is no procfs there; only the tests come here
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.read(descriptor, most_bytes)
    return os.pread(descriptor, most_bytes, 0)
