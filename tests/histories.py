"""Histories made by the writer itself, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from optimizer.adapters.history import BACKLOG_ROWS, SqliteHistory
from optimizer.model import Decision, PerResource, Reason, Resource, Sample, Utilisation
from optimizer.outcome import Event, Record
from tests.fakes import FakeLog

Ratios = tuple[float, float] | None
"""Total and own; None where the sensor failed."""


def record(
    utc_s: float,
    span_s: float = 60.0,
    *,
    cpu: Ratios = (0.4, 0.3),
    memory: Ratios = (0.5, 0.1),
    disk: Ratios = None,
    setpoint: float = 0.25,
    disk_reason: Reason = Reason.HOLDING,
) -> Record:
    """One row."""

    def usage(ratios: Ratios) -> Utilisation | None:
        if ratios is None:
            return None
        return Utilisation(total_ratio=ratios[0], own_ratio=ratios[1], capacity=2.0, room_ratio=0.5)

    def decision(resource: Resource) -> Decision:
        return Decision(
            resource=resource,
            target_ratio=setpoint,
            setpoint_ratio=setpoint,
            wanted_ratio=0.1,
            demand_ratio=0.1,
            lease=0.1,
            reason=disk_reason if resource is Resource.DISK else Reason.HOLDING,
        )

    used = PerResource(cpu=usage(cpu), memory=usage(memory), disk=usage(disk))
    return Record(
        sample=Sample(utc_s=utc_s, span_s=span_s, usage=used, steal_ratio=None),
        plan=PerResource(
            cpu=decision(Resource.CPU),
            memory=decision(Resource.MEMORY),
            disk=decision(Resource.DISK),
        ),
    )


def written(path: Path, records: Iterable[Record], events: Iterable[Event] = ()) -> Path:
    """A history of these, closed in good order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    history = SqliteHistory(path, period_days=3660, log=FakeLog())
    rows = list(records)
    for start in range(0, len(rows), BACKLOG_ROWS):
        # Written together: a commit each would take seconds.
        *waiting, last = rows[start : start + BACKLOG_ROWS]
        history._backlog.extend(waiting)
        assert history.append(last)
    for event in events:
        history.note(event)
    history.close()
    return path
