"""What was bought, which class of host that is, and which targets follow from it."""

from __future__ import annotations

from optimizer.model import PerResource
from optimizer.orders import HostClass

GIB = 1 << 30

USUAL_SIZES_GB = (
    *(0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768),
    *(1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768),
)
"""Memory sizes that clouds sell, in GiB: powers of two and the halves between them."""

HIDDEN_RATIO = 0.12
"""Largest share of the bought memory that kernel and firmware are taken to keep.

Source: a cloud VM sold with 4 GB shows 3.6 GiB, one with 16 GB shows 15.3.
"""

_HIDDEN_LEAST_GB = 1.0
"""What may be hidden whatever the size: a crash kernel's reserve does not shrink with the host."""

_BLOCK_ROUNDING_RATIO = 0.02
"""How far the sum of memory blocks may be from a usual size and still mean that size.

A block counts as a whole when any part of it is memory, so each hole that does
not end on a block's edge adds up to one block.
"""


def nominal_memory_gb(*, visible_bytes: int, block_bytes: int | None) -> float:
    """Memory as bought, in GiB; what the kernel shows is less.

    `visible_bytes` is the kernel's total. `block_bytes` is the size of the
    installed memory (on Linux online memory blocks times block size), None
    where the platform does not tell.

    * A block size is believed when it is not below the visible size, and not
      above it by more than HIDDEN_RATIO of itself or one GiB, whichever is
      larger. A larger gap means a balloon or a container, where the host's
      blocks say nothing about what was bought. It is then moved to a usual
      size that is within 2 %, because blocks are counted as wholes.
    * Otherwise the visible size is rounded up to the next usual size when
      that hides at most HIDDEN_RATIO of it, else it stands as it is.

    Raises ValueError when `visible_bytes` is not above 0.

    Source: Linux Documentation/admin-guide/mm/memory-hotplug.rst.
    """
    if visible_bytes <= 0:
        raise ValueError(f"visible memory must be above 0 bytes, not {visible_bytes}")
    visible_gb = visible_bytes / GIB
    if block_bytes is not None:
        blocks_gb = block_bytes / GIB
        hidden_most_gb = max(HIDDEN_RATIO * blocks_gb, _HIDDEN_LEAST_GB)
        if 0.0 <= blocks_gb - visible_gb <= hidden_most_gb:
            return _near_usual_size(blocks_gb, visible_gb)
    for size_gb in USUAL_SIZES_GB:
        if visible_gb <= size_gb:
            return size_gb if size_gb - visible_gb <= HIDDEN_RATIO * size_gb else visible_gb
    return visible_gb


def _near_usual_size(blocks_gb: float, visible_gb: float) -> float:
    for size_gb in USUAL_SIZES_GB:
        near = abs(blocks_gb - size_gb) <= _BLOCK_ROUNDING_RATIO * size_gb
        if near and size_gb >= visible_gb:
            return size_gb
    return blocks_gb


def host_class(nominal_gb: float, *, small_max_gb: float, large_min_gb: float) -> HostClass:
    """Small up to and including `small_max_gb`, large from `large_min_gb`, medium between."""
    if nominal_gb <= small_max_gb:
        return HostClass.SMALL
    return HostClass.LARGE if nominal_gb >= large_min_gb else HostClass.MEDIUM


def class_target_ratio(
    nominal_gb: float,
    *,
    small_max_gb: float,
    large_min_gb: float,
    small_ratio: float,
    large_ratio: float,
    medium_ratio: float | None,
) -> float:
    """Target utilisation that a host's size asks for, 0 to 1.

    A medium host gets `medium_ratio`; where that is None, the straight line
    between the other two targets, by memory.
    """
    size = host_class(nominal_gb, small_max_gb=small_max_gb, large_min_gb=large_min_gb)
    if size is HostClass.SMALL:
        return small_ratio
    if size is HostClass.LARGE:
        return large_ratio
    if medium_ratio is not None:
        return medium_ratio
    way = (nominal_gb - small_max_gb) / (large_min_gb - small_max_gb)
    return small_ratio + way * (large_ratio - small_ratio)


def targets(class_ratio: float, overrides: PerResource[float | None]) -> PerResource[float]:
    """The target of each resource, 0 to 1: its override, or the class's where that is None.

    An override of 0 is one: that resource is only watched.
    """
    cpu, memory, disk = (class_ratio if own is None else own for own in overrides)
    return PerResource(cpu=cpu, memory=memory, disk=disk)
