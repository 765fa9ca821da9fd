"""The real sensors of Windows: the commit limit and the low-memory notification."""

from __future__ import annotations

import sys

import psutil
import pytest

from optimizer.adapters.sensors import HostSensors
from optimizer.adapters.windows_memory import windows_memory

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="needs Windows, or wine")


def test_memory_has_its_commit_limit_and_a_notification() -> None:
    """A host that runs tests has some of both left, and no sensor fails."""
    sensors = HostSensors()
    try:
        reading = sensors.read()
    finally:
        sensors.close()
    assert reading.failures == ()
    assert reading.memory is not None
    assert reading.memory.total_bytes == psutil.virtual_memory().total
    ((limit, left),) = reading.memory.bounds
    assert 0 < left < limit
    assert limit >= reading.memory.total_bytes // 2
    assert reading.memory.low_memory is False


def test_the_notification_is_made_anew_after_it_was_closed() -> None:
    """One handle at a time: a thousand readings keep the number of handles."""
    memory = windows_memory()
    assert memory is not None
    process = psutil.Process()
    assert memory.is_low() is False
    before = process.num_handles()
    for _ in range(1000):
        assert memory.is_low() is False
    memory.close()
    assert memory.is_low() is False
    memory.close()
    assert process.num_handles() <= before + 5
