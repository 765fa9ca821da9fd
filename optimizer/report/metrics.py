"""The status as metrics: names, units and labels that dashboards and alerts rely on; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PREFIX = "optimizer_"
_RATIOS = {
    "setpoint_ratio": ("setpoint", "What the resource is held at now"),
    "target_ratio": ("target", "What the policy demands"),
    "ceiling_ratio": ("ceiling", "Above this no load is added"),
}
_MEANS = {
    "period_mean_ratio": ("mean", "Mean of the period, of what was measured"),
    "period_own_mean_ratio": ("own_mean", "Part of the mean that is our own load"),
    "period_coverage_ratio": ("coverage", "Share of the period that was measured"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric with its samples: labels in the order of `labels`, and a value.

    A value that is not known has no sample: it is never 0. `counter` tells a
    count that only rises (its name ends in _total) from a gauge.
    """

    name: str
    text: str
    labels: tuple[str, ...] = ()
    samples: tuple[tuple[tuple[str, ...], float], ...] = ()
    counter: bool = False


def metrics(status: Mapping[str, Any] | None, now_utc_s: float, stale_s: float) -> list[Metric]:
    """What a status document says; of one that is older than `stale_s` only that it is.

    None stands for a document that is not there or cannot be read.
    """
    age_s = None if status is None else _number(status.get("updated_utc_s"))
    if age_s is not None:
        age_s = now_utc_s - age_s
    healthy = age_s is not None and abs(age_s) <= stale_s
    found = [
        _one("healthy", "1 while a daemon writes its status, 0 when none does or it hangs", healthy)
    ]
    if status is None or not healthy:
        return found
    found.append(_one("status_age_seconds", "Age of the status that this was made of", age_s))
    return found + [one for one in _told(status) if one.samples]


def _told(status: Mapping[str, Any]) -> Iterator[Metric]:
    resources: dict[str, Mapping[str, Any]] = {
        name: facts for name, facts in (status.get("resources") or {}).items() if facts is not None
    }
    yield Metric(
        name=f"{PREFIX}utilization_ratio",
        text="Utilisation, 0 to 1: organic is everybody else's, own is ours",
        labels=("resource", "owner"),
        samples=tuple(
            ((name, owner), value)
            for name, facts in resources.items()
            for owner in ("organic", "own")
            if (value := _number(facts.get(owner))) is not None
        ),
    )
    for name, (key, text) in (_RATIOS | _MEANS).items():
        yield _each(name, text, {of: facts.get(key) for of, facts in resources.items()})
    yield Metric(
        name=f"{PREFIX}reason",
        text="1 for the reason why so much is held",
        labels=("resource", "reason"),
        samples=tuple(((of, str(facts.get("reason"))), 1.0) for of, facts in resources.items()),
    )
    yield _one("period_days", "Days of the period of the means", status.get("period_days"))
    yield _one("paused", "1 while a pause forbids all load", status.get("inhibit") is not None)
    yield _one("steal_ratio", "Share of the CPU that the hypervisor took", status.get("steal"))
    history = status.get("history") or {}
    yield _one("history_rows", "Samples in the history", history.get("rows"))
    yield _one("history_healthy", "1 while samples are stored", history.get("ok"))
    config = status.get("config") or {}
    yield _one("config_accepted", "0 while the last reload is refused", config.get("ok"))
    yield _one("start_time_seconds", "When the daemon started", status.get("started_utc_s"))
    cycles = _one("cycles_total", "Cycles since the start", status.get("cycle_count"))
    yield Metric(name=cycles.name, text=cycles.text, samples=cycles.samples, counter=True)


def _one(name: str, text: str, value: object) -> Metric:
    number = _number(value)
    samples = () if number is None else (((), number),)
    return Metric(name=f"{PREFIX}{name}", text=text, samples=samples)


def _each(name: str, text: str, values: Mapping[str, object]) -> Metric:
    samples = tuple(
        ((of,), number) for of, value in values.items() if (number := _number(value)) is not None
    )
    return Metric(name=f"{PREFIX}{name}", text=text, labels=("resource",), samples=samples)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
