"""The imperative shell: read, decide, apply, record; one thread, as often as is needed."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable

from optimizer.control.brake import OwnHours
from optimizer.control.decide import ControlState, decide, decide_cpu, let_go, still_above
from optimizer.control.passage import STEP_S
from optimizer.counters import Reading
from optimizer.model import Observation, Reason
from optimizer.orders import Orders, Settled
from optimizer.ports import Ports
from optimizer.record import Recorder

CYCLE_S = 0.1
"""The governor's period when something has just moved or may at any moment: ten times a second."""
EASY_CYCLE_S = 0.2
"""The same while a settled tenant is made up to the target: small debts are left to pay back."""
LIVELY_S = 0.5
"""For so long after the tenant has moved the cycles come at their fastest."""
CALM_CYCLE_S = 0.9
"""The period while nothing moves: within the promised second.

All that moves the host much is seen by the stressers first.
"""
FULL_S = 0.8
"""From one full cycle (memory, disk, orders, stressers that ended) to the next, if not calm.

Within the promised second; the CPU alone, which moves faster, costs a third
of a full cycle.
"""
FAILURES_ALLOWED = 2
"""Cycles that may fail; one more soon after ends the daemon, and its manager restarts it."""
FORGIVEN_S = 10.0
"""After so long without another a failure no longer counts; each kind of cycle came by then."""
CLOSE_S = 1.5
"""How long the end waits for the stressers to be gone; the promise is two seconds."""
EXIT_OK = 0
EXIT_FAILED = 1


class Daemon:
    """Runs cycles until told to stop.

    `settled` gives the configuration in force, `disk_reason` why there is no
    disk to hold; `tend` is called every few seconds for everything that is
    neither control nor record (reload, the web page, mounts that came or went).
    `verified` is called after each full cycle that was found to have done what
    it decided.
    `own_hours` is our CPU time of this UTC day before this start.
    """

    def __init__(
        self,
        ports: Ports,
        *,
        settled: Callable[[], Settled],
        disk_reason: Callable[[], Reason | None],
        tend: Callable[[], None],
        verified: Callable[[], None] = lambda: None,
        own_hours: OwnHours | None = None,
    ) -> None:
        self._ports = ports
        self._settled = settled
        self._disk_reason = disk_reason
        self._tend = tend
        self._verified = verified
        self._doubts: tuple[str, ...] = ()
        self._stopping = False
        self._code = EXIT_OK
        self._recorder = Recorder(ports)
        self._state = ControlState(hours=own_hours or OwnHours())
        self._cycles = 0
        self._orders: Orders | None = None
        self._tight = False
        self._calm = False
        self._called = False
        self._full_due_s = float("-inf")
        self._full_utc_s = (float("inf"), float("-inf"))
        self._gap = False

    def stop(self, code: int = EXIT_OK) -> None:
        """End the loop after the cycle that is under way; safe in a signal handler."""
        self._stopping = True
        self._code = code

    def run(self) -> int:
        """Run until stopped; the exit code. All load is gone when it returns, whatever happened."""
        self._recorder.planning.begin(self._settled())
        gc.collect()
        gc.freeze()  # what was built until now stays; collections need not walk over it
        self._recorder.chronicle.started()
        try:
            code = self._cycle_until_stopped()
        finally:
            left = self._ports.actuators.close(CLOSE_S)
        if left:
            self._ports.log.error("stresser.left_behind", pids=left)
            code = EXIT_FAILED
        self._recorder.chronicle.stopped(code)
        return code

    def _cycle_until_stopped(self) -> int:
        clock, failures, failed_s = self._ports.clock, 0, float("-inf")
        due_s = clock.beat(CYCLE_S)
        while not self._stopping:
            try:
                self.cycle()
            except Exception:  # the one place: let go of all load, then try again
                # Some cycles do less than others and prove nothing: time without a failure does.
                now_s = clock.monotonic()
                failures = failures + 1 if now_s - failed_s < FORGIVEN_S else 1
                failed_s = now_s
                self._ports.actuators.release()
                self._state = let_go(self._state, now_s)
                self._orders, self._calm = None, False
                self._recorder.publish_soon()
                self._ports.log.exception("cycle.failed", in_a_row=failures)
                if failures > FAILURES_ALLOWED:
                    return EXIT_FAILED
            due_s = _next_due(due_s, clock.monotonic(), self._period_s())
            if not self._stopping:
                clock.wait_until(due_s)
                self._called = clock.monotonic() < due_s
        return self._code

    def _period_s(self) -> float:
        if self._calm:
            return CALM_CYCLE_S
        state = self._state
        # Without load of ours nobody but this loop sees the tenant leave.
        waiting = state.resources.cpu.governor.demand_ratio <= 0
        lively = self._tight or waiting or state.track.span_s < LIVELY_S
        return CYCLE_S if lively else EASY_CYCLE_S

    def cycle(self) -> None:
        """One governor cycle: the CPU always, all else each 0.8 s.

        Also when it is tight, when all was calm, when a stresser has called, and
        when the UTC clock was set or the host has slept.
        """
        clock, (from_utc_s, to_utc_s) = self._ports.clock, self._full_utc_s
        full = self._tight or self._calm or self._called
        full = full or clock.monotonic() >= self._full_due_s
        full = full or not from_utc_s <= clock.utc() < to_utc_s
        self._cycles += 1
        if full or self._orders is None:
            self._full_cycle()
        else:
            self._cpu_cycle(self._orders)

    def _full_cycle(self) -> None:
        ports, settled = self._ports, self._settled()
        host = ports.sensors.read()
        seen = ports.actuators.observe()
        reading = Reading(host=host, own=seen.own)
        self._full_utc_s = (host.utc_s - STEP_S, host.utc_s + FULL_S)
        self._orders = orders = Orders(
            policy=settled.policy,
            inhibit=ports.switch.inhibit(host.utc_s),
            resumed=ports.switch.resumed(),
            disk_reason=self._disk_reason(),
            released=ports.switch.released(host.utc_s),
            setpoints=self._recorder.planning.setpoints(settled),
        )
        verdict = decide(self._state, reading, seen, orders)
        ports.actuators.apply(verdict.plan)
        self._state, self._tight = verdict.state, verdict.tight
        self._calm = verdict.calm and not (verdict.tight or verdict.measuring)
        pause_s = 0.0 if verdict.measuring else FULL_S - EASY_CYCLE_S / 2
        self._full_due_s = host.monotonic_s + pause_s
        self._log_exits(seen)
        gap, self._gap = verdict.measuring or self._gap, False
        published = self._recorder.take(
            reading,
            verdict,
            orders,
            settled,
            gap=gap,
            calm=self._calm,
            cycle_count=self._cycles,
        )
        if published:
            self._tend()
        self._verify()

    def _verify(self) -> None:
        """Say that we live, if all is as it was decided; else what is not, once."""
        doubts, before = self._ports.actuators.doubts(), self._doubts
        self._doubts = doubts
        if not doubts:
            self._verified()
        elif not before:
            self._ports.log.warning("cycle.doubted", doubts=list(doubts))

    def _cpu_cycle(self, orders: Orders) -> None:
        ports = self._ports
        at_s, cpu = ports.sensors.read_cpu()
        waiting = still_above(self._state, at_s, cpu, orders)
        if waiting is not None:
            self._state = waiting
            return
        own_s = ports.actuators.cpu_used_s()
        self._state, lease = decide_cpu(self._state, at_s, cpu, own_s, orders)
        if not ports.actuators.renew_cpu(lease) and lease > 0:
            self._full_due_s = at_s  # only a full cycle starts stressers
        self._gap = self._gap or self._state.gap

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
