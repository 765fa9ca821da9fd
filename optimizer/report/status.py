"""What status.json says: one document made of the last cycle and of what does not change."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.model import (
    CpuCapacity,
    CycleReport,
    Decision,
    HostClass,
    Inhibit,
    PeriodMean,
    Resource,
    StresserState,
    Utilisation,
)

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
        "inhibit": _inhibit(report.orders.inhibit),
        "period_days": around.period_days,
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
        "warnings": [*around.warnings, *failures],
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
    note = around.disk_note if resource is Resource.DISK else ""
    reach = None
    if resource is Resource.CPU and around.cpu is not None:
        reach = around.cpu.reach_cpus / around.cpu.capacity_cpus
    if state.last_error:
        note = f"{note} {state.last_error}".strip()
    return {
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
        "missing": list(state.missing),
        "pids": list(state.pids),
    }


def _inhibit(order: Inhibit | None) -> dict[str, object] | None:
    if order is None:
        return None
    return {
        "reason": order.reason,
        "by": order.by,
        "until_utc_s": order.until_utc_s,
        "since_utc_s": order.since_utc_s,
    }


def _rounded(ratio: float | None) -> float | None:
    """To a thousandth of a point: all that the sensors can tell, and readable."""
    return None if ratio is None else round(ratio, 5)
