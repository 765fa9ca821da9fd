"""Days and weeks of random faults on the model host: every promise is watched all the time."""

from __future__ import annotations

import os
import time

import pytest

from optimizer.control import decide, track
from tests.simulation.faults import DAY_S, Faults, soak
from tests.simulation.life import RESTART_S, Life

FAULT_S = 1200.0
"""One fault in so many seconds, about: 2,160 in 30 days."""
LOST_S = 62.0
"""What a gap costs the record: the interval in which it lies, and a cycle or two."""


@pytest.fixture(autouse=True)
def usual_gap_limit() -> object:
    """What a lapse has changed is put back."""
    yield
    track.GAP_S = decide.GAP_S = 2.0


def judge(life: Life, faults: Faults, days: float) -> None:
    """All that must hold at the end."""
    truth, host = life.truth, life.host
    assert truth.violations == [], f"{len(faults.count)} kinds of faults: {faults.count}"
    assert set(truth.checks) == {f"I{number}" for number in range(11)}
    awake_s = days * DAY_S
    lost_s = (life.gaps + life.restarts + host.raises + 1) * LOST_S + life.restarts * RESTART_S
    assert awake_s - lost_s <= truth.sampled_s <= awake_s
    assert truth.samples == pytest.approx(truth.sampled_s / 60, rel=0.02)
    assert life.tally.rows + life.tally.backlog + life.tally.lost == truth.samples
    # On stretches in which the tenant leaves room; each of them begins two seconds after a change.
    assert host.feasible_s > 0.2 * awake_s
    assert abs(host.error_s / host.feasible_s) < 0.001
    ends = sum(faults.count.get(name, 0) for name in ("killed", "recovered", "bugs"))
    assert life.restarts >= 0.8 * ends


def test_two_days_of_faults_break_no_promise() -> None:
    """One fault each ten minutes or so: load is forbidden, given back and held as it must be."""
    life, faults = soak(3, 2.0, FAULT_S / 2)
    judge(life, faults, 2.0)


def test_the_same_seed_is_the_same_life() -> None:
    """To the last digit of the last sample; another seed is another life."""
    digests = [soak(seed, 0.1, 300.0)[0].tally.digest.hexdigest() for seed in (5, 5, 6)]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


@pytest.mark.long
@pytest.mark.parametrize("seed", [int(seed) for seed in os.environ.get("SEEDS", "1").split()])
def test_thirty_days_of_faults_break_no_promise(seed: int) -> None:
    """About 2,160 faults of 27 kinds; prints what came of it."""
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    life, faults = soak(seed, 30.0, FAULT_S)
    took_s, cpu_s = time.perf_counter() - begin_s, time.process_time() - begin_cpu_s
    host, truth = life.host, life.truth
    print(
        f"\nseed {seed}: {sum(faults.count.values())} faults, {host.cycles} cycles,"
        f" {life.restarts} restarts, {truth.started} stressers started, {truth.samples} samples,"
        f" {sum(truth.checks.values())} checks, CPU mean off by"
        f" {100 * host.error_s / host.feasible_s:.4f} points where feasible, {took_s:.1f} s,"
        f" {cpu_s:.1f} s of CPU"
    )
    judge(life, faults, 30.0)
    assert set(faults.count) == {kind.__name__ for kind in faults.kinds}
