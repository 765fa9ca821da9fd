"""What is made visible of a cycle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from optimizer.loop import Daemon
from optimizer.model import Reason
from optimizer.orders import HostClass, Settled
from optimizer.outcome import CycleReport
from optimizer.ports import Ports
from optimizer.publish import Publisher
from optimizer.report.status import Host, Surroundings, document
from tests.fakes import FakeHistory, FakeHost, FakeLog, FakeNotifier, FakeSwitch, policy

HOST = Host(
    pid=42,
    boot_id="b",
    started_utc_s=1.0,
    platform="debian",
    host_class=HostClass.LARGE,
    nominal_memory_gb=24.0,
    cpus=2,
)
AROUND = Surroundings(
    interval_s=60.0,
    period_days=30,
    disk_note="a note",
    history_path="/h",
    glances_state="off",
    glances_url=None,
    glances_message="",
    config_file=None,
    config_ok=True,
    config_message="",
    warnings=("w",),
)


@dataclass
class FakeStore:
    """Keeps what is written; fails while told to."""

    failure: str | None = None
    written: list[Mapping[str, object]] = field(default_factory=list)

    def write(self, status: Mapping[str, object], text: str) -> str | None:
        """Keep the document."""
        assert text
        self.written.append(status)
        return self.failure


def reports(host: FakeHost, seconds: float) -> FakeNotifier:
    """What a daemon on a model host tells in that time."""
    notifier = FakeNotifier()
    ports = Ports(
        clock=host,
        sensors=host,
        actuators=host,
        history=FakeHistory(),
        switch=FakeSwitch(),
        notifier=notifier,
        log=FakeLog(),
    )
    settled = Settled(policy=policy(), interval_s=10.0, period_days=30)
    daemon = Daemon(ports, settled=lambda: settled, disk_reason=lambda: None, tend=lambda: None)
    host.run_for(seconds, daemon.cycle)
    return notifier


def last(host: FakeHost, seconds: float = 30.0) -> CycleReport:
    """The last report of that time."""
    return reports(host, seconds).published[-1]


def test_the_state_is_published_every_other_second() -> None:
    """30 s with a tenant that changes each second: 15 reports, a few more as reasons change."""
    restless = FakeHost(tenant_cpu=lambda t: 0.1 if int(t) % 2 else 0.3)
    assert 13 <= len(reports(restless, 30.0).published) <= 22


def test_while_nothing_moves_the_state_is_published_seldom() -> None:
    """A calm minute: one report in five seconds, and one for each of the six samples."""
    published = reports(FakeHost(), 90.0).published
    late = [report for report in published if report.utc_s > published[0].utc_s + 30.0]
    assert 60 / 5 - 1 <= len(late) <= 60 / 5 + 60 / 10 + 1


def test_a_changed_reason_is_published_at_once() -> None:
    """A tenant that takes all in a calm time is seen in the next second, not after five."""
    published = reports(FakeHost(tenant_cpu=lambda t: float(t >= 1032.0)), 40.0).published
    above = [
        report.utc_s - published[0].utc_s
        for report in published
        if report.plan.cpu.reason is Reason.TENANT_ABOVE
    ]
    assert 32.0 < above[0] <= 33.0


def test_own_and_organic_are_apart_and_add_up() -> None:
    """Tenant 15 %, own 25 %: the document says so for the CPU."""
    found = document(last(FakeHost(tenant_cpu=lambda _: 0.15)), HOST, AROUND)
    resources = found["resources"]
    assert isinstance(resources, dict)
    cpu = resources["cpu"]
    assert abs(cpu["organic"] - 0.15) < 0.01
    assert abs(cpu["own"] - 0.25) < 0.01
    assert abs(cpu["now"] - cpu["organic"] - cpu["own"]) < 1e-4
    assert cpu["mean"] is not None
    assert resources["disk"]["note"] == "a note"
    assert str(found["aim"]).startswith("never below the target; ")


def test_a_failed_sensor_is_unknown_and_a_warning() -> None:
    """None in the document, not 0, and the sensor is named."""
    found = document(last(FakeHost(failing=frozenset({"memory"}))), HOST, AROUND)
    resources, warnings = found["resources"], found["warnings"]
    assert isinstance(resources, dict)
    assert isinstance(warnings, list)
    assert resources["memory"]["now"] is None
    assert warnings[0] == "w"
    assert "cannot read memory" in warnings[1]


def test_a_store_that_fails_is_said_once_and_its_recovery_too() -> None:
    """No log flood from a full disk."""
    store, log, report = FakeStore(failure="disk full"), FakeLog(), last(FakeHost(), 3.0)
    publisher = Publisher(host=HOST, around=lambda: AROUND, store=store, log=log)
    for _ in range(3):
        publisher.publish(report)
    store.failure = None
    publisher.publish(report)
    assert log.names() == ["status.write_failed", "status.write_recovered"]


def test_each_sample_has_one_line_in_the_log() -> None:
    """Percent of total and own, the reason, and whether it is stored."""
    log, notifier = FakeLog(), reports(FakeHost(), 11.0)
    publisher = Publisher(host=HOST, around=lambda: AROUND, store=FakeStore(), log=log)
    publisher.recorded(notifier.records[0])
    level, event, fields = log.events[0]
    assert (level, event) == ("info", "cycle.completed")
    assert {"cpu_percent", "cpu_own_percent", "cpu_reason", "span_s", "stored"} <= set(fields)
