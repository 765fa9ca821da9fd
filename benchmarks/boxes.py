"""A control group of a run's own: what is in it, its CPU time, its memory limit, its OOM kills.

Version 1 (one folder for each controller) and version 2. Needs root.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import time
from pathlib import Path
from typing import Self

import meminfo

_TOP = Path("/sys/fs/cgroup")
_MEMORY = _TOP / "memory"
_CPU_TIME = (_TOP / "cpuacct", _TOP / "cpu,cpuacct")
ROOMY = 1 << 50
"""A limit that only makes it count."""
_GONE_S = 5.0
_NUMBERS = itertools.count()


class Box:
    """Processes join it before their exec; whatever is still in it at the end is killed.

    Raises OSError where no group can be made.
    """

    def __init__(self, limit_bytes: int | None = None) -> None:
        name = f"bench-box-{os.getpid()}-{next(_NUMBERS)}"
        self._folders: list[Path] = []
        self._memory: Path | None = None
        cpu_time = next((path for path in _CPU_TIME if path.is_dir()), None)
        self._version_1 = cpu_time is not None
        try:
            if cpu_time is not None:
                self._make(cpu_time / name)
                if limit_bytes is not None:
                    self._memory = self._make(_MEMORY / name)
                    self._write("memory.limit_in_bytes", limit_bytes)
            else:
                if limit_bytes is not None:
                    control = _TOP / "cgroup.subtree_control"
                    if "memory" not in control.read_text(encoding="ascii").split():
                        control.write_text("+memory", encoding="ascii")
                self._memory = self._make(_TOP / name)
                if limit_bytes is not None:
                    self._write("memory.max", limit_bytes)
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make(self, folder: Path) -> Path:
        folder.mkdir()
        self._folders.append(folder)
        return folder

    def _write(self, name: str, value: int) -> None:
        if self._memory is not None:
            (self._memory / name).write_text(str(value), encoding="ascii")

    def join(self) -> None:
        """Puts the calling process in: to be called by a child before its exec."""
        for folder in self._folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")

    def pids(self) -> list[int]:
        """All processes in it."""
        text = (self._folders[0] / "cgroup.procs").read_text(encoding="ascii")
        return [int(word) for word in text.split()]

    def cpu_s(self) -> float:
        """CPU seconds of all processes that are or were in it."""
        folder = self._folders[0]
        if self._version_1:
            return int((folder / "cpuacct.usage").read_text(encoding="ascii")) / 1e9
        text = (folder / "cpu.stat").read_text(encoding="ascii")
        return meminfo.counts(text)["usage_usec"] / 1e6

    def private_bytes(self) -> int:
        """Memory of the processes in it that is not of a file, from /proc/PID/statm."""
        pages = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):  # it may have ended meanwhile
                words = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
                pages += int(words[1]) - int(words[2])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def usage_bytes(self) -> int:
        """Memory charged to it, until a page is really free. Raises OSError without a limit."""
        if self._memory is None:
            message = "a box without a limit counts no memory"
            raise OSError(message)
        name = "memory.usage_in_bytes" if self._version_1 else "memory.current"
        return int((self._memory / name).read_text(encoding="ascii"))

    def oom_kills(self) -> int:
        """How often the kernel has killed in it for lack of memory; 0 without a limit."""
        if self._memory is None:
            return 0
        name = "memory.oom_control" if self._version_1 else "memory.events"
        return meminfo.counts((self._memory / name).read_text(encoding="ascii"))["oom_kill"]

    def kill(self) -> None:
        """SIGKILL to every process in it; returns without waiting for their end."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Ends what is in it and removes it; says so if that fails."""
        until_s = time.monotonic() + _GONE_S
        while self._folders:
            try:
                self.kill()
                self._folders[-1].rmdir()
                self._folders.pop()
            except OSError:
                if time.monotonic() > until_s:
                    print(f"left behind, still in use: {self._folders[-1]}", file=sys.stderr)
                    return
                time.sleep(0.02)


def fault(*, limit: bool = False) -> str | None:
    """Why no such group can be made here, with a memory limit or without; None if one can."""
    try:
        with Box(1 << 30 if limit else None):
            return None
    except OSError as exc:
        return f"no control group{' with a memory limit' if limit else ''} can be made: {exc}"
