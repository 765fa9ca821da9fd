"""A daemon's life on the model host: started, killed, started again, with all that befalls it."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace

from optimizer.control.brake import known_until
from optimizer.loop import Daemon
from optimizer.model import ExitCause, PerResource, Reason, Resource
from optimizer.orders import Inhibit, Settled
from optimizer.outcome import CycleReport, Event, EventKind, Past, PeriodMean, PeriodMeans, Record
from optimizer.ports import Ports
from tests.fakes import FakeLog, FakeSwitch
from tests.simulation.model import GAP_S, RULES, KilledError, ModelHost

RESTART_S = 5.0
"""RestartSec of the unit: so long after it has failed the daemon is started again."""


KEPT_ROWS = 1440
"""A day of samples, the window of RULES."""


class Tally:
    """Implements ports.History and ports.Notifier: sums, a digest, and a watch on each sample."""

    def __init__(self, host: ModelHost) -> None:
        self.host = host
        self.digest = hashlib.sha256()
        self.full = False
        self.backlog = 0
        self.rows = 0
        self.lost = 0
        self.shown: CycleReport | None = None
        self.events: dict[EventKind, Event] = {}
        self.recent: deque[Record] = deque(maxlen=KEPT_ROWS)

    def past(self, from_utc_s: float, to_utc_s: float) -> list[Past]:
        """Those of the last that ended in that time, by what the clock said then."""
        kept = (Past.of(record.sample) for record in self.recent)
        asked = (one for one in kept if from_utc_s < one.utc_s <= to_utc_s)
        return sorted(asked, key=lambda one: one.utc_s)

    def append(self, record: Record) -> bool:
        """Count it; it waits in memory while the disk is full."""
        self.host.truth.sampled(record, self.host.now_s)
        self.recent.append(record)
        sample = record.sample
        said = (
            *(sample.utc_s, sample.span_s),
            *((one.total_ratio, one.own_ratio) if one else None for one in sample.usage),
            *((decision.lease, decision.reason.value) for decision in record.plan),
        )
        self.digest.update(repr(said).encode())
        self.backlog += 1
        if self.full:
            return False
        self.rows, self.backlog = self.rows + self.backlog, 0
        return True

    def note(self, event: Event) -> bool:
        """Keep the latest of each kind."""
        self.events.pop(event.kind, None)
        self.events[event.kind] = event
        return not self.full

    def last(self, kinds: Collection[EventKind]) -> Event | None:
        """The one that was noted last."""
        return next((e for kind, e in reversed(self.events.items()) if kind in kinds), None)

    def means(self, now_utc_s: float, days: float) -> PeriodMeans:
        """Nothing but the number of rows: what is judged is measured by the host."""
        assert now_utc_s > 0 or days > 0
        none = PeriodMean(mean_ratio=None, own_mean_ratio=None, coverage_ratio=0.0)
        return PeriodMeans(
            days=days, rows=self.rows, of=PerResource(cpu=none, memory=none, disk=none)
        )

    def publish(self, report: CycleReport) -> None:
        """Remember what was last shown."""
        self.shown = report

    def recorded(self, report: CycleReport) -> None:
        """Nothing more."""

    def close(self) -> None:
        """What waits is lost when the daemon ends on a full disk."""
        for _ in range(min(self.backlog, len(self.recent))):
            self.recent.pop()
        self.lost, self.backlog = self.lost + self.backlog, 0


class Life:
    """The model host, the daemon that runs on it now, and the operator's and fate's hands."""

    def __init__(self, host: ModelHost) -> None:
        self.host, self.truth = host, host.truth
        self.tally = Tally(host)
        self.log = FakeLog()
        self.settled = Settled(policy=RULES, interval_s=60.0, period_days=30)
        self.switch = self._switch()
        self.restarts = self.gaps = 0
        self.over = False
        self.daemon = self._daemon()

    def _switch(self) -> FakeSwitch:
        return FakeSwitch(steady=lambda: self.host.now_s + self.host.slept_s)

    def _daemon(self) -> Daemon:
        return Daemon(
            Ports(
                clock=self.host,
                sensors=self.host,
                actuators=self.host,
                history=self.tally,
                switch=self.switch,
                notifier=self.tally,
                log=self.log,
            ),
            settled=lambda: self.settled,
            disk_reason=self._disk_reason,
            tend=lambda: None,
            own_hours=known_until(self.host.utc(), 0.0),
        )

    def _disk_reason(self) -> Reason | None:
        return None if any(disk.mounted for disk in self.host.disks.values()) else Reason.NO_DISK

    def run(self) -> None:
        """Run daemons, one after another, until it is over."""
        while not self.over:
            code: int | None = None
            with suppress(KilledError):
                code = self.daemon.run()
            self.truth.left_behind()
            if self.over:
                assert code == 0
                return
            self.restart()

    def restart(self) -> None:
        """What the service manager does after a failure: wait, and start it again."""
        self.restarts += 1
        self.tally.close()
        self.log.events.clear()
        while True:
            try:
                self.host.run_until(self.host.now_s + RESTART_S)
            except KilledError:
                continue  # it did not run
            break
        order, asked_for = self.switch.order, self.switch.asked_for
        self.switch = self._switch()
        self.switch.order, self.switch.asked_for = order, asked_for
        self.truth.restarted()
        if order is not None and order.until_utc_s is not None:
            self.truth.cut_short(order.until_utc_s - self.host.utc())
        self.daemon = self._daemon()

    def end(self) -> None:
        """Stop the daemon for good."""
        self.over = True
        self.daemon.stop()

    # What befalls it.
    def pause(self, seconds: float | None) -> None:
        """An operator pauses; None: until lifted, as the recovery tool does, or garbage."""
        now_s = self.host.utc()
        until_s = None if seconds is None else now_s + seconds
        self.switch.order = Inhibit(reason="soak", by="ops", until_utc_s=until_s, since_utc_s=now_s)
        self.truth.allowed()
        self.truth.inhibited(float("inf") if seconds is None else seconds)

    def resume(self) -> None:
        """The operator lifts the pause and all latches."""
        self.switch.order, self.switch.resume_pending = None, True
        self.release(frozenset())
        resting = {path for path, disk in self.host.disks.items() if not disk.runs}
        self.truth.resumed(frozenset(resting))

    def release(self, paths: frozenset[str]) -> None:
        """An operator asks for these filesystems, and no longer for others."""
        self.switch.asked_for = paths
        for path in self.host.disks:
            self.truth.asked_for(path, wanted=path in paths)

    def mount(self, path: str, *, mounted: bool) -> None:
        """A filesystem comes or goes."""
        self.host.disks[path].mounted = mounted

    def reload(self, cpu: float, memory: float, disk: float) -> None:
        """Other targets from now on."""
        target = PerResource(cpu=cpu, memory=memory, disk=disk)
        self.settled = replace(self.settled, policy=replace(RULES, target=target))
        self.host.policy = self.settled.policy
        self.host.above_since_s = None

    def end_stresser(self, resource: Resource, cause: ExitCause) -> None:
        """A stresser is killed, gives up, or loses its lease."""
        self.host.end(resource, cause)

    def step(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self.gaps += 1
        self.host.utc_offset_s += seconds

    def sleep(self, seconds: float) -> None:
        """The host is suspended."""
        self.gaps += 1
        self.host.slept_s += seconds

    def freeze(self, seconds: float) -> None:
        """The controller is stopped, or the VM: time passes without it."""
        host = self.host
        end_s = host.now_s + seconds
        while host.now_s < end_s - 1e-9:
            own = min(host.duty, 1.0 - host.tenant_cpu)
            step_s = min(0.5, end_s - host.now_s)
            host.busy_s += (host.tenant_cpu + own) * step_s * host.cpus
            host.own_cpu_s += own * step_s * host.cpus
            host.now_s += step_s
            host._expire()
        if seconds > GAP_S:
            self.gaps += 1
            self.truth.broken()
        # Nobody was there to see.
        self.truth.asked = {path: max(at, host.now_s) for path, at in self.truth.asked.items()}
        self.truth.short_since_s.clear()
        host.above_since_s = None
        if self.truth.forbidden_since_s is not None:
            self.truth.forbidden_since_s = max(self.truth.forbidden_since_s, host.now_s)

    def stall(self) -> None:
        """Programs wait for memory: a sign of pressure."""
        self.host.stalled_s += 1.0

    def take(self) -> None:
        """The kernel takes pages from a stresser."""
        if self.host.memory_lease:
            self.host.taken_bytes += 100 << 20

    def kill(self) -> None:
        """The daemon dies by SIGKILL; its stressers with it."""
        self.host.killed = True

    def recover(self) -> None:
        """What the recovery tool does: forbids load without an end, then kills everything."""
        self.pause(None)
        self.kill()
