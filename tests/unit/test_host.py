"""Nominal memory, size class and targets."""

from __future__ import annotations

import pytest

from optimizer.control.host import (
    GIB,
    USUAL_SIZES_GB,
    class_target_ratio,
    host_class,
    nominal_memory_gb,
    targets,
)
from optimizer.model import PerResource
from optimizer.orders import HostClass


def gib(size: float) -> int:
    """Bytes of a number of GiB."""
    return round(size * GIB)


def target(nominal_gb: float, *, medium_ratio: float | None = None) -> float:
    """The target ratio of a size with the default limits and targets."""
    return class_target_ratio(
        nominal_gb,
        small_max_gb=8,
        large_min_gb=16,
        small_ratio=0.25,
        large_ratio=0.40,
        medium_ratio=medium_ratio,
    )


@pytest.mark.parametrize(
    ("visible_gb", "bought_gb"),
    [(15.3, 16), (7.6, 8), (3.6, 4), (1.8, 2), (23.5, 24), (0.45, 0.5), (62.7, 64), (16, 16)],
)
def test_a_visible_size_is_rounded_up_to_what_was_bought(
    visible_gb: float, bought_gb: float
) -> None:
    """Without block sizes, what is at most 12 % below a usual size is that size."""
    assert nominal_memory_gb(visible_bytes=gib(visible_gb), block_bytes=None) == bought_gb


@pytest.mark.parametrize("visible_gb", [5.2, 9.0, 13.9, 40000.0])
def test_a_visible_size_far_below_the_next_usual_one_stands(visible_gb: float) -> None:
    """More than 12 % missing is a size of its own; so is one above all usual sizes."""
    # (6 - 5.2)/6, (12 - 9)/12 and (16 - 13.9)/16 are 13.3, 25 and 13.1 %.
    nominal = nominal_memory_gb(visible_bytes=gib(visible_gb), block_bytes=None)
    assert nominal == pytest.approx(visible_gb)


def test_the_edge_of_the_tolerance_lies_at_twelve_percent() -> None:
    """16 GB is seen down to 0.88 * 16 = 14.08 GiB, and not below."""
    assert nominal_memory_gb(visible_bytes=gib(14.081), block_bytes=None) == 16
    below = nominal_memory_gb(visible_bytes=gib(14.079), block_bytes=None)
    assert below == pytest.approx(14.079)


@pytest.mark.parametrize(
    ("visible_gb", "blocks_gb", "bought_gb"),
    [
        (23.5, 24, 24),
        (14.7, 15, 15),  # a size that is not usual, but true
        (7.6, 8.125, 8),  # one block of 128 MiB too many
        (15.3, 15.875, 16),  # one too few
        (126.0, 130, 128),  # one block of 2 GiB too many: 1.6 %
        (16.05, 16.125, 16.125),  # more is visible than 16
        (0.4, 1, 1),  # a crash kernel takes most of a small host
    ],
)
def test_installed_memory_is_believed(
    visible_gb: float, blocks_gb: float, bought_gb: float
) -> None:
    """Memory blocks give the true size, up to one block of rounding."""
    nominal = nominal_memory_gb(visible_bytes=gib(visible_gb), block_bytes=gib(blocks_gb))
    assert nominal == bought_gb


@pytest.mark.parametrize(
    ("visible_gb", "blocks_gb"),
    [
        (3.6, 64),  # a container that sees its own limit, but the host's blocks
        (3.6, 16),  # a balloon
        (3.6, 2),  # nonsense: less installed than visible
    ],
)
def test_block_sizes_that_contradict_the_visible_size_are_ignored(
    visible_gb: float, blocks_gb: float
) -> None:
    """The visible size decides when the blocks are far above or anywhere below it."""
    nominal = nominal_memory_gb(visible_bytes=gib(visible_gb), block_bytes=gib(blocks_gb))
    assert nominal == 4


@pytest.mark.parametrize("size_gb", USUAL_SIZES_GB)
def test_a_usual_size_is_itself(size_gb: float) -> None:
    """A host that shows exactly a usual size has that size, with blocks and without."""
    size = gib(size_gb)
    assert nominal_memory_gb(visible_bytes=size, block_bytes=None) == size_gb
    assert nominal_memory_gb(visible_bytes=size, block_bytes=size) == size_gb


def test_no_memory_is_refused() -> None:
    """0 bytes is a failed reading, not a small host."""
    with pytest.raises(ValueError, match="above 0"):
        nominal_memory_gb(visible_bytes=0, block_bytes=None)


@pytest.mark.parametrize(
    ("nominal_gb", "expected"),
    [
        (2, HostClass.SMALL),
        (8, HostClass.SMALL),
        (8.01, HostClass.MEDIUM),
        (15.99, HostClass.MEDIUM),
        (16, HostClass.LARGE),
        (512, HostClass.LARGE),
    ],
)
def test_both_limits_belong_to_their_class(nominal_gb: float, expected: HostClass) -> None:
    """8 GB is still small and 16 GB is already large."""
    assert host_class(nominal_gb, small_max_gb=8, large_min_gb=16) is expected


def test_a_medium_host_gets_a_target_in_proportion() -> None:
    """12 GB lies half way: 25 + 15 / 2 = 32.5 %; 10 GB a quarter: 25 + 15 / 4 = 28.75 %."""
    assert target(12) == pytest.approx(0.325)
    assert target(10) == pytest.approx(0.2875)
    assert (target(8), target(16)) == (0.25, 0.40)


def test_a_medium_target_replaces_the_proportion() -> None:
    """A configured medium target holds for medium hosts only, also when it is 0."""
    assert target(12, medium_ratio=0.3) == 0.3
    assert target(12, medium_ratio=0.0) == 0.0
    assert (target(4, medium_ratio=0.3), target(32, medium_ratio=0.3)) == (0.25, 0.40)


def test_an_override_of_zero_is_an_override() -> None:
    """None takes the class's target; 0 means to watch only, and stays 0."""
    chosen = targets(0.25, PerResource(cpu=None, memory=0.0, disk=0.6))
    assert chosen == PerResource(cpu=0.25, memory=0.0, disk=0.6)
