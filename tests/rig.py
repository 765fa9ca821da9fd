"""A real daemon in a folder of its own, for integration and hostile tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from optimizer.settings_keys import KEYS, LEGACY_KEYS

QUIET = {
    "GLANCES_ENABLED": "false",
    "CHECK_INTERVAL_SECONDS": "1",
    # Small loads: these tests prove behaviour; how exact it is, benchmarks measure.
    # Above what other processes on a shared machine use, so that there is something to hold.
    "TARGET_CPU": "60",
    "TARGET_MEMORY": "0",
    "TARGET_DISK": "0",
}


PROGRAM = ("-m", "optimizer")
"""What Python runs; tests/hostile/altered_daemon.py has the same commands."""


class DaemonRig:
    """A daemon that was started by a test; ended by it at the latest when the test ends.

    `program` is what Python is to run.
    """

    def __init__(
        self,
        folder: Path,
        words: tuple[str, ...],
        settings: dict[str, str],
        program: tuple[str, ...],
    ) -> None:
        self.folder = folder
        self.options = [
            word
            for key, value in {**QUIET, **settings, "WORKSPACE_DIR": str(folder)}.items()
            for word in ("--set", f"{key}={value}")
        ]
        self.options += words
        self.errors = folder.parent / f"{folder.name}.stderr"
        with self.errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, *program, "run", *self.options],
                stderr=stderr,
                stdin=subprocess.DEVNULL,
                env=environment(),
            )

    @property
    def pid(self) -> int:
        """The controller's process id."""
        return self.process.pid

    @property
    def status_path(self) -> Path:
        """Where status.json is."""
        return self.folder / "run" / "status.json"

    def status(self) -> dict[str, Any]:
        """status.json as it is now; empty while there is none."""
        try:
            found: dict[str, Any] = json.loads(self.status_path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return found

    def resource(self, name: str) -> dict[str, Any]:
        """One resource of the status; empty while there is none."""
        found: dict[str, Any] = self.status().get("resources", {}).get(name, {})
        return found

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another `optimizer` command on the same folder."""
        return optimizer(*words, *self.options)

    def stop(self) -> int:
        """End it with SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=10)

    def said(self) -> str:
        """What it has printed."""
        return self.errors.read_text(encoding="utf-8", errors="replace")


def environment() -> dict[str, str]:
    """The environment without keys of ours, so that a developer's own do not leak in."""
    return {k: v for k, v in os.environ.items() if k not in {*KEYS, *LEGACY_KEYS}}


def optimizer(*words: str) -> subprocess.CompletedProcess[str]:
    """Run an `optimizer` command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "optimizer", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(),
    )


@contextlib.contextmanager
def daemon(
    folder: Path, *words: str, program: tuple[str, ...] = PROGRAM, **settings: str
) -> Iterator[DaemonRig]:
    """A running daemon; killed in the end if it still runs."""
    folder.mkdir(parents=True, exist_ok=True)
    rig = DaemonRig(folder, words, settings, program)
    try:
        yield rig
    finally:
        if rig.process.poll() is None:
            rig.process.kill()
            rig.process.wait(timeout=10)


def eventually(condition: Callable[[], Any], *, deadline_s: float = 20.0, what: str = "") -> Any:
    """Wait until a condition is true, and return its value; fail after a generous deadline."""
    end_s = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end_s, f"not within {deadline_s} s: {what or condition}"
        time.sleep(0.02)


def descendants(pid: int) -> set[int]:
    """All processes below one, from /proc; empty when it is gone."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return set()
    children = {int(word) for word in text.split()}
    return children | {below for child in children for below in descendants(child)}


def alive(pids: set[int]) -> set[int]:
    """Those that still run; zombies do not."""
    return {pid for pid in pids if _runs(pid)}


def _runs(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in {"Z", "X"}
