"""What was ended and is still there: killed again, told of once, never waited for or replaced."""

from __future__ import annotations

from dataclasses import dataclass, field

from optimizer.adapters.dying import AGAIN_S, ALARM_S, Dying
from optimizer.model import Resource
from tests.fakes import FakeLog


@dataclass(eq=False)
class Stubborn:
    """A stresser that stays until it is told to go."""

    resource: Resource = Resource.CPU
    path: str | None = None
    kills: int = 0
    again: int = 0
    there: dict[int, str] = field(default_factory=lambda: {7: "D"})

    def kill(self) -> None:
        """See StresserProcess."""
        self.kills += 1

    def kill_again(self) -> None:
        """See StresserProcess."""
        self.again += 1

    def gone(self) -> bool:
        """See StresserProcess."""
        return not self.there

    def left(self) -> dict[int, str]:
        """See StresserProcess."""
        return self.there


@dataclass
class Bench:
    """The list under test, its clock, its log, and how often the group was killed."""

    now_s: float = 100.0
    groups: int = 0
    log: FakeLog = field(default_factory=FakeLog)

    def __post_init__(self) -> None:
        self.dying = Dying(monotonic=lambda: self.now_s, kill_group=self._kill_group, log=self.log)

    def _kill_group(self) -> None:
        self.groups += 1

    def end(self, process: Stubborn) -> Stubborn:
        """End it now."""
        self.dying.end(process)  # type: ignore[arg-type] # a fake without a process
        return process

    def at(self, after_s: float) -> list[object]:
        """Look after so long; who has gone."""
        self.now_s = 100.0 + after_s
        return list(self.dying.bury())


def test_whoever_goes_at_once_is_killed_once() -> None:
    """The ordinary end: one signal, no alarm."""
    bench = Bench()
    process = bench.end(Stubborn(there={}))
    assert bench.at(0.1) == [process]
    assert (process.kills, process.again, bench.groups, bench.log.events) == (1, 0, 0, [])
    assert len(bench.dying) == 0


def test_after_a_second_it_is_killed_again_and_its_group_with_it() -> None:
    """Not before, and from then on at each look; the group is that of the CPU workers only."""
    bench = Bench()
    cpu, disk = bench.end(Stubborn()), bench.end(Stubborn(Resource.DISK, "/d"))
    bench.at(AGAIN_S - 0.1)
    assert (cpu.again, disk.again, bench.groups) == (0, 0, 0)
    bench.at(AGAIN_S)
    assert (cpu.again, disk.again, bench.groups) == (1, 1, 1)
    bench.at(AGAIN_S + 1)
    assert (cpu.again, disk.again, bench.groups) == (2, 2, 2)


def test_after_five_seconds_a_person_is_told_once_with_name_and_state() -> None:
    """The state tells whether the kernel holds it (D); one event however long it lasts."""
    bench = Bench()
    bench.end(Stubborn(Resource.DISK, "/d"))
    bench.at(ALARM_S - 0.1)
    assert bench.log.events == []
    for after_s in (ALARM_S, ALARM_S + 1, ALARM_S + 100):
        bench.at(after_s)
    ((level, event, facts),) = bench.log.events
    assert (level, event) == ("error", "stresser.outlived_kill")
    assert (facts["resource"], facts["path"], facts["pids"], facts["states"]) == (
        "disk",
        "/d",
        [7],
        ["D"],
    )


def test_none_is_started_in_its_place_until_it_has_gone() -> None:
    """For a disk the place is its path, for the others the resource; from the kill on."""
    bench = Bench()
    cpu, disk = bench.end(Stubborn()), bench.end(Stubborn(Resource.DISK, "/d"))
    linger = bench.dying.linger
    assert linger(Resource.CPU, None)
    assert linger(Resource.DISK, "/d")
    assert not linger(Resource.DISK, "/e")
    assert not linger(Resource.MEMORY, None)
    cpu.there = disk.there = {}
    bench.at(0.1)
    assert not linger(Resource.CPU, None)
    assert not linger(Resource.DISK, "/d")


def test_what_is_stuck_is_named_after_a_second() -> None:
    """Status says which pids; before that it is an ordinary end."""
    bench = Bench()
    bench.end(Stubborn())
    assert bench.dying.stuck(Resource.CPU) is None
    bench.at(AGAIN_S)
    assert "7" in (bench.dying.stuck(Resource.CPU) or "")
    assert bench.dying.stuck(Resource.MEMORY) is None
