"""The stressers of all three resources: started, leased, counted and ended as the plan says."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable

from optimizer.adapters.dying import Dying
from optimizer.adapters.roster import Listed
from optimizer.adapters.stresser_process import TTL_S, StresserProcess, path_of
from optimizer.adapters.stresser_states import faults_of, listed, state_of
from optimizer.counters import OwnCounters
from optimizer.model import (
    Decision,
    ExitCause,
    Observation,
    PerResource,
    Plan,
    Resource,
    StresserExit,
)
from optimizer.outcome import StresserState
from optimizer.ports import Log

_POLL_S = 0.005

Start = Callable[[Resource, tuple[str, ...]], StresserProcess]


class StresserPool:
    """Implements ports.Actuators with real processes.

    `cpus` tells how many CPU workers to start, `memory` and `disk` further
    arguments for stressers of that kind, `cpu_group` those that name the
    control group of the CPU workers. `cpu_scale` is
    the capacity in CPUs over workers: with fewer workers than CPUs (affinity,
    cpuset) each must work more for the same share.
    `cpu_room` is what number, place and scale of the workers follow from; when
    it is another value they are started anew.

    `stirs` is told with which descriptor a CPU stresser calls, and when it no
    longer does.

    `enrol` is told who belongs to us whenever that has changed, `kill_group`
    ends what is left in the control group; `hurry` is told that all there was killed for good.

    The pool decides nothing: a lease above 0 starts what is not there, `stop`
    ends what is. Each filesystem has a stresser of its own.
    """

    def __init__(
        self,
        *,
        cpus: Callable[[], int],
        memory: Callable[[], tuple[str, ...]] = tuple,
        disk: Callable[[], tuple[str, ...]] = tuple,
        cpu_group: tuple[str, ...] = (),
        cpu_scale: Callable[[], float] = lambda: 1.0,
        cpu_room: Callable[[], object] = lambda: None,
        start: Start = StresserProcess,
        forks: bool = sys.platform != "win32",
        monotonic: Callable[[], float] = time.monotonic,
        stirs: Callable[[int, bool], None] = lambda _descriptor, _begin: None,
        enrol: Callable[[tuple[Listed, ...]], None] = lambda _listed: None,
        kill_group: Callable[[], None] = lambda: None,
        hurry: Callable[[], None] = lambda: None,
        log: Log | None = None,
    ) -> None:
        self._stirs = stirs
        self._enrol = enrol
        self._hurry = hurry
        self._cpus = cpus
        self._memory = memory
        self._disk = disk
        self._cpu_group = cpu_group
        self._cpu_scale = cpu_scale
        self._cpu_room = cpu_room
        self._room: object = None
        self._start = start
        self._forks = forks
        self._monotonic = monotonic
        self._running: dict[Resource, list[StresserProcess]] = {r: [] for r in Resource}
        self._dying = Dying(monotonic=monotonic, kill_group=kill_group, log=log)
        self._enrolled: tuple[object, ...] = ()
        self._retired_cpu_s = 0.0
        self._scale = 1.0
        self._failures: list[StresserExit] = []
        self._last_error: dict[Resource, str] = {}
        self._faults: dict[str, str] = {}

    def observe(self) -> Observation:
        """CPU seconds, ledgers, and the unwanted ends since the last call."""
        exits, self._failures = self._failures, []
        stirred, taken_bytes = False, 0
        for process in self._living():
            process.end_if_stopped()
        for process in self._stirring():
            process.listen()
            stirred, process.stirred = stirred or process.stirred, False
            taken_bytes, process.taken_bytes = taken_bytes + process.taken_bytes, 0
            over = process.ended()
            if over is not None and process in self._running[process.resource]:
                exits.append(over)
                self._ended(process, over)
        used_s = self.cpu_used_s()
        exits += self._silenced()
        if self._dying:
            self._reap()
        self._tell_who()
        return Observation(
            own=OwnCounters(
                cpu_s=used_s,
                memory_bytes=self._held(Resource.MEMORY),
                disks=self._held_on(),
            ),
            exits=tuple(exits),
            stirred=stirred,
            taken_bytes=taken_bytes,
            refused=self._refused(),
        )

    def _living(self) -> list[StresserProcess]:
        """All that run, of all resources."""
        return [process for processes in self._running.values() for process in processes]

    def _silenced(self) -> list[StresserExit]:
        """End those of which a process was stopped: its lease ran out, but no alarm ends it."""
        now_s, exits = self._monotonic(), []
        for process in self._living():
            why = process.silent(now_s)
            if why is not None and process in self._running[process.resource]:
                over = StresserExit(
                    resource=process.resource,
                    cause=ExitCause.EXPIRED,
                    detail=f"ended by us: {why}",
                    path=process.path,
                )
                exits.append(over)
                self._ended(process, over)
        return exits

    def cpu_used_s(self) -> float:
        """CPU seconds of the controller and of all stressers, ended ones included."""
        used_s = time.process_time() + self._retired_cpu_s
        for process in self._living():
            used_s += process.cpu_s()
        for process in self._dying:
            used_s += process.cpu_s_at_end()
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
            if decision.stop or self._cpus_changed(decision.resource):
                self._end_all(decision.resource)
            if not decision.stop:
                self._obey(decision)
        self._tell_who()

    def _obey(self, decision: Decision) -> None:
        """End what would be started otherwise now, start what lacks, renew all."""
        resource, leases = decision.resource, self._leases(decision)
        for process in [p for p in self._running[resource] if p.arguments not in leases]:
            self._end(process)
        now_s, before = self._monotonic(), list(self._running[resource])
        for arguments, lease in leases.items():
            lacking = self._copies(resource) - sum(p.arguments == arguments for p in before)
            lingers = self._dying.linger(resource, path_of(arguments))
            if lease > 0 and lacking > 0 and not lingers:
                self._launch(resource, arguments, lacking)
        for process in self._running[resource]:
            lease = leases[process.arguments]
            if resource is not Resource.CPU and process not in before:
                lease = 0.0  # decided when another one held it: from the next cycle on it rises
            process.renew(lease, now_s, decision.level_ratio)

    def _leases(self, decision: Decision) -> dict[tuple[str, ...], float]:
        """What each process gets, by its arguments."""
        if decision.resource is Resource.DISK:
            return {
                ("--path", part.place.path, *self._disk()): float(part.lease_bytes)
                for part in decision.parts
            }
        if decision.resource is Resource.MEMORY:
            return {self._memory(): decision.lease}
        if not self._running[Resource.CPU]:
            self._scale, self._room = self._cpu_scale(), self._cpu_room()
        workers = str(self._cpus()) if self._forks else "1"
        return {("--workers", workers, *self._cpu_group): min(1.0, decision.lease * self._scale)}

    def _copies(self, resource: Resource) -> int:
        """Where nothing forks (Windows) each CPU worker is a process of its own."""
        return self._cpus() if resource is Resource.CPU and not self._forks else 1

    def _cpus_changed(self, resource: Resource) -> bool:
        running = bool(self._running[Resource.CPU])
        return resource is Resource.CPU and running and self._cpu_room() != self._room

    def doubts(self) -> tuple[str, ...]:
        """What was decided and is not so; empty when all obey, or are known not to."""
        now_s = self._monotonic()
        deaf = [
            f"{process.resource.value} stresser {process.pid} has taken no lease for {late_s:.0f} s"
            for process in self._living()
            if (late_s := process.unleased_s(now_s)) > TTL_S and not process.stuck(now_s)
        ]
        return (*deaf, *self._dying.untold())

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
            self._end_all(resource)

    def close(self, deadline_s: float) -> tuple[int, ...]:
        """End all, wait until they are gone; the pids of those that are not after the deadline."""
        self.release()
        self._hurry()
        until_s = self._monotonic() + deadline_s
        while self._dying and self._monotonic() < until_s:
            self._reap()
            time.sleep(_POLL_S)
        self._reap()
        self._tell_who()
        return tuple(pid for process in self._dying for pid in process.left())

    def _tell_who(self) -> None:
        """Say who belongs to us, if that has changed."""
        living = self._living()
        everyone = (*living, *self._dying)
        known = tuple(process.known for process in everyone)
        if known == self._enrolled:
            return
        self._enrolled = known
        self._enrol(tuple(one for process in everyone for one in listed(process)))

    def _stirring(self) -> list[StresserProcess]:
        """Those that have reported or ended; where that cannot be asked, all of them."""
        living = self._living()
        if sys.platform == "win32" or not living:
            return living
        ready = select.select([p.output for p in living], [], [], 0)[0]
        return [p for p in living if p.output in ready] if ready else []

    def _launch(self, resource: Resource, arguments: tuple[str, ...], count: int) -> None:
        try:
            for _ in range(count):
                process = self._start(resource, arguments)
                self._running[resource].append(process)
                self._faults.pop(process.path or "", None)
                if resource is Resource.CPU:
                    self._stirs(process.output, True)
        except OSError as exc:
            over = StresserExit(
                resource=resource,
                cause=ExitCause.FAILED,
                detail=f"cannot start: {exc}",
                path=path_of(arguments),
            )
            self._failures.append(over)
            self._remember(over)
            if over.path is None:
                self._end_all(resource)

    def _ended(self, process: StresserProcess, over: StresserExit) -> None:
        """One has ended by itself: with it all of its resource, but on other filesystems."""
        self._remember(over)
        if over.path is None:
            self._end_all(over.resource)
        else:
            self._end(process)

    def _remember(self, over: StresserExit) -> None:
        if over.path is None:
            self._last_error[over.resource] = over.detail
        else:
            self._faults[over.path] = over.detail

    def _end_all(self, resource: Resource) -> None:
        for process in list(self._running[resource]):
            self._end(process)

    def _end(self, process: StresserProcess) -> None:
        if process.resource is Resource.CPU:
            self._stirs(process.output, False)
        self._running[process.resource].remove(process)
        self._dying.end(process)

    def _reap(self) -> None:
        """Never waits: what has not ended yet is looked at again in the next cycle."""
        for process in self._dying.bury():
            self._retired_cpu_s += process.cpu_s_at_end()
            process.close()

    def _held(self, resource: Resource) -> int:
        return int(sum(process.held for process in self._running[resource]))

    def _held_on(self) -> tuple[tuple[str, int], ...]:
        """The ledger of each path; one that was ended holds until it has gone."""
        held: dict[str, int] = {}
        for process in (*self._running[Resource.DISK], *self._dying):
            if process.path is not None:
                held[process.path] = held.get(process.path, 0) + int(process.held)
        return tuple(held.items())

    def _refused(self) -> tuple[str, ...]:
        """Where growth was refused since last asked, not by our own floor, or nobody answers."""
        now_s, found = self._monotonic(), []
        for process in self._running[Resource.DISK]:
            refused, process.refused = process.refused, False
            if process.path is not None and (refused or process.stuck(now_s)):
                found.append(process.path)
        return tuple(found)

    def _state(self, resource: Resource) -> StresserState:
        processes = self._running[resource]
        before = None if processes else self._last_error.get(resource)
        faults: dict[str, str] = {}
        if resource is Resource.DISK:
            faults = faults_of((*processes, *self._dying), self._faults, self._monotonic())
        trouble = self._dying.stuck(resource) or before
        return state_of(resource, processes, trouble=trouble, faults=faults)
