"""The commit limit and the low-memory notification, read from a pretended Windows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from optimizer.adapters import windows_memory
from optimizer.adapters.memory_scope import MemoryScope
from optimizer.adapters.memory_sensor import MemorySensor
from optimizer.adapters.windows_memory import WindowsMemory
from optimizer.control.estimate import memory_utilisation
from optimizer.counters import (
    HostReading,
    MemoryBound,
    MemoryCounters,
    OwnCounters,
    Reading,
)
from optimizer.report.status import _unseen
from tests.fakes import policy
from tests.windows_calls import FakeKernel32

GIB = 1 << 30
PHYSICAL = MemoryCounters(
    total_bytes=16 * GIB, available_bytes=12 * GIB, free_bytes=12 * GIB, cache_bytes=0
)


@pytest.fixture
def kernel32() -> FakeKernel32:
    """A host of 16 GiB and 20 GiB of commit limit."""
    return FakeKernel32()


@pytest.fixture
def memory(kernel32: FakeKernel32) -> WindowsMemory:
    """What is read of it."""
    return WindowsMemory(kernel32, kernel32.last_error)


def test_the_commit_limit_bounds_what_may_be_taken(
    kernel32: FakeKernel32, memory: WindowsMemory
) -> None:
    """12 GiB are free, but of 20 GiB of commit 3 are left and 1 (5 %) stays: room for 2 of 16."""
    kernel32.memory = (16 * GIB, 12 * GIB, 20 * GIB, 3 * GIB)
    counters = memory.seen(PHYSICAL)
    assert counters.bounds == (MemoryBound(limit_bytes=20 * GIB, available_bytes=3 * GIB),)
    assert memory_utilisation(counters, 0, policy()).room_ratio == pytest.approx(2 / 16)
    # Without the bound it would be 12 GiB less 5 % of 16.
    assert memory_utilisation(PHYSICAL, 0, policy()).room_ratio == pytest.approx(0.70)


def test_a_commit_limit_that_cannot_be_read_is_not_none(
    kernel32: FakeKernel32, memory: WindowsMemory, tmp_path: Path
) -> None:
    """The whole reading fails, and says why."""
    sensor = MemorySensor(tmp_path, MemoryScope(proc=tmp_path), memory)
    assert sensor.read().bounds
    kernel32.failing["GlobalMemoryStatusEx"] = 1450
    with pytest.raises(OSError, match=r"commit limit .*GlobalMemoryStatusEx .*1450"):
        sensor.read()


def test_the_notification_is_asked_with_each_reading(
    kernel32: FakeKernel32, memory: WindowsMemory, tmp_path: Path
) -> None:
    """Of low memory, not of high; one handle for all readings, closed at the end."""
    sensor = MemorySensor(tmp_path, MemoryScope(proc=tmp_path), memory)
    assert sensor.read().low_memory is False
    kernel32.low = 1
    assert sensor.read().low_memory is True
    kernel32.low = 0
    assert sensor.read().low_memory is False
    assert kernel32.named("CreateMemoryResourceNotification") == [(0,)]
    sensor.close()
    sensor.close()
    assert len(kernel32.named("CloseHandle")) == 1


@pytest.mark.parametrize(
    "call", ["CreateMemoryResourceNotification", "QueryMemoryResourceNotification"]
)
def test_a_notification_that_fails_is_unknown_and_visible(
    kernel32: FakeKernel32, memory: WindowsMemory, tmp_path: Path, call: str
) -> None:
    """Neither low nor not low; the other figures stay, the fault is told, and goes with it."""
    sensor = MemorySensor(tmp_path, MemoryScope(proc=tmp_path), memory)
    kernel32.low = 1
    kernel32.failing[call] = 1450
    counters = sensor.read()
    assert counters.low_memory is None
    assert counters.bounds
    assert sensor.fault is not None
    assert call in sensor.fault
    assert "1450" in sensor.fault
    kernel32.failing.clear()
    assert sensor.read().low_memory is True
    assert sensor.fault is None


def test_the_notification_stands_in_for_stalls_in_the_status(memory: WindowsMemory) -> None:
    """Named as missing only where neither of the two is told."""
    assert _unseen(reading_of(memory.seen(PHYSICAL))) == []
    (said,) = _unseen(reading_of(PHYSICAL))
    assert said.startswith("PSI")


def reading_of(memory: MemoryCounters) -> Reading:
    """A reading of nothing else."""
    host = HostReading(monotonic_s=0.0, utc_s=0.0, cpu=None, memory=memory, disks=None)
    return Reading(host=host, own=OwnCounters())


def test_every_call_has_a_signature() -> None:
    """Without one ctypes cuts handles to 32 bits."""
    source = Path(windows_memory.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r"self\._kernel32\.(\w+)", source)) == set(windows_memory.SIGNATURES)
