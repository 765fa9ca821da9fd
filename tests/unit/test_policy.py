"""Presets as data, and what they mean on a host."""

from __future__ import annotations

import pytest

from optimizer.control.policy import PRESETS
from optimizer.derive import Machine, derive
from optimizer.model import PerResource
from optimizer.orders import Combination, HostClass, Policy, Strategy
from optimizer.settings import load


def judged(processor: str, memory_gb: float = 24, **keys: str) -> Policy:
    """The policy on a host with this processor."""
    settings = load(file=None, environ={}, overrides=keys).settings
    machine = Machine(
        platform="linux_generic",
        nominal_memory_gb=memory_gb,
        host_class=HostClass.LARGE,
        cpus=4,
        memory_bytes=int(memory_gb * 2**30),
        processor=processor,
    )
    return derive(settings, machine).settled.policy


def test_every_preset_has_source_and_date_and_can_be_configured() -> None:
    """POLICY accepts exactly the presets."""
    for name, preset in PRESETS.items():
        assert preset.name == name
        assert preset.source
        assert preset.as_of
        assert load(file=None, environ={}, overrides={"POLICY": name}).settings.policy == name


def test_the_regulated_cloud_is_judged_by_its_mean() -> None:
    """All three resources, MONITOR_PERIOD_DAYS, the targets of the class, hold."""
    policy = judged("x86_64")
    assert policy.target == PerResource(cpu=0.4, memory=0.4, disk=0.4)
    assert [str(goal.statistic) for goal in policy.terms.goals if goal] == ["mean"] * 3
    assert {goal.window_days for goal in policy.terms.goals if goal} == {30}
    assert policy.terms.combination is Combination.MEET_ALL
    assert policy.terms.strategy is Strategy.HOLD


@pytest.mark.parametrize(("processor", "memory"), [("aarch64", 0.2), ("x86_64", 0.0)])
def test_oracle_judges_memory_on_arm_only(processor: str, memory: float) -> None:
    """7 days, p95 of the CPU at 20 %; one suffices; the disk is not judged and only watched."""
    policy = judged(processor, POLICY="oracle-always-free")
    assert policy.target == PerResource(cpu=0.2, memory=memory, disk=0.0)
    goals = policy.terms.goals
    assert goals.cpu is not None
    assert (str(goals.cpu.statistic), goals.cpu.window_days) == ("p95", 7)
    assert (goals.memory is not None) == (memory > 0)
    assert goals.disk is None
    assert policy.terms.combination is Combination.BREAK_ANY


def test_a_target_in_the_configuration_comes_before_the_presets() -> None:
    """TARGET_CPU=25 with Oracle's rules: 25; custom: statistic and combination as written."""
    assert judged("x86_64", POLICY="oracle-always-free", TARGET_CPU="25").target.cpu == 0.25
    policy = judged("x86_64", POLICY="custom", STATISTIC="p95", COMBINATION="break_any")
    assert [str(goal.statistic) for goal in policy.terms.goals if goal] == ["p95"] * 3
    assert policy.terms.combination is Combination.BREAK_ANY


def test_each_resource_may_be_judged_by_its_own_figure() -> None:
    """CPU p95 of 7 days; the memory, which is not named, its mean of 14; the disk not at all."""
    policy = judged(
        "x86_64",
        POLICY="custom",
        MONITOR_PERIOD_DAYS="14",
        STATISTIC="cpu P95 7d, disk none",
    )
    cpu, memory, disk = policy.terms.goals
    assert cpu is not None
    assert memory is not None
    assert (str(cpu.statistic), cpu.window_days) == ("p95", 7)
    assert (str(memory.statistic), memory.window_days) == ("mean", 14)
    assert disk is None
    assert policy.target.disk == 0.4
