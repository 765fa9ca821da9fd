"""The samples of the past as the planner wants them: total, and what others used."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from optimizer.adapters.history_sound import SAMPLE, ratio
from optimizer.model import PerResource, Resource
from optimizer.outcome import Past

_USED = ", ".join(f"{ratio(x.value)}, {ratio(f'{x.value}_own')}" for x in Resource)
_PAST = f"""
    SELECT utc_s, span_s, {_USED} FROM sample
    WHERE utc_s > ? AND utc_s <= ? AND {SAMPLE} ORDER BY utc_s
"""  # noqa: S608 - constants only


def past(db: sqlite3.Connection, from_utc_s: float, to_utc_s: float) -> Iterator[Past]:
    """The rows that ended in that time, oldest first; raises sqlite3.Error, also in the midst."""
    for utc_s, span_s, *used in db.execute(_PAST, (from_utc_s, to_utc_s)):
        yield Past(utc_s, span_s, _shares(used))


def _shares(used: Sequence[float | None]) -> PerResource[tuple[float | None, float | None]]:
    """(total, organic) of each resource from (total, own, total, own, total, own)."""

    def pair(total: float | None, own: float | None) -> tuple[float | None, float | None]:
        if total is None or own is None:
            return None, None
        return total, max(0.0, total - own)

    cpu, memory, disk = pair(*used[:2]), pair(*used[2:4]), pair(*used[4:])
    return PerResource(cpu=cpu, memory=memory, disk=disk)
