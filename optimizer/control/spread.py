"""Which filesystem holds how much: most first where there is most headroom.

What is held stays where it is while it may; it is given back first where
others need it most. A filesystem whose floor was touched, or whose stresser
ended, takes nothing more for a while; the others go on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from optimizer.control.drain import GIVE_AHEAD_S, Drain, watch
from optimizer.control.guard import RESUME_S
from optimizer.counters import DiskCounters
from optimizer.model import ExitCause, Observation, Part, Reason, Resource
from optimizer.orders import Floor, Orders, Policy

INODE_FLOOR_RATIO = 0.05
"""Share of a filesystem's inodes that stays free: below it everything is given back there."""
RESUME_ROOM_RATIO = 0.02
"""A hold-off on a filesystem ends only with this share of it to spare above the floor."""
RETRY_S = 10.0
"""Least time without a stresser that gave up, however short the hold-off is."""


class Rest(NamedTuple):
    """One filesystem takes nothing more until then (monotonic seconds), and why."""

    until_s: float
    reason: Reason


Rests = Mapping[str, Rest]
"""By path."""


class Share(NamedTuple):
    """What one filesystem may hold at most, what it holds, and what sets that limit."""

    disk: DiskCounters
    most_bytes: int
    held_bytes: int
    reason: Reason | None


class Spread(NamedTuple):
    """What is remembered: who rests, how fast others take what is left, and the last parts."""

    rests: Rests = MappingProxyType({})
    drains: Mapping[str, Drain] = MappingProxyType({})
    parts: tuple[Part, ...] = ()


def survey(
    before: Spread,
    disks: tuple[DiskCounters, ...],
    seen: Observation,
    now_s: float,
    orders: Orders,
) -> tuple[Spread, tuple[Share, ...]]:
    """The state after a reading, and what each filesystem may hold.

    Without filesystems (the sensor fails, or it is only measured) only the
    stressers that have ended count.
    """
    held = dict(seen.own.disks)
    rests = rested(before.rests, disks, seen, now_s, orders)
    drains = {
        disk.place.path: watch(
            before.drains.get(disk.place.path, Drain()),
            _room(disk, orders.policy.disk_floor) + held.get(disk.place.path, 0),
            now_s,
        )
        for disk in disks
    }
    after = Spread(rests, drains if disks else before.drains, before.parts)
    among = tuple(
        _share(
            disk,
            held.get(disk.place.path, 0),
            rests.get(disk.place.path),
            drains[disk.place.path],
            orders,
        )
        for disk in disks
    )
    return after, among


def rested(
    before: Rests,
    disks: tuple[DiskCounters, ...],
    seen: Observation,
    now_s: float,
    orders: Orders,
) -> dict[str, Rest]:
    """Who rests: where a floor is touched, a stresser has ended, or growth was refused."""
    held, policy = dict(seen.own.disks), orders.policy
    rests = {path: rest for path, rest in before.items() if rest.until_s > now_s}
    if orders.resumed:
        rests = {path: rest for path, rest in rests.items() if rest.reason is Reason.HOLD_OFF}
    for path in seen.refused:
        rests.setdefault(path, Rest(now_s + RETRY_S, Reason.REFUSED))
    for disk in disks:
        path, room = disk.place.path, _room(disk, policy.disk_floor)
        if path in rests and rests[path].reason is Reason.STRESSER_DOWN:
            continue  # it holds nothing there
        known = before.get(path)
        waits = known is not None and known.reason is Reason.HOLD_OFF
        if _inodes_short(disk) or (room < 0 and held.get(path, 0) > 0):
            rests[path] = Rest(now_s + policy.hold_off_s, Reason.HOLD_OFF)
        elif waits and path not in rests and room < RESUME_ROOM_RATIO * disk.size_bytes:
            rests[path] = Rest(now_s + RESUME_S, Reason.HOLD_OFF)
    for event in seen.exits:
        if event.resource is Resource.DISK and event.path is not None:
            expired = event.cause is ExitCause.EXPIRED
            pause_s = RETRY_S if expired else max(RETRY_S, policy.hold_off_s)
            known = rests.get(event.path)
            # A hold-off that is in force there is not cut short.
            until_s = max(now_s + pause_s, -math.inf if known is None else known.until_s)
            rests[event.path] = Rest(until_s, Reason.STRESSER_DOWN)
    return rests


def _share(disk: DiskCounters, held: int, rest: Rest | None, drain: Drain, orders: Orders) -> Share:
    policy = orders.policy
    if disk.place.mount in orders.released:
        return Share(disk, 0, held, Reason.RELEASED)
    if rest is not None and rest.reason is Reason.STRESSER_DOWN:
        return Share(disk, 0, held, Reason.STRESSER_DOWN)
    if _inodes_short(disk):
        return Share(disk, 0, held, Reason.FLOOR)
    floor = held + _room(disk, policy.disk_floor) - int(drain.lost_bytes(GIVE_AHEAD_S))
    ceiling = held + int(policy.ceiling.disk * disk.size_bytes) - disk.used_bytes
    most, reason = min((floor, Reason.FLOOR), (ceiling, Reason.CEILING), key=lambda one: one[0])
    if rest is not None and held < most:
        most, reason = held, rest.reason
    return Share(disk, max(0, most), held, reason)


def tight(state: Spread, among: tuple[Share, ...], policy: Policy) -> bool:
    """Whether little is left somewhere beside what we hold, or will be soon at this pace."""
    return any(
        share.held_bytes > 0
        and state.drains[share.disk.place.path].is_tight(
            _room(share.disk, policy.disk_floor), share.disk.size_bytes
        )
        for share in among
    )


def kept(state: Spread, orders: Orders) -> tuple[Part, ...]:
    """The last parts, for the moment in which a sensor fails; never where nothing may be held."""
    down = {path for path, rest in state.rests.items() if rest.reason is Reason.STRESSER_DOWN}
    return tuple(
        part
        for part in state.parts
        if part.place.mount not in orders.released and part.place.path not in down
    )


def spread(
    total_bytes: float, among: tuple[Share, ...], ahead_bytes: float = math.inf
) -> tuple[Part, ...]:
    """The total, as far as the limits allow, on the filesystems; one part for each that counts.

    Those that are released or rest without a stresser get no part. On none of
    them the lease runs further ahead of what is held than `ahead_bytes`, so
    that what moves from one to another rises no faster than anything else.
    """
    leases = {share.disk.place: min(share.held_bytes, share.most_bytes) for share in among}
    excess = sum(leases.values()) - int(total_bytes)
    # By what is left to others: where that is least it is given back first, and taken last.
    by_need = sorted(among, key=lambda share: share.disk.available_bytes)
    for share in by_need:
        if excess <= 0:
            break
        back = min(excess, leases[share.disk.place])
        leases[share.disk.place] -= back
        excess -= back
    for share in reversed(by_need):
        if excess >= 0:
            break
        most = min(share.most_bytes, share.held_bytes + ahead_bytes)
        more = int(max(0, min(-excess, most - leases[share.disk.place])))
        leases[share.disk.place] += more
        excess += more
    untouched = {Reason.RELEASED, Reason.STRESSER_DOWN}
    return tuple(
        Part(
            share.disk.place,
            leases[share.disk.place],
            share.reason if leases[share.disk.place] >= share.most_bytes else None,
        )
        for share in among
        if share.reason not in untouched
    )


def room_bytes(among: tuple[Share, ...]) -> int:
    """How much more may be held on all together; negative where some must be given back."""
    return sum(share.most_bytes - share.held_bytes for share in among)


def binding(among: tuple[Share, ...]) -> Reason:
    """Why no more can be held on any of them: what most limits the one with the most left."""
    if not among:
        return Reason.FLOOR
    largest = max(among, key=lambda share: share.disk.available_bytes)
    return largest.reason or Reason.FLOOR


def _room(disk: DiskCounters, floor: Floor) -> int:
    return disk.available_bytes - int(floor.bytes_of(disk.size_bytes))


def _inodes_short(disk: DiskCounters) -> bool:
    return disk.free_inodes_ratio < INODE_FLOOR_RATIO


def room_of(disk: DiskCounters, policy: Policy) -> int:
    """How much of one filesystem may still be taken; negative when its floor is touched."""
    return -1 if _inodes_short(disk) else _room(disk, policy.disk_floor)
