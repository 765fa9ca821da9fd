"""A restore that is killed at any moment leaves the old history or the new one, never none."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from optimizer.__main__ import main
from optimizer.adapters.history import SqliteHistory
from optimizer.outcome import EventKind
from tests.backups import make_backup, make_history, quick_folder, times
from tests.fakes import FakeLog
from tests.rig import environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork and SIGKILL")
ROOT = Path(__file__).resolve().parents[2]
OLD = [*range(1_000, 1_030), 7]
"""The times in the history before; the last one is in the WAL only."""
NEW = [*range(5_000, 5_400)]


class Trials:
    """Restores in forks of this process, each killed somewhere."""

    def __init__(self, folder: Path) -> None:
        self._model = folder / "model"
        self._place = folder / "place"
        self._state = self._place / "state"
        self._history = self._state / "history.sqlite3"
        self._archive = self._prepared(folder)

    def steps(self) -> int:
        """How many times a restore touches the state directory; it must succeed."""
        reader, writer = os.pipe()
        self._reset()
        assert self._ended(lambda: self._restore(math.inf, writer)) == 0
        os.close(writer)
        with open(reader, "rb") as told:
            return int(told.read())

    def at(self, step: int) -> dict[str, Any]:
        """Kill it when it is about to touch the directory for that time, from 0."""
        self._reset()
        return self._seen(self._ended(lambda: self._restore(step)), f"step {step}")

    def after(self, seconds: float) -> dict[str, Any]:
        """Kill it after so long."""
        self._reset()
        code = self._ended(lambda: self._restore(math.inf), seconds)
        return self._seen(code, f"{1000 * seconds:.1f} ms")

    def length_s(self) -> float:
        """How long a restore takes."""
        self._reset()
        begun_s = time.monotonic()
        self._ended(lambda: self._restore(math.inf))
        return time.monotonic() - begun_s

    def _prepared(self, folder: Path) -> Path:
        """A backup, and a history that a killed daemon has left."""
        make_history(folder / "new.sqlite3", len(NEW), first_utc_s=NEW[0])
        made = make_backup(folder / "new.sqlite3", folder / "backups")
        live = folder / "history.sqlite3"
        make_history(live, len(OLD) - 1, first_utc_s=OLD[0])
        self._model.mkdir()
        with closing(sqlite3.connect(live, isolation_level=None)) as writer:
            writer.execute("PRAGMA wal_autocheckpoint = 0")
            writer.execute("INSERT INTO sample(utc_s, span_s) VALUES (?, 1)", (OLD[-1],))
            for suffix in ("", "-wal", "-shm"):
                shutil.copy(f"{live}{suffix}", self._model)
        return made.file

    def _reset(self) -> None:
        shutil.rmtree(self._place, ignore_errors=True)
        shutil.copytree(self._model, self._state)

    def _ended(self, work: Callable[[], int], seconds: float | None = None) -> int:
        """Run it in a fork: how that ended, as a shell tells it."""
        pid = os.fork()
        if pid == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1, 2):
                os.dup2(null, standard)
            os._exit(work())
        if seconds is not None:
            time.sleep(seconds)
            os.kill(pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _restore(self, last: float, tell: int | None = None) -> int:
        seen = 0
        place = str(self._place)

        def watch(_: str, args: tuple[object, ...]) -> None:
            nonlocal seen
            if any(place in str(arg) for arg in args if isinstance(arg, str | Path)):
                if seen >= last:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1

        sys.addaudithook(watch)
        workspace = f"WORKSPACE_DIR={self._place}"
        code = main(["history", "restore", str(self._archive), "--yes", "--set", workspace])
        if tell is not None:
            os.write(tell, b"%d" % seen)
        return code

    def _seen(self, code: int, when: str) -> dict[str, Any]:
        """What is there now, as the next daemon would find it."""
        found = {"when": when, "killed": code == -signal.SIGKILL, "ended": code == 0}
        there = self._history.exists()
        log = FakeLog()
        history = SqliteHistory(self._history, period_days=36_600, log=log)
        event = history.last(tuple(EventKind))
        history.close()
        rows = times(self._history)
        found["old"] = rows == OLD
        found["new"] = (
            rows == NEW
            and event is not None
            and event.kind is EventKind.RESTORED
            and any(times(path) == OLD for path in self._aside())
        )
        found["sound"] = there and not log.events
        # What was kept is whole wherever it was killed.
        found["aside"] = all(times(path) == OLD for path in self._aside())
        again = self._ended(lambda: self._restore(math.inf))
        names = {path.name.split(".before-restore-")[0] for path in self._state.iterdir()}
        found["again"] = again == 0 and times(self._history) == NEW
        found["clean"] = names == {self._history.name}
        return found

    def _aside(self) -> list[Path]:
        kept = self._state.glob("history.sqlite3.before-restore-*")
        return [path for path in kept if path.name.endswith("Z")]


def run(folder: Path, *words: str) -> list[dict[str, Any]]:
    """The results of trials in a process of their own, which may fork."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.test_restore_kill", str(folder), *words],
        cwd=ROOT,
        env={**environment(), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
        timeout=570,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(results: list[dict[str, Any]], figure: Callable[[str], None]) -> None:
    """Tell what became of them, and have each be good."""
    killed = sum(result["killed"] for result in results)
    old, new = (sum(result[key] for result in results) for key in ("old", "new"))
    figure(f"SIGKILL during a restore: {killed} kills, the history is {old} old, {new} new")
    assert killed > len(results) / 2
    assert old
    assert new
    for result in results:
        assert result["killed"] or result["ended"], result
        assert result["old"] or result["new"], result
        assert result["sound"], result
        assert result["aside"], result
        assert result["again"], result
        assert result["clean"], result


def test_a_killed_restore_leaves_a_whole_history(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """Twenty kills, evenly over all that it does in the state directory."""
    # In memory, where an fsync costs nothing: a killed process loses no page that it has written.
    with quick_folder(tmp_path) as folder:
        check(run(folder, "steps", "20"), figure)


@pytest.mark.long
def test_many_killed_restores_leave_a_whole_history(
    tmp_path: Path, figure: Callable[[str], None], trials_wanted: int | None
) -> None:
    """At each step once, and three hundred times at a random moment."""
    (tmp_path / "steps").mkdir()
    (tmp_path / "moments").mkdir()
    check(run(tmp_path / "steps", "steps", "1000"), figure)
    check(run(tmp_path / "moments", "moments", str(trials_wanted or 300)), figure)


def tell(folder: Path, kind: str, count: int) -> None:
    """Print the result of each trial."""
    trials = Trials(folder)
    if kind == "steps":
        steps = trials.steps()
        wanted = sorted({round(n * (steps - 1) / (count - 1)) for n in range(count)})
        for step in wanted:
            print(json.dumps(trials.at(step)), flush=True)
    else:
        chance, length_s = random.Random(3), trials.length_s()
        for _ in range(count):
            print(json.dumps(trials.after(chance.uniform(0, length_s))), flush=True)


if __name__ == "__main__":
    tell(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
