"""Alive is said only after a whole cycle that did what it decided."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from optimizer.loop import CALM_CYCLE_S, EXIT_FAILED, FULL_S
from optimizer.model import Observation
from tests.fakes import FakeHost
from tests.simulation.rig import Rig


@dataclass
class BrokenHost(FakeHost):
    """A host on which so many full cycles fail from that time on."""

    broken_from_s: float = float("inf")
    failures: int = 3
    failed_s: float = 0.0

    def observe(self) -> Observation:
        """See FakeHost."""
        if self.now_s >= self.broken_from_s and self.failures > 0:
            self.failures, self.failed_s = self.failures - 1, self.now_s
            raise RuntimeError("broken")
        return super().observe()


def test_each_whole_cycle_says_so() -> None:
    """Also when all is calm: never more than a second apart, so that a ping each 2.5 s is kept."""
    rig = Rig()
    assert rig.live(60) == 0
    gaps_s = [later - earlier for earlier, later in pairwise(rig.verified_s)]
    assert max(gaps_s) <= max(FULL_S, CALM_CYCLE_S) + 0.2
    assert len(gaps_s) > 60


def test_a_failing_cycle_is_not_a_sign_of_life() -> None:
    """Two fail: no sign from the first to the second, and there are some again afterwards."""
    host = BrokenHost(failures=2)
    rig = Rig(host)
    host.broken_from_s = host.now_s + 30
    assert rig.live(60) == 0
    assert rig.log.names().count("cycle.failed") == 2
    assert [at for at in rig.verified_s if host.broken_from_s <= at <= host.failed_s] == []
    assert max(rig.verified_s) > host.failed_s


def test_three_failing_cycles_end_it() -> None:
    """Exit 1, and no sign of life since the first."""
    host = BrokenHost()
    rig = Rig(host)
    host.broken_from_s = host.now_s + 30
    assert rig.live(60) == EXIT_FAILED
    assert rig.log.names().count("cycle.failed") == 3
    assert max(rig.verified_s) < host.broken_from_s
    assert host.closed


def test_what_is_not_as_decided_is_said_once_and_is_no_sign_of_life() -> None:
    """A stresser that takes no lease, say; when that has passed the signs come again."""
    host = FakeHost()
    rig = Rig(host)
    rig.run_for(10)
    host.doubted = ("cpu stresser 7 has taken no lease for 4 s",)
    before = len(rig.verified_s)
    rig.run_for(10)
    assert len(rig.verified_s) == before
    told = [fields for _, event, fields in rig.log.events if event == "cycle.doubted"]
    assert told == [{"doubts": list(host.doubted)}]
    host.doubted = ()
    rig.run_for(2)
    assert len(rig.verified_s) > before
