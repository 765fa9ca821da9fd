"""The imperative shell: read, decide, apply, record, at two rates in one thread."""

from __future__ import annotations

import gc
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from optimizer.control.brake import OwnHours
from optimizer.control.decide import ControlState, Verdict, decide, decide_cpu, still_above
from optimizer.control.estimate import estimate
from optimizer.errors import HistoryError
from optimizer.model import (
    CycleReport,
    Observation,
    Orders,
    PeriodMeans,
    Plan,
    Policy,
    Reading,
    Reason,
    Record,
    Sample,
)
from optimizer.ports import Actuators, Clock, History, Log, Notifier, Sensors, Switch

CYCLE_S = 0.1
"""The governor's period when something has just moved or may at any moment: ten times a second."""
EASY_CYCLE_S = 0.2
"""The same while a settled tenant is made up to the target: small debts are left to pay back."""
LIVELY_S = 0.5
"""For so long after the tenant has moved the cycles come at their fastest."""
RECENT_READINGS = 6
"""Readings, one for each publication, over which the utilisation is shown to people.

About ten seconds, and up to thirty while nothing moves.
"""
CALM_CYCLE_S = 1.0
"""The period while nothing moves: all that moves the host much is seen by the stressers first."""
FULL_S = 0.8
"""From one full cycle (memory, disk, orders, stressers that ended) to the next, at most.

Within the promised second; the CPU alone, which moves faster, costs a third
of a full cycle.
"""
PUBLISH_S = 2.0
"""How often the state is made visible and the outside is looked after, if nothing changes.

A publication costs more than two cycles.
"""
CALM_PUBLISH_S = 5.0
"""The same while nothing moves."""
FAILURES_ALLOWED = 2
"""Cycles in a row that may fail; one more ends the daemon, and its manager restarts it."""
MEANS_PAUSE_FACTOR = 500
"""A query that took a second is not made again for 500: a fifth of a percent of the time.

With 43,200 rows it takes 26 ms; only short intervals make histories much longer.
"""
CLOSE_S = 1.5
"""How long the end waits for the stressers to be gone; the promise is two seconds."""
_LIMITS = frozenset((Reason.STEAL, Reason.OWN_HOURS, Reason.THROTTLED, Reason.CPU_LIMITED))
EXIT_OK = 0
EXIT_FAILED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What the configuration says, as far as the loop is concerned."""

    policy: Policy
    interval_s: float
    period_days: float


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What was last measured and appended, for people to see."""

    sample: Sample | None = None
    means: PeriodMeans | None = None
    acknowledged: bool = True


class Daemon:
    """Runs cycles until told to stop.

    `settled` gives the configuration in force, `disk_reason` why there is no
    disk to hold; `tend` is called every few seconds for everything that is
    neither control nor record (reload, the web page, mounts that came or went).
    `own_hours` is our CPU time of this UTC day before this start.
    """

    def __init__(
        self,
        ports: Ports,
        *,
        settled: Callable[[], Settled],
        disk_reason: Callable[[], Reason | None],
        tend: Callable[[], None],
        own_hours: OwnHours | None = None,
    ) -> None:
        self._ports = ports
        self._settled = settled
        self._disk_reason = disk_reason
        self._tend = tend
        self._stopping = False
        self._state = ControlState(hours=own_hours or OwnHours())
        self._first: Reading | None = None
        self._record_due_s = 0.0
        self._recent: deque[Reading] = deque(maxlen=RECENT_READINGS)
        self._shown = _Shown()
        self._cycles = 0
        self._orders: Orders | None = None
        self._tight = False
        self._calm = False
        self._called = False
        self._full_due_s = float("-inf")
        self._gap = False
        self._cpus = 0.0
        self._published_s = float("-inf")
        self._reasons: tuple[Reason, ...] = ()
        self._means_due_s = 0.0

    def stop(self) -> None:
        """End the loop after the cycle that is under way; safe in a signal handler."""
        self._stopping = True

    def run(self) -> int:
        """Run until stopped; the exit code. All load is gone when it returns, whatever happened."""
        gc.collect()
        gc.freeze()  # what was built until now stays; collections need not walk over it
        try:
            code = self._cycle_until_stopped()
        finally:
            left = self._ports.actuators.close(CLOSE_S)
        if left:
            self._ports.log.error("stresser.left_behind", pids=left)
        return EXIT_FAILED if left else code

    def _cycle_until_stopped(self) -> int:
        clock, failures = self._ports.clock, 0
        due_s = clock.beat(CYCLE_S)
        while not self._stopping:
            try:
                if self.cycle():
                    failures = 0
            except Exception:  # the one place: let go of all load, then try again
                failures += 1
                self._ports.actuators.release()
                # The next cycle does everything: only such a one proves that all works again.
                self._state = ControlState(hours=self._state.hours)
                self._orders, self._calm = None, False
                self._published_s = float("-inf")
                self._ports.log.exception("cycle.failed", in_a_row=failures)
                if failures > FAILURES_ALLOWED:
                    return EXIT_FAILED
            due_s = _next_due(due_s, clock.monotonic(), self._period_s())
            if not self._stopping:
                clock.wait_until(due_s)
                self._called = clock.monotonic() < due_s
        return EXIT_OK

    def _period_s(self) -> float:
        if self._calm:
            return CALM_CYCLE_S
        state = self._state
        # Without load of ours nobody but this loop sees the tenant leave.
        waiting = state.resources.cpu.governor.demand_ratio <= 0
        lively = self._tight or waiting or state.track.span_s < LIVELY_S
        return CYCLE_S if lively else EASY_CYCLE_S

    def cycle(self) -> bool:
        """One governor cycle: the CPU always, all else each 0.8 s.

        Also when it is tight, when all was calm, and when a stresser has called.
        True when it was a full one.
        """
        full = self._tight or self._calm or self._called
        full = full or self._ports.clock.monotonic() >= self._full_due_s
        self._cycles += 1
        if full or self._orders is None:
            self._full_cycle()
            return True
        self._cpu_cycle(self._orders)
        return False

    def _full_cycle(self) -> None:
        ports, settled = self._ports, self._settled()
        host = ports.sensors.read()
        seen = ports.actuators.observe()
        reading = Reading(host=host, own=seen.own)
        self._full_due_s = host.monotonic_s + FULL_S - EASY_CYCLE_S / 2
        self._orders = orders = Orders(
            policy=settled.policy,
            inhibit=ports.switch.inhibit(host.utc_s),
            resumed=ports.switch.resumed(),
            disk_reason=self._disk_reason(),
        )
        verdict = decide(self._state, reading, seen, orders)
        ports.actuators.apply(verdict.plan)
        self._state, self._tight = verdict.state, verdict.tight
        self._calm = verdict.calm and not verdict.tight
        self._log_exits(seen)
        cpus = verdict.state.track.cpus
        if verdict.measuring or self._gap or (cpus and cpus != self._cpus):
            # Nothing can be said over a gap, nor from one number of CPUs to another.
            self._gap, self._cpus = False, cpus
            self._recent.clear()
            self._first = None
        recorded = self._record(reading, verdict, settled)
        self._publish(reading, verdict, orders, recorded=recorded)

    def _cpu_cycle(self, orders: Orders) -> None:
        ports = self._ports
        at_s, cpu = ports.sensors.read_cpu()
        waiting = still_above(self._state, at_s, cpu, orders)
        if waiting is not None:
            self._state = waiting
            return
        own_s = ports.actuators.cpu_used_s()
        self._state, lease = decide_cpu(self._state, at_s, cpu, own_s, orders)
        ports.actuators.renew_cpu(lease)
        self._gap = self._gap or self._state.gap

    def _record(self, reading: Reading, verdict: Verdict, settled: Settled) -> bool:
        """Append the sample of the interval that has just ended; whether there was one."""
        now_s = reading.host.monotonic_s
        if self._first is None:
            self._first, self._record_due_s = reading, now_s + settled.interval_s
            return False
        if now_s < self._record_due_s - CYCLE_S / 2:
            return False
        self._record_due_s = max(self._record_due_s, now_s - PUBLISH_S) + settled.interval_s
        sample = estimate(self._first, reading, settled.policy)
        self._first = reading
        history = self._ports.history
        acknowledged = history.append(Record(sample=sample, plan=verdict.plan))
        self._shown = replace(self._shown, sample=sample, acknowledged=acknowledged)
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

    def _publish(
        self, reading: Reading, verdict: Verdict, orders: Orders, *, recorded: bool
    ) -> None:
        now_s = reading.host.monotonic_s
        called = verdict.plan.cpu.reason is Reason.MEASURING and not verdict.measuring
        if called and not recorded:
            return  # a stresser has called: the next cycle knows more
        reasons = tuple(decision.reason for decision in verdict.plan)
        pause_s = CALM_PUBLISH_S if self._calm else PUBLISH_S
        news = recorded or reasons != self._reasons
        if not news and now_s < self._published_s + pause_s - CYCLE_S / 2:
            return
        self._log_limits(verdict.plan, self._reasons)
        self._reasons, self._published_s = reasons, now_s
        recent = None
        if self._recent:
            recent = estimate(self._recent[0], reading, orders.policy)
        self._recent.append(reading)
        if self._shown.means is None:
            self._refresh_means(self._settled())
        shown = self._shown
        report = CycleReport(
            utc_s=reading.host.utc_s,
            cycle_count=self._cycles,
            recent=recent,
            sample=shown.sample,
            plan=verdict.plan,
            orders=orders,
            stressers=self._ports.actuators.states(),
            means=shown.means,
            own_day_s=self._state.hours.used_s,
            acknowledged=shown.acknowledged,
            sensor_failures=reading.host.failures,
        )
        if recorded:
            self._ports.notifier.recorded(report)
        self._ports.notifier.publish(report)
        self._tend()

    def _log_limits(self, plan: Plan, before: tuple[Reason, ...]) -> None:
        """Say when something begins or ceases to keep the load below its target."""
        for decision, old in zip(plan, before, strict=False):
            if decision.reason is old:
                continue
            name = decision.resource.value
            if decision.reason in _LIMITS:
                self._ports.log.warning(
                    "demand.limited", resource=name, reason=decision.reason.value
                )
            elif old in _LIMITS:
                self._ports.log.info("demand.freed", resource=name, reason=old.value)

    def _log_exits(self, seen: Observation) -> None:
        for event in seen.exits:
            self._ports.log.warning(
                "stresser.exited",
                resource=event.resource.value,
                cause=event.cause.value,
                detail=event.detail,
            )


def _next_due(due_s: float, now_s: float, period_s: float) -> float:
    """The next beat of a fixed rhythm; beats that were missed are left out."""
    beat_s = due_s + math.floor((now_s - due_s) / CYCLE_S) * CYCLE_S
    following_s = beat_s + period_s
    return following_s if following_s - now_s > CYCLE_S / 2 else following_s + CYCLE_S
