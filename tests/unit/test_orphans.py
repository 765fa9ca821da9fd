"""The first process of a container reaps what nobody else waits for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from optimizer.adapters import identity
from optimizer.adapters.orphans import LOOK_S, Orphans
from tests.rig import eventually

pytestmark = pytest.mark.skipif(
    not os.path.exists(f"/proc/{os.getpid()}/task/{os.getpid()}/children"),
    reason="needs the list of children in /proc",
)


@pytest.fixture
def dead() -> Iterator[int]:
    """A child of ours that has ended and that nobody has waited for."""
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    eventually(lambda: identity.state(child.pid) == "Z", what="the child ends")
    yield child.pid
    child.poll()


def test_what_was_dead_twice_is_reaped(dead: int) -> None:
    """Not at the first look, for its own parent may be about to ask; at the second."""
    now_s = 0.0
    orphans = Orphans(pid=1, monotonic=lambda: now_s)
    assert orphans.reap() == 0
    now_s = LOOK_S
    assert orphans.reap() == 0
    assert identity.state(dead) == "Z"
    now_s = 2 * LOOK_S
    assert orphans.reap() >= 1
    assert identity.state(dead) != "Z"


def test_a_process_that_is_not_the_first_reaps_nothing(dead: int) -> None:
    """On a host orphans go to init."""
    now_s = 0.0
    orphans = Orphans(monotonic=lambda: now_s)
    for look in range(1, 4):
        now_s = look * LOOK_S
        assert orphans.reap() == 0
    assert identity.state(dead) == "Z"
