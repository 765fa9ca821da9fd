"""The tenants whose work is timed: redis under an open loop, sysbench, a wake-up probe.

Each starts in the place that it is given and is gone afterwards.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import arms
import build

GET_PER_S = 3000.0
SCRIPT_PER_S = 1500.0
SCRIPT_US = 150.0
"""Work of one script: many times that of a GET, far below a scheduler tick."""
CALIBRATION_LOOPS = 20_000
CALIBRATION_TIMES = 50
START_S = 5.0
SLACK_S = 30.0
"""How much longer than asked a program may take, on a host that a filler takes for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where a tenant's processes start.

    Without a group they stay in this process's; with `session` each has one of its own.
    """

    group: Path | None = None
    session: bool = False

    @contextlib.contextmanager
    def program(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """A running program with its output on a pipe; ended by its pid at the end."""
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=self.session,
            preexec_fn=arms.enter(self.group) if self.group else None,  # noqa: PLW1509  # one thread
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.communicate(timeout=START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    def output(self, seconds: float, *command: str) -> str:
        """What a program prints that takes about that long. Raises OSError when it fails."""
        with self.program(*command) as process:
            try:
                out, err = process.communicate(timeout=seconds + SLACK_S)
            except subprocess.TimeoutExpired as exc:
                message = f"{command[0]} took more than {seconds + SLACK_S:g} s"
                raise OSError(message) from exc
        if process.returncode != 0:
            message = f"{command[0]} ended with code {process.returncode}: {err.strip()[:300]}"
            raise OSError(message)
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What there is to measure with; None is missing, and its figures are left out."""

    openloop: Path
    wake: Path
    redis: str | None
    sysbench: str | None

    def missing(self) -> list[str]:
        """A sentence for each missing tool."""
        named = {"redis-server": self.redis, "sysbench": self.sysbench}
        return [
            f"{name} is not on the PATH: its figures are left out"
            for name, path in named.items()
            if path is None
        ]


def find_tools(directory: Path) -> Tools:
    """Compiles the probes into that directory. Raises OSError where that fails."""
    return Tools(
        openloop=build.build("openloop", directory),
        wake=build.build("wake", directory),
        redis=shutil.which("redis-server"),
        sysbench=shutil.which("sysbench"),
    )


@contextlib.contextmanager
def redis(program: str, spot: Spot) -> Iterator[int]:
    """A redis server that keeps nothing; its port on the loopback. Raises OSError."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = int(free.getsockname()[1])
    with tempfile.TemporaryDirectory() as directory:
        command = [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", directory]
        command += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
        command += ["--loglevel", "warning"]
        with spot.program(*command) as server:
            until_s = time.monotonic() + START_S
            while not _answers(port):
                if server.poll() is not None or time.monotonic() > until_s:
                    message = f"redis-server does not answer on port {port}"
                    raise OSError(message)
                time.sleep(0.02)
            yield port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as link:
            link.sendall(b"PING\r\n")
            return link.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def script(loops: int) -> str:
    """A Lua script that counts to a number."""
    return f"local n = 0 for i = 1, {loops} do n = n + i end return 1"


def calibrated_script(program: str) -> str:
    """The script that takes SCRIPT_US on this host as it is now. Raises OSError."""
    with (
        redis(program, Spot()) as port,
        socket.create_connection(("127.0.0.1", port), timeout=START_S) as link,
    ):
        # What is alike in both, the round trip and the parsing, falls out.
        few_s, many_s = (_shortest_s(link, script(loops)) for loops in (1, CALIBRATION_LOOPS))
    loop_s = max(many_s - few_s, 1e-9) / CALIBRATION_LOOPS
    return script(round(SCRIPT_US / 1e6 / loop_s))


def _shortest_s(link: socket.socket, text: str) -> float:
    request = f"*3\r\n$4\r\nEVAL\r\n${len(text)}\r\n{text}\r\n$1\r\n0\r\n".encode("ascii")
    shortest_s = float("inf")
    for _ in range(CALIBRATION_TIMES):
        begin_s = time.perf_counter()
        link.sendall(request)
        answer = link.recv(64)
        shortest_s = min(shortest_s, time.perf_counter() - begin_s)
        if not answer.startswith(b":"):
            message = f"redis-server does not run scripts: {answer!r}"
            raise OSError(message)
    return shortest_s


def redis_get(tools: Tools, spot: Spot, port: int, seconds: float) -> dict[str, float]:
    """Latency of GET in microseconds, from the intended send time. Raises OSError."""
    command = (str(tools.openloop), str(port), str(GET_PER_S), str(seconds))
    return _latency("get", spot.output(seconds, *command))


def redis_script(
    tools: Tools, spot: Spot, port: int, seconds: float, text: str
) -> dict[str, float]:
    """Latency of a script in microseconds, from the intended send time. Raises OSError."""
    command = (str(tools.openloop), str(port), str(SCRIPT_PER_S), str(seconds), text)
    return _latency("script", spot.output(seconds, *command))


def wake_up(tools: Tools, spot: Spot, seconds: float) -> dict[str, float]:
    """How late a sleeper is woken, in microseconds. Raises OSError."""
    return _latency("wake", spot.output(seconds, str(tools.wake), str(arms.CPUS), str(seconds)))


def _latency(name: str, text: str) -> dict[str, float]:
    return {f"{name}_{key}": float(value) for key, value in json.loads(text).items()}


def throughput(program: str, spot: Spot, seconds: float) -> dict[str, float]:
    """Events per second of `sysbench cpu` with a thread for each CPU. Raises OSError."""
    command = (program, "cpu", f"--threads={arms.CPUS}", f"--time={max(1, round(seconds))}", "run")
    text = spot.output(seconds, *command)
    found = re.search(r"events per second:\s*([0-9.]+)", text)
    if found is None:
        message = f"sysbench printed no events per second: {text[:200]!r}"
        raise OSError(message)
    return {"sysbench_per_s": float(found[1])}
