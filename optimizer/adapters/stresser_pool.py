"""The stressers of all three resources: started, leased, counted and ended as the plan says."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

from optimizer.adapters.stresser_process import StresserProcess
from optimizer.model import (
    Decision,
    ExitCause,
    Observation,
    OwnCounters,
    PerResource,
    Plan,
    Resource,
    StresserExit,
    StresserState,
)

MEMORY_SHARDS = 4
"""Processes that share the memory held.

When the kernel runs out of memory it may kill a second volunteer before the
first one's pages are free; with one process only, that second one was the
tenant in up to half of the trials, with two or more in none of 360.
"""
_POLL_S = 0.005

Start = Callable[[Resource, tuple[str, ...]], StresserProcess]


class StresserPool:
    """Implements ports.Actuators with real processes.

    `cpus` tells how many CPU workers to start, `disk_path` where disk space
    is held, `cpu_group` the control group of the CPU workers. `cpu_scale` is
    the capacity in CPUs over workers: with fewer workers than CPUs (affinity,
    cpuset) each must work more for the same share.
    `cpu_room` is what number, place and scale of the workers follow from; when
    it is another value they are started anew.

    `stirs` is told with which descriptor a CPU stresser calls, and when it no
    longer does.

    The pool decides nothing: a lease above 0 starts what is not there, `stop`
    ends what is.
    """

    def __init__(
        self,
        *,
        cpus: Callable[[], int],
        disk_path: Callable[[], str | None],
        cpu_group: Path | None = None,
        cpu_scale: Callable[[], float] = lambda: 1.0,
        cpu_room: Callable[[], object] = lambda: None,
        start: Start = StresserProcess,
        monotonic: Callable[[], float] = time.monotonic,
        stirs: Callable[[int, bool], None] = lambda _descriptor, _begin: None,
    ) -> None:
        self._stirs = stirs
        self._cpus = cpus
        self._disk_path = disk_path
        self._cpu_group = () if cpu_group is None else ("--cgroup", str(cpu_group))
        self._cpu_scale = cpu_scale
        self._cpu_room = cpu_room
        self._room: object = None
        self._start = start
        self._monotonic = monotonic
        self._running: dict[Resource, list[StresserProcess]] = {r: [] for r in Resource}
        self._launched: dict[Resource, list[tuple[str, ...]]] = {}
        self._dying: list[StresserProcess] = []
        self._retired_cpu_s = 0.0
        self._scale = 1.0
        self._failures: list[StresserExit] = []
        self._last_error: dict[Resource, str] = {}

    def observe(self) -> Observation:
        """CPU seconds, ledgers, and the unwanted ends since the last call."""
        exits, self._failures = self._failures, []
        stirred = False
        for process in self._stirring():
            process.listen()
            stirred, process.stirred = stirred or process.stirred, False
            over = process.ended()
            if over is not None and process in self._running[process.resource]:
                exits.append(over)
                self._last_error[process.resource] = over.detail
                self._end(process.resource)
        if self._dying:
            self._reap()
        return Observation(
            own=OwnCounters(
                cpu_s=self.cpu_used_s(),
                memory_bytes=self._held(Resource.MEMORY),
                disk_bytes=self._held(Resource.DISK),
            ),
            exits=tuple(exits),
            stirred=stirred,
        )

    def cpu_used_s(self) -> float:
        """CPU seconds of the controller and of all stressers, ended ones included."""
        used_s = time.process_time() + self._retired_cpu_s
        for processes in self._running.values():
            for process in processes:
                used_s += process.cpu_s()
        for process in self._dying:
            used_s += process.cpu_s()
        return used_s

    def renew_cpu(self, demand_ratio: float) -> bool:
        """Renew the lease of the CPU stressers, which watch nothing from now on; if any run."""
        now_s, wanted = self._monotonic(), min(1.0, demand_ratio * self._scale)
        processes = self._running[Resource.CPU]
        for process in processes:
            process.renew(wanted, now_s)
        return bool(processes)

    def apply(self, plan: Plan) -> None:
        """Renew, start or end each resource's stressers as decided."""
        for decision in plan:
            if decision.stop:
                self._end(decision.resource)
                continue
            if self._running[decision.resource] and self._outdated(decision.resource):
                self._end(decision.resource)
            if decision.lease > 0 and not self._running[decision.resource]:
                self._launch(decision)
            self._renew(decision)

    def _renew(self, decision: Decision) -> None:
        now_s, wanted = self._monotonic(), decision.lease
        if decision.resource is Resource.CPU:
            wanted = min(1.0, wanted * self._scale)
        for process in self._running[decision.resource]:
            process.renew(wanted, now_s, decision.level_ratio)

    def states(self) -> PerResource[StresserState]:
        """What runs, by which kernel means, and what went wrong last."""
        return PerResource(
            cpu=self._state(Resource.CPU),
            memory=self._state(Resource.MEMORY),
            disk=self._state(Resource.DISK),
        )

    def release(self) -> None:
        """End all stressers now, without waiting."""
        for resource in Resource:
            self._end(resource)

    def close(self, deadline_s: float) -> tuple[int, ...]:
        """End all, wait until they are gone; the pids of those that are not after the deadline."""
        self.release()
        until_s = self._monotonic() + deadline_s
        while self._dying and self._monotonic() < until_s:
            self._reap()
            time.sleep(_POLL_S)
        self._reap()
        return tuple(pid for process in self._dying for pid in process.pids)

    def _stirring(self) -> list[StresserProcess]:
        """Those that have reported or ended; where that cannot be asked, all of them."""
        living = [p for processes in self._running.values() for p in processes]
        if sys.platform == "win32" or not living:
            return living
        ready = select.select([p.output for p in living], [], [], 0)[0]
        return [p for p in living if p.output in ready] if ready else []

    def _launch(self, decision: Decision) -> None:
        resource = decision.resource
        self._launched[resource] = self._arguments(resource)
        if resource is Resource.CPU:
            self._scale, self._room = self._cpu_scale(), self._cpu_room()
        try:
            for arguments in self._launched[resource]:
                process = self._start(resource, arguments)
                self._running[resource].append(process)
                if resource is Resource.CPU:
                    self._stirs(process.output, True)
        except OSError as exc:
            self._end(resource)
            detail = f"cannot start: {exc}"
            self._last_error[resource] = detail
            self._failures.append(
                StresserExit(resource=resource, cause=ExitCause.FAILED, detail=detail)
            )

    def _outdated(self, resource: Resource) -> bool:
        """Whether it would be started otherwise now: the CPUs or the path have changed."""
        if resource is Resource.CPU and self._cpu_room() != self._room:
            return True
        return self._arguments(resource) != self._launched[resource]

    def _arguments(self, resource: Resource) -> list[tuple[str, ...]]:
        """The command-line tails of the processes that a resource needs."""
        if resource is Resource.MEMORY:
            return [("--shards", str(MEMORY_SHARDS))]
        if resource is Resource.DISK:
            return [("--path", str(self._disk_path()))]
        if sys.platform == "win32":  # no fork there: one process for each worker
            return [("--workers", "1")] * self._cpus()
        return [("--workers", str(self._cpus()), *self._cpu_group)]

    def _end(self, resource: Resource) -> None:
        for process in self._running[resource]:
            if resource is Resource.CPU:
                self._stirs(process.output, False)
            process.kill()
            self._dying.append(process)
        self._running[resource] = []

    def _reap(self) -> None:
        """Never waits: what has not ended yet is looked at again in the next cycle."""
        for process in [p for p in self._dying if p.gone()]:
            self._retired_cpu_s += process.cpu_s()
            process.close()
            self._dying.remove(process)

    def _held(self, resource: Resource) -> int:
        return int(sum(process.held for process in self._running[resource]))

    def _state(self, resource: Resource) -> StresserState:
        processes = self._running[resource]
        first = processes[0] if processes else None
        error = next((p.last_error for p in processes if p.last_error), None)
        return StresserState(
            pids=tuple(pid for process in processes for pid in process.pids),
            means=first.means if first else (),
            missing=first.missing if first else (),
            place=first.place if first else None,
            last_error=error if processes else self._last_error.get(resource),
        )
