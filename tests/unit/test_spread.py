"""How a disk's lease is laid out on its filesystems, and who rests."""

from __future__ import annotations

from dataclasses import replace

from optimizer.control.spread import (
    RETRY_S,
    Rest,
    Share,
    Spread,
    binding,
    kept,
    rested,
    spread,
    survey,
    tight,
)
from optimizer.counters import DiskCounters, OwnCounters, Place
from optimizer.model import ExitCause, Observation, Part, Reason, Resource, StresserExit
from optimizer.orders import Orders
from tests.fakes import GIB, policy

A, B = Place("/a", "/a"), Place("/b", "/b/load")
EMPTY_A = DiskCounters(place=A, used_bytes=0, available_bytes=100 * GIB)
EMPTY_B = DiskCounters(place=B, used_bytes=0, available_bytes=50 * GIB)
ORDERS = Orders(policy=policy(hold_off_s=100.0))


def limits(
    *disks: DiskCounters,
    held: dict[str, int] | None = None,
    rests: dict[str, Rest] | None = None,
    orders: Orders = ORDERS,
) -> tuple[Share, ...]:
    """The limits after a first reading."""
    return survey(Spread(rests=rests or {}), disks, seen(held=held), 50.0, orders)[1]


def laid(total: float, among: tuple[Share, ...]) -> dict[str, float]:
    """GiB for each path."""
    return {part.place.path: part.lease_bytes / GIB for part in spread(total, among)}


def seen(*exits: StresserExit, held: dict[str, int] | None = None) -> Observation:
    """What the stressers hold, and which have ended."""
    return Observation(own=OwnCounters(disks=tuple((held or {}).items())), exits=exits)


def test_most_headroom_first_then_the_next() -> None:
    """80 of 100 GiB are allowed on /a (ceiling 80 %); what is beyond goes to /b."""
    among = limits(EMPTY_A, EMPTY_B)
    assert laid(60 * GIB, among) == {"/a": 60, "/b/load": 0}
    assert laid(100 * GIB, among) == {"/a": 80, "/b/load": 20}
    assert laid(500 * GIB, among) == {"/a": 80, "/b/load": 40}


def test_what_is_held_stays_where_it_is() -> None:
    """/b has less headroom than /a, and still keeps its 10 GiB while the total stands."""
    held = {"/a": 0, "/b/load": 10 * GIB}
    fuller = replace(EMPTY_B, used_bytes=10 * GIB, available_bytes=40 * GIB)
    assert laid(10 * GIB, limits(EMPTY_A, fuller, held=held)) == {"/a": 0, "/b/load": 10}
    assert laid(12 * GIB, limits(EMPTY_A, fuller, held=held)) == {"/a": 2, "/b/load": 10}


def test_it_is_given_back_first_where_least_is_left() -> None:
    """20 GiB on each, 15 to give back: /b has 30 GiB left, /a 80."""
    held = {"/a": 20 * GIB, "/b/load": 20 * GIB}
    disks = (
        replace(EMPTY_A, used_bytes=20 * GIB, available_bytes=80 * GIB),
        replace(EMPTY_B, used_bytes=20 * GIB, available_bytes=30 * GIB),
    )
    assert laid(25 * GIB, limits(*disks, held=held)) == {"/a": 20, "/b/load": 5}
    assert laid(10 * GIB, limits(*disks, held=held)) == {"/a": 10, "/b/load": 0}


def test_a_touched_floor_moves_the_load_to_the_other_disk() -> None:
    """/b has 3 GiB left, its floor is 5: 2 GiB leave it, and /a takes them in its place."""
    held = {"/a": 0, "/b/load": 20 * GIB}
    full = replace(EMPTY_B, used_bytes=47 * GIB, available_bytes=3 * GIB)
    among = limits(EMPTY_A, full, held=held)
    # The ceiling of 80 % asks for more still: 47 - 40 = 7 GiB.
    assert laid(20 * GIB, among) == {"/a": 7, "/b/load": 13}
    assert among[1].reason is Reason.CEILING


def test_too_few_inodes_empty_a_filesystem() -> None:
    """With 4 % of the inodes left everything is given back there, also on one with much space."""
    among = limits(replace(EMPTY_A, free_inodes_ratio=0.04), held={"/a": 10 * GIB})
    assert laid(10 * GIB, among) == {"/a": 0}
    assert among[0].reason is Reason.FLOOR


def test_a_released_filesystem_gets_no_part_at_all() -> None:
    """Not even a lease of 0: its stresser is ended, so that nothing has a file open there."""
    orders = replace(ORDERS, released=frozenset({"/a"}))
    among = limits(EMPTY_A, EMPTY_B, held={"/a": 10 * GIB}, orders=orders)
    assert laid(10 * GIB, among) == {"/b/load": 10}
    assert binding(among) is Reason.RELEASED
    assert binding(()) is Reason.FLOOR


def test_a_touched_floor_rests_for_the_hold_off_and_until_there_is_room() -> None:
    """/a has 9 GiB left, its floor is 10: 100 s, and until 2 % more than the floor is free."""
    held = {"/a": 10 * GIB}
    full = replace(EMPTY_A, used_bytes=91 * GIB, available_bytes=9 * GIB)
    near = replace(EMPTY_A, used_bytes=89 * GIB, available_bytes=11 * GIB)
    rests = rested({}, (full,), seen(held=held), 50.0, ORDERS)
    assert rests == {"/a": Rest(150.0, Reason.HOLD_OFF)}
    assert rested(rests, (near,), seen(held=held), 100.0, ORDERS) == rests
    still = rested(rests, (near,), seen(held=held), 151.0, ORDERS)
    assert still["/a"].until_s == 152.0
    assert rested(still, (EMPTY_A,), seen(), 152.5, ORDERS) == {}
    nothing_held = rested({}, (full,), seen(), 50.0, ORDERS)
    assert nothing_held == {}, "a filesystem that a tenant has filled is no event of ours"


def test_a_resting_filesystem_keeps_what_it_has() -> None:
    """It may shrink but not grow; the other one takes what is wanted."""
    rests = {"/a": Rest(100.0, Reason.HOLD_OFF)}
    used = replace(EMPTY_A, used_bytes=5 * GIB, available_bytes=95 * GIB)
    among = limits(used, EMPTY_B, held={"/a": 5 * GIB}, rests=rests)
    assert laid(20 * GIB, among) == {"/a": 5, "/b/load": 15}
    assert spread(20 * GIB, among)[0].reason is Reason.HOLD_OFF


def test_a_stresser_that_ended_rests_its_filesystem_alone() -> None:
    """One that gave up rests for the hold-off, one whose lease ran out for ten seconds."""
    gave_up = StresserExit(
        resource=Resource.DISK, cause=ExitCause.FAILED, detail="no fallocate", path="/a"
    )
    rests = rested({}, (EMPTY_A, EMPTY_B), seen(gave_up), 50.0, ORDERS)
    assert rests == {"/a": Rest(150.0, Reason.STRESSER_DOWN)}
    among = limits(EMPTY_A, EMPTY_B, rests=rests)
    assert laid(30 * GIB, among) == {"/b/load": 30}
    expired = replace(gave_up, cause=ExitCause.EXPIRED)
    assert rested({}, (EMPTY_A,), seen(expired), 50.0, ORDERS)["/a"].until_s == 50.0 + RETRY_S


def test_a_stresser_that_ended_does_not_cut_a_hold_off_short() -> None:
    """The floor was touched, so 100 s; 50 s later its lease runs out, for which 10 s would do."""
    full = replace(EMPTY_A, used_bytes=95 * GIB, available_bytes=5 * GIB)
    rests = rested({}, (full,), seen(held={"/a": GIB}), 0.0, ORDERS)
    expired = StresserExit(
        resource=Resource.DISK, cause=ExitCause.EXPIRED, detail="lease", path="/a"
    )
    rests = rested(rests, (EMPTY_A,), seen(expired), 50.0, ORDERS)
    assert rests["/a"] == Rest(100.0, Reason.STRESSER_DOWN)


def test_resume_lifts_the_rest_of_a_stresser_that_gave_up() -> None:
    """But not the hold-off after a touched floor."""
    rests = {"/a": Rest(150.0, Reason.STRESSER_DOWN), "/b/load": Rest(150.0, Reason.HOLD_OFF)}
    resumed = replace(ORDERS, resumed=True)
    assert set(rested(rests, (EMPTY_A, EMPTY_B), seen(), 60.0, resumed)) == {"/b/load"}


def test_what_moves_from_one_disk_to_another_rises_no_faster_than_anything_else() -> None:
    """30 GiB were on /b, which is released: /a has 10 and gets 512 MiB ahead of that."""
    orders = replace(ORDERS, released=frozenset({"/b"}))
    held = {"/a": 10 * GIB, "/b/load": 30 * GIB}
    among = limits(EMPTY_A, EMPTY_B, held=held, orders=orders)
    (part,) = spread(40 * GIB, among, ahead_bytes=512 << 20)
    assert part.lease_bytes == 10 * GIB + (512 << 20)


def test_where_growth_is_refused_the_others_take_it() -> None:
    """A quota on /a, which has most room: ten seconds long it keeps what it has, and says so."""
    refused = Observation(own=OwnCounters(disks=(("/a", GIB),)), refused=("/a",))
    state, among = survey(Spread(), (EMPTY_A, EMPTY_B), refused, 50.0, ORDERS)
    assert state.rests["/a"] == Rest(50.0 + RETRY_S, Reason.REFUSED)
    assert laid(20 * GIB, among) == {"/a": 1, "/b/load": 19}
    assert spread(90 * GIB, among)[0].reason is Reason.REFUSED
    later, _ = survey(state, (EMPTY_A, EMPTY_B), seen(), 61.0, ORDERS)
    assert later.rests == {}


def test_a_small_disk_that_fills_up_is_watched_closely() -> None:
    """Its own room and pace count, not the sum: /b falls from 16 to 12 GiB beside an empty /a."""
    held = {"/b/load": 5 * GIB}
    first = replace(EMPTY_B, used_bytes=34 * GIB, available_bytes=16 * GIB)
    then = replace(EMPTY_B, used_bytes=38 * GIB, available_bytes=12 * GIB)
    state, among = survey(Spread(), (EMPTY_A, first), seen(held=held), 50.0, ORDERS)
    assert not tight(state, among, ORDERS.policy)
    state, among = survey(state, (EMPTY_A, then), seen(held=held), 50.8, ORDERS)
    assert tight(state, among, ORDERS.policy)
    # 5 GiB a second: 2.5 will be gone in half a second, of 7 above the floor.
    assert among[1].most_bytes == 5 * GIB + (40 - 38) * GIB
    assert among[1].reason is Reason.CEILING


def test_a_stresser_that_ends_while_a_sensor_fails_is_not_started_at_once() -> None:
    """Nor is a filesystem kept that an operator asks for in that moment."""
    state = Spread(parts=(Part(A, GIB), Part(B, GIB)))
    gave_up = StresserExit(
        resource=Resource.DISK, cause=ExitCause.KILLED, detail="killed", path="/a"
    )
    after, among = survey(state, (), seen(gave_up), 50.0, ORDERS)
    assert among == ()
    assert kept(after, ORDERS) == (Part(B, GIB),)
    assert kept(after, replace(ORDERS, released=frozenset({"/b"}))) == ()
