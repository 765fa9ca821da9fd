"""What is wanted: the policy in numbers, and an operator's orders.

Utilisations are ratios, 0 to 1; sizes are in bytes, durations in seconds.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass

from optimizer.model import PerResource, Reason, Resource


class MemoryMetric(enum.Enum):
    """Which formula counts memory as used; pick the one the judge's agent computes."""

    AVAILABLE = "available"
    """total - MemAvailable (psutil, node_exporter idiom, Alibaba on new kernels)."""
    NOCACHE = "nocache"
    """total - free - buffers - cached - reclaimable slab + shared (Tencent, telegraf)."""
    FREE = "free"
    """total - free (plain SNMP agents)."""


class HostClass(enum.Enum):
    """Size class of a host by nominal memory; decides the default target."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


class Kind(enum.Enum):
    """What is made of all the minutes of a window."""

    MEAN = "mean"
    PERCENTILE = "percentile"
    """The value that this percent of the minutes do not exceed."""
    PEAK = "peak"
    """The highest minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """One figure of a window; `percent` above 0 and below 100 for a percentile, else unused."""

    kind: Kind = Kind.MEAN
    percent: float = 100.0

    @classmethod
    def parse(cls, text: str) -> Statistic:
        """From `mean`, `peak`, or `p` and a number as in `p95`, `p99.5`. Raises ValueError."""
        word = text.strip().lower()
        if word in {Kind.MEAN.value, Kind.PEAK.value}:
            return cls(kind=Kind(word))
        if not re.fullmatch(r"p\d{1,2}(\.\d{1,2})?", word, re.ASCII) or float(word[1:]) <= 0:
            raise ValueError(text)
        return cls(kind=Kind.PERCENTILE, percent=float(word[1:]))

    def __str__(self) -> str:
        """As parse() takes it."""
        return f"p{self.percent:g}" if self.kind is Kind.PERCENTILE else self.kind.value


class Combination(enum.Enum):
    """How the goals of the resources count together."""

    MEET_ALL = "meet_all"
    """Each is to be met: the rule of those who demand a utilisation."""
    BREAK_ANY = "break_any"
    """One suffices: a host is idle only if all the conditions for that hold."""

    def verdict(self, met: Iterable[bool | None]) -> bool | None:
        """Of the goals that are judged, each met, not met or unknown; None: it cannot be told."""
        found = list(met)
        decisive = self is Combination.BREAK_ANY
        if decisive in found:
            return decisive
        return None if not found or None in found else not decisive


class Strategy(enum.Enum):
    """How a goal is met."""

    HOLD = "hold"
    """Never below the target now, and back to it when the window has fallen behind."""
    ECONOMY = "economy"
    """The least own load that keeps every window met that ends from now on."""


class Gaps(enum.Enum):
    """How minutes without a value count."""

    UNKNOWN = "unknown"
    """Not at all: the statistic is that of the known minutes."""
    ZERO = "zero"
    """As if nothing had been used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Which statistic of how many days is judged; its target is in Policy.target."""

    statistic: Statistic = Statistic()
    window_days: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A statistic as the configuration asks for it; `days` is None where it does not say."""

    statistic: Statistic = Statistic()
    days: float | None = None

    def goal(self, period_days: float) -> Goal:
        """What is judged where a window is `period_days` long unless said otherwise."""
        return Goal(statistic=self.statistic, window_days=self.days or period_days)

    def __str__(self) -> str:
        """As AskedEach.parse() takes it."""
        return str(self.statistic) + ("" if self.days is None else f" {self.days:g}d")


@dataclass(frozen=True, slots=True)
class AskedEach:
    """What is asked of each resource; None: it is not judged."""

    of: PerResource[Asked | None]

    @classmethod
    def parse(cls, text: str) -> AskedEach:
        """From one for all (`p95`, `mean 14d`), or a list by resource. Raises ValueError.

        In a list as in `cpu p95 7d, memory mean, disk none` one that is not named
        is asked for its mean. Days are whole, 1 to 366.
        """
        parts = [part.split() for part in text.lower().split(",")]
        if len(parts) == 1 and (parts[0][:1] or [""])[0] not in _NAMES:
            asked = dict.fromkeys(_NAMES, _asked(parts[0]))
        else:
            asked = {words[0]: _asked(words[1:]) for words in parts if words}
            if len(asked) < len(parts) or not asked.keys() <= _NAMES:
                raise ValueError(text)
        cpu, memory, disk = (asked.get(resource.value, Asked()) for resource in Resource)
        if cpu is memory is disk is None:
            raise ValueError(text)
        return cls(PerResource(cpu=cpu, memory=memory, disk=disk))

    def __str__(self) -> str:
        """As parse() takes it."""
        each = zip(Resource, self.of, strict=True)
        return ", ".join(f"{resource.value} {asked or 'none'}" for resource, asked in each)


_NAMES = frozenset(resource.value for resource in Resource)


def _asked(words: list[str]) -> Asked | None:
    """From the words after the name of a resource."""
    if words == ["none"]:
        return None
    match words:
        case [statistic]:
            return Asked(statistic=Statistic.parse(statistic))
        case [statistic, days] if re.fullmatch(r"\d{1,3}d", days, re.ASCII):
            count = int(days[:-1])
            if 1 <= count <= 366:
                return Asked(statistic=Statistic.parse(statistic), days=count)
    raise ValueError(" ".join(words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is judged, and how the planner meets it; None as a goal: the resource is not judged.

    `catch_up_ratio` is how far above its target a setpoint may go, `margin_ratio`
    how far above it economy aims. `withdraw_s` is how long before a rise that
    the forecast sees own load is taken back, 0: never.
    """

    preset: str = "custom"
    goals: PerResource[Goal | None] = PerResource(cpu=Goal(), memory=Goal(), disk=Goal())
    combination: Combination = Combination.MEET_ALL
    strategy: Strategy = Strategy.HOLD
    gaps: Gaps = Gaps.UNKNOWN
    catch_up_ratio: float = 0.10
    margin_ratio: float = 0.003
    withdraw_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """What stays free: the larger of a share of the capacity and a number of bytes."""

    ratio: float
    least_bytes: float

    def bytes_of(self, capacity_bytes: float) -> float:
        """The floor of a capacity, in bytes."""
        return max(self.ratio * capacity_bytes, self.least_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All numbers that control obeys, as ratios, bytes and seconds.

    The floors are what must stay free whatever the target. `rise_per_s` limits
    growth, in capacities per second; falling is never limited. `hold_off_s` is
    how long nothing grows after a floor was touched or the memory stresser was
    killed. `lazy_memory` tells that what we hold of it counts as available all
    the same, for the kernel may take it at any time. `steal_max_ratio` is the
    share of steal above which CPU demand falls, `own_hours_max` our CPU time in
    core-hours on one UTC day, None: no limit.
    """

    target: PerResource[float]
    ceiling: PerResource[float]
    memory_floor: Floor
    disk_floor: Floor
    cpu_rise_per_s: float
    memory_rise_bytes_per_s: float
    disk_rise_bytes_per_s: float
    memory_metric: MemoryMetric
    lazy_memory: bool
    count_steal: bool
    hold_off_s: float
    steal_max_ratio: float = 1.0
    own_hours_max: float | None = None
    terms: Terms = Terms()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What the configuration says, as far as the loop is concerned."""

    policy: Policy
    interval_s: float
    period_days: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inhibit:
    """An order not to load: from whom, why, and until when (None = until lifted).

    `scheduled` tells that it comes from a maintenance window.
    """

    reason: str
    by: str
    until_utc_s: float | None
    since_utc_s: float | None = None
    scheduled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One run of a maintenance window; `local` is its time on the clocks of its zone, in words."""

    window: str
    start_utc_s: float
    until_utc_s: float
    local: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """The maintenance window that runs now, whether a resume has lifted it, and the next start."""

    running: Span | None = None
    lifted: bool = False
    next: Span | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What holds for this cycle beside the reading: policy and the operator's will.

    `disk_reason` says why there is no disk to hold, None when there is one.
    `resumed` is true in the one cycle after an `optimizer resume`. `released`
    are the mount points that an operator asked for. `setpoints` are those of
    the planner, None while there is none: the targets.
    """

    policy: Policy
    inhibit: Inhibit | None = None
    resumed: bool = False
    disk_reason: Reason | None = None
    released: frozenset[str] = frozenset()
    setpoints: PerResource[float] | None = None
