"""systemd, asked and told by systemctl."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from optimizer.errors import OptimizerError

TIMEOUT_S = 120.0
"""A start waits until the daemon is ready, or has failed."""


class Done(NamedTuple):
    """What came of a command: its exit code, 127 where there is no such program, and its words."""

    code: int
    said: str


Run = Callable[[Sequence[str]], Done]


def run(command: Sequence[str]) -> Done:
    """Run a program to its end; never raises."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Done(124, f"not done within {TIMEOUT_S:g} s")
    except OSError as exc:
        return Done(127, exc.strerror or str(exc))
    return Done(done.returncode, done.stdout.decode("utf-8", "replace").strip())


def booted() -> bool:
    """Whether systemd runs this system. Source: sd_booted(3)."""
    return os.path.isdir("/run/systemd/system")


def program_of(pid: str) -> Path | None:
    """The interpreter that a process was started with; None where that cannot be told."""
    try:
        words = Path(f"/proc/{int(pid)}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return Path(os.fsdecode(words.split(b"\0")[0]))


class Systemctl:
    """One word of systemctl for each method."""

    def __init__(self, execute: Run) -> None:
        self._execute = execute

    def tell(self, *words: str) -> None:
        """Do that. Raises OptimizerError where it fails, with what systemctl said."""
        done = self._execute(["systemctl", "--no-ask-password", *words])
        if done.code != 0:
            raise OptimizerError(
                f"systemctl {' '.join(words)}: {done.said or f'exit code {done.code}'}"
            )

    def is_(self, what: str, unit: str) -> bool:
        """Whether `systemctl is-WHAT` says that word of a unit."""
        return self._execute(["systemctl", f"is-{what}", unit]).said.split("\n")[-1] == what

    def is_up(self, unit: str) -> bool:
        """Whether a unit runs, or is about to start or to stop."""
        up = {"active", "activating", "deactivating", "reloading"}
        return self.show(unit, "ActiveState") in up

    def show(self, unit: str, name: str) -> str:
        """A property of a unit; empty where there is none."""
        return self._execute(["systemctl", "show", f"--property={name}", "--value", unit]).said
