"""Random faults from a seed: what befalls a host and its daemon in the course of weeks."""

from __future__ import annotations

import random
from collections.abc import Callable

from optimizer.model import ExitCause, Resource
from tests.fakes import GIB
from tests.simulation.life import Life
from tests.simulation.model import ModelHost

DAY_S = 86_400.0
YEARS_S = 10 * 365 * DAY_S
RESOURCES = tuple(Resource)
TOGETHER = 0.3
"""So often a fault follows soon upon another."""
AFTERMATH = 0.4
FOLLOW = {
    "pause": ("clock", "clock_off", "sleep", "killed", "bug"),
    "garbage": ("stresser_ends", "bug", "stopped"),
    "memory_burst": ("bug", "stresser_ends", "clock", "resumed"),
    "disk_burst": ("bug", "stresser_ends", "resumed", "sensor"),
    "stall": ("bug", "clock", "resumed"),
    "stresser_ends": ("bug", "sensor", "sleep"),
    "release": ("sensor", "stresser_ends", "clock_off"),
}
"""What so often befalls a daemon soon after, for it would be too rare by chance alone."""


class Faults:
    """Lets one fault after another befall a life; each ends after a while."""

    def __init__(self, life: Life, seed: int, pause_s: float) -> None:
        self.life, self.host = life, life.host
        self.chance = random.Random(seed)
        self.pause_s = pause_s
        self.count: dict[str, int] = {}
        self.kinds: tuple[Callable[[], None], ...] = (
            *(self.cpu_burst, self.cpu_level, self.memory_burst, self.disk_burst),
            *(self.stresser_ends, self.stresser_ends, self.no_start, self.sensor, self.frozen),
            *(self.backward, self.clock, self.clock_off, self.sleep, self.stopped, self.pause),
            *(self.garbage, self.reload, self.disk_full, self.stall, self.taken, self.release),
            *(self.vanish, self.bug, self.bugs, self.killed, self.recovered, self.limit),
            self.resumed,
        )
        self._next()

    def _next(self) -> None:
        if self.chance.random() < TOGETHER:
            wait_s = self.chance.uniform(0.1, 30.0)
        else:
            wait_s = self.chance.expovariate((1.0 - TOGETHER) / self.pause_s)
        self.host.at(self.host.now_s + wait_s, self._strike)

    def _strike(self) -> None:
        kind = self.chance.choice(self.kinds)
        self._next()
        self._befall(kind.__name__)
        if kind.__name__ in FOLLOW and self.chance.random() < AFTERMATH:
            follows = self.chance.choice(FOLLOW[kind.__name__])
            self._after(0.5, 120.0, lambda: self._befall(follows))

    def _befall(self, name: str) -> None:
        self.count[name] = self.count.get(name, 0) + 1
        getattr(self, name)()

    def _after(self, least_s: float, most_s: float, event: Callable[[], None]) -> None:
        self.host.at(self.host.now_s + self.chance.uniform(least_s, most_s), event)

    # Tenants
    def cpu_burst(self) -> None:
        """For some seconds everything is the tenant's."""
        before = self.host.tenant_cpu
        self._tenant(self.chance.uniform(0.5, 1.0))
        self._after(0.5, 40.0, lambda: self._tenant(before))

    def cpu_level(self) -> None:
        """The tenant goes on at another level."""
        self._tenant(self.chance.uniform(0.0, 0.5))

    def _tenant(self, share: float) -> None:
        self.host.tenant_cpu, self.host.tenant_since_s = share, self.host.now_s

    def memory_burst(self) -> None:
        """The tenant takes up to all memory, and gives it back later."""
        host = self.host
        host.tenant_memory_bytes = int(self.chance.uniform(2 * GIB, host.memory_bytes))

        def back() -> None:
            host.tenant_memory_bytes = 2 * GIB

        self._after(1.0, 600.0, back)

    def disk_burst(self) -> None:
        """The tenant fills a filesystem, and deletes later."""
        disk = self.host.disks[self.chance.choice(sorted(self.host.disks))]
        disk.tenant_bytes = int(self.chance.uniform(4 * GIB, disk.size_bytes))

        def back() -> None:
            disk.tenant_bytes = 4 * GIB

        self._after(1.0, 600.0, back)

    # Stressers
    def stresser_ends(self) -> None:
        """Killed, out of lease, or given up; sometimes again and again."""
        resource, cause = self.chance.choice(RESOURCES), self.chance.choice(tuple(ExitCause))
        times = self.chance.choice((1, 1, 1, 2, 8))
        for number in range(times):
            self.host.at(
                self.host.now_s + number * self.chance.uniform(0.5, 2.5),
                lambda: self.life.end_stresser(resource, cause),
            )

    def no_start(self) -> None:
        """No stresser of a resource starts for a while; a latch is lifted by the operator."""
        resource = self.chance.choice(RESOURCES)
        self.host.unstartable.add(resource)
        self.host.end(resource, ExitCause.FAILED)
        self._after(2.0, 60.0, lambda: self.host.unstartable.discard(resource))
        self._after(300.0, 900.0, self.life.resume)

    # Sensors
    def sensor(self) -> None:
        """One or all cannot be read."""
        names = self.chance.choice((("cpu",), ("memory",), ("disk",), ("cpu", "memory", "disk")))
        self.host.failing.update(names)
        self._after(0.3, 60.0, lambda: self.host.failing.difference_update(names))

    def frozen(self) -> None:
        """The CPU counters stand still."""
        self.host.freeze()
        self._after(0.5, 30.0, self._thaw)

    def _thaw(self) -> None:
        self.host.frozen = None

    def backward(self) -> None:
        """The CPU counters begin anew, as when a container moves."""
        self.host.reset_s += self.chance.uniform(1.0, 1000.0)
        self.host.settled_since_s = self.host.now_s

    # Time
    def clock(self) -> None:
        """Somebody sets the clock."""
        self.life.step(self.chance.choice((1.0, -1.0, 3600.0, -3600.0, 0.7, -90.0)))

    def clock_off(self) -> None:
        """The clock is ten years off for a while."""
        step_s = self.chance.choice((YEARS_S, -YEARS_S, DAY_S, -DAY_S))
        self.life.step(step_s)
        self._after(1.0, 3600.0, lambda: self.life.step(-step_s))

    def sleep(self) -> None:
        """The host is suspended."""
        self.life.sleep(self.chance.uniform(1.0, 600.0))

    def stopped(self) -> None:
        """The controller gets no time."""
        self.life.freeze(self.chance.uniform(0.5, 20.0))

    # Orders
    def pause(self) -> None:
        """An operator pauses; sometimes resumes before the end."""
        self.life.pause(self.chance.uniform(1.0, 900.0))
        if self.chance.random() < 0.5:
            self._after(1.0, 900.0, self.life.resume)

    def garbage(self) -> None:
        """Rubbish in the inhibit file: no load until it is resumed."""
        self.life.pause(None)
        self._after(1.0, 600.0, self.life.resume)

    def resumed(self) -> None:
        """An operator resumes, whether anything is paused or not."""
        self.life.resume()

    def reload(self) -> None:
        """Other targets for a while, also none and more than a ceiling allows."""
        targets = [
            self.chance.choice((0.0, 1.0, self.chance.random(), self.chance.random()))
            for _ in RESOURCES
        ]
        self.life.reload(*targets)
        self._after(60.0, 1800.0, lambda: self.life.reload(0.4, 0.4, 0.4))

    def release(self) -> None:
        """An operator asks for a filesystem."""
        path = self.chance.choice(sorted(self.host.disks))
        self.life.release(self.life.switch.asked_for | {path})
        self._after(5.0, 600.0, self.life.resume)

    # The rest
    def limit(self) -> None:
        """Our group has a limit on its memory for a while."""
        self.host.limit_bytes = int(self.chance.uniform(1 * GIB, 12 * GIB))
        self._after(10.0, 900.0, self._unlimited)

    def _unlimited(self) -> None:
        self.host.limit_bytes = None

    def disk_full(self) -> None:
        """No sample can be written."""
        self.life.tally.full = True
        self._after(10.0, 900.0, self._space)

    def _space(self) -> None:
        self.life.tally.full = False

    def stall(self) -> None:
        """A sign of memory pressure."""
        self.life.stall()

    def taken(self) -> None:
        """The kernel takes memory back by itself."""
        self.life.take()

    def vanish(self) -> None:
        """A filesystem is gone, and comes back."""
        path = self.chance.choice(sorted(self.host.disks))
        self.life.mount(path, mounted=False)
        self._after(5.0, 600.0, lambda: self.life.mount(path, mounted=True))

    def bug(self) -> None:
        """An adapter raises once or twice."""
        self.host.raising = self.chance.choice((1, 2))

    def bugs(self) -> None:
        """An adapter raises three times: the daemon ends and is started again."""
        self.host.raising = 3

    def killed(self) -> None:
        """The daemon is killed."""
        self.life.kill()

    def recovered(self) -> None:
        """The recovery tool has been at work."""
        self.life.recover()
        self._after(30.0, 900.0, self.life.resume)


def soak(seed: int, days: float, pause_s: float) -> tuple[Life, Faults]:
    """Let a daemon live through so many days of faults, one in `pause_s` seconds or so."""
    life = Life(ModelHost(lapses=True))
    faults = Faults(life, seed, pause_s)
    life.host.at(life.host.now_s + days * DAY_S, life.end)
    life.run()
    return life, faults
