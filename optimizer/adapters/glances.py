"""Glances' web page as a process beside the daemon: started, watched, restarted, ended.

Its modules are never imported here: they would more than triple the daemon.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from optimizer.adapters.glances_setup import (
    SAVE_LOGIN,
    USER,
    WILDCARDS,
    arguments,
    host_in_url,
    obstacle_installed,
    obstacle_port,
    render_config,
)
from optimizer.atomic import replace_file
from optimizer.ports import Log

UNIT = "optimizer-glances.service"
"""Runs the page where a service manager does."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
"""Pause before a restart, seconds: doubles from the first to the longest."""
_LAST_WORDS_BYTES = 2000
_CONNECT_S = 0.05
_TETHER = Path(__file__).parents[1] / "tether.py"
# fmt: off
_PASSED_ON = frozenset({
    "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TZ",
    "VIRTUAL_ENV", "APPDATA", "LOCALAPPDATA", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP",
    "USERNAME", "USERPROFILE",
})
# fmt: on
"""What Glances sees of our environment, which may hold secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlancesState:
    """How the page is; `url` is None unless its process runs, `message` is for people.

    A page that is `apart` is run by a unit of its own, which is not looked at.
    """

    state: Literal["running", "off", "failed", "apart"]
    url: str | None
    message: str


class GlancesWeb:
    """One Glances in web mode, kept running.

    `refresh_s` is its refresh interval, `runtime` our runtime directory, in
    which everything of it lies below `glances`, and `status_text` the file it
    shows. A password must be given when `bind` is not a loopback address. One
    that is `apart` is never started here. To
    be used from the main thread only: on Linux the kernel ends Glances when
    the thread that started it ends.
    """

    def __init__(
        self,
        *,
        enabled: bool,
        bind: str,
        port: int,
        refresh_s: float,
        password: str | None,
        runtime: Path,
        status_text: Path,
        log: Log,
        popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
        now: Callable[[], float] = time.monotonic,
        installed: Callable[[], str | None] = obstacle_installed,
        environ: Mapping[str, str] = os.environ,
        apart: bool = False,
    ) -> None:
        self._enabled = enabled and not apart
        self._apart = enabled and apart
        self._bind = bind
        self._port = port
        self._refresh_s = refresh_s
        self._password = password
        self._directory = runtime / "glances"
        self._status_text = status_text
        self._log = log
        self._popen = popen
        self._now = now
        self._installed = installed
        self._environ = environ
        self._wanted = False
        self._process: subprocess.Popen[bytes] | None = None
        self._saves_password = False
        self._answers = False
        self._last_words = b""
        self._since_s = 0.0
        self._retry_s = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._message = ""

    @property
    def pid(self) -> int | None:
        """The process id while something runs."""
        return None if self._process is None else self._process.pid

    def state(self) -> GlancesState:
        """How it is now."""
        if self._apart:
            return GlancesState(state="apart", url=self._url(), message=f"by {UNIT}")
        if not self._wanted:
            return GlancesState(state="off", url=None, message="")
        if self._process is None:
            return GlancesState(state="failed", url=None, message=self._message)
        message = "" if self._answers else "starting"
        return GlancesState(state="running", url=self._url(), message=message)

    def start(self) -> None:
        """Start it unless it is disabled; returns at once and never raises for its sake."""
        self._wanted = self._enabled
        self._retry_s = self._now()
        self.poll()

    def poll(self) -> None:
        """See whether it still runs, start it again when it is time; never blocks."""
        if not self._wanted:
            return
        if self._process is None:
            if self._now() >= self._retry_s:
                self._launch()
            return
        self._hear()
        code = self._process.poll()
        if code is None:
            if not self._answers and not self._saves_password and self._connects():
                self._answers = True
                self._message = ""
                self._log.info("glances.started", url=self._url(), pid=self._process.pid)
            return
        self._forget()
        if self._saves_password and code == 0:
            self._try(self._launch_page)
            return
        if self._now() - self._since_s >= LONGEST_PAUSE_S:
            self._pause_s = FIRST_PAUSE_S
        words = self._last_words.decode("utf-8", "replace").strip().rpartition("\n")[2]
        self._fail(f"Glances ended with code {code}: {words or 'no message'}")

    def stop(self, deadline_s: float) -> None:
        """End it, by force after `deadline_s` seconds, and remove its files."""
        self._wanted = False
        if self._process is not None:
            self._end(self._process, deadline_s)
            self._forget()
        if self._enabled:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _end(self, process: subprocess.Popen[bytes], deadline_s: float) -> None:
        # Not everywhere does a signal reach what the tether has started.
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        if sys.platform != "win32":
            process.terminate()
        try:
            process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(1.0)

    def _launch(self) -> None:
        local = self._bind in {"localhost", "::1"} or self._bind.startswith("127.")
        obstacle = None
        if not local and not self._password:
            obstacle = f"{self._bind} is open to others: set GLANCES_PASSWORD"
        obstacle = obstacle or self._installed() or obstacle_port(self._bind, self._port)
        if obstacle:
            self._fail(obstacle)
        else:
            self._try(self._launch_password if self._password else self._launch_page)

    def _try(self, launch: Callable[[], None]) -> None:
        try:
            launch()
        except (OSError, ValueError) as exc:
            self._fail(f"Glances cannot be started: {exc}")

    def _launch_password(self) -> None:
        """Have Glances hash the password, in a process of its own that soon ends."""
        self._make_directory()
        command = [sys.executable, "-P", "-c", SAVE_LOGIN, str(self._directory), USER]
        self._process = self._run(command, stdin=subprocess.PIPE)
        self._saves_password = True
        if self._process.stdin is not None:
            with self._process.stdin as pipe:
                pipe.write((self._password or "").encode())

    def _launch_page(self) -> None:
        self._make_directory()
        self._saves_password = False
        self._answers = False
        config = self._directory / "glances.conf"
        text = render_config(
            status_text=self._status_text,
            platform=sys.platform,
            bind=self._bind,
            port=self._port,
            passwords=self._directory,
        )
        replace_file(config, text.encode(), durable=False, mode=0o600)
        page = [sys.executable, "-P", "-m", "glances"]
        page += arguments(
            bind=self._bind,
            port=self._port,
            refresh_s=self._refresh_s,
            config=config,
            user=USER if self._password else None,
        )
        tether = [sys.executable, "-P", str(_TETHER), "--parent", str(os.getpid()), "--", *page]
        linux = sys.platform == "linux"
        self._process = self._run(tether, stdin=subprocess.DEVNULL if linux else subprocess.PIPE)

    def _make_directory(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)

    def _run(self, command: list[str], *, stdin: int) -> subprocess.Popen[bytes]:
        kept = {name: value for name, value in self._environ.items() if name.upper() in _PASSED_ON}
        # Its own log: at most four files of a megabyte.
        kept["XDG_CACHE_HOME"] = str(self._directory)
        readable = sys.platform != "win32"
        process = self._popen(
            command,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if readable else subprocess.DEVNULL,
            cwd=self._directory,
            env=kept,
        )
        if sys.platform != "win32" and process.stderr is not None:
            os.set_blocking(process.stderr.fileno(), False)
        self._last_words = b""
        self._since_s = self._now()
        return process

    def _hear(self) -> None:
        """Keep the end of what it says on standard error."""
        stream = None if self._process is None else self._process.stderr
        if stream is not None:
            with suppress(BlockingIOError):
                heard = os.read(stream.fileno(), 65536)
                self._last_words = (self._last_words + heard)[-_LAST_WORDS_BYTES:]

    def _forget(self) -> None:
        if self._process is not None:
            for stream in (self._process.stdin, self._process.stderr):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
        self._process = None
        self._answers = False

    def _fail(self, message: str) -> None:
        if message != self._message:
            self._message = message
            self._log.warning("glances.failed", cause=message, retry_s=self._pause_s)
        self._retry_s = self._now() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _connects(self) -> bool:
        host = self._url_host().strip("[]")
        try:
            socket.create_connection((host, self._port), timeout=_CONNECT_S).close()
        except OSError:
            return False
        return True

    def _url_host(self) -> str:
        return "127.0.0.1" if self._bind in WILDCARDS else host_in_url(self._bind)

    def _url(self) -> str:
        return f"http://{self._url_host()}:{self._port}"
