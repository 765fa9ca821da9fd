"""The configuration in force, and its reload."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from optimizer.control.disks import Scope
from optimizer.counters import Place
from optimizer.errors import ConfigError
from optimizer.model import Reason
from optimizer.orders import Settled
from optimizer.settings import Loaded, Settings
from optimizer.upkeep import SCAN_S, Derived, Upkeep
from tests.fakes import FakeLog, policy

NO_DISK = Scope(places=(), reason=Reason.NO_DATA_DISK, note="no disk")
DISK = Scope(places=(Place("/data", "/data"),), reason=None, note="a disk")


@dataclass
class FakeWatch:
    """Tells the news that a test has put in, once each."""

    news: list[Loaded | ConfigError] = field(default_factory=list)

    def poll(self) -> Loaded | ConfigError | None:
        """The next news."""
        return self.news.pop(0) if self.news else None


@dataclass
class FakePage:
    """Counts how often it is looked after."""

    polls: int = 0

    def poll(self) -> None:
        """Count."""
        self.polls += 1


def loaded(settings: Settings) -> Loaded:
    """A configuration from nowhere."""
    return Loaded(settings=settings, file=None, origins={}, warnings=())


class Rig:
    """An upkeep with everything faked."""

    def __init__(self) -> None:
        self.now_s, self.scope = 0.0, NO_DISK
        self.watch, self.page, self.log = FakeWatch(), FakePage(), FakeLog()
        self.applied: list[Derived] = []
        self.upkeep = Upkeep(
            loaded(Settings()),
            watch=self.watch,
            page=self.page,
            derive=self.derive,
            applied=self.applied.append,
            monotonic=lambda: self.now_s,
            log=self.log,
        )

    def derive(self, settings: Settings, _previous: Scope | None) -> Derived:
        """The target is all that counts here."""
        settled = Settled(
            policy=policy(cpu=(settings.target_cpu or 40.0) / 100),
            interval_s=settings.check_interval_seconds,
            period_days=settings.monitor_period_days,
        )
        return Derived(settled=settled, scope=self.scope)


def test_a_good_reload_replaces_everything_and_says_what_changed() -> None:
    """New target in force, adapters told, restart-only keys named."""
    rig = Rig()
    rig.watch.news.append(loaded(replace(Settings(), target_cpu=20.0, glances_port=61210)))
    rig.upkeep.tend()
    assert rig.upkeep.settled().policy.target.cpu == 0.2
    assert rig.applied[-1] is rig.upkeep.derived
    _, event, fields = rig.log.events[-1]
    assert event == "config.reloaded"
    assert fields["changed"] == ["TARGET_CPU", "GLANCES_PORT"]
    assert fields["needs_restart"] == ["GLANCES_PORT"]


def test_a_bad_reload_keeps_the_last_good_one_until_a_good_one_comes() -> None:
    """The faults are logged and remembered for the status; a good file clears them."""
    rig = Rig()
    rig.watch.news.append(ConfigError(["TARGET_CPU=x: must be a percentage"]))
    rig.upkeep.tend()
    assert rig.upkeep.settled().policy.target.cpu == 0.4
    assert rig.upkeep.rejected is not None
    assert rig.log.names() == ["config.rejected"]
    rig.watch.news.append(loaded(Settings()))
    rig.upkeep.tend()
    assert rig.upkeep.rejected is None


def test_a_disk_that_is_mounted_later_is_found_at_the_next_scan() -> None:
    """Mounts are read again every minute, and a change is said."""
    rig = Rig()
    rig.scope = DISK
    rig.now_s = SCAN_S - 1
    rig.upkeep.tend()
    assert rig.upkeep.disk_reason() is Reason.NO_DATA_DISK
    rig.now_s = SCAN_S
    rig.upkeep.tend()
    assert rig.upkeep.disk_reason() is None
    assert rig.upkeep.scope.places == (Place("/data", "/data"),)
    assert rig.log.names() == ["disk.scope_changed"]
    rig.upkeep.tend()
    assert rig.log.names() == ["disk.scope_changed"]


def test_the_page_is_looked_after_each_time() -> None:
    """Also while the configuration is broken."""
    rig = Rig()
    rig.watch.news.append(ConfigError(["x"]))
    rig.upkeep.tend()
    rig.upkeep.tend()
    assert rig.page.polls == 2
