"""Makes the daemon's state visible: status.json, the lines for Glances, one log line a sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from optimizer.model import Resource
from optimizer.outcome import CycleReport
from optimizer.ports import Log
from optimizer.report.status import Host, Surroundings, document
from optimizer.report.status_text import lines


class StatusStore(Protocol):
    """Where the status is kept for others to read."""

    def write(self, status: Mapping[str, object], text: str) -> str | None:
        """Replace both files; what went wrong, None if nothing did."""
        ...


class Publisher:
    """Implements ports.Notifier on files and log."""

    def __init__(
        self,
        *,
        host: Host,
        around: Callable[[], Surroundings],
        store: StatusStore,
        log: Log,
        show: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._host = host
        self._around = around
        self._store = store
        self._log = log
        self._show = show
        self._failing = False

    def publish(self, report: CycleReport) -> None:
        """Write status.json and the text for Glances; a failure is said once."""
        status = document(report, self._host, self._around())
        text = "\n".join(lines(status))
        self._show(text)
        failed = self._store.write(status, text)
        if failed and not self._failing:
            self._log.warning("status.write_failed", cause=failed)
        elif self._failing and not failed:
            self._log.info("status.write_recovered")
        self._failing = failed is not None

    def recorded(self, report: CycleReport) -> None:
        """Log the one line of a sample: per resource percent of total and own, and why."""
        sample = report.sample
        if sample is None:
            return
        fields: dict[str, object] = {"span_s": round(sample.span_s, 2)}
        for resource in Resource:
            usage, decision = sample.usage.of(resource), report.plan.of(resource)
            name = resource.value
            fields[f"{name}_percent"] = None if usage is None else _percent(usage.total_ratio)
            fields[f"{name}_own_percent"] = None if usage is None else _percent(usage.own_ratio)
            fields[f"{name}_reason"] = decision.reason.value
        self._log.info("cycle.completed", **fields, stored=report.acknowledged)
        for name, why in report.sensor_failures:
            self._log.warning("sensor.failed", resource=name, cause=why)


def _percent(ratio: float) -> float:
    return round(100 * ratio, 2)
