"""What has come of it: the records and reports that history, status and log are made of."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.counters import Reading
from optimizer.model import PerResource, Plan, Sample
from optimizer.orders import Orders


@dataclass(frozen=True, slots=True, kw_only=True)
class StresserState:
    """One stresser as the pool sees it, for people to read.

    `means` names the kernel means in force (SCHED_IDLE, oom_score_adj, ...)
    and `missing` those that this host denies, each with what that costs.
    `place` is where it holds (a mount or directory), if it holds anywhere.
    `faults` says for each path what keeps a disk stresser there from growing.
    """

    pids: tuple[int, ...] = ()
    means: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    place: str | None = None
    last_error: str | None = None
    faults: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One row of the history: the sample of an interval and what was decided on it."""

    sample: Sample
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodMean:
    """Mean of one resource over the policy's window, weighted by the span of each sample.

    `coverage_ratio` is the share of the window for which a value is known;
    `mean_ratio` is None when that is 0.
    """

    mean_ratio: float | None
    own_mean_ratio: float | None
    coverage_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodMeans:
    """The means of the three resources over the same window of `days` days."""

    days: float
    rows: int
    of: PerResource[PeriodMean]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockStep:
    """The UTC clock was set by `seconds` (negative: back); `utc_s` is what it said just after."""

    utc_s: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleReport:
    """All that can be said after a cycle; what status, metrics and log are made of.

    `recent` is the utilisation over the last ten seconds or so, `sample` the
    last one over a whole CHECK_INTERVAL_SECONDS; None while there is none yet.
    `reading` is what was last read. `own_day_s` is our own CPU time on this UTC
    day, None where nobody has counted it. `clock_step` is the last one since
    the start.
    """

    utc_s: float
    cycle_count: int
    recent: Sample | None
    sample: Sample | None
    plan: Plan
    orders: Orders
    stressers: PerResource[StresserState]
    means: PeriodMeans | None
    own_day_s: float | None = None
    acknowledged: bool = True
    sensor_failures: tuple[tuple[str, str], ...] = ()
    reading: Reading | None = None
    clock_step: ClockStep | None = None
