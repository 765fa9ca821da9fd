"""The real Glances: shows our lines, keeps strangers out, ends with the daemon."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from optimizer.adapters.glances import GlancesWeb
from optimizer.adapters.glances_setup import obstacle_installed

DEADLINE_S = 60.0
LINES = "CPU   41.0% own 40.0 goal 40.0 30d 39.0%\nAll holding"

obstacle = obstacle_installed()
pytestmark = pytest.mark.skipif(obstacle is not None, reason=str(obstacle))


class Quiet:
    """A log that nobody reads."""

    def _drop(self, event: str, **fields: object) -> None: ...

    debug = info = warning = error = exception = _drop


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(true: Callable[[], bool], page: GlancesWeb | None = None) -> bool:
    """Whether it becomes true before the deadline; polls the page as the loop does."""
    end = time.monotonic() + DEADLINE_S
    while not true() and time.monotonic() < end:
        if page is not None:
            page.poll()
        time.sleep(0.05)
    return true()


def get(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    """Status code and body."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:  # noqa: S310 - loopback
            return answer.status, answer.read()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read()


@contextlib.contextmanager
def running(runtime: Path, *, port: int, password: str | None = None) -> Iterator[GlancesWeb]:
    """A page that answers, ended afterwards."""
    text = runtime / "status.txt"
    text.write_text(LINES)
    page = GlancesWeb(
        enabled=True,
        bind="127.0.0.1",
        port=port,
        refresh_s=2,
        password=password,
        runtime=runtime,
        status_text=text,
        log=Quiet(),
    )
    page.start()
    try:
        assert wait_for(lambda: page.state().message == "", page), page.state()
        yield page
    finally:
        page.stop(10)


def test_the_page_shows_our_lines_to_this_host_only(tmp_path: Path) -> None:
    """Our text is in the answer for the page; foreign host names and sites are turned away."""
    (tmp_path / "with space").mkdir()
    port = free_port()
    with running(tmp_path / "with space", port=port) as page:
        assert page.state().state == "running"
        assert get(port, "/api/4/status")[0] == 200

        def shown() -> bool:
            (amp,) = json.loads(get(port, "/api/4/amps")[1])
            return bool(amp["result"] == LINES)

        # It reads the file when asked, and shows that at the next refresh.
        assert wait_for(shown, page)
        assert get(port, "/")[0] == 200
        assert get(port, "/api/4/all", Host="evil.example")[0] == 400
        plugins = json.loads(get(port, "/api/4/pluginslist")[1])
        assert "cpu" in plugins
        assert "cloud" not in plugins or get(port, "/api/4/cloud")[1] in {b"{}", b"null", b"[]"}
        pid = page.pid
        assert pid is not None
        assert psutil.Process(pid).ppid() == os.getpid() or sys.platform != "linux"
    assert [entry.name for entry in (tmp_path / "with space").iterdir()] == ["status.txt"]
    assert not psutil.pid_exists(pid)


def test_with_a_password_nobody_else_gets_in(tmp_path: Path) -> None:
    """Without or with a wrong login the figures are refused; its hash is readable by us only."""
    port = free_port()
    with running(tmp_path, port=port, password="a b:c") as page:  # noqa: S106 - a test's

        def answer(login: str) -> int:
            token = base64.b64encode(login.encode()).decode()
            return get(port, "/api/4/cpu", Authorization=f"Basic {token}")[0]

        assert get(port, "/api/4/cpu")[0] == 401
        assert answer("optimizer:wrong") == 401
        assert answer("optimizer:a b:c") == 200
        if sys.platform != "win32":
            kept = tmp_path / "glances" / "optimizer.pwd"
            assert kept.stat().st_mode & 0o777 == 0o600
        assert page.pid is not None
        assert "a b:c" not in " ".join(psutil.Process(page.pid).cmdline())


def test_it_starts_once_the_taken_port_is_free(tmp_path: Path) -> None:
    """A taken port is a state with a remedy; when the other one goes, the page comes."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        page = GlancesWeb(
            enabled=True,
            bind="127.0.0.1",
            port=port,
            refresh_s=2,
            password=None,
            runtime=tmp_path,
            status_text=tmp_path / "status.txt",
            log=Quiet(),
        )
        page.start()
        assert page.state().state == "failed"
        assert f"port {port} on 127.0.0.1 is taken: set GLANCES_PORT" in page.state().message
        assert page.pid is None
    try:
        assert wait_for(lambda: page.state().state == "running", page)
    finally:
        page.stop(10)


DAEMON = """
import sys, time
from pathlib import Path
from optimizer.adapters.glances import GlancesWeb
from tests.integration.test_glances import Quiet
runtime = Path(sys.argv[1])
page = GlancesWeb(enabled=True, bind="127.0.0.1", port=int(sys.argv[2]), refresh_s=2,
                  password=None, runtime=runtime, status_text=runtime / "status.txt", log=Quiet())
page.start()
while page.state().message != "":
    page.poll()
    time.sleep(0.05)
print(page.pid, flush=True)
time.sleep(300)
"""


def test_it_ends_when_the_daemon_is_killed(tmp_path: Path) -> None:
    """After an end of the daemon without warning nothing listens and no process stays."""
    port = free_port()
    command = [sys.executable, "-c", DAEMON, str(tmp_path), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        assert get(port, "/api/4/status")[0] == 200
        daemon.kill()
        daemon.wait(DEADLINE_S)
    assert wait_for(lambda: not any(alive(one) for one in family))
    # The kernel closes the socket a moment after the process has left the table of the living.
    assert wait_for(lambda: not listens(port))


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def alive(pid: int) -> bool:
    """Whether it runs; one that nobody has collected yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
