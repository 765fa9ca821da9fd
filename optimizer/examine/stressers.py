"""Starts each kind of stresser for a moment with the smallest lease, and ends it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple

from optimizer.adapters.identity import stat_of
from optimizer.examine.subject import Subject
from optimizer.model import Resource
from optimizer.report.doctor import Finding
from optimizer.report.doctor_daemon import STALE_S
from optimizer.report.doctor_kernel import Stressers, Trial, Troubled, stressers
from stressers import lease

READY_S = 4.0
"""How long a stresser may take until it is ready; 0.1 s is usual."""
_SETTLE_S = 0.15
"""How long it is heard after that, for what keeps it from holding."""
_END_S = 2.0
_PROGRAM = Path(lease.__file__).with_name("__main__.py")
_LEAST = {Resource.CPU: 0.01, Resource.MEMORY: float(2 << 20), Resource.DISK: float(1 << 20)}
_WORDS = {Resource.CPU: ("--workers", "1"), Resource.MEMORY: ("--shards", "1")}
_TROUBLE = {"stresser_down", "stresser_tripped"}


def examine_stressers(subject: Subject, places: Callable[[], tuple[str, ...]]) -> list[Finding]:
    """Each kind that has a target; `places` tells where disk space would be held."""
    paused = subject.switch().inhibit(subject.now_utc_s) is not None
    live = subject.live_status(STALE_S)
    where = places()
    asked = [*_WORDS.items(), *((Resource.DISK, ("--path", place)) for place in where)]
    trials = try_all(asked, paused=paused)
    return stressers(
        Stressers(
            trials=trials,
            troubled=_troubled(live),
            missing=_missing(live),
            skipped=() if where else ("disk: nothing is held of it",),
        )
    )


def _troubled(status: dict[str, Any] | None) -> tuple[Troubled, ...]:
    if status is None:
        return ()
    found = []
    for kind, facts in status["resources"].items():
        if facts["reason"] in _TROUBLE:
            found.append(Troubled(kind=kind, reason=facts["reason"], note=str(facts["note"])))
        seen = [(pid, stat_of(pid)) for pid in facts["pids"]]
        stuck = tuple(pid for pid, process in seen if process and process.state == "D")
        if stuck:
            time.sleep(_SETTLE_S)  # one look may meet a wait of milliseconds
            again = [stat_of(pid) for pid in stuck]
            if any(process and process.state == "D" for process in again):
                found.append(Troubled(kind=kind, reason="stuck", note="", pids=stuck))
    return tuple(found)


def _missing(status: dict[str, Any] | None) -> tuple[str, ...] | None:
    """What the daemon's own stressers lack; None where none of them runs."""
    if status is None:
        return None
    running = [facts for facts in status["resources"].values() if facts["means"]]
    return tuple(text for facts in running for text in facts["missing"]) if running else None


def try_all(
    asked: Sequence[tuple[Resource, tuple[str, ...]]], *, paused: bool = False
) -> tuple[Trial, ...]:
    """Start each one, wait until it is ready, hear what limits it, and end it.

    While load is forbidden they are started all the same but hold nothing. To
    be called in the main thread: a stresser ends with the thread that started it.
    Source: prctl(2), PR_SET_PDEATHSIG.
    """
    started = [_start(resource, words) for resource, words in asked]
    # At the same time: a disk that does not answer must not keep the others from being tried.
    with ThreadPoolExecutor(len(started)) as pool:
        return tuple(pool.map(lambda one: _attempt(one, paused=paused), started))


class _Started(NamedTuple):
    resource: Resource
    place: str | None
    started_s: float
    process: subprocess.Popen[bytes] | OSError


def _start(resource: Resource, words: tuple[str, ...]) -> _Started:
    kind = resource.value
    place = words[1] if resource is Resource.DISK else None
    command = [sys.executable, "-I", "-S", str(_PROGRAM), kind, *words, "--leased"]
    command += ["--parent", str(os.getpid())]
    environ = {name: value for name, value in os.environ.items() if name != lease.TEST_SWITCH}
    started_s = time.monotonic()
    process: subprocess.Popen[bytes] | OSError
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
        )
    except OSError as exc:
        process = exc
    return _Started(resource, place, started_s, process)


def _attempt(started: _Started, *, paused: bool) -> Trial:
    resource, place, started_s, process = started
    kind = resource.value
    if isinstance(process, OSError):
        return Trial(kind=kind, ready_s=None, error=str(process), place=place)
    heard, words_said = _Heard(process.stdout), _Heard(process.stderr)
    try:
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.write(lease.encode(kind, 0.0 if paused else _LEAST[resource]))
                process.stdin.flush()
        ready = heard.wait("ready", READY_S)
        ready_s = time.monotonic() - started_s
        limit = None
        if ready is not None and not paused:
            limited = heard.wait("limited", _SETTLE_S)
            limit = None if limited is None else str(limited.get("by"))
    finally:
        in_time = heard.over
        ended = _end(process)
    if ready is None:
        error = heard.find("error")
        last = words_said.last
        message = str(error["message"]) if error and "message" in error else last
        late = f"exit code {ended}" if in_time else f"not ready after {READY_S:g} s"
        return Trial(kind=kind, ready_s=None, error=message or late, place=place)
    return Trial(
        kind=kind,
        ready_s=ready_s,
        missing=tuple(
            # A daemon makes the idle group, this command does not; see the area `kernel`.
            str(text)
            for text in _list(ready.get("missing"))
            if not str(text).startswith(("idle cgroup", "life pipe"))
        ),
        limit=limit,
        place=place,
    )


def _end(process: subprocess.Popen[bytes]) -> int | None:
    """End it and its workers: by end of file, then by force; its exit code."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        return process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        return None


class _Heard:
    """What a stresser says, read by a thread, for a pipe cannot be waited on everywhere."""

    def __init__(self, output: IO[bytes] | None) -> None:
        self.reports: list[dict[str, Any]] = []
        self.last = ""
        self.over = False
        self._news = threading.Condition()
        self._output = output
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._output or ():
            self.last = line.decode("utf-8", "replace").strip()
            with contextlib.suppress(ValueError):
                report = json.loads(line)
                with self._news:
                    self.reports += [report] if isinstance(report, dict) else []
                    self._news.notify_all()
        if self._output is not None:
            self._output.close()
        with self._news:
            self.over = True
            self._news.notify_all()

    def find(self, name: str) -> dict[str, Any] | None:
        """The first report of that name so far."""
        return next((one for one in self.reports if one.get("report") == name), None)

    def wait(self, name: str, timeout_s: float) -> dict[str, Any] | None:
        """The same, waited for until then or until the stresser has ended."""
        with self._news:
            self._news.wait_for(lambda: self.over or self.find(name) is not None, timeout_s)
            return self.find(name)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
