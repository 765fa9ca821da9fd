"""What is left to us of a quota that has run out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from optimizer.control.throttle import Throttle, press
from optimizer.control.track import Point, Track

HOLD_OFF_S = 60.0


class Container:
    """Two CPUs' worth of counters, of which tenant and load use constant shares."""

    def __init__(self) -> None:
        self.at_s = self.away_s = self.own_s = 0.0
        self.throttled = 0
        self.state = Throttle()

    def run(self, seconds: float, *, own: float, organic: float, out: int = 0) -> Throttle:
        """Look ten times a second; the quota runs out `out` times in the first step."""
        self.throttled += out
        for _ in range(round(seconds * 10)):
            self.at_s += 0.1
            self.own_s += own * 0.2
            self.away_s += (1.0 - own - organic) * 0.2
            point = Point(self.at_s, self.away_s, 2 * self.at_s, self.own_s)
            track = Track(points=(point,), cpus=2.0, throttled=self.throttled)
            self.state = press(self.state, track, HOLD_OFF_S)
        return self.state


def begun(*, own: float = 0.4, organic: float = 0.2) -> Container:
    """A container whose load has run for long."""
    container = Container()
    container.run(10.0, own=own, organic=organic)
    return container


def test_nothing_is_taken_while_the_quota_lasts() -> None:
    """No count, no limit."""
    assert begun().state.most_ratio == 1.0


def test_most_of_our_part_is_given_up_within_two_seconds() -> None:
    """A quarter of the 0.4 that we used is left."""
    assert abs(begun().run(2.0, own=0.4, organic=0.2, out=1).most_ratio - 0.1) < 1e-9


def test_it_is_lowered_again_while_the_quota_still_runs_out() -> None:
    """0.1 did not suffice, a quarter of it is next; then nothing that is worth a wake-up."""
    container = begun()
    container.run(3.0, own=0.4, organic=0.2, out=1)
    assert abs(container.run(3.0, own=0.1, organic=0.2, out=1).most_ratio - 0.025) < 1e-9
    # 0.00625 is just worth it; a quarter of that is not.
    assert container.run(3.0, own=0.025, organic=0.2, out=1).most_ratio > 0
    assert container.run(3.0, own=0.00625, organic=0.2, out=1).most_ratio == 0.0


def test_one_event_is_not_counted_twice() -> None:
    """The count may be a second old: what it tells just after a cut is about the time before."""
    container = begun()
    container.run(1.2, own=0.4, organic=0.2, out=1)
    assert abs(container.run(1.0, own=0.1, organic=0.2, out=1).most_ratio - 0.1) < 1e-9


def test_it_grows_slowly_after_the_hold_off() -> None:
    """60 s as it is, then 0.001 a second."""
    container = begun()
    container.run(2.0, own=0.4, organic=0.2, out=1)
    assert container.run(57.0, own=0.1, organic=0.2).most_ratio == container.state.most_ratio
    low = container.state.most_ratio
    # Within 100 s, of which up to 3 are still hold-off and one passes between two looks.
    grown = container.run(100.0, own=0.1, organic=0.2).most_ratio - low
    assert 0.095 <= grown <= 0.1 + 1e-9


def test_what_the_tenant_does_alone_is_not_our_doing() -> None:
    """The quota runs out while we use next to nothing: no limit is kept for later."""
    assert begun(own=0.003).run(3.0, own=0.003, organic=0.9, out=9).most_ratio == 1.0


def test_without_a_tenant_nobody_stands_still() -> None:
    """Our own slices that met the end of a period hurt nobody."""
    assert begun(organic=0.0).run(3.0, own=0.8, organic=0.0, out=9).most_ratio == 1.0


def test_the_start_of_the_stressers_is_forgiven() -> None:
    """It takes more than the load itself, once."""
    container = Container()
    container.run(5.0, own=0.0, organic=0.2)
    assert container.run(4.0, own=0.4, organic=0.2, out=3).most_ratio == 1.0
    assert container.run(5.0, own=0.4, organic=0.2).most_ratio == 1.0


def test_a_count_that_ran_back_is_only_remembered() -> None:
    """Another container, or a counter that began anew."""
    container = begun()
    container.run(2.0, own=0.4, organic=0.2, out=5)
    most = container.state.most_ratio
    assert container.run(3.0, own=0.1, organic=0.2, out=-5).most_ratio == most


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(-2, 5), st.floats(-5, 400)),
        max_size=30,
    )
)
def test_it_stays_between_nothing_and_no_limit(
    steps: list[tuple[float, float, int, float]],
) -> None:
    """Whatever happens, clocks and counters that run back included."""
    state, point, count = Throttle(), Point(0.0, 0.0, 0.0, 0.0), 0
    for away, own, out, gap_s in steps:
        count += out
        point = Point(point.at_s + gap_s, point.away_s + away, 0.0, point.own_s + own)
        before = state
        state = press(state, Track(points=(point,), cpus=0.5, throttled=count), HOLD_OFF_S)
        assert 0.0 <= state.most_ratio <= 1.0
        if count > before.counted and state.lowered_s > before.lowered_s:
            assert state.most_ratio <= before.most_ratio


def test_a_look_that_comes_too_soon_changes_nothing() -> None:
    """Ten cycles a second, one look."""
    container = begun()
    last = container.state
    assert last.point is not None
    soon = Track(points=(last.point._replace(at_s=last.point.at_s + 0.5),), cpus=2.0, throttled=9)
    assert press(last, soon, HOLD_OFF_S) is last
