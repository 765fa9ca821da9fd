"""Statistics and budgets of a window, with gaps and clock jumps, against numpy and plain sums."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.control.budget import Budget, measure, value_of
from optimizer.control.forecast import DAY, forecast, models, trial
from optimizer.control.statistic import Ordered, figure
from optimizer.control.trend import days_until
from optimizer.control.window import BLOCK, Gatherer, Window
from optimizer.orders import Gaps, Goal, Statistic

np = pytest.importorskip("numpy")

DAYS = 0.25
"""360 slots: more than one block, and quick."""
STEPS = st.lists(
    st.tuples(
        st.sampled_from([1] * 12 + [2, 50, -3, 400, -500]),
        st.none() | st.floats(0, 1, width=32),
    ),
    min_size=1,
    max_size=60,
)
RULES = st.tuples(
    st.sampled_from(["mean", "p95", "p50", "p99.5", "peak"]), st.sampled_from(list(Gaps))
)


def filled(steps: list[tuple[int, float | None]], repeat: int) -> tuple[Window, list[float | None]]:
    """A window after these steps, `repeat` times, and what it should contain, oldest first."""
    window, kept, slot = Window(DAYS, 60), {}, 1000
    for step, value in steps * repeat:
        # What lies a ring behind the newest was written over, also where the clock is set back.
        kept = {at: one for at, one in kept.items() if slot - window.size < at < slot + step}
        slot += step
        kept[slot] = value
        window.put(slot, value, value)
    return window, [kept.get(at) for at in range(slot - window.slots + 1, slot + 1)]


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, repeat=st.integers(1, 12), rule=RULES)
def test_each_figure_is_numpys(
    steps: list[tuple[int, float | None]], repeat: int, rule: tuple[str, Gaps]
) -> None:
    """Mean, percentile and peak of the known values, and bounds that hold with all others."""
    name, gaps = rule
    goal = Goal(statistic=Statistic.parse(name), window_days=DAYS)
    window, values = filled(steps, repeat)
    budget = Budget(window, measure(goal, 0.3, 0.5, window.slots, gaps))
    budget.refresh()
    found = figure(goal, budget, Ordered(window), window, gaps)
    known = [one for one in values if one is not None]
    unknown = len(values) - len(known)
    assert found.coverage == pytest.approx(len(known) / len(values))

    def plain(of: list[float]) -> float:
        if name == "mean":
            return float(np.mean(of))
        percent = 100.0 if name == "peak" else float(name[1:])
        return float(np.percentile(of, percent, method="lower"))

    counted = known + [0.0] * unknown if gaps is Gaps.ZERO else known
    if known:
        assert found.ratio == pytest.approx(plain(counted), abs=1e-6)
        assert found.low == pytest.approx(plain(known + [0.0] * unknown), abs=1e-6)
        assert found.high == pytest.approx(plain(known + [1.0] * unknown), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS, repeat=st.integers(1, 12), rule=RULES, data=st.data())
def test_the_allowance_is_that_of_all_windows_to_come(
    steps: list[tuple[int, float | None]],
    repeat: int,
    rule: tuple[str, Gaps],
    data: st.DataObject,
) -> None:
    """Against the definition: the least surplus over every window that ends from `horizon` on."""
    name, gaps = rule
    goal = Goal(statistic=Statistic.parse(name), window_days=DAYS)
    window, values = filled(steps, repeat)
    one = measure(goal, 0.3, 0.5, window.slots, gaps, margin=0.02)
    budget = Budget(window, one)
    budget.refresh()
    surplus = [
        (0.0 if gaps is Gaps.UNKNOWN else -one.least)
        if value is None
        else value_of(one, value) - one.least
        for value in values
    ]
    horizon = data.draw(st.integers(1, window.slots + 5))
    gain = one.most - one.least
    least = min(
        sum(surplus[end:]) + gain * max(end, horizon)
        for end in range(min(horizon, window.slots), window.slots + 1)
    )
    assert budget.allowance(horizon) == pytest.approx(least, abs=1e-6)
    ahead = data.draw(st.integers(0, window.slots))
    assert budget.kept(ahead) == pytest.approx(sum(surplus[ahead:]), abs=1e-6)


def test_sums_follow_slot_by_slot() -> None:
    """Taken in one at a time over several blocks, the sums are those of a window built at once."""
    goal = Goal(statistic=Statistic.parse("p95"), window_days=DAYS)
    window = Window(DAYS, 60)
    budget = Budget(window, measure(goal, 0.3, 0.5, window.slots, Gaps.UNKNOWN))
    order = Ordered(window)
    for slot in range(3 * BLOCK):
        value = None if slot % 11 == 0 else slot * 37 % 100 / 100
        window.put(slot, value, value)
        budget.refresh()
        found = figure(goal, budget, order, window, Gaps.UNKNOWN)
        fresh = Budget(window, budget.rule)
        fresh.refresh()
        assert budget.allowance(7) == pytest.approx(fresh.allowance(7))
        assert found == figure(goal, fresh, Ordered(window), window, Gaps.UNKNOWN)
    # More at once than the ring keeps beside the window, as when a planner is filled.
    for slot in range(3 * BLOCK, 5 * BLOCK):
        window.put(slot, 0.9, 0.9)
    budget.refresh()
    fresh = Budget(window, budget.rule)
    fresh.refresh()
    assert figure(goal, budget, order, window, Gaps.UNKNOWN) == figure(
        goal, fresh, Ordered(window), window, Gaps.UNKNOWN
    )


@given(
    spans=st.lists(
        st.tuples(st.floats(0.5, 400), st.none() | st.floats(0, 1)), min_size=1, max_size=40
    )
)
def test_slots_are_the_means_of_what_overlaps_them(
    spans: list[tuple[float, float | None]],
) -> None:
    """Samples of any length: each slot that is known to half is the weighted mean over it."""
    gatherer, at, found = Gatherer(60), 6000.0, {}
    pieces: list[tuple[float, float, float | None]] = []
    for span, value in spans:
        pieces.append((at, at + span, value))
        at += span
        ended = gatherer.add(at, span, value, value)
        found.update({slot: total for slot, total, _ in ended})
    assert sorted(found) == list(range(100, 100 + len(found)))
    for slot, total in found.items():
        weights = [
            (min(end, slot * 60 + 60) - max(start, slot * 60), value)
            for start, end, value in pieces
            if value is not None and min(end, slot * 60 + 60) > max(start, slot * 60)
        ]
        known_s = sum(weight for weight, _ in weights)
        if total is None:
            assert known_s <= 30.001
        else:
            assert known_s >= 29.999
            assert total == pytest.approx(sum(w * v for w, v in weights) / known_s, abs=1e-6)


def test_a_disk_at_77_percent_that_gains_one_a_day_is_full_in_23_days() -> None:
    """A-16: the trend tells when; a flat or falling one, or a short history, tells nothing."""
    rising = [0.67 + 0.01 * quarter / DAY for quarter in range(10 * DAY)]
    assert days_until(1.0, rising) == pytest.approx(23, abs=0.1)
    assert days_until(1.0, [0.5] * 10 * DAY) is None
    slow = [0.5 + 0.004 * i / DAY for i in range(10 * DAY)]  # 0.46 left is 115 days
    assert days_until(1.0, slow) is None
    assert days_until(0.8, slow) == pytest.approx(65, abs=0.1)
    assert days_until(1.0, list(reversed(rising))) is None
    assert days_until(1.0, rising[: 3 * DAY]) is None


def test_a_forecast_is_never_worse_than_seasonal_naive() -> None:
    """On its own trial days, for rhythm, noise, a new level and nonsense alike."""
    rng = np.random.default_rng(1)
    hours = np.arange(30 * DAY) / 4 % 24
    tenants = {
        "rhythm": 0.2 + 0.1 * np.sin(hours / 12 * np.pi) + 0.03 * rng.random(len(hours)),
        "noise": rng.random(len(hours)),
        "level": np.where(np.arange(len(hours)) < 20 * DAY, 0.1, 0.5),
        "walk": np.clip(np.cumsum(rng.normal(0, 0.01, len(hours))), 0, 1),
    }
    for name, values in tenants.items():
        series = [float(value) for value in values]
        trials = [trial(0, series, model) for model in models(series)]
        found = forecast(0, series, trials)
        assert found.best.error <= found.naive_error, name
        assert all(0.0 <= found.at(found.origin + ahead) <= 1.0 for ahead in range(200))
    rhythm = [float(value) for value in tenants["rhythm"]]
    found = forecast(0, rhythm, [trial(0, rhythm, model) for model in models(rhythm)])
    assert found.best.error < 0.9 * found.naive_error
