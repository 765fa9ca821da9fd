"""The daemon's own limits: looked at seldom, told with the value, wide enough for large hosts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from optimizer.adapters.self_limits import (
    CHECK_S,
    FILES,
    FILES_PER_DISK,
    MEMORY_BYTES,
    Excess,
    SelfLimits,
    Use,
    own_use,
)
from optimizer.app import within
from tests.fakes import FakeLog


@dataclass
class Body:
    """What a process uses, and a clock."""

    now_s: float = 0.0
    use: Use = field(default_factory=lambda: Use(MEMORY_BYTES, FILES))
    disks: int = 0
    looks: int = 0

    def __post_init__(self) -> None:
        self.limits = SelfLimits(
            disks=lambda: self.disks, monotonic=lambda: self.now_s, use=self._looked
        )
        self.limits._raised = FILES  # this test's own limits stay as they are

    def _looked(self) -> Use:
        self.looks += 1
        return self.use

    def after(self, seconds: float) -> Excess | None:
        """What is said so much later."""
        self.now_s += seconds
        return self.limits.excess()


def test_it_looks_once_a_minute() -> None:
    """A look costs a file and a listing, a question in between nothing."""
    body = Body()
    for _ in range(601):
        body.after(CHECK_S / 60)
    assert body.looks == 10


def test_at_the_limits_all_is_well_and_beyond_it_is_told() -> None:
    """Which limit, how much is used, how much may be."""
    body = Body()
    assert body.after(CHECK_S) is None
    body.use = Use(MEMORY_BYTES + 1, 5)
    found = body.after(CHECK_S)
    assert found == Excess("resident memory in bytes", MEMORY_BYTES + 1, MEMORY_BYTES)
    body.use = Use(1, FILES + 1)
    assert body.after(CHECK_S) == Excess("open files", FILES + 1, FILES)
    body.use = Use(1, None)
    assert body.after(CHECK_S) is None


def test_more_disks_may_have_more_files() -> None:
    """Each stresser of a filesystem costs the controller three descriptors."""
    body = Body(disks=40, use=Use(1, FILES + 40 * FILES_PER_DISK))
    body.limits._raised = FILES + 40 * FILES_PER_DISK
    assert body.after(CHECK_S) is None


def test_an_excess_is_an_error_that_names_the_value() -> None:
    """An operator reads what grew, how large it was, and that it is our fault."""
    body, log = Body(use=Use(200_000_000, 5)), FakeLog()
    body.now_s = CHECK_S
    assert not within(body.limits, log)
    ((level, event, facts),) = log.events
    assert (level, event) == ("error", "daemon.limit_exceeded")
    assert (facts["value"], facts["limit"]) == (200_000_000, MEMORY_BYTES)
    assert within(body.limits, log)


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are POSIX")
def test_what_this_process_uses_is_counted() -> None:
    """Files that are opened count, one each; memory is some megabytes."""
    before = own_use()
    with open(__file__, "rb"), open(__file__, "rb"):
        during = own_use()
    assert before.files is not None
    assert during.files == before.files + 2
    assert 5_000_000 < before.memory_bytes < 2_000_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_kernel_limits_are_twice_ours_and_dumps_are_off() -> None:
    """A leak meets our own limit first, which ends in good order."""
    code = (
        "import resource; from optimizer.adapters.self_limits import *; no_core_dumps();"
        "SelfLimits(disks=lambda: 3).excess();"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0],"
        " resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{2 * (FILES + 3 * FILES_PER_DISK)} (0, 0)\n"
