"""A disk's lease never passes a limit, whatever is free, held, asked for or at rest."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from optimizer.control.pressure import Pressure, caps, press
from optimizer.control.spread import Rest, Share, Spread, room_of, spread, survey
from optimizer.counters import DiskCounters, MemoryCounters, OwnCounters, Place
from optimizer.model import Observation, Reason, Utilisation
from optimizer.orders import Orders
from tests.fakes import GIB, policy

ORDERS = Orders(policy=policy())
SIZES = st.integers(0, 1 << 42)


def limits(
    disks: tuple[DiskCounters, ...], held: dict[str, int], rests: dict[str, Rest], orders: Orders
) -> tuple[Share, ...]:
    """What each may hold after a first reading at 50 s."""
    seen = Observation(own=OwnCounters(disks=tuple(held.items())))
    return survey(Spread(rests=rests), disks, seen, 50.0, orders)[1]


@st.composite
def hosts(draw: st.DrawFn) -> tuple[tuple[DiskCounters, ...], dict[str, int], dict[str, Rest]]:
    """Up to four filesystems, what is held on each as part of what is used, and who rests."""
    disks, held, rests = [], {}, {}
    for index in range(draw(st.integers(1, 4))):
        place = Place(f"/{index}", f"/{index}")
        used, available = draw(SIZES), draw(SIZES)
        inodes = draw(st.sampled_from([1.0, 0.5, 0.01]))
        disks.append(
            DiskCounters(
                place=place,
                used_bytes=used,
                available_bytes=available,
                free_inodes_ratio=inodes,
            )
        )
        held[place.path] = draw(st.integers(0, used))
        reason = draw(st.sampled_from([None, Reason.HOLD_OFF, Reason.STRESSER_DOWN]))
        if reason is not None:
            rests[place.path] = Rest(100.0, reason)
    return tuple(disks), held, rests


@given(host=hosts(), total=SIZES, released=st.sets(st.sampled_from(["/0", "/1"])))
def test_no_part_passes_a_limit(
    host: tuple[tuple[DiskCounters, ...], dict[str, int], dict[str, Rest]],
    total: int,
    released: set[str],
) -> None:
    """Sum at most the total; floor, inodes, rest and release are kept on each; none twice."""
    disks, held, rests = host
    orders = replace(ORDERS, released=frozenset(released))
    parts = spread(float(total), limits(disks, held, rests, orders))
    assert sum(part.lease_bytes for part in parts) <= total
    assert len({part.place for part in parts}) == len(parts)
    by_place = {disk.place: disk for disk in disks}
    for part in parts:
        path, disk = part.place.path, by_place[part.place]
        assert path not in released
        assert part.lease_bytes >= 0
        grown = part.lease_bytes - held[path]
        assert grown <= max(0, room_of(disk, orders.policy))
        if path in rests:
            assert rests[path].reason is Reason.HOLD_OFF
            assert grown <= 0
        if disk.free_inodes_ratio < 0.05:
            assert part.lease_bytes == 0


@given(host=hosts(), total=SIZES, more=st.lists(SIZES, min_size=4, max_size=4))
def test_more_of_the_tenant_is_never_more_of_ours(
    host: tuple[tuple[DiskCounters, ...], dict[str, int], dict[str, Rest]],
    total: int,
    more: list[int],
) -> None:
    """What a tenant writes is taken from what is available: all we hold together never rises."""
    disks, held, rests = host
    fuller = tuple(
        replace(
            disk,
            used_bytes=disk.used_bytes + min(size, disk.available_bytes),
            available_bytes=disk.available_bytes - min(size, disk.available_bytes),
        )
        for disk, size in zip(disks, more, strict=False)
    )
    before = spread(float(total), limits(disks, held, rests, ORDERS))
    after = spread(float(total), limits(fuller, held, rests, ORDERS))
    assert sum(p.lease_bytes for p in after) <= sum(p.lease_bytes for p in before)


@given(
    looks=st.lists(
        st.tuples(
            st.floats(0.0, 3.0),
            st.one_of(st.none(), st.floats(0.0, 1e6)),
            st.one_of(st.none(), st.integers(0, 1 << 40)),
            st.integers(0, 1 << 30),
        ),
        max_size=20,
    )
)
def test_pressure_only_ever_takes_away(
    looks: list[tuple[float, float | None, int | None, int]],
) -> None:
    """Any counters: the cap is nothing or 0, and a page taken is 0 until the hold-off is over."""
    state, now_s, until_s = Pressure(), 0.0, -1.0
    usage = Utilisation(total_ratio=0.4, own_ratio=0.2, capacity=16.0 * GIB, room_ratio=0.5)
    for step_s, stalled_s, swapped, taken in looks:
        now_s += step_s
        memory = MemoryCounters(
            total_bytes=16 * GIB,
            available_bytes=12 * GIB,
            free_bytes=12 * GIB,
            cache_bytes=0,
            stalled_s=stalled_s,
            swapped_out_bytes=swapped,
        )
        state = press(state, memory, usage, taken, now_s, 10.0)
        if taken:
            until_s = now_s + 10.0
        found = caps(state)
        assert all(cap.demand_ratio == 0.0 for cap in found)
        assert found or now_s > until_s
