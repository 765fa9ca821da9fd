"""Glances beside the daemon: its configuration, what keeps it from starting, its restarts."""

from __future__ import annotations

import configparser
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from optimizer.adapters.glances import FIRST_PAUSE_S, LONGEST_PAUSE_S, GlancesWeb
from optimizer.adapters.glances_setup import REMEDY, obstacle_port, render_config

TEXT = Path("/run/optimizer/status.txt")


class Events:
    """A log that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, object]]] = []

    def _note(self, event: str, **fields: object) -> None:
        self.seen.append((event, fields))

    debug = info = warning = error = exception = _note

    def named(self, event: str) -> list[dict[str, object]]:
        """The fields of each event with that name."""
        return [fields for name, fields in self.seen if name == event]


class Process:
    """Stands for a started process; the test says when it ends."""

    def __init__(self, command: list[str], **options: Any) -> None:
        self.command = command
        self.options = options
        self.pid = 4711
        self.code: int | None = None
        self.signals: list[str] = []
        self.deaf = False
        self.stdin = None
        self.heard: int | None = None
        self.stderr = None
        if options["stdin"] == subprocess.PIPE:
            self.heard, writer = os.pipe()
            self.stdin = open(writer, "wb")  # noqa: SIM115 - closed by whoever writes
        if options["stderr"] == subprocess.PIPE:
            reader, self.mouth = os.pipe()
            self.stderr = open(reader, "rb")  # noqa: SIM115 - closed by whoever reads

    def end(self, code: int, words: bytes = b"") -> None:
        """Say something on standard error and end."""
        if self.stderr is not None and words:
            os.write(self.mouth, words)
            os.close(self.mouth)
        self.code = code

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        return self.code

    def terminate(self) -> None:
        """Ask it to end."""
        self.signals.append("terminate")
        if not self.deaf:
            self.code = 0

    def kill(self) -> None:
        """End it."""
        self.signals.append("kill")
        self.code = -9

    def wait(self, timeout: float) -> int:
        """The exit code; raises when it still runs."""
        if self.code is None:
            raise subprocess.TimeoutExpired(self.command, timeout)
        return self.code


class World:
    """What the page depends on, in the hands of the test."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.now_s = 1000.0
        self.obstacle: str | None = None
        self.events = Events()
        self.started: list[Process] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.directory = directory
        given: dict[str, Any] = {
            "enabled": True,
            "bind": "127.0.0.1",
            "port": self.port,
            "refresh_s": 2,
            "password": None,
            "runtime": directory,
            "status_text": directory / "status.txt",
            "log": self.events,
            "popen": self._popen,
            "now": lambda: self.now_s,
            "installed": lambda: self.obstacle,
        }
        self.page = GlancesWeb(**(given | options))

    def _popen(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        self.started.append(Process(command, **options))
        return cast("subprocess.Popen[bytes]", self.started[-1])

    def after(self, seconds: float) -> None:
        """Let time pass and have the page look."""
        self.now_s += seconds
        self.page.poll()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world whose page is ended afterwards."""
    made = World(tmp_path)
    yield made
    made.page.stop(0)


def parsed(**options: Any) -> configparser.ConfigParser:
    """The generated configuration as Glances' parser reads it."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(render_config(**{"status_text": TEXT, "platform": "linux", **options}))
    return parser


def test_the_configuration_shows_our_text_by_one_command() -> None:
    """One monitor, without a pattern, that reads the file with one quoted argument."""
    amp = parsed()["amp_optimizer"]
    assert amp["command"] == '/bin/cat "/run/optimizer/status.txt"'
    assert amp["enable"] == "true"
    assert "regex" not in amp
    assert parsed(platform="win32")["amp_optimizer"]["command"].startswith("cmd /c type ")


def test_the_configuration_keeps_glances_off_the_network() -> None:
    """No update check, no public address, no cloud metadata; other host names are refused."""
    parser = parsed(port=8080)
    assert parser["global"]["check_update"] == "false"
    assert parser["ip"]["public_disabled"] == "True"
    for section in ("cloud", "containers", "vms", "raid", "smart"):
        assert parser[section]["disable"] == "True"
    assert parser["outputs"]["webui_allowed_hosts"] == "localhost,127.0.0.1"
    assert "*" not in parser["outputs"]["cors_origins"]


def test_the_configuration_allows_the_address_that_it_is_bound_to() -> None:
    """A named address is allowed too; for all addresses there is no list to give."""
    assert parsed(bind="10.1.2.3")["outputs"]["webui_allowed_hosts"].endswith(",10.1.2.3")
    assert parsed(bind="::1")["outputs"]["webui_allowed_hosts"].endswith(",[::1]")
    assert "webui_allowed_hosts" not in parsed(bind="0.0.0.0")["outputs"]  # noqa: S104 - a value


def test_colours_begin_above_what_the_optimizer_holds() -> None:
    """The largest targets are 90 % CPU, 85 % memory and 80 % disk; none of them is coloured."""
    parser = parsed()
    for section, figure, ceiling in [
        ("cpu", "total_careful", 90),
        ("cpu", "user_careful", 90),
        ("percpu", "user_careful", 90),
        ("quicklook", "cpu_careful", 90),
        ("quicklook", "mem_careful", 85),
        ("mem", "careful", 85),
        ("fs", "careful", 80),
    ]:
        assert float(parser[section][figure]) > ceiling
        prefix = figure.removesuffix("careful")
        levels = [
            float(parser[section][prefix + name]) for name in ("careful", "warning", "critical")
        ]
        assert levels == sorted(levels)


@pytest.mark.parametrize("path", ["/a,b/status.txt", '/a"b', "/a'b", "/a`id`", "/a\nb"])
def test_a_path_that_glances_would_misread_is_refused(path: str) -> None:
    """Comma, quotes, backticks and line ends in the path cannot be passed on."""
    with pytest.raises(ValueError, match="in the path"):
        render_config(status_text=Path(path), platform="linux")


def test_a_taken_port_is_named_with_the_remedy() -> None:
    """The message names port, address and the key to change; a free port gives none."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert obstacle_port("127.0.0.1", port) == (
            f"port {port} on 127.0.0.1 is taken: set GLANCES_PORT to a free port"
        )
    assert obstacle_port("127.0.0.1", port) is None


def test_an_address_of_another_host_is_named_with_the_remedy() -> None:
    """192.0.2.1 is reserved for documentation and never ours."""
    message = obstacle_port("192.0.2.1", 61208)
    assert message is not None
    assert "set GLANCES_BIND" in message


FIND = """
import sys
from optimizer.adapters.glances_setup import obstacle_installed
sys.path[:] = [sys.argv[1], *(path for path in sys.path if "-packages" not in path)]
print(obstacle_installed())
assert "glances" not in sys.modules and "importlib.metadata" not in sys.modules
"""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, f"Glances is not installed: {REMEDY}, or set GLANCES_ENABLED=false"),
        ("__version__ = '3.3.1'", f"Glances 3.3.1 has known security holes: {REMEDY}"),
        ("__version__ = '4.5.7'", f"Glances 4.5.7 has known security holes: {REMEDY}"),
        ("nothing", f"Glances 0 has known security holes: {REMEDY}"),
        ('__version__ = "4.10.0"', f"Glances lacks its web part (fastapi): {REMEDY}"),
    ],
)
def test_an_unfit_glances_is_named_with_the_remedy(
    tmp_path: Path, content: str | None, expected: str
) -> None:
    """It is found by looking at files; neither Glances nor package metadata is imported.

    The process that looks sees no installed package but the one given here.
    """
    if content is not None:
        (tmp_path / "glances").mkdir()
        (tmp_path / "glances" / "__init__.py").write_text(f"import json\n{content}\n")
    done = subprocess.run(
        [sys.executable, "-c", FIND, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == (expected, 0), done.stderr


def test_a_disabled_page_is_off_and_starts_nothing(tmp_path: Path) -> None:
    """Off means no process, no file and no message."""
    world = World(tmp_path, enabled=False)
    world.page.start()
    world.after(10)
    world.page.stop(1)
    assert world.started == []
    assert world.page.state().state == "off"
    assert list(tmp_path.iterdir()) == []
    assert world.events.seen == []


def test_the_page_is_started_on_its_address_through_the_tether(world: World) -> None:
    """The command line names address, port, refresh and configuration, and holds no secret."""
    world.page.start()
    (process,) = world.started
    words = " ".join(process.command)
    assert f"--parent {os.getpid()} -- {sys.executable} -P -m glances -w" in words
    assert f"-B 127.0.0.1 -p {world.port} -t 2 -C {world.directory}/glances/glances.conf" in words
    assert Path(process.command[2]).name == "tether.py"
    assert Path(process.command[2]).is_file()
    assert (world.directory / "glances" / "glances.conf").is_file()
    state = world.page.state()
    assert (state.state, state.url) == ("running", f"http://127.0.0.1:{world.port}")
    assert state.message == "starting"


def test_the_page_counts_as_started_once_it_answers(world: World) -> None:
    """Until somebody listens on the port it is starting; then that is logged, once."""
    world.page.start()
    world.after(1)
    assert world.page.state().message == "starting"
    with socket.create_server(("127.0.0.1", world.port)):
        world.after(1)
        world.after(1)
    assert world.page.state().message == ""
    assert len(world.events.named("glances.started")) == 1


def test_secrets_of_our_environment_are_not_passed_on(tmp_path: Path) -> None:
    """Of the environment only what a program needs to run reaches Glances."""
    world = World(tmp_path, environ={"GLANCES_PASSWORD": "secret", "PATH": "/bin", "LANG": "C"})
    world.page.start()
    assert world.started[0].options["env"] == {
        "PATH": "/bin",
        "LANG": "C",
        "XDG_CACHE_HOME": str(tmp_path / "glances"),
    }
    world.page.stop(1)


def test_a_password_is_hashed_by_a_process_of_its_own_first(tmp_path: Path) -> None:
    """It travels through a pipe, never by a command line; then the page asks for the login."""
    world = World(tmp_path, password="pass word")  # noqa: S106 - a test's
    world.page.start()
    world.after(1)
    (saver,) = world.started
    assert saver.heard is not None
    assert os.read(saver.heard, 100) == b"pass word"
    assert os.read(saver.heard, 100) == b""  # closed: it knows that this was all
    os.close(saver.heard)
    saver.end(0)
    world.after(1)
    _, page = world.started
    assert page.command[-2:] == ["-u", "optimizer"]
    assert all("pass word" not in part for part in [*saver.command, *page.command])
    text = (tmp_path / "glances" / "glances.conf").read_text()
    assert f"local_password_path={tmp_path / 'glances'}" in text
    assert "pass word" not in text
    world.page.stop(1)


def test_a_password_that_cannot_be_saved_keeps_the_page_from_starting(tmp_path: Path) -> None:
    """No page without its password: it is tried again later."""
    world = World(tmp_path, password="p")  # noqa: S106 - a test's
    world.page.start()
    world.started[0].end(1, b"Traceback\nOSError: disk full\n")
    world.after(1)
    assert len(world.started) == 1
    assert world.page.state().state == "failed"
    assert "disk full" in world.page.state().message
    world.page.stop(1)


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "10.0.0.1"])  # noqa: S104 - never bound
def test_an_open_address_without_a_password_is_refused(tmp_path: Path, bind: str) -> None:
    """Nobody but this host may see the page unless there is a password."""
    world = World(tmp_path, bind=bind)
    world.page.start()
    assert world.started == []
    assert "set GLANCES_PASSWORD" in world.page.state().message


def test_what_keeps_it_from_starting_is_said_once_and_tried_again(world: World) -> None:
    """The daemon goes on; the state carries the remedy; once it is gone the page starts."""
    world.obstacle = "Glances is not installed: pip install it"
    world.page.start()
    for _ in range(10):
        world.after(LONGEST_PAUSE_S)
    assert world.page.state().state == "failed"
    assert world.page.state().url is None
    assert world.page.state().message == world.obstacle
    assert len(world.events.named("glances.failed")) == 1
    world.obstacle = None
    world.after(LONGEST_PAUSE_S)
    assert len(world.started) == 1
    assert world.page.state().state == "running"


def test_pauses_before_a_restart_double_up_to_five_minutes(world: World) -> None:
    """A page that ends at once is started after 1, 2, 4, ... 256, 300, 300 seconds."""
    world.page.start()
    pauses = []
    for _ in range(11):
        count = len(world.started)
        world.started[-1].end(1)
        world.after(0)
        waited = 0
        while len(world.started) == count:
            world.after(1)
            waited += 1
        pauses.append(waited)
    # Doubling from 1: the tenth would be 512, so from there on it is the longest.
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert (FIRST_PAUSE_S, LONGEST_PAUSE_S) == (1, 300)


def test_a_page_that_ran_for_long_is_restarted_soon(world: World) -> None:
    """After five minutes of running the pause is the shortest again."""
    world.page.start()
    for _ in range(5):
        world.started[-1].end(1)
        world.after(0)
        world.after(LONGEST_PAUSE_S)
    count = len(world.started)
    world.after(LONGEST_PAUSE_S)
    world.started[-1].end(1)
    world.after(0)
    world.after(FIRST_PAUSE_S)
    assert len(world.started) == count + 1


@pytest.mark.skipif(sys.platform == "win32", reason="standard error is not read on Windows")
def test_the_cause_of_an_end_is_told(world: World) -> None:
    """Exit code and the last line that it said reach the log and the state."""
    world.page.start()
    world.started[0].end(2, b"noise\nconfig file is broken\n")
    world.after(1)
    (event,) = world.events.named("glances.failed")
    assert event["cause"] == "Glances ended with code 2: config file is broken"
    assert world.page.state().message == event["cause"]


def test_a_path_that_cannot_be_shown_is_a_failure_not_a_crash(tmp_path: Path) -> None:
    """A comma in the runtime directory keeps the page off and the daemon on."""
    (tmp_path / "a,b").mkdir()
    world = World(tmp_path / "a,b")
    world.page.start()
    assert world.started == []
    assert "in the path" in world.page.state().message


def test_stop_ends_it_and_leaves_no_file(world: World) -> None:
    """A page that obeys is asked once; what it had in the runtime directory is removed."""
    world.page.start()
    world.page.stop(1)
    assert "kill" not in world.started[0].signals
    assert list(world.directory.iterdir()) == []
    assert world.page.state().state == "off"
    world.after(LONGEST_PAUSE_S)
    assert len(world.started) == 1


def test_stop_kills_a_page_that_does_not_obey(world: World) -> None:
    """Glances ignores the request when one of its commands hangs; then it is killed."""
    world.page.start()
    world.started[0].deaf = True
    world.page.stop(0.1)
    assert world.started[0].signals[-1] == "kill"
    assert world.page.pid is None
