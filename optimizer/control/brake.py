"""What the hypervisor and the bill allow: steal, and our own core-hours a day. Only ever lowers.

Steal means that the host of this VM is short of CPU: a noisy neighbour, or a
VM that has used up its burst credits. Burning more is then taken from others,
or paid for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from optimizer.control.guard import Limited
from optimizer.counters import Reading
from optimizer.model import Reason
from optimizer.orders import Policy

_LOOK_S = 0.75
"""Steal is looked at about once a second: hundredths of a second are all that is told."""
_MEAN_S = 10.0
"""Over about how long the share of steal is averaged."""
_LOWER_FACTOR = 0.8
"""For each second with too much steal: half is given up within about three."""
_EASE_RATIO = 0.5
"""Growth begins when steal is below this part of what is allowed."""
_GROWTH_PER_S = 0.005
"""Capacities per second: from nothing to a share of 40 % in 80 s."""
_NOTHING_RATIO = 0.0005
"""A mean below this is no steal: one hundredth of a second in ten on two CPUs.

Without it the mean would only come near to nothing, and never end a brake of 0 %.
"""
_GAP_S = 5.0
"""Readings further apart than this (suspend, stop) tell nothing of the present steal."""
_DAY_S = 86400
_RENEWED_S = 20 * 3600.0
"""Least time from one day's hours to the next.

Less than a day, so that a clock that was set forwards by hours keeps its midnights.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """Most that steal lets us demand (share of the capacity), and what that follows from."""

    most_ratio: float = 1.0
    steal_ratio: float = 0.0
    at_s: float | None = None
    steal_s: float = 0.0
    total_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnHours:
    """CPU seconds of our own on one UTC day (days since the epoch); `counter_s` was last seen.

    `renewed_s` is the steady time at which the count last began at nothing,
    None before the first midnight after the start.
    """

    day: int = 0
    used_s: float = 0.0
    counter_s: float | None = None
    renewed_s: float | None = None


def press(before: Brake, reading: Reading, demand_ratio: float, policy: Policy) -> Brake:
    """The brake after a reading; unchanged when there is nothing new to be seen.

    A missing or backward counter and a gap in time neither lower nor raise.
    """
    cpu, now_s = reading.host.cpu, reading.host.monotonic_s
    if cpu is None or (before.at_s is not None and 0 <= now_s - before.at_s < _LOOK_S):
        return before
    total_s, steal_s = cpu.total_s - before.total_s, cpu.steal_s - before.steal_s
    span_s = 0.0 if before.at_s is None else now_s - before.at_s
    most, share = before.most_ratio, before.steal_ratio
    if 0 < span_s <= _GAP_S and total_s > 0 and steal_s >= 0:
        # Rounding, and iowait that runs back, can make it more than all there was.
        share += (min(1.0, steal_s / total_s) - share) * min(1.0, span_s / _MEAN_S)
        share = share if share >= _NOTHING_RATIO else 0.0
        if share > policy.steal_max_ratio:
            most = min(most, demand_ratio) * _LOWER_FACTOR**span_s
        elif share <= policy.steal_max_ratio * _EASE_RATIO:
            most = min(1.0, most + _GROWTH_PER_S * span_s)
    return Brake(
        most_ratio=most,
        steal_ratio=share,
        at_s=now_s,
        steal_s=cpu.steal_s,
        total_s=cpu.total_s,
    )


def charge(before: OwnHours, reading: Reading) -> OwnHours:
    """Our CPU time of this UTC day with what was used since the reading before.

    Another UTC day begins at nothing, but not within 20 hours of the last such
    beginning, by the time that no step moves: then the count goes on until the
    midnight after. So a clock that is set to and fro does not give the hours of
    many days, and one that was years ahead does no lasting harm.
    """
    host, day = reading.host, int(reading.host.utc_s // _DAY_S)
    counter_s, renewed_s = reading.own.cpu_s, before.renewed_s
    new_s = 0.0 if before.counter_s is None else max(0.0, counter_s - before.counter_s)
    if renewed_s is None:
        same_day = day <= before.day
    else:
        same_day = day == before.day or host.steady_s - renewed_s < _RENEWED_S
    if same_day:
        return replace(before, day=day, used_s=before.used_s + new_s, counter_s=counter_s)
    return OwnHours(day=day, used_s=new_s, counter_s=counter_s, renewed_s=host.steady_s)


def caps(brake: Brake, hours: OwnHours, policy: Policy) -> tuple[Limited, ...]:
    """What these two allow of the CPU; empty when they allow all."""
    found = []
    if brake.most_ratio < 1.0:
        found.append(Limited(demand_ratio=brake.most_ratio, reason=Reason.STEAL))
    most_hours = policy.own_hours_max
    if most_hours is not None and hours.used_s >= most_hours * 3600:
        found.append(Limited(demand_ratio=0.0, reason=Reason.OWN_HOURS))
    return tuple(found)


def known_until(utc_s: float, used_s: float) -> OwnHours:
    """What a start begins with: `used_s` of that time's UTC day are used already."""
    return OwnHours(day=int(utc_s // _DAY_S), used_s=used_s)


def midnight(utc_s: float) -> float:
    """When the UTC day of that time began, in seconds since the epoch."""
    return utc_s // _DAY_S * _DAY_S
