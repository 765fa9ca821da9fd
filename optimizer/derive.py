"""What the settings mean on this machine: its size class, targets, limits, filesystems."""

from __future__ import annotations

import functools
import math
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from optimizer.adapters import filler_directories, platform
from optimizer.adapters import mounts as mount_table
from optimizer.adapters.memory_scope import MemoryScope
from optimizer.control.disks import Scope, choose, eligible, keep, may_hang
from optimizer.control.goals import needed_days
from optimizer.control.host import class_target_ratio, host_class, nominal_memory_gb, targets
from optimizer.control.policy import PRESETS, Preset
from optimizer.model import PerResource, Reason, Resource
from optimizer.orders import Asked, AskedEach, Floor, Goal, HostClass, Policy, Settled, Terms
from optimizer.settings import Settings
from optimizer.upkeep import Derived

CPU_RISE_PER_S = 4.0
"""Share of the host's CPU by which the demand may rise in a second.

The kernel gives way to the tenant at any moment, so this only keeps a wrong
reading from becoming a full load at once.
"""
MEMORY_FLOOR = Floor(ratio=0.05, least_bytes=512 * 2**20)
FEWEST_SHARDS = 4
"""When the kernel runs out of memory it may kill a second volunteer before the
first one's pages are free; with one process only, that second one was the
tenant in up to half of the trials, with two or more in none of 360."""
DISK_FLOOR = Floor(ratio=0.10, least_bytes=2 * 2**30)
_MB = float(2**20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The host as found at the start."""

    platform: str
    nominal_memory_gb: float
    host_class: HostClass
    cpus: int
    memory_bytes: int
    processor: str = ""


def look(settings: Settings) -> Machine:
    """What machine this is, and which class the settings put it in."""
    visible_bytes, block_bytes = _sizes(
        platform.visible_bytes(settings.host_proc), settings.host_proc
    )
    limit_bytes = MemoryScope(settings.memory_scope).capacity_bytes(visible_bytes)
    if limit_bytes is not None:
        visible_bytes, block_bytes = limit_bytes, None
    nominal_gb = nominal_memory_gb(visible_bytes=visible_bytes, block_bytes=block_bytes)
    return Machine(
        platform=platform.platform_name(settings.platform),
        nominal_memory_gb=nominal_gb,
        host_class=host_class(
            nominal_gb,
            small_max_gb=settings.small_memory_max,
            large_min_gb=settings.large_memory_min,
        ),
        cpus=os.cpu_count() or 1,
        memory_bytes=visible_bytes,
        processor=platform.processor(),
    )


def sized(machine: Machine, settings: Settings, memory_gb: float) -> Machine:
    """The same machine with another size of memory, as bought."""
    return replace(
        machine,
        nominal_memory_gb=memory_gb,
        memory_bytes=int(memory_gb * 2**30),
        host_class=host_class(
            memory_gb,
            small_max_gb=settings.small_memory_max,
            large_min_gb=settings.large_memory_min,
        ),
    )


@functools.lru_cache(maxsize=1)
def _sizes(_: int, host: Path | None) -> tuple[int, int | None]:
    """Read again only when the visible memory has changed: a large host has thousands of blocks."""
    return platform.memory_sizes(host)


def derive(settings: Settings, machine: Machine, previous: Scope | None = None) -> Derived:
    """What the settings mean on this machine: targets, limits, filesystems."""
    settled = Settled(
        policy=policy_of(settings, machine),
        interval_s=settings.check_interval_seconds,
        period_days=settings.monitor_period_days,
    )
    return Derived(
        settled=settled,
        scope=disk_scope(settings, previous),
        cpu_scope=settings.cpu_scope,
        memory_scope=settings.memory_scope,
        memory_shards=memory_shards(settings, machine.memory_bytes),
        disk_allowed=settings.disk_allow or frozenset(),
    )


def policy_of(settings: Settings, machine: Machine) -> Policy:
    """Targets and limits; looks at no filesystem."""
    preset = PRESETS[settings.policy]
    terms = _terms(settings, preset, machine)
    return Policy(
        target=_targets(settings, machine, preset, terms),
        terms=terms,
        ceiling=PerResource(
            cpu=settings.cpu_ceiling / 100,
            memory=settings.memory_ceiling / 100,
            disk=settings.disk_ceiling / 100,
        ),
        memory_floor=MEMORY_FLOOR,
        disk_floor=DISK_FLOOR,
        cpu_rise_per_s=CPU_RISE_PER_S,
        memory_rise_bytes_per_s=settings.memory_rise_mb_per_minute * _MB / 60,
        disk_rise_bytes_per_s=settings.disk_rise_mb_per_second * _MB,
        memory_metric=settings.memory_metric,
        lazy_memory=platform.holds_lazily(settings.memory_metric),
        count_steal=settings.cpu_count_steal,
        steal_max_ratio=settings.cpu_steal_max / 100,
        own_hours_max=settings.cpu_own_hours_max or None,
        hold_off_s=settings.hold_off_seconds,
    )


def kept_days(derived: Derived) -> int:
    """How many days of samples are kept: the period, or what the policy judges if that is more."""
    settled = derived.settled
    return math.ceil(max(settled.period_days, needed_days(settled.policy)))


def memory_shards(settings: Settings, memory_bytes: int) -> int:
    """Processes that share the memory held: so many that none ever exceeds MEMORY_SHARD_MAX."""
    most_bytes = settings.memory_ceiling / 100 * memory_bytes
    shards = math.ceil(most_bytes / (settings.memory_shard_max * 2**30))
    return max(FEWEST_SHARDS, shards)


def disk_scope(settings: Settings, previous: Scope | None) -> Scope:
    """Which filesystems count, and where space is held; where it was held before if possible."""
    path = settings.disk_stress_path
    mounts = mount_table.mounts()
    allowed = settings.disk_allow or frozenset()
    candidates = () if path is not None else eligible(mounts, allowed)
    hanging = frozenset(mount.mount for mount in mounts if may_hang(mount))
    chosen = choose(
        mounts,
        data_disk_only=settings.data_disk_only,
        stress_path=None if path is None else mount_table.resolved(path, hanging),
        usage=mount_table.available_bytes(mount.mount for mount in candidates),
        allowed=allowed,
    )
    kept = chosen if previous is None else keep(chosen, previous)
    # Asked only now, when it is known to be on a disk that answers.
    if path is not None and kept.places and not path.is_dir():
        note = f"DISK_STRESS_PATH={path} is no directory; make it, or mount the disk that has it."
        return Scope(places=(), reason=Reason.NO_DISK, note=note)
    places = tuple(one._replace(path=filler_directories.place_on(one.path)) for one in kept.places)
    closed = [one.path for one in places if not os.access(one.path, os.W_OK | os.X_OK)]
    note = kept.note
    if closed and sys.platform == "linux":
        note += (
            f" Not writable for this user: {', '.join(closed)}; for the service, `systemctl reload "
            "optimizer` makes a directory there that is, and `optimizer resume` tries it at once."
        )
    return replace(kept, places=places, note=note)


def _terms(settings: Settings, preset: Preset, machine: Machine) -> Terms:
    goals = preset.goals(machine.processor, settings.monitor_period_days)
    combination = preset.combination
    if settings.policy == "custom":
        goals = _asked(settings)
        combination = settings.combination or combination
    return Terms(
        preset=preset.name,
        goals=goals,
        combination=combination,
        strategy=settings.strategy,
        gaps=settings.gap_policy,
        catch_up_ratio=settings.catch_up_max_points / 100,
        margin_ratio=settings.economy_margin_points / 100,
        withdraw_s=settings.withdraw_minutes * 60,
    )


def _asked(settings: Settings) -> PerResource[Goal | None]:
    """What POLICY=custom judges."""
    asked = settings.statistic or AskedEach(PerResource(cpu=Asked(), memory=Asked(), disk=Asked()))
    cpu, memory, disk = (
        None if one is None else one.goal(settings.monitor_period_days) for one in asked.of
    )
    return PerResource(cpu=cpu, memory=memory, disk=disk)


def _targets(
    settings: Settings, machine: Machine, preset: Preset, terms: Terms
) -> PerResource[float]:
    class_ratio = class_target_ratio(
        machine.nominal_memory_gb,
        small_max_gb=settings.small_memory_max,
        large_min_gb=settings.large_memory_min,
        small_ratio=settings.target_utilization_small / 100,
        large_ratio=settings.target_utilization_large / 100,
        medium_ratio=_ratio(settings.medium_target),
    )

    def override(of: Resource, percent: float | None) -> float | None:
        own = preset.targets.of(of)
        if percent is not None or own is None:
            return _ratio(percent)
        return own if terms.goals.of(of) is not None else 0.0

    overrides = PerResource(
        cpu=override(Resource.CPU, settings.target_cpu),
        memory=override(Resource.MEMORY, settings.target_memory),
        disk=override(Resource.DISK, settings.target_disk),
    )
    return targets(class_ratio, overrides)


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100
