"""What has come of it: the records and reports that history, status and log are made of."""

from __future__ import annotations

import enum
from array import array
from dataclasses import dataclass, replace
from typing import NamedTuple

from optimizer.counters import Reading
from optimizer.model import Intent, PerResource, Plan, Sample, Utilisation
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


MOST_RATIO = 2
"""Counters that are read apart may give a little more than 1; no reading gives more than this."""


class EventKind(enum.Enum):
    """What may happen beside the samples: one word shared by history and log."""

    STARTED = "daemon.started"
    """A daemon started, and the one before it had stopped, or there was none."""
    RESTARTED = "daemon.restarted"
    """A daemon started after a crash, a kill or a power cut: the one before it never stopped."""
    STOPPED = "daemon.stopped"
    """A daemon ended in good order; the detail is its exit code."""
    PAUSED = "load.paused"
    """An order not to load came into force, or took the place of another one."""
    RESUMED = "load.resumed"
    """Such an order is over; the detail says how."""
    MAINTENANCE_BEGAN = "maintenance.began"
    """A maintenance window took the load away."""
    MAINTENANCE_ENDED = "maintenance.ended"
    """A maintenance window is over; the detail says how."""
    RELOADED = "config.reloaded"
    """Another configuration is in force; the detail names the keys."""
    REJECTED = "config.rejected"
    """A configuration has faults, so the last good one stays; the detail is the first fault."""
    TRIPPED = "stresser.tripped"
    """A stresser ended too often and stays off; the detail names the resource."""
    PRESSURE_BEGAN = "pressure.began"
    """Memory ran short, so all was given back for a while."""
    PRESSURE_ENDED = "pressure.ended"
    """Memory is held again, or something else forbids it."""
    CLOCK_STEPPED = "clock.stepped"
    """Somebody set the UTC clock, by what the detail says; the event has the new time."""
    SLEPT = "host.slept"
    """The host was suspended, and is back; the detail says for how long."""
    RESTORED = "history.restored"
    """No daemon ran, and a backup took the place of the history; the detail names it."""
    IMPORTED = "history.imported"
    """Rows from elsewhere were added; the detail says how many, of which time and from where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of the history, at the time when the daemon saw it.

    `since_utc_s` is when the order was given or the window began, which may
    be before the daemon ran; `until_utc_s` None: without an end, or none known.
    """

    utc_s: float
    kind: EventKind
    reason: str = ""
    by: str = ""
    since_utc_s: float | None = None
    until_utc_s: float | None = None
    detail: str = ""


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


class HistoryRow(NamedTuple):
    """A row of the history as it is stored, exported and imported.

    The ratios are 0 to 1 and, with the reasons, None where unknown. `utc_s` is
    the whole second in which the span ended.
    """

    utc_s: int
    span_s: float
    cpu: float | None = None
    cpu_own: float | None = None
    cpu_steal: float | None = None
    memory: float | None = None
    memory_own: float | None = None
    disk: float | None = None
    disk_own: float | None = None
    cpu_setpoint: float | None = None
    memory_setpoint: float | None = None
    disk_setpoint: float | None = None
    cpu_reason: str | None = None
    memory_reason: str | None = None
    disk_reason: str | None = None


class Past(NamedTuple):
    """A sample of the history: its end and length, and (total, organic) of each resource."""

    utc_s: float
    span_s: float
    usage: PerResource[tuple[float | None, float | None]]

    @classmethod
    def of(cls, sample: Sample) -> Past:
        """What the history will have of a sample."""

        def pair(usage: Utilisation | None) -> tuple[float | None, float | None]:
            return (None, None) if usage is None else (usage.total_ratio, usage.organic_ratio)

        cpu, memory, disk = map(pair, sample.usage)
        return cls(sample.utc_s, sample.span_s, PerResource(cpu=cpu, memory=memory, disk=disk))


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Rows of the history as columns, in the order in which they were written.

    A row covers the `span_s` seconds that end at `utc_s`. `of` has three
    values of each row in turn: total, own, setpoint; negative where unknown.
    `disk_reason` is that of the newest row, as in model.Reason.
    """

    utc_s: array[float]
    span_s: array[float]
    of: PerResource[array[float]]
    disk_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What the planner wants of one resource, and how its judged window stands.

    `statistic` is None when the policy does not judge it. `ratio` is the judged
    figure of the known minutes, None when none is known; it lies between `low`
    and `high` whatever the others were. `met` tells whether it reaches the
    target. `eta_s` is after how long it will, at this setpoint; None when it does
    already, or will not (`limited`: because something keeps the load down).
    `forecast` is the model used, `forecast_error` its mean absolute error on the
    last days, `naive_error` that of seasonal-naive.
    """

    setpoint_ratio: float
    intent: Intent
    statistic: str | None
    window_days: float
    ratio: float | None
    low: float
    high: float
    coverage: float
    met: bool | None
    eta_s: float | None = None
    limited: bool = False
    full_in_days: float | None = None
    forecast: str | None = None
    forecast_error: float | None = None
    naive_error: float | None = None

    def resting(self, intent: Intent) -> Outlook:
        """The same with nothing to hold."""
        return replace(self, setpoint_ratio=0.0, intent=intent)


def levels(outlooks: PerResource[Outlook]) -> PerResource[float]:
    """The setpoints alone."""
    cpu, memory, disk = (one.setpoint_ratio for one in outlooks)
    return PerResource(cpu=cpu, memory=memory, disk=disk)


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
    outlooks: PerResource[Outlook] | None = None
