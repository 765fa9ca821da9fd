"""What those who judge a host ask for, as data: statistic, window, target, source and date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from optimizer.model import PerResource
from optimizer.orders import Combination, Goal, Kind, Statistic

ARM_MACHINES = frozenset({"aarch64", "arm64"})
"""What platforms call the 64-bit Arm processors, those of Oracle's A1 shapes."""
_MEAN = Statistic()
_P95 = Statistic(kind=Kind.PERCENTILE, percent=95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One policy as its source states it.

    `statistics` has None for a resource that is not judged. `targets` are
    ratios, None: TARGET_* and the host's class say. `window_days` is None where
    MONITOR_PERIOD_DAYS says. `memory_on_arm_only`: elsewhere the memory is not
    judged. `as_of` is the day on which the source was read.
    """

    name: str
    says: str
    statistics: PerResource[Statistic | None]
    combination: Combination = Combination.MEET_ALL
    targets: PerResource[float | None] = PerResource(cpu=None, memory=None, disk=None)
    window_days: float | None = None
    memory_on_arm_only: bool = False
    source: str
    as_of: str

    def goals(self, machine: str, period_days: float) -> PerResource[Goal | None]:
        """What is judged on a host with this processor (as `uname -m` names it)."""
        days = period_days if self.window_days is None else self.window_days

        def goal(statistic: Statistic | None) -> Goal | None:
            return None if statistic is None else Goal(statistic=statistic, window_days=days)

        cpu, memory, disk = self.statistics
        if self.memory_on_arm_only and machine.lower() not in ARM_MACHINES:
            memory = None
        return PerResource(cpu=goal(cpu), memory=goal(memory), disk=goal(disk))


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset(
                name="regulated-cloud",
                says=(
                    "the mean of MONITOR_PERIOD_DAYS of CPU, memory and disk is at least "
                    "TARGET_UTILIZATION_SMALL (25 %) on hosts up to SMALL_MEMORY_MAX (8 GB), and "
                    "TARGET_UTILIZATION_LARGE (40 %) on hosts from LARGE_MEMORY_MIN (16 GB)"
                ),
                statistics=PerResource(cpu=_MEAN, memory=_MEAN, disk=_MEAN),
                source=(
                    "README of the first CloudResourceOptimizer "
                    "(github.com/adminlove520/CloudResourceOptimizer, commit 1e3e16b); no "
                    "regulation with these numbers is known"
                ),
                as_of="2025-09-24",
            ),
            Preset(
                name="oracle-always-free",
                says=(
                    "a VM is idle, and may be stopped, if over 7 days the 95th percentile of its "
                    "CPU is below 20 %, and its network use is below 20 %, and on A1 (Arm) shapes "
                    "its memory use is below 20 %; breaking one of these suffices. Network use is "
                    "neither measured nor raised here, so one of the others has to do it"
                ),
                statistics=PerResource(cpu=_P95, memory=_MEAN, disk=None),
                combination=Combination.BREAK_ANY,
                targets=PerResource(cpu=0.20, memory=0.20, disk=0.0),
                window_days=7,
                memory_on_arm_only=True,
                source=(
                    "docs.oracle.com/iaas/Content/FreeTier/freetier_topic-Always_Free_Resources.htm"
                    "; which statistic of the memory counts is not said there, so it is held at "
                    "its target all the time"
                ),
                as_of="2026-11",
            ),
            Preset(
                name="custom",
                says="STATISTIC of each resource reaches TARGET_*, as COMBINATION says",
                statistics=PerResource(cpu=_MEAN, memory=_MEAN, disk=_MEAN),
                source="this configuration",
                as_of="now",
            ),
        )
    }
)
"""The policies that POLICY may name."""
