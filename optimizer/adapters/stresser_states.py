"""Stressers as others see them: for people, and for the roster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from optimizer.adapters.roster import Listed
from optimizer.adapters.stresser_process import StresserProcess
from optimizer.model import Resource
from optimizer.outcome import StresserState


def state_of(
    resource: Resource,
    processes: Sequence[StresserProcess],
    *,
    trouble: str | None,
    faults: Mapping[str, str],
) -> StresserState:
    """How those of one resource are that run now.

    `trouble` is what else is wrong where none of them says anything; a disk's
    `faults` are told path by path instead.
    """
    first = processes[0] if processes else None
    error = next((p.last_error for p in processes if p.last_error), None)
    on_disk = resource is Resource.DISK
    return StresserState(
        pids=tuple(pid for process in processes for pid in process.pids),
        means=first.means if first else (),
        missing=first.missing if first else (),
        place=", ".join(p.place for p in processes if p.place) or None,
        last_error=None if on_disk else error or trouble,
        faults=tuple(faults.items()) if on_disk else (),
    )


def faults_of(
    processes: Iterable[StresserProcess], before: Mapping[str, str], now_s: float
) -> dict[str, str]:
    """What is wrong on each path: with the stresser there, or with the one that ended before."""
    found = dict(before)
    for process in processes:
        if process.path is None:
            continue
        if process.stuck(now_s):
            found[process.path] = "does not answer: the filesystem is frozen or its disk hangs"
        elif process.last_error is not None:
            found[process.path] = process.last_error
    return found


def listed(process: StresserProcess) -> list[Listed]:
    """Its processes for the roster: the crew first, then its workers."""
    kind = process.resource.value
    return [
        Listed(who, "stresser" if who.pid == process.pid else "worker", kind)
        for who in process.known
    ]
