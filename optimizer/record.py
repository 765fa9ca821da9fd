"""The slow half of a cycle: samples appended to the history, and the state made visible."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from optimizer.chronicle import Chronicle
from optimizer.control.decide import Verdict
from optimizer.control.estimate import estimate
from optimizer.control.lifecycle import BURST_LIMIT, BURST_WINDOW_S
from optimizer.control.passage import Passage
from optimizer.counters import Reading
from optimizer.errors import HistoryError
from optimizer.model import Plan, Reason, Sample
from optimizer.orders import Orders, Settled
from optimizer.outcome import (
    ClockStep,
    CycleReport,
    EventKind,
    PeriodMeans,
    Record,
)
from optimizer.planning import Planning
from optimizer.ports import Ports

RECENT_READINGS = 6
"""Readings, one for each publication, over which the utilisation is shown to people.

Twelve seconds or so, and up to thirty while nothing moves.
"""
PUBLISH_S = 2.0
"""How often the state is made visible and the outside is looked after, if nothing changes.

A publication costs more than two cycles.
"""
CALM_PUBLISH_S = 5.0
"""The same while nothing moves."""
MEANS_PAUSE_FACTOR = 500
"""A query that took a second is not made again for 500: a fifth of a percent of the time.

With 43,200 rows it takes 26 ms; only short intervals make histories much longer.
"""
_EARLY_S = 0.05
"""A cycle may come this much early: half of the shortest period."""
_LIMITS = frozenset(
    (
        *(Reason.STEAL, Reason.OWN_HOURS, Reason.THROTTLED, Reason.CPU_LIMITED),
        *(Reason.PRESSURE, Reason.RELEASED, Reason.REFUSED),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What was last measured and appended, for people to see."""

    sample: Sample | None = None
    means: PeriodMeans | None = None
    acknowledged: bool = True
    step: ClockStep | None = None


class Recorder:
    """Takes what full cycles have read and decided."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self.chronicle = Chronicle(ports.history, ports.log, ports.clock.utc)
        self._first: Reading | None = None
        self._record_due_s = 0.0
        self._recent: deque[Reading] = deque(maxlen=RECENT_READINGS)
        self._shown = _Shown()
        self._cpus = 0.0
        self._published_s = float("-inf")
        self._reasons: tuple[Reason, ...] = ()
        self._shown_parts: tuple[tuple[str, Reason | None, bool], ...] = ()
        self._means_due_s = 0.0
        self._awaiting = False
        self.planning = Planning(ports)

    def publish_soon(self) -> None:
        """Whatever the next cycle brings is to be seen."""
        self._published_s = float("-inf")

    def take(
        self,
        reading: Reading,
        verdict: Verdict,
        orders: Orders,
        settled: Settled,
        *,
        gap: bool,
        calm: bool,
        cycle_count: int,
    ) -> bool:
        """Append and publish what is due; whether anything was published.

        `gap` tells that there was a gap in time since the cycle before, `calm`
        that the next one comes later.
        """
        self._log_passage(verdict.passage, reading.host.utc_s)
        cpus = verdict.state.track.cpus
        if gap or (cpus and cpus != self._cpus):
            # Nothing can be said over a gap, nor from one number of CPUs to another.
            self._cpus = cpus
            self._recent.clear()
            self._first = None
        if self.chronicle.see_order(orders.inhibit):
            self.publish_soon()
        recorded = self._record(reading, verdict, settled)
        if not self._due(reading, verdict, recorded=recorded, calm=calm):
            return False
        self._publish(reading, verdict, orders, settled, cycle_count, recorded=recorded)
        return True

    def _record(self, reading: Reading, verdict: Verdict, settled: Settled) -> bool:
        """Append the sample of the interval that has just ended; whether there was one."""
        now_s = reading.host.monotonic_s
        if self._first is None:
            self._first, self._record_due_s = reading, now_s + settled.interval_s
            return False
        if now_s < self._record_due_s - _EARLY_S:
            return False
        self._record_due_s = max(self._record_due_s, now_s - PUBLISH_S) + settled.interval_s
        sample = estimate(self._first, reading, settled.policy)
        self._first = reading
        history = self._ports.history
        acknowledged = history.append(Record(sample=sample, plan=verdict.plan))
        self._shown = replace(self._shown, sample=sample, acknowledged=acknowledged)
        self.planning.take(sample, verdict.plan, settled)
        self._refresh_means(settled)
        return True

    def _refresh_means(self, settled: Settled) -> None:
        """Ask the history for the means, but spend no more than a small share of the time on it."""
        clock = self._ports.clock
        start_s = clock.monotonic()
        if start_s < self._means_due_s:
            return
        try:
            means = self._ports.history.means(clock.utc(), settled.period_days)
        except HistoryError as exc:
            self._ports.log.warning("history.read_failed", cause=str(exc))
            means = None
        end_s = clock.monotonic()
        self._means_due_s = end_s + (end_s - start_s) * MEANS_PAUSE_FACTOR
        self._shown = replace(self._shown, means=means)

    def _due(self, reading: Reading, verdict: Verdict, *, recorded: bool, calm: bool) -> bool:
        if recorded:
            return True
        called = verdict.plan.cpu.reason is Reason.MEASURING and not verdict.measuring
        self._awaiting = called and not self._awaiting
        if self._awaiting:
            return False  # a stresser has called: the next cycle knows more
        pause_s = CALM_PUBLISH_S if calm else PUBLISH_S
        late = reading.host.monotonic_s >= self._published_s + pause_s - _EARLY_S
        changed = tuple(decision.reason for decision in verdict.plan) != self._reasons
        return late or changed or _parts(reading, verdict.plan) != self._shown_parts

    def _publish(
        self,
        reading: Reading,
        verdict: Verdict,
        orders: Orders,
        settled: Settled,
        cycle_count: int,
        *,
        recorded: bool,
    ) -> None:
        self._log_limits(verdict.plan, self._reasons)
        self.chronicle.see_reasons(verdict.plan, self._reasons)
        self._reasons = tuple(decision.reason for decision in verdict.plan)
        self._shown_parts = _parts(reading, verdict.plan)
        self._published_s = reading.host.monotonic_s
        recent = None
        if self._recent:
            recent = estimate(self._recent[0], reading, orders.policy)
        self._recent.append(reading)
        if self._shown.means is None:
            self._refresh_means(settled)
        shown = self._shown
        report = CycleReport(
            utc_s=reading.host.utc_s,
            cycle_count=cycle_count,
            recent=recent,
            sample=shown.sample,
            plan=verdict.plan,
            orders=orders,
            stressers=self._ports.actuators.states(),
            means=shown.means,
            own_day_s=verdict.state.hours.used_s,
            acknowledged=shown.acknowledged,
            sensor_failures=reading.host.failures,
            reading=reading,
            clock_step=shown.step,
            outlooks=self.planning.outlooks,
        )
        if recorded:
            self._ports.notifier.recorded(report)
        self._ports.notifier.publish(report)

    def _log_passage(self, passage: Passage, utc_s: float) -> None:
        """Say when the host has slept and when somebody has set the clock."""
        if passage.slept_s:
            slept_s = round(passage.slept_s, 3)
            self._ports.log.info(EventKind.SLEPT.value, seconds=slept_s)
            self.chronicle.note(EventKind.SLEPT, detail=f"for {slept_s:g} s")
        if passage.stepped_s:
            seconds = round(passage.stepped_s, 3)
            self._ports.log.warning(
                EventKind.CLOCK_STEPPED.value,
                seconds=seconds,
                remedy="see that one time service runs here",
            )
            self.chronicle.note(EventKind.CLOCK_STEPPED, detail=f"by {seconds:+g} s")
            self._shown = replace(self._shown, step=ClockStep(utc_s=utc_s, seconds=seconds))

    def _log_limits(self, plan: Plan, before: tuple[Reason, ...]) -> None:
        """Say when something begins or ceases to keep the load below its target."""
        for decision, old in zip(plan, before, strict=False):
            if decision.reason is old:
                continue
            name = decision.resource.value
            if decision.reason is Reason.STRESSER_TRIPPED:
                self._ports.log.error(
                    EventKind.TRIPPED.value,
                    resource=name,
                    ends=BURST_LIMIT,
                    within_s=BURST_WINDOW_S,
                    remedy="mend what stresser.exited says, then run `optimizer resume`",
                )
            elif decision.reason in _LIMITS:
                self._ports.log.warning(
                    "demand.limited", resource=name, reason=decision.reason.value
                )
            elif old in _LIMITS:
                self._ports.log.info("demand.freed", resource=name, reason=old.value)


def _parts(reading: Reading, plan: Plan) -> tuple[tuple[str, Reason | None, bool], ...]:
    """What people wait for on each filesystem: why it holds no more, and whether it holds any."""
    reasons = {part.place.path: part.reason for part in plan.disk.parts}
    return tuple((path, reasons.get(path), held > 0) for path, held in reading.own.disks)
