"""A model host on which tenant and stressers take turns on each CPU, as they do in life.

The tenant works in slots of 10 to 30 ms, each busy from its start; the
stressers in staggered slices of 100 ms by what their lease is, when the tenant
leaves the CPU. Counters are shown in hundredths of a second. The stressers
watch with the code that they use in life.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import IO, Self

from optimizer.counters import CpuCounters, HostReading
from optimizer.model import Decision, Observation, Plan
from stressers.cpu import SLICE_S, WAKE_RATIO
from stressers.watch import Watch, watches
from tests.fakes import FakeHost

SLOT_S = (0.010, 0.030)
"""Length of a tenant's slot, drawn evenly."""
SHOWN_S = 0.01
"""Counters are shown in hundredths of a second. Source: proc(5), USER_HZ."""
LOG_S = 0.1
"""How often the true counters are written down."""
_TINY_S = 1e-9


@dataclass
class Cpu:
    """One CPU with its tenant and its worker; times in seconds, sums since the start."""

    chance: random.Random
    now_s: float
    slice_ends_s: float
    slot_ends_s: float = 0.0
    work_ends_s: float = 0.0
    owed_s: float = 0.0
    used_s: float = 0.0
    own_s: float = 0.0
    tenant_s: float = 0.0

    def run(self, until_s: float, share: Callable[[float], float], duty: float) -> None:
        """Let the time pass: the tenant first, the worker in what it leaves."""
        now_s = self.now_s
        while now_s < until_s - _TINY_S:
            if now_s >= self.slot_ends_s - _TINY_S:
                slot_s = self.chance.uniform(*SLOT_S)
                self.slot_ends_s = now_s + slot_s
                self.work_ends_s = now_s + slot_s * min(1.0, max(0.0, share(now_s)))
            if now_s >= self.slice_ends_s - _TINY_S:
                # What a slice fell short is carried to the next one, one slice at most.
                self.owed_s = duty * SLICE_S + min(self.owed_s, SLICE_S)
                self.used_s = 0.0
                self.slice_ends_s += SLICE_S
            tenant = now_s < self.work_ends_s - _TINY_S
            ends_s = min(until_s, self.slice_ends_s, self.slot_ends_s)
            if tenant:
                ends_s = min(ends_s, self.work_ends_s)
                self.tenant_s += ends_s - now_s
            elif self.owed_s > 0:
                work_s = min(self.owed_s, ends_s - now_s)
                self.owed_s -= work_s
                self.used_s += work_s
                self.own_s += work_s
            now_s = ends_s
        self.now_s = until_s

    def obey(self, before: float, duty: float) -> None:
        """A changed duty: less counts at once, much more too, a little more from the next slice."""
        if duty < before:
            self.owed_s = min(self.owed_s, max(0.0, duty * SLICE_S - self.used_s))
        elif duty > before + WAKE_RATIO:
            self.owed_s += (duty - before) * max(0.0, self.slice_ends_s - self.now_s)


@dataclass
class SlicedHost(FakeHost):
    """The model host in detail; `at_end` is called once `end_s` is reached.

    `log` holds busy and tenant seconds of all CPUs, each LOG_S since the start.
    """

    seed: int = 1
    end_s: float = math.inf
    at_end: Callable[[], None] = lambda: None
    log: list[tuple[float, float]] = field(default_factory=list)
    waits: int = 0
    _parts: list[Cpu] = field(default_factory=list)
    _looks: int = 0
    _started_s: float = 0.0
    _level: float | None = None
    _stirred: bool = False
    _stat: IO[bytes] | None = None
    _watches: list[Watch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._started_s = self.now_s
        self._parts = [
            Cpu(
                chance=random.Random(self.seed * 1000 + index),
                now_s=self.now_s,
                slice_ends_s=self.now_s + SLICE_S * (index + 1) / self.cpus,
            )
            for index in range(self.cpus)
        ]

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._stat = tempfile.TemporaryFile()
        self._watches = [
            Watch(self._stat.fileno(), self.cpus)
            for index in range(self.cpus)
            if watches(index, self.cpus)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        if self._stat is not None:
            self._stat.close()

    @property
    def shares(self) -> list[tuple[float, float]]:
        """Busy and tenant share of the host in each LOG_S."""
        capacity_s = LOG_S * self.cpus
        return [
            ((busy - busy_before) / capacity_s, (tenant - tenant_before) / capacity_s)
            for (busy_before, tenant_before), (busy, tenant) in pairwise(self.log)
        ]

    def wait_until(self, monotonic_s: float) -> None:
        """Let the model run until then, or until a worker sees that the host has changed."""
        self.waits += 1
        look_s = LOG_S / 2
        while self.now_s < monotonic_s - _TINY_S:
            due_s = self._started_s + self._looks * look_s
            self._run(min(due_s, monotonic_s))
            if self.now_s < due_s - _TINY_S:
                return
            if self._looks % 2 == 0:
                tenant_s = sum(part.tenant_s for part in self._parts)
                self.log.append((tenant_s + self.own_cpu_s, tenant_s))
            self._looks += 1
            if self.now_s >= self.end_s:
                self.at_end()
                return
            if self._look():
                self._stirred = True
                return

    def _run(self, until_s: float) -> None:
        for part in self._parts:
            part.run(until_s, self.tenant_cpu, self.duty)
        self.now_s = max(self.now_s, until_s)
        self.own_cpu_s = sum(part.own_s for part in self._parts)
        self.busy_s = self.own_cpu_s + sum(part.tenant_s for part in self._parts)

    def _look(self) -> bool:
        if self._level is None or self._stat is None:
            return False
        idle = int((self.now_s * self.cpus - self.busy_s) / SHOWN_S)
        self._stat.seek(0)
        self._stat.write(b"cpu  0 0 0 %20d 0 0 0 0 0 0\n" % idle)
        self._stat.flush()
        watch = self._watches[self._looks % len(self._watches)]
        return watch.differs(self._level, self.now_s)

    def read(self) -> HostReading:
        """Counters as the kernel would show them."""
        reading = super().read()
        return replace(reading, cpu=_shown(reading.cpu))

    def read_cpu(self) -> tuple[float, CpuCounters | None]:
        """The CPU counters alone."""
        at_s, cpu = super().read_cpu()
        return at_s, _shown(cpu)

    def observe(self) -> Observation:
        """What the workers have told."""
        stirred, self._stirred = self._stirred, False
        return replace(super().observe(), stirred=stirred)

    def apply(self, plan: Plan) -> None:
        """Obey all leases."""
        before = self.duty
        super().apply(plan)
        del self.plans[:-1]
        self._obey(before, plan.cpu)

    def renew_cpu(self, demand_ratio: float) -> bool:
        """Obey the CPU lease alone."""
        before = self.duty
        runs = super().renew_cpu(demand_ratio)
        del self.plans[:-1]
        self._obey(before, self.plans[-1].cpu)
        return runs

    def _obey(self, before: float, decision: Decision) -> None:
        self._level = decision.level_ratio
        for part in self._parts:
            part.obey(before, self.duty)


def _shown(cpu: CpuCounters | None) -> CpuCounters | None:
    if cpu is None:
        return None
    return cpu._replace(total_s=_floor(cpu.total_s), idle_s=_floor(cpu.idle_s))


def _floor(seconds: float) -> float:
    return math.floor(seconds / SHOWN_S + 1e-6) * SHOWN_S
