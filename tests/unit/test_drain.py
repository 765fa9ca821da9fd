"""How fast others take what is left, and what will be left in a moment."""

from __future__ import annotations

import pytest

from optimizer.control.drain import BURST_BYTES_PER_S, Drain, watch

GB = 1e9


def test_a_tenant_that_takes_five_gigabytes_a_second_is_seen() -> None:
    """30 to 26 GB in 0.8 s: 2.5 GB more will be gone in half a second."""
    drain = watch(watch(Drain(), 30 * GB, 10.0), 26 * GB, 10.8)
    assert drain.per_s == pytest.approx(5 * GB)
    assert drain.lost_bytes(0.5) == pytest.approx(2.5 * GB)


def test_a_pace_slackens_slowly() -> None:
    """Half of it counts half a second later."""
    drain = watch(watch(Drain(), 30 * GB, 10.0), 26 * GB, 10.8)
    assert watch(drain, 26 * GB, 11.3).per_s == pytest.approx(2.5 * GB)


def test_no_pace_is_beyond_what_a_host_can_do() -> None:
    """33 GB in a tenth of a second came in one piece."""
    drain = watch(watch(Drain(), 60 * GB, 10.0), 27 * GB, 10.1)
    assert drain.per_s == BURST_BYTES_PER_S


def test_a_gap_and_a_tenant_that_frees_are_no_drain() -> None:
    """After a suspend it begins anew; more room is never a negative pace."""
    first = watch(Drain(), 60 * GB, 10.0)
    assert watch(first, 10 * GB, 100.0).per_s == 0.0
    assert watch(first, 90 * GB, 10.5).per_s == 0.0
