"""A daemon that is killed at any moment loses no acknowledged row and breaks no file."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from optimizer.adapters.history import SqliteHistory
from optimizer.adapters.history_reading import read_events
from optimizer.model import Decision, PerResource, Reason, Resource, Sample, Utilisation
from optimizer.outcome import Event, EventKind, Record
from tests.fakes import FakeLog

ROOT = Path(__file__).resolve().parents[2]
FIRST_S = 1_800_000_000
LIFE_S = 30
"""A writer that is not killed ends by itself."""


def make_record(utc_s: int) -> Record:
    """Any record of that second; the ratio says which, so that a mixed-up row is seen."""
    usage = Utilisation(
        total_ratio=(utc_s % 1000) / 1000, own_ratio=0.1, capacity=2.0, room_ratio=0.5
    )

    def decision(resource: Resource) -> Decision:
        return Decision(
            resource=resource,
            target_ratio=0.4,
            setpoint_ratio=0.4,
            wanted_ratio=0.1,
            demand_ratio=0.1,
            lease=0.1,
            reason=Reason.HOLDING,
        )

    return Record(
        sample=Sample(
            utc_s=float(utc_s),
            span_s=1.0,
            usage=PerResource(cpu=usage, memory=usage, disk=None),
            steal_ratio=None,
        ),
        plan=PerResource(
            cpu=decision(Resource.CPU),
            memory=decision(Resource.MEMORY),
            disk=decision(Resource.DISK),
        ),
    )


def write(path: Path, first_utc_s: int) -> None:
    """Append row after row and tell each one that was acknowledged."""
    history = SqliteHistory(path, period_days=1, log=FakeLog())
    end_s = time.monotonic() + LIFE_S
    utc_s = first_utc_s
    while time.monotonic() < end_s:
        event = Event(utc_s=float(utc_s), kind=EventKind.PAUSED, detail=str(utc_s))
        if history.note(event) and history.append(make_record(utc_s)):
            os.write(1, b"%d\n" % utc_s)
        utc_s += 1


def kill_while_writing(path: Path, first_utc_s: int, chance: random.Random) -> list[int]:
    """Start a writer, kill it at a random moment, and return what it had acknowledged."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(path), str(first_utc_s)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    try:
        assert process.stdout is not None
        seen = b""
        for _ in range(chance.randint(1, 30)):
            seen += process.stdout.readline()
        # Somewhere within the next transactions, not always just after one.
        time.sleep(chance.uniform(0, 0.004))
    finally:
        process.kill()
        seen += process.communicate()[0]
    if sys.platform != "win32":
        assert process.returncode == -signal.SIGKILL
    return [int(line) for line in seen.splitlines(keepends=True) if line.endswith(b"\n")]


@dataclass
class Toll:
    """What so many kills have cost."""

    kills: int = 0
    acknowledged: int = 0
    damaged: int = 0
    lost: int = 0
    wrong: int = 0

    def __str__(self) -> str:
        return (
            f"SIGKILL during history writes: {self.kills} kills, "
            f"{self.acknowledged} rows acknowledged, {self.damaged} files damaged, "
            f"{self.lost} acknowledged rows or events lost, {self.wrong} with another content"
        )


def survive(path: Path, kills: int, chance: random.Random) -> Toll:
    """Kill, open again and look at everything, so many times."""
    toll, acknowledged = Toll(), set[int]()
    next_s = FIRST_S
    for _ in range(kills):
        fresh = kill_while_writing(path, next_s, chance)
        assert fresh
        assert acknowledged.isdisjoint(fresh)
        acknowledged.update(fresh)
        log = FakeLog()
        history = SqliteHistory(path, period_days=1, log=log)
        with closing(sqlite3.connect(path)) as db:
            sound = db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            rows = dict(db.execute("SELECT utc_s, cpu FROM sample"))
        events = {event.utc_s: event.detail for event in read_events(path, 0, 2 * FIRST_S)}
        toll.kills += 1
        toll.damaged += not sound or log.events != []
        toll.lost = len(acknowledged - rows.keys()) + len(acknowledged - events.keys())
        toll.wrong = sum(cpu != (utc_s % 1000) / 1000 for utc_s, cpu in rows.items())
        toll.wrong += sum(detail != str(int(utc_s)) for utc_s, detail in events.items())
        # At most the one row whose answer did not come through.
        assert len(rows) <= len(acknowledged) + kills
        next_s = max(rows) + 1
        history.close()
    toll.acknowledged = len(acknowledged)
    return toll


def check(toll: Toll, figure: Callable[[str], None]) -> None:
    """Tell it, and have it be nothing."""
    figure(str(toll))
    assert (toll.damaged, toll.lost, toll.wrong) == (0, 0, 0)


def test_kills_lose_no_acknowledged_row(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Fifteen kills in a row on the same file."""
    check(survive(tmp_path / "history.sqlite3", 15, random.Random(1)), figure)


@pytest.mark.long
def test_many_kills_lose_no_acknowledged_row(
    tmp_path: Path, figure: Callable[[str], None], trials_wanted: int | None
) -> None:
    """Three hundred kills: with none lost, at most one in a hundred may lose (95 %)."""
    check(survive(tmp_path / "history.sqlite3", trials_wanted or 300, random.Random(2)), figure)


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
