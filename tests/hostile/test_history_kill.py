"""A daemon that is killed at any moment loses no acknowledged row and breaks no file."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from optimizer.adapters.history import SqliteHistory, read_events
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


def survive(path: Path, kills: int, chance: random.Random) -> None:
    """Kill, open again and check everything, so many times."""
    acknowledged: set[int] = set()
    next_s = FIRST_S
    for _ in range(kills):
        fresh = kill_while_writing(path, next_s, chance)
        assert fresh
        assert acknowledged.isdisjoint(fresh)
        acknowledged.update(fresh)
        log = FakeLog()
        history = SqliteHistory(path, period_days=1, log=log)
        assert log.events == []
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            rows = dict(db.execute("SELECT utc_s, cpu FROM sample"))
        assert acknowledged <= rows.keys()
        assert all(cpu == (utc_s % 1000) / 1000 for utc_s, cpu in rows.items())
        events = {event.utc_s: event.detail for event in read_events(path, 0, 2 * FIRST_S)}
        assert acknowledged <= events.keys()
        assert all(detail == str(int(utc_s)) for utc_s, detail in events.items())
        # At most the one row whose answer did not come through.
        assert len(rows) <= len(acknowledged) + kills
        next_s = max(rows) + 1
        history.close()


def test_kills_lose_no_acknowledged_row(tmp_path: Path) -> None:
    """Fifteen kills in a row on the same file."""
    survive(tmp_path / "history.sqlite3", 15, random.Random(1))


@pytest.mark.long
def test_many_kills_lose_no_acknowledged_row(tmp_path: Path) -> None:
    """Three hundred kills: with none lost, at most one in a hundred may lose (95 %)."""
    survive(tmp_path / "history.sqlite3", 300, random.Random(2))


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
