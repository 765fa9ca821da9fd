"""What status.json says: one document made of the last cycle and of what does not change."""

from __future__ import annotations

import math
from dataclasses import dataclass

from optimizer.control.estimate import used_bytes
from optimizer.control.promise import promise
from optimizer.control.spread import INODE_FLOOR_RATIO, room_of
from optimizer.counters import CpuCapacity, DiskCounters, Reading
from optimizer.model import Decision, Reason, Resource, Utilisation
from optimizer.orders import HostClass, Maintenance, MemoryMetric, Policy
from optimizer.outcome import ClockStep, CycleReport, Outlook, PeriodMean, StresserState
from optimizer.report.orders_facts import inhibit_facts, maintenance_facts

VERSION = 1
"""Of the document's shape; raised when a field changes its meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What is known of the host and of this daemon from its start on."""

    pid: int
    boot_id: str | None
    started_utc_s: float
    platform: str
    host_class: HostClass
    nominal_memory_gb: float
    cpus: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What may change from second to second beside the cycle: configuration, page, warnings."""

    interval_s: float
    period_days: float
    disk_note: str
    history_path: str
    glances_state: str
    glances_url: str | None
    glances_message: str
    config_file: str | None
    config_ok: bool
    config_message: str
    warnings: tuple[str, ...]
    cpu: CpuCapacity | None = None
    maintenance: Maintenance = Maintenance()


def document(report: CycleReport, host: Host, around: Surroundings) -> dict[str, object]:
    """The status document; every utilisation is a ratio, None where unknown."""
    steal = None if report.recent is None else report.recent.steal_ratio
    failures = tuple(f"cannot read {name}: {why}" for name, why in report.sensor_failures)
    return {
        "version": VERSION,
        "pid": host.pid,
        "boot_id": host.boot_id,
        "started_utc_s": round(host.started_utc_s, 3),
        "updated_utc_s": round(report.utc_s, 3),
        "cycle_count": report.cycle_count,
        "interval_s": around.interval_s,
        "platform": host.platform,
        "host_class": host.host_class.value,
        "nominal_memory_gb": host.nominal_memory_gb,
        "cpus": host.cpus if around.cpu is None else around.cpu.online_cpus,
        "cpu_scope": _capacity(around.cpu),
        "inhibit": inhibit_facts(report.orders.inhibit),
        "maintenance": maintenance_facts(around.maintenance),
        "period_days": around.period_days,
        "policy": report.orders.policy.terms.preset,
        "strategy": report.orders.policy.terms.strategy.value,
        "combination": report.orders.policy.terms.combination.value,
        "aim": promise(report.orders.policy),
        "resources": {resource.value: _resource(resource, report, around) for resource in Resource},
        "steal": _rounded(steal),
        "own_core_hours": {
            "today": None if report.own_day_s is None else round(report.own_day_s / 3600, 3),
            "limit": report.orders.policy.own_hours_max,
        },
        "history": {
            "path": around.history_path,
            "rows": None if report.means is None else report.means.rows,
            "ok": report.acknowledged and report.means is not None,
        },
        "glances": {
            "url": around.glances_url,
            "state": around.glances_state,
            "message": around.glances_message,
        },
        "config": {
            "file": around.config_file,
            "ok": around.config_ok,
            "message": around.config_message,
        },
        "clock": _clock(report.clock_step),
        "warnings": [*around.warnings, *failures],
    }


def _clock(step: ClockStep | None) -> dict[str, object]:
    """By how much the UTC clock was last set since the start, and when by the new time."""
    return {
        "step_s": None if step is None else step.seconds,
        "step_utc_s": None if step is None else round(step.utc_s, 3),
    }


def _capacity(cpu: CpuCapacity | None) -> dict[str, object] | None:
    """What the CPU's shares are of, in CPUs; `reach` is the most that we can use of it."""
    if cpu is None:
        return None
    return {
        "scope": cpu.scope.value,
        "online": cpu.online_cpus,
        "usable": len(cpu.usable),
        "quota": cpu.quota_cpus,
        "capacity": cpu.capacity_cpus,
        "reach": cpu.reach_cpus,
        "workers": cpu.workers,
    }


def _resource(resource: Resource, report: CycleReport, around: Surroundings) -> dict[str, object]:
    decision: Decision = report.plan.of(resource)
    state: StresserState = report.stressers.of(resource)
    usage: Utilisation | None = None
    if report.recent is not None:
        usage = report.recent.usage.of(resource)
    mean: PeriodMean | None = None if report.means is None else report.means.of.of(resource)
    held = resource is Resource.DISK and decision.reason is not Reason.NO_TARGET
    note = around.disk_note if held else ""
    missing = [*state.missing]
    if resource is Resource.MEMORY:
        missing += _unseen(report.reading)
    reach = None
    if resource is Resource.CPU and around.cpu is not None:
        reach = around.cpu.reach_cpus / around.cpu.capacity_cpus
    if state.last_error:
        note = f"{note} {state.last_error}".strip()
    filesystems = _filesystems(report) if resource is Resource.DISK else []
    for one in filesystems:
        if one["fault"]:
            note = f"{note} {one['path']}: {one['fault']}.".strip()
    facts: dict[str, object] = {
        "now": _rounded(None if usage is None else usage.total_ratio),
        "organic": _rounded(None if usage is None else usage.organic_ratio),
        "own": _rounded(None if usage is None else usage.own_ratio),
        "room": _rounded(None if usage is None else usage.room_ratio),
        "setpoint": _rounded(decision.setpoint_ratio),
        "target": _rounded(decision.target_ratio),
        "reach": _rounded(reach),
        "ceiling": _rounded(report.orders.policy.ceiling.of(resource)),
        "demand": _rounded(decision.demand_ratio),
        "mean": _rounded(None if mean is None else mean.mean_ratio),
        "own_mean": _rounded(None if mean is None else mean.own_mean_ratio),
        "coverage": _rounded(None if mean is None else mean.coverage_ratio),
        "reason": decision.reason.value,
        "held": decision.lease,
        "capacity": None if usage is None else usage.capacity,
        "place": state.place,
        "note": note,
        "means": list(state.means),
        "missing": missing,
        "pids": list(state.pids),
    }
    outlook = None if report.outlooks is None else report.outlooks.of(resource)
    facts["judged"] = _judged(outlook)
    if resource is Resource.MEMORY:
        facts["metrics"] = _metrics(report)
    if resource is Resource.DISK:
        facts["filesystems"] = filesystems
    return facts


def _judged(outlook: Outlook | None) -> dict[str, object] | None:
    """How the judged window stands and what the setpoint is for; None before the first sample."""
    if outlook is None:
        return None
    return {
        "intent": outlook.intent.value,
        "setpoint": _rounded(outlook.setpoint_ratio),
        "statistic": outlook.statistic,
        "window_days": outlook.window_days,
        "ratio": _rounded(outlook.ratio),
        "low": _rounded(outlook.low),
        "high": _rounded(outlook.high),
        "coverage": _rounded(outlook.coverage),
        "met": outlook.met,
        "eta_s": None if outlook.eta_s is None else round(outlook.eta_s),
        "limited": outlook.limited,
        "full_in_days": None if outlook.full_in_days is None else round(outlook.full_in_days, 1),
        "forecast": outlook.forecast,
        "forecast_error": _rounded(outlook.forecast_error),
        "naive_error": _rounded(outlook.naive_error),
    }


def _metrics(report: CycleReport) -> dict[str, object]:
    """The memory by each of the three formulas: total, and how much of that is ours."""
    reading = report.reading
    if reading is None or reading.host.memory is None:
        return {}
    memory, own_bytes = reading.host.memory, reading.own.memory_bytes
    # What the kernel may take back at once is available, so it counts as used by two of them.
    counts_for_all = not report.orders.policy.lazy_memory
    return {
        one.value: {
            "now": _rounded(used_bytes(memory, one) / memory.total_bytes),
            "own": _rounded(
                own_bytes / memory.total_bytes
                if counts_for_all or one is not MemoryMetric.AVAILABLE
                else 0.0
            ),
        }
        for one in MemoryMetric
    }


def _unseen(reading: Reading | None) -> list[str]:
    """Which signs of pressure this kernel does not give, and what that costs."""
    memory = None if reading is None else reading.host.memory
    if memory is None or memory.stalled_s is not None or memory.low_memory is not None:
        return []
    return ["PSI: a shortage is seen by what is available alone; on Linux boot with psi=1"]


def _shortage(disk: DiskCounters, policy: Policy) -> str | None:
    """What a filesystem lacks, so that nothing may be held on it; None when it lacks nothing."""
    if disk.free_inodes_ratio < INODE_FLOOR_RATIO:
        return f"too few inodes are free: {disk.free_inodes_ratio:.1%} of them"
    floor = policy.disk_floor.bytes_of(disk.size_bytes)
    if disk.available_bytes < floor:
        left, stays = disk.available_bytes / 2**30, floor / 2**30
        return f"it is full: {left:.1f} GB are left, {stays:.1f} GB always stay free"
    return None


def _filesystems(report: CycleReport) -> list[dict[str, object]]:
    """Each filesystem: its use, ours in it, and what keeps it from holding more."""
    reading = report.reading
    if reading is None or reading.host.disks is None:
        return []
    held = dict(reading.own.disks)
    faults = dict(report.stressers.disk.faults)
    parts = {part.place: part for part in report.plan.disk.parts}
    policy = report.orders.policy
    found: list[dict[str, object]] = []
    for disk in reading.host.disks:
        own, part = held.get(disk.place.path, 0), parts.get(disk.place)
        reason = None if part is None else part.reason
        if disk.place.mount in report.orders.released:
            reason = Reason.RELEASED
        found.append(
            {
                "mount": disk.place.mount,
                "path": disk.place.path,
                "now": _rounded(disk.used_bytes / disk.size_bytes if disk.size_bytes else None),
                "own": _rounded(own / disk.size_bytes if disk.size_bytes else None),
                "own_bytes": own,
                "size_bytes": disk.size_bytes,
                "room_bytes": room_of(disk, policy),
                "free_inodes": _rounded(disk.free_inodes_ratio),
                "lease_bytes": 0 if part is None else part.lease_bytes,
                "reason": None if reason is None else reason.value,
                "fault": faults.get(disk.place.path) or _shortage(disk, policy),
            }
        )
    return found


def _rounded(ratio: float | None) -> float | None:
    """To a thousandth of a point: all that the sensors can tell, and readable.

    None for an error that could not be measured, which is infinite.
    """
    return None if ratio is None or math.isinf(ratio) else round(ratio, 5)
