"""A Windows rig where there is no Windows: real Windows CPython under wine.

Wine is a smoke test, not proof: it keeps no access lists, knows no recovery
actions, no sessions and no event viewer. Its service manager lives only as long
as some program of the prefix runs, and goes on saying that a service runs whose
process was killed: it watches none, so only `restart` lets it know.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.installed.debian import cache_folder
from tests.installed.windows_python import APP_PTH, windows_python
from tests.paths import checkout
from tests.rig import eventually

APP = (
    *("optimizer", "stressers", "recover", "tests", "benchmarks", "config", "docs", "windows"),
    *("setup.cfg", "pyproject.toml", "start.sh", "README.md", "ARCHITECTURE.md"),
)
"""What the program and its tests need of a checkout."""
_NOISE = "FS volume label and serial are not available"
_START_S = 120.0
_RUN_S = 150.0
_ANCHOR_S = 1500
"""The service manager's life: the rig is closed sooner."""


class NoWineError(Exception):
    """The rig cannot be had here; the message says why."""


class Wine:
    """A wine prefix of its own with python.exe and a copy of the program.

    All that runs in it ends with `close`, which talks to this prefix alone.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("wine")
        if program is None:
            raise NoWineError("needs wine (Debian: apt-get install wine64 wine)")
        self._program = program
        self._folder = folder
        self._prefix = folder / "prefix"
        self._outputs = 0
        self._anchor: subprocess.Popen[bytes] | None = None
        self._readers: list[subprocess.Popen[bytes]] = []
        self.python_folder = folder / "python"
        self.app = checkout(folder / "app", *APP)
        self._environment = {
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PATH": os.environ["PATH"],
            "TMPDIR": str(folder),
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "mscoree,mshtml=;winedbg.exe=",
            "WINEPREFIX": str(self._prefix),
        }

    def start(self) -> None:
        """Make the prefix, and keep its service manager alive."""
        shutil.copytree(windows_python(), self.python_folder)
        site = self.python_folder / "Lib/site-packages"
        (site / APP_PTH).write_text(self.windows(self.app) + "\n", encoding="utf-8")
        self._run(["wineboot", "--init"], _START_S)
        # Python and psutil ask for the version; without this they are told Windows 7.
        key = ("reg", "add", r"HKCU\Software\Wine", "/v", "Version", "/d", "win10", "/f")
        self._run([self._program, *key], _START_S)
        self._boot()

    def restart(self) -> None:
        """End all that runs in the prefix, as a reset would, and start its service manager anew.

        That starts the services which are to start with the system.
        """
        self.close()
        self._boot()

    def _boot(self) -> None:
        code = f"import time; print('up', flush=True); time.sleep({_ANCHOR_S})"
        self._anchor, said = self.start_python("-c", code)
        # It starts what stays in the background; that would hold the pipe of another one.
        eventually(lambda: "up" in said.read_text("utf-8"), deadline_s=_START_S, what="wine")

    def windows(self, path: Path) -> str:
        """The name that a path of this host has there."""
        return "Z:" + str(path).replace("/", "\\")

    @property
    def drive(self) -> Path:
        """Its drive C:."""
        return self._prefix / "drive_c"

    def python(self, *words: str, timeout_s: float = _RUN_S) -> subprocess.CompletedProcess[str]:
        """Run python.exe to its end."""
        return self._run([self._program, str(self.python_folder / "python.exe"), *words], timeout_s)

    def optimizer(self, *words: str, timeout_s: float = _RUN_S) -> subprocess.CompletedProcess[str]:
        """Run an `optimizer` command to its end."""
        return self.python("-m", "optimizer", *words, timeout_s=timeout_s)

    def start_python(self, *words: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Start python.exe; the process, and the file with what it says."""
        said = self._output()
        process = subprocess.Popen(
            [self._program, str(self.python_folder / "python.exe"), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # Python there takes no file for its output
            stderr=subprocess.STDOUT,
            cwd=self.app,
            env=self._environment,
        )
        with said.open("wb") as file:
            self._readers.append(subprocess.Popen(["cat"], stdin=process.stdout, stdout=file))
        if process.stdout is not None:
            process.stdout.close()
        return process, said

    def asked(self, code: str) -> Any:
        """What some lines of Python print there, read as JSON."""
        done = self.python("-c", code)
        if done.returncode != 0:
            raise AssertionError(done.stdout)
        return json.loads(done.stdout.strip().splitlines()[-1])

    def programs(self, word: str) -> list[int]:
        """Pids, of this host, of what runs in the rig with that word in its command line.

        Wine writes the Windows command line over the environment, which so tells nothing.
        """
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                line = " ".join(process.cmdline())
                if self._folder.name in line and word in line:
                    found.append(process.pid)
        return found

    def close(self) -> None:
        """End all that runs in the prefix."""
        server = shutil.which("wineserver") or "/usr/lib/wine/wineserver"
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            for word in ("-k", "-w"):
                subprocess.run(
                    [server, word],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    env=self._environment,
                    timeout=30,
                    check=False,
                )
        if self._anchor is not None:
            self._anchor.kill()
            self._anchor.wait(timeout=10)
        for reader in self._readers:
            reader.kill()
            reader.wait(timeout=10)
        self._readers.clear()

    def _output(self) -> Path:
        self._outputs += 1
        return self._folder / f"said-{self._outputs}"

    def _run(self, command: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.app,
            env=self._environment,
            timeout=timeout_s,
            check=False,
        )
        text = done.stdout.decode("utf-8", "replace")
        lines = [line for line in text.splitlines() if _NOISE not in line]
        return subprocess.CompletedProcess(command, done.returncode, "\n".join(lines), "")


@contextlib.contextmanager
def wine() -> Iterator[Wine]:
    """A rig that has started. Raises NoWineError and NoPythonError where there can be none."""
    if shutil.which("wine") is None:
        raise NoWineError("needs wine (Debian: apt-get install wine64 wine)")
    with tempfile.TemporaryDirectory(
        prefix="wine-", dir=cache_folder(), ignore_cleanup_errors=True
    ) as folder:
        rig = Wine(Path(folder))
        try:
            rig.start()
            yield rig
        finally:
            rig.close()
