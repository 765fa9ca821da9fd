"""What stands in for fork, poll and the alarm on Windows works wherever there are threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stressers.blocks import UNIT
from stressers.board import Board
from stressers.cpu import Rhythm, burn
from stressers.lease import encode
from stressers.memory import Memory, hold
from stressers.threaded import EXPIRED_CODE, ThreadCrew, ThreadDoor
from tests.stresser_fakes import Heard

DEADLINE_S = 15.0


def until(event: threading.Event, fulfilled: object) -> None:
    """Wait for an event with a deadline."""
    assert event.wait(DEADLINE_S), fulfilled


def test_memory_is_held_and_given_back_by_threads() -> None:
    """The same orders as to forked shards are answered by threads of this process."""
    called, heard = threading.Event(), Heard()
    memory = Memory(2, lambda board: ThreadCrew(board, hold, (), called), heard, lambda: 1 << 40)
    memory.start()
    now_s = time.monotonic()
    try:
        for wanted in (4 * UNIT, UNIT, 0):
            while True:
                called.clear()
                memory.obey(wanted, now_s + 60.0, now_s)
                orders = [memory.board.order(index) for index in range(2)]
                if memory.held_bytes == wanted and orders == [None, None]:
                    break
                until(called, wanted)
    finally:
        memory.close()
    assert heard.lines[-1] == ("held", 0)


def test_threads_leave_when_their_crew_ends() -> None:
    """A busy worker and one that waits both end."""
    board = Board(2, time.monotonic() + 60.0)
    board.publish(1.0, time.monotonic() + 60.0)
    crew = ThreadCrew(board, lambda post: burn(post, Rhythm(0, 1)), (), threading.Event())
    before = threading.active_count()
    crew.start(2)
    board.publish(0.0, time.monotonic() + 60.0)
    crew.end()
    end_s = time.monotonic() + DEADLINE_S
    while threading.active_count() > before and time.monotonic() < end_s:
        crew.end()
    assert threading.active_count() == before
    assert crew.deaths() == []


@pytest.fixture
def _signals() -> Iterator[None]:
    """Puts back the handlers that a door replaces."""
    names = ("SIGTERM", "SIGINT", "SIGBREAK", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    handlers = [(number, signal.getsignal(number)) for number in numbers]
    yield
    for number, handler in handlers:
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals")
def test_lines_and_end_of_file_come_through_the_door() -> None:
    """A thread reads the input; the door wakes for a line and for the end."""
    reader, writer = os.pipe()
    lines: list[bytes] = []
    door = ThreadDoor(reader)
    os.write(writer, encode("cpu", 0.5))
    end_s = time.monotonic() + DEADLINE_S
    while not lines and time.monotonic() < end_s:
        door.wait(1.0)
        lines = door.lines()
    assert lines == [encode("cpu", 0.5)[:-1]]
    assert not door.closed
    os.close(writer)
    while not door.closed and time.monotonic() < end_s:
        door.wait(1.0)
    assert door.closed
    os.close(reader)


@pytest.mark.usefixtures("_signals")
def test_a_signal_stops_through_the_door() -> None:
    """Ctrl-C sets `stop`, and waiting ends."""
    door = ThreadDoor(None)
    signal.raise_signal(signal.SIGINT)
    door.wait(DEADLINE_S)
    assert door.stop


def test_the_watchdog_ends_a_process_that_hangs() -> None:
    """When the lease is not renewed the process ends, although its main thread never returns."""
    program = (
        "import threading; from stressers.threaded import Watchdog; "
        "Watchdog(60.0).renew(0.05); threading.Event().wait()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).resolve().parents[2],
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.returncode == EXPIRED_CODE
