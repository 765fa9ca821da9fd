"""The doors between the loop and the world: each has one real adapter and one fake.

tests/fakes.py holds the fakes; tests/contract/ runs the same tests on both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from optimizer.counters import CpuCounters, HostReading
from optimizer.model import Observation, PerResource, Plan
from optimizer.orders import Inhibit
from optimizer.outcome import (
    CycleReport,
    Event,
    EventKind,
    Past,
    PeriodMeans,
    Record,
    StresserState,
)


class Clock(Protocol):
    """Time, and the only place where the daemon waits."""

    def monotonic(self) -> float:
        """Seconds that never go back; for control."""
        ...

    def utc(self) -> float:
        """Seconds since the epoch; for rows and files."""
        ...

    def beat(self, period_s: float) -> float:
        """The next instant of a rhythm of that period that suits the host."""
        ...

    def wait_until(self, monotonic_s: float) -> None:
        """Return at that time, or earlier when a signal or a call of a stresser has come in."""
        ...


class Sensors(Protocol):
    """Reads the host's counters."""

    def read(self) -> HostReading:
        """All counters now. A sensor that fails is None in the reading; never raises."""
        ...

    def read_cpu(self) -> tuple[float, CpuCounters | None]:
        """The CPU counters alone, None when that fails, and when (monotonic). Never raises."""
        ...


class Actuators(Protocol):
    """Holds the stressers: obeys leases, reports what they use, decides nothing."""

    def observe(self) -> Observation:
        """What the stressers have used and hold now, and which ended since the last call."""
        ...

    def cpu_used_s(self) -> float:
        """The CPU seconds of `observe().own`, now; without looking at anything else."""
        ...

    def apply(self, plan: Plan) -> None:
        """Renew the leases; start a stresser when its lease is above 0 and it does not run."""
        ...

    def renew_cpu(self, demand_ratio: float) -> bool:
        """Renew the lease of CPU stressers and end their watch; starts nothing.

        False when none runs.
        """
        ...

    def doubts(self) -> tuple[str, ...]:
        """What the last plan decided and is not so, in words; empty when all is."""
        ...

    def states(self) -> PerResource[StresserState]:
        """How each stresser is, for people to read."""
        ...

    def release(self) -> None:
        """End all stressers at once, without waiting; the next plan may start them again."""
        ...

    def close(self, deadline_s: float) -> tuple[int, ...]:
        """End all stressers, wait up to `deadline_s`; the pids that are still there."""
        ...


class History(Protocol):
    """Keeps the samples of the policy's window, and what happened meanwhile."""

    def append(self, record: Record) -> bool:
        """Store one record; True once it is on stable storage, False while it waits in memory."""
        ...

    def means(self, now_utc_s: float, days: float) -> PeriodMeans:
        """Means over the `days` days that end now. Raises HistoryError."""
        ...

    def note(self, event: Event) -> bool:
        """Store one event as `append` does a record; never raises."""
        ...

    def last(self, kinds: Collection[EventKind]) -> Event | None:
        """The event of one of these kinds that was noted last. Raises HistoryError."""
        ...

    def past(self, from_utc_s: float, to_utc_s: float) -> Iterable[Past]:
        """The samples that ended in that time, oldest first. Raises HistoryError, also later."""
        ...

    def close(self) -> None:
        """Flush and close."""
        ...


class Switch(Protocol):
    """The operator's orders, given through files."""

    def inhibit(self, now_utc_s: float) -> Inhibit | None:
        """The order not to load that is in force now, if any; never raises."""
        ...

    def released(self, now_utc_s: float) -> frozenset[str]:
        """The mount points that an operator has asked for; never raises."""
        ...

    def resumed(self) -> bool:
        """True once after each `optimizer resume`."""
        ...

    def resumed_utc_s(self) -> float | None:
        """When an operator last resumed, None when never; never raises."""
        ...


class Log(Protocol):
    """Structured events: a stable `noun.verb_past` name and facts in fields."""

    def debug(self, event: str, **fields: object) -> object:
        """For the developer."""
        ...

    def info(self, event: str, **fields: object) -> object:
        """Normal operation."""
        ...

    def warning(self, event: str, **fields: object) -> object:
        """A promise is weakened; the fields say which and what to do."""
        ...

    def error(self, event: str, **fields: object) -> object:
        """Something failed that needs a person."""
        ...

    def exception(self, event: str, **fields: object) -> object:
        """An error with the traceback of the exception being handled."""
        ...


class Notifier(Protocol):
    """Shows the daemon's state to the outside."""

    def publish(self, report: CycleReport) -> None:
        """Make the state of this cycle visible; never raises."""
        ...

    def recorded(self, report: CycleReport) -> None:
        """Tell that a sample was taken and appended to the history; never raises."""
        ...


@dataclass(slots=True, kw_only=True)
class Ports:
    """The loop's doors to the world."""

    clock: Clock
    sensors: Sensors
    actuators: Actuators
    history: History
    switch: Switch
    notifier: Notifier
    log: Log
