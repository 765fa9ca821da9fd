"""What a host did in a period, and how its policy judges that: the values behind every report.

All ratios are 0 to 1; None is unknown. Nothing is rounded here.
"""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.control.statistic import Figure
from optimizer.model import PerResource, Resource
from optimizer.outcome import Event


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A whole UTC day: its means, and the judged window that ends with it (or now, in the last).

    `figure` is None when the policy does not judge the resource; `met` also
    when nothing is known.
    """

    start_utc_s: float
    organic_ratio: float | None
    own_ratio: float | None
    coverage: float
    figure: Figure | None
    met: bool | None


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
    judged), `organic_figure` what it would be without our load.
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
        return self.statistic is not None and self.target_ratio > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A host over a period of time, up to `to_utc_s`.

    `met` is the policy's verdict over all resources, by its combination; None
    when it cannot be told. `gap_policy` says how missing minutes count.
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
    events: tuple[Event, ...]
