"""The planner and what it must know from before, at the start and after a reload."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from optimizer.control.goals import told_days
from optimizer.control.planner import Planner
from optimizer.control.window import DAY_S
from optimizer.errors import HistoryError
from optimizer.model import PerResource, Plan, Sample
from optimizer.orders import Policy, Settled
from optimizer.outcome import Outlook, Past, levels
from optimizer.ports import Ports

SLICE_S = DAY_S / 2
"""What is read of the history at a time: at a row a minute 10 ms of work."""
SLOW_S, FAST_S = 0.025, 0.006
"""The next slice is half as long after one that took longer; longer, up to a day, after a fast one.

Samples may have come each second.
"""
START_S = 2.0
"""So long the start waits for the history; 43,200 rows take 0.6 s. The rest is read in the loop."""

BACK_S = 60.0
AHEAD_S = 3600.0
"""A clock that was set by more: what the windows hold is not what the history has of this time."""


class Filling:
    """A planner for other windows, which takes in the history slice by slice."""

    def __init__(self, ports: Ports, settled: Settled) -> None:
        self._history, self._utc = ports.history, ports.clock.utc
        days = told_days(settled.policy, settled.period_days)
        self._read_s = self._utc() - days * DAY_S
        self.planner = Planner(settled.policy, settled.interval_s)
        self._newest_s = -math.inf
        self._late: list[Past] = []
        self._is_read = False
        self._slice_s = SLICE_S
        self._monotonic = ports.clock.monotonic

    def step(self) -> bool:
        """Read one slice, or do one piece of work on the forecast; whether all is done.

        Raises HistoryError.
        """
        if self._is_read:
            return not self.planner.foresee()
        now_s, start_s = self._utc(), self._monotonic()
        until_s = min(self._read_s + self._slice_s, now_s)
        self.planner.feed(self._seen(self._history.past(self._read_s, until_s)))
        took_s = self._monotonic() - start_s
        if took_s > SLOW_S:
            self._slice_s /= 2
        elif took_s < FAST_S:
            self._slice_s = min(DAY_S, self._slice_s * 2)
        self._read_s, self._is_read = until_s, until_s >= now_s
        return False

    def take(self, sample: Sample) -> None:
        """What has come in since; the history may have had it by its last slice, or not yet."""
        self._late.append(Past.of(sample))

    def finish(self) -> Planner:
        """The planner, with what has come in and was not in a slice: each sample once."""
        # The history keeps whole seconds.
        self.planner.feed(one for one in self._late if int(one.utc_s) > self._newest_s)
        return self.planner

    def _seen(self, past: Iterable[Past]) -> Iterator[Past]:
        for one in past:
            self._newest_s = one.utc_s
            yield one


class Planning:
    """Holds the planner in force; `outlooks` are what it wants now, None before the first look."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._settled: Settled | None = None
        self._planner: Planner | None = None
        self._filling: Filling | None = None
        self._taken_s: float | None = None
        self.outlooks: PerResource[Outlook] | None = None

    def begin(self, settled: Settled) -> None:
        """Read the whole window before anything is held, as far as START_S allows.

        Without a history, and until a very long one was read, nothing is known.
        """
        clock, self._settled = self._ports.clock, settled
        self._planner = Planner(settled.policy, settled.interval_s)
        self._filling = Filling(self._ports, settled)
        start_s = clock.monotonic()
        while self._filling is not None and clock.monotonic() - start_s < START_S:
            self._fill(self._filling, settled.policy)
        self.outlooks = self._planner.aim(settled.policy)

    def setpoints(self, settled: Settled) -> PerResource[float] | None:
        """What to hold now under this configuration: another target or strategy counts at once.

        Where the windows are others too, the old ones go on until the history
        was read for the new, a slice in each call.
        """
        if self._planner is None:
            self.begin(settled)
        elif settled is not self._settled:
            self._turn(self._planner, settled)
        if self._filling is not None:
            self._fill(self._filling, settled.policy)
        return None if self.outlooks is None else levels(self.outlooks)

    def take(self, sample: Sample, plan: Plan, settled: Settled) -> None:
        """Plan anew on a sample and what was decided at its end."""
        self.setpoints(settled)
        begin_s, before_s = sample.utc_s - sample.span_s, self._taken_s
        self._taken_s = sample.utc_s
        if before_s is not None and not before_s - BACK_S <= begin_s < before_s + AHEAD_S:
            self._filling = Filling(self._ports, settled)
        if self._filling is not None:
            self._filling.take(sample)
        if self._planner is not None:
            self.outlooks = self._planner.take(sample, plan, settled.policy)

    def _turn(self, planner: Planner, settled: Settled) -> None:
        before, self._settled = self._settled, settled
        if before is not None and settled == replace(before, period_days=settled.period_days):
            return
        self._filling = None
        if not planner.fits(settled.policy, settled.interval_s):
            self._filling = Filling(self._ports, settled)
        self.outlooks = planner.aim(settled.policy)

    def _fill(self, filling: Filling, policy: Policy) -> None:
        try:
            if not filling.step():
                return
        except HistoryError as exc:
            self._log_unread(exc)
        planner = filling.finish()
        planner.resume(self._ports.clock.utc())
        self._planner, self._filling = planner, None
        self.outlooks = planner.aim(policy)

    def _log_unread(self, cause: HistoryError) -> None:
        self._ports.log.warning(
            "history.read_failed",
            cause=str(cause),
            cost="the judged windows begin with what could be read, perhaps nothing",
            remedy="`optimizer doctor` tells what is wrong with the file",
        )
