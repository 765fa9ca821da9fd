"""The window over which the tenant's share is taken: long while nothing moves, cut when it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from optimizer.control import track as controller
from optimizer.control.track import GAP_S, LONGEST_S, Track
from optimizer.counters import CpuCounters, HostReading, OwnCounters, Reading
from stressers import watch as watcher

STEP_S = 0.1
LAGS = (1, 2, 3, 5, 10)
CHANGE = controller._CHANGE_RATIO
QUANTUM_S = 0.01


class Host:
    """Counters that grow by what a test says; time moves in steps of a tenth of a second."""

    def __init__(self, cpus: int = 2) -> None:
        self.cpus = cpus
        self.at_s = 1000.0
        self.idle_s = 5000.0
        self.total_s = 9000.0
        self.steal_s = 10.0
        self.own_s = 50.0

    def step(
        self, organic: float, own: float = 0.0, *, steal: float = 0.0, step_s: float = STEP_S
    ) -> Reading:
        """The reading after a step in which tenant, stressers and hypervisor had these shares."""
        capacity_s = step_s * self.cpus
        self.at_s += step_s
        self.total_s += capacity_s
        self.idle_s += (1 - organic - own - steal) * capacity_s
        self.steal_s += steal * capacity_s
        self.own_s += own * capacity_s
        return self.reading()

    def reading(self) -> Reading:
        """The counters as they are."""
        cpu = CpuCounters(
            total_s=self.total_s,
            idle_s=self.idle_s,
            steal_s=self.steal_s,
            cpus=self.cpus,
        )
        host = HostReading(monotonic_s=self.at_s, utc_s=self.at_s, cpu=cpu, memory=None, disks=None)
        return Reading(host=host, own=OwnCounters(cpu_s=self.own_s))


def advance(track: Track, reading: Reading, *, count_steal: bool, stirred: bool = False) -> Track:
    """The track after a reading."""
    at_s, cpu, own_s = reading.host.monotonic_s, reading.host.cpu, reading.own.cpu_s
    return controller.advance(track, at_s, cpu, own_s, count_steal=count_steal, stirred=stirred)


def follow(host: Host, organic: float, *, steps: int, track: Track | None = None) -> Track:
    """The track after so many steps with the tenant at one share."""
    now = advance(track or Track(), host.reading(), count_steal=False)
    for _ in range(steps):
        now = advance(now, host.step(organic), count_steal=False)
    return now


def threshold(cpus: int, lag: int) -> float:
    """What the newest readings may differ from the whole: the change and 1.5 quanta of rounding."""
    return CHANGE + 1.5 * QUANTUM_S / (cpus * lag * STEP_S)


def test_nothing_is_known_of_a_single_reading() -> None:
    """A span needs two readings."""
    host = Host()
    track = follow(host, 0.3, steps=0)
    assert not track.known
    assert track.span_s == 0.0
    assert track.utilisation() is None
    assert not Track().known


def test_shares_over_the_window_are_told_apart() -> None:
    """Tenant 30 %, ours 25 %: 55 % in all, and 45 % of room."""
    host, track = Host(), Track()
    for _ in range(20):
        track = advance(track, host.step(0.30, 0.25), count_steal=False)
    usage = track.utilisation()
    assert usage is not None
    assert usage.total_ratio == pytest.approx(0.55)
    assert usage.own_ratio == pytest.approx(0.25)
    assert usage.organic_ratio == pytest.approx(0.30)
    assert usage.room_ratio == pytest.approx(0.45)
    assert usage.capacity == 2
    assert track.organic_ratio == pytest.approx(0.30)
    assert track.total_ratio == pytest.approx(0.55)


@pytest.mark.parametrize(("count_steal", "organic"), [(False, 0.3), (True, 0.5)])
def test_steal_is_the_tenants_only_when_asked_for(count_steal: bool, organic: float) -> None:
    """Tenant 30 %, stolen 20 %."""
    host, track = Host(), Track()
    for _ in range(20):
        track = advance(track, host.step(0.30, steal=0.2), count_steal=count_steal)
    assert track.organic_ratio == pytest.approx(organic)


def test_the_window_grows_to_its_length_and_no_further() -> None:
    """After 5 s it spans them; after 30 s the longest span, and one step more at most."""
    host = Host()
    track = follow(host, 0.3, steps=50)
    assert track.span_s == pytest.approx(5.0)
    track = follow(host, 0.3, steps=250, track=track)
    assert LONGEST_S - 1e-6 <= track.span_s <= LONGEST_S + 1 + STEP_S
    assert len(track.points) <= 12 + LONGEST_S + 2


def test_a_long_step_keeps_the_two_readings_it_needs() -> None:
    """The window never shrinks below the newest two readings."""
    host = Host()
    track = follow(host, 0.3, steps=300)
    for _ in range(30):
        track = advance(track, host.step(0.3, step_s=GAP_S), count_steal=False)
        assert LONGEST_S - 1e-6 <= track.span_s <= LONGEST_S + GAP_S
    assert track.step_s == pytest.approx(GAP_S)


@pytest.mark.parametrize("cpus", [1, 2, 4])
@pytest.mark.parametrize("lag", LAGS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_change_cuts_when_it_stands_out_beyond_rounding(cpus: int, lag: int, sign: int) -> None:
    """A change a little above the threshold of one lag is seen when that lag is full of it.

    With n readings in the window, the newest k of which are higher by d, the
    whole is higher by d k / n; so the newest stand out by d (1 - k / n). The
    thresholds of shorter lags are higher by more than that little.
    """
    calm = 150
    change = 1.02 * threshold(cpus, lag) / (1 - lag / (calm + lag))
    start = 0.5 - sign * change / 2
    host = Host(cpus)
    track = follow(host, start, steps=calm)
    for number in range(1, lag + 1):
        assert not track.changed
        assert track.span_s == pytest.approx((calm + number - 1) * STEP_S)
        track = advance(track, host.step(start + sign * change), count_steal=False)
    assert track.changed
    assert len(track.points) == lag + 1
    assert track.organic_ratio == pytest.approx(start + sign * change)
    track = advance(track, host.step(start + sign * change), count_steal=False)
    assert not track.changed
    assert len(track.points) == lag + 2


@pytest.mark.parametrize("cpus", [1, 2, 4, 256])
def test_a_large_change_cuts_in_its_first_reading(cpus: int) -> None:
    """From 10 to 60 %: what was before is forgotten at once."""
    host = Host(cpus)
    track = follow(host, 0.1, steps=150)
    track = advance(track, host.step(0.6), count_steal=False)
    assert track.changed
    assert track.organic_ratio == pytest.approx(0.6)


@pytest.mark.parametrize("cpus", [1, 2, 16, 256])
def test_what_rounding_can_do_does_not_cut(cpus: int) -> None:
    """A quantum to and fro and a tenant that moves by half of a change: nothing has changed."""
    host = Host(cpus)
    track = follow(host, 0.3, steps=150)
    for number in range(30):
        reading = host.step(0.3 + CHANGE / 2)
        cpu = reading.host.cpu
        assert cpu is not None
        rough = cpu._replace(idle_s=cpu.idle_s + (QUANTUM_S if number % 2 else 0.0))
        reading = replace(reading, host=replace(reading.host, cpu=rough))
        track = advance(track, reading, count_steal=False)
        assert not track.changed
    assert track.span_s == pytest.approx(18.0)


def test_stressers_and_controller_agree_on_what_a_change_is() -> None:
    """The island has copies: what one calls calm the other may not call stirred."""
    names = ("_LAGS", "_QUANTUM_S", "_QUANTA", "_CHANGE_RATIO")
    assert [getattr(watcher, name) for name in names] == [
        getattr(controller, name) for name in names
    ]


def test_own_load_that_moves_is_no_change() -> None:
    """The stressers go from 10 to 60 %, the tenant stays at 20: the window goes on."""
    host, track = Host(), Track()
    for number in range(60):
        own = 0.1 if number < 30 else 0.6
        track = advance(track, host.step(0.2, own), count_steal=False)
        assert not track.changed
    assert track.organic_ratio == pytest.approx(0.2)


def test_the_newest_step_is_the_mean_of_both_clocks() -> None:
    """0.12 s idle in 0.2 s of CPU time of which 0.19 were counted: (0.4 + 7/19) / 2."""
    host = Host()
    track = follow(host, 0.4, steps=5)
    host.total_s -= 0.01
    track = advance(track, host.step(0.4), count_steal=False)
    assert track.step_s == pytest.approx(0.1)
    assert track.step_ratio == pytest.approx((0.4 + 7 / 19) / 2)
    assert track.total_ratio == pytest.approx(0.4)


def test_without_counted_time_the_wall_clock_tells_alone() -> None:
    """Where the sum of the counters stands still, idle against wall is left."""
    host = Host()
    track = follow(host, 0.4, steps=5)
    before_s = host.total_s
    host.step(0.4)
    host.total_s = before_s
    track = advance(track, host.reading(), count_steal=False)
    assert track.step_ratio == pytest.approx(0.4)


def test_counters_that_stand_still_look_like_full_load() -> None:
    """No idle time and no work of ours for 0.1 s: the tenant has it all, so nothing is raised."""
    host = Host()
    track = follow(host, 0.3, steps=50)
    host.at_s += STEP_S
    track = advance(track, host.reading(), count_steal=False)
    assert track.step_ratio == 1.0
    assert track.organic_ratio == 1.0
    assert track.changed


def _gap(host: Host) -> None:
    host.at_s += GAP_S


def _back_in_time(host: Host) -> None:
    host.at_s -= 2 * STEP_S


def _no_time(host: Host) -> None:
    host.at_s -= STEP_S


def _cpu_came(host: Host) -> None:
    host.cpus += 1


def _cpu_went(host: Host) -> None:
    host.cpus -= 1


def _idle_back(host: Host) -> None:
    host.idle_s -= 0.2 + 0.03 * host.cpus


def _total_back(host: Host) -> None:
    host.total_s -= 0.2 + 0.03 * host.cpus


def _own_back(host: Host) -> None:
    host.own_s -= 0.001


def _idle_ahead(host: Host) -> None:
    host.idle_s += 0.2 + 0.03 * host.cpus


@pytest.mark.parametrize(
    "spoil",
    [
        _gap,
        _back_in_time,
        _no_time,
        _cpu_came,
        _cpu_went,
        _idle_back,
        _idle_ahead,
        _total_back,
        _own_back,
    ],
)
def test_it_begins_anew_where_the_old_does_not_lead_on(spoil: Callable[[Host], None]) -> None:
    """After a gap, CPU hot-plug and counters that ran back or ahead: one reading, so unknown."""
    host = Host()
    track = follow(host, 0.3, steps=50)
    host.step(0.3)
    spoil(host)
    track = advance(track, host.reading(), count_steal=False)
    assert len(track.points) == 1
    assert track.cpus == host.cpus
    assert not track.changed
    track = advance(track, host.step(0.6), count_steal=False)
    assert track.organic_ratio == pytest.approx(0.6)


def test_it_begins_anew_when_the_host_has_stirred() -> None:
    """What was before a change that the stressers saw says nothing about now."""
    host = Host()
    track = follow(host, 0.3, steps=50)
    track = advance(track, host.step(0.6), count_steal=False, stirred=True)
    assert len(track.points) == 1


def test_our_use_between_glances_is_spread_over_the_time() -> None:
    """0.15 s of our own in 0.8 s of which seven tenths were only glanced at: the tenant stays."""
    host = Host()
    track, glanced = follow(host, 0.6, steps=30), None
    for _ in range(7):
        reading = host.step(0.6, own=0.1)
        cpu = reading.host.cpu
        assert cpu is not None
        glanced = controller.glance(track, host.at_s, cpu, count_steal=False)
    reading = host.step(0.6, own=0.1)
    track = controller.settle(track, glanced, host.at_s, host.own_s)
    track = advance(track, reading, count_steal=False)
    assert not track.changed
    assert track.organic_ratio == pytest.approx(0.6)


def test_iowait_may_run_back_a_little() -> None:
    """Two hundredths per CPU are within what proc(5) warns of: full load, not unknown."""
    host = Host()
    track = follow(host, 1.0, steps=50)
    host.idle_s -= 0.02 * host.cpus
    track = advance(track, host.step(1.0), count_steal=False)
    assert track.known
    assert track.step_ratio == track.organic_ratio == 1.0


def test_no_counters_no_track() -> None:
    """A failed sensor leaves nothing behind that could be mistaken for knowledge."""
    host = Host()
    track = follow(host, 0.3, steps=50)
    reading = host.step(0.3)
    blind = replace(reading, host=replace(reading.host, cpu=None))
    assert advance(track, blind, count_steal=False) == Track()
