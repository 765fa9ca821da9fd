"""What a host did in a period, and how its policy judges that: the values behind every report.

All ratios are 0 to 1; None is unknown. Nothing is rounded here.
"""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.control.statistic import COVERAGE_ENOUGH, Figure
from optimizer.model import PerResource, Resource
from optimizer.outcome import Event

SHADED_FROM = 0.5
"""An open verdict on less of its window than this is shown without a colour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Means over the known part of a stretch of time; all None when nothing of it is known.

    `setpoint_ratio` is what was asked for on average, None for
    rows that do not tell.
    """

    start_utc_s: float
    length_s: float
    organic_ratio: float | None
    own_ratio: float | None
    setpoint_ratio: float | None
    coverage: float

    @property
    def total_ratio(self) -> float | None:
        """Organic and own."""
        return _sum(self.organic_ratio, self.own_ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A whole UTC day: its means, and the judged window that ends with it (or now, in the last).

    `figure` is None when the policy does not judge the resource; `met` also
    when nothing is known. `certain` tells that the unknown minutes are few or
    could not turn the verdict.
    """

    start_utc_s: float
    organic_ratio: float | None
    own_ratio: float | None
    coverage: float
    figure: Figure | None
    met: bool | None
    certain: bool

    @property
    def total_ratio(self) -> float | None:
        """Organic and own."""
        return _sum(self.organic_ratio, self.own_ratio)

    @property
    def weak(self) -> bool:
        """Whether it is judged by a figure of too little of its window."""
        return _is_weak(self.figure)

    @property
    def shaded(self) -> bool:
        """Whether enough is known to show the verdict by a colour."""
        return self.certain or (self.figure is not None and self.figure.coverage >= SHADED_FROM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Part of the known time (0 to 1) in which the utilisation lay in [low, high).

    The last class has the upper bound, too.
    """

    low_ratio: float
    high_ratio: float
    total: float
    organic: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceAccount:
    """One resource over the period.

    `statistic` (`mean`, `p95`, `peak`) is None when the policy does not judge
    it; `figure` is that of the window that ends now (a mean where none is
    judged), `organic_figure` what it would be without our load. `slot_s` is the
    length of the slots whose means it is made of. `certain` tells that the
    unknown minutes are few or could not turn the verdict. `absent` is why
    there is nothing to judge (`no_data_disk`, `no_disk`), None where there is.
    `stretches` cover the whole period in order and are of equal length.
    `hour_of_week` has 168 (total, organic), from Monday 00:00 UTC on.
    `capacity` is CPUs or bytes, None where it is not known; `own_core_hours`
    only for the CPU. `below_hours` is how long the
    total was known to be below the target. `organic_p95_ratio` and
    `organic_peak_ratio` are of the rows of the period.
    """

    resource: Resource
    statistic: str | None
    window_days: float
    target_ratio: float
    figure: Figure
    organic_figure: Figure
    met: bool | None
    certain: bool
    absent: str | None
    slot_s: float
    capacity: float | None
    total_ratio: float | None
    organic_ratio: float | None
    own_ratio: float | None
    organic_p95_ratio: float | None
    organic_peak_ratio: float | None
    coverage: float
    below_hours: float
    own_core_hours: float | None
    stretches: tuple[Stretch, ...]
    last_day: tuple[Stretch, ...]
    days: tuple[Day, ...]
    distribution: tuple[Share, ...]
    hour_of_week: tuple[tuple[float | None, float | None], ...]

    @property
    def judged(self) -> bool:
        """Whether the policy judges it; with a target of 0 it is only watched."""
        return self.statistic is not None and self.target_ratio > 0 and self.absent is None

    @property
    def left_out(self) -> bool:
        """Whether the policy would judge it if the host had it."""
        return self.statistic is not None and self.target_ratio > 0 and self.absent is not None

    @property
    def earlier_weak(self) -> bool:
        """Whether the window of a day before today is known in part only."""
        return any(day.weak for day in self.days[:-1])

    @property
    def weak(self) -> bool:
        """Whether its figure is of too little of its window."""
        return _is_weak(self.figure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A host over a period of time, up to `to_utc_s`.

    `met` is the policy's verdict over all resources, by its combination; None
    when it cannot be told. `certain` tells that no unknown minute can turn it.
    `gap_policy` says how missing minutes count.
    `first_utc_s` is when the first row of the period began, None without any:
    on a new host that, not a fault, is why the coverage is low.
    """

    host: str
    version: str
    policy: str
    policy_says: str
    policy_source: str
    policy_as_of: str
    combination: str
    strategy: str
    gap_policy: str
    cpus: int | None
    nominal_memory_gb: float | None
    size_class: str
    from_utc_s: float
    to_utc_s: float
    first_utc_s: float | None
    days: float
    of: PerResource[ResourceAccount]
    met: bool | None
    certain: bool
    events: tuple[Event, ...]


def _sum(organic: float | None, own: float | None) -> float | None:
    return None if organic is None or own is None else organic + own


def _is_weak(figure: Figure | None) -> bool:
    return figure is not None and figure.ratio is not None and figure.coverage < COVERAGE_ENOUGH
