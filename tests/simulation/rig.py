"""A daemon on a model host."""

from __future__ import annotations

from optimizer.control.brake import known_until
from optimizer.loop import Daemon
from optimizer.model import Plan, Reason
from optimizer.orders import Policy, Settled
from optimizer.ports import Ports
from tests.fakes import FakeHistory, FakeHost, FakeLog, FakeNotifier, FakeSwitch, policy


class Rig:
    """A daemon on a model host."""

    def __init__(
        self,
        host: FakeHost | None = None,
        *,
        rules: Policy | None = None,
        interval_s: float = 60.0,
        disk_reason: Reason | None = None,
        used_s: float = 0.0,
        history: FakeHistory | None = None,
    ) -> None:
        self.host = host or FakeHost()
        self.history = history or FakeHistory()
        self.switch = FakeSwitch()
        self.notifier = FakeNotifier()
        self.log = FakeLog()
        self.verified_s: list[float] = []
        self.settled = Settled(policy=rules or policy(), interval_s=interval_s, period_days=30)
        self.daemon = Daemon(
            Ports(
                clock=self.host,
                sensors=self.host,
                actuators=self.host,
                history=self.history,
                switch=self.switch,
                notifier=self.notifier,
                log=self.log,
            ),
            settled=lambda: self.settled,
            disk_reason=lambda: disk_reason,
            tend=self._tend,
            verified=lambda: self.verified_s.append(self.host.now_s),
            own_hours=known_until(self.host.utc(), used_s),
        )
        self._until_s = float("inf")

    def _tend(self) -> None:
        if self.host.now_s >= self._until_s:
            self.daemon.stop()

    def live(self, seconds: float) -> int:
        """Let the daemon run in its own rhythm and end; its exit code."""
        self._until_s = self.host.now_s + seconds
        return self.daemon.run()

    def run_for(self, seconds: float) -> None:
        """Let host time pass, ten cycles a second."""
        self.host.run_for(seconds, self.daemon.cycle)

    @property
    def plan(self) -> Plan:
        """The latest plan."""
        return self.host.plans[-1]

    def cpu_mean(self, seconds: float) -> float:
        """Busy share of the host over the next seconds, by the model's own counter."""
        busy_s, start_s = self.host.busy_s, self.host.now_s
        self.run_for(seconds)
        return (self.host.busy_s - busy_s) / ((self.host.now_s - start_s) * self.host.cpus)
