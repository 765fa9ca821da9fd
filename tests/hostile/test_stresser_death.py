"""However a stresser's controller, crew or worker ends or hangs: each way to die suffices alone.

The processes are watched by pidfd from outside; nothing relies on what they say.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.orphans import ALL_WAYS, controlled
from tests.stresser_harness import PROGRAM, stresser, until, watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfd and /proc")

SHORT_S, LONG_S = 1.0, 60.0


def alone(way: str) -> str:
    """All ways but that one, switched off."""
    return ",".join(sorted(ALL_WAYS - {way}))


@pytest.mark.parametrize("kind", ["cpu", "memory"])
@pytest.mark.parametrize("way", ["", "pdeathsig", "pipe", "eof", "alarm"])
def test_all_die_when_the_controller_is_killed(kind: str, way: str) -> None:
    """SIGKILL of the controller: with all ways, and with each of them alone, nobody is left."""
    # With a long lease the alarm cannot be what helps, except where it is what is tested.
    ttl_s = SHORT_S if way == "alarm" else LONG_S
    with controlled(kind, alone(way) if way else "", ttl_s) as (controller, watched):
        os.kill(controller, signal.SIGKILL)
        assert watched.all_dead(), watched.alive()


@pytest.mark.parametrize("kind", ["cpu", "memory"])
def test_all_die_when_the_controller_hangs(kind: str) -> None:
    """SIGSTOP of the controller: the lease runs out, and its alarm alone ends everybody."""
    with controlled(kind, alone("alarm"), SHORT_S) as (controller, watched):
        os.kill(controller, signal.SIGSTOP)
        assert watched.all_dead(), watched.alive()


@pytest.mark.parametrize("way", ["", "pdeathsig", "eof", "alarm"])
def test_workers_die_when_their_crew_is_killed(way: str) -> None:
    """SIGKILL of the crew alone: its workers end by each way that concerns the crew."""
    ttl_s = SHORT_S if way == "alarm" else LONG_S
    with controlled("memory", alone(way) if way else "", ttl_s) as (_, watched):
        os.kill(watched.pids[0], signal.SIGKILL)
        assert watched.all_dead(), watched.alive()


def test_workers_of_a_stopped_crew_end_by_their_own_alarm() -> None:
    """SIGSTOP of the crew: no renewal reaches the workers, and they end."""
    with controlled("memory", alone("alarm"), SHORT_S) as (_, watched):
        os.kill(watched.pids[0], signal.SIGSTOP)
        assert until(lambda: watched.alive() == watched.pids[:1]), watched.alive()


def test_without_any_way_to_die_they_stay() -> None:
    """The switch of these tests works: with every way off, they outlive their controller."""
    with controlled("memory", ",".join(ALL_WAYS), LONG_S) as (controller, watched):
        os.kill(controller, signal.SIGKILL)
        assert not until(lambda: watched.alive() != watched.pids, deadline_s=0.5)


@pytest.mark.parametrize("kind", ["cpu", "memory"])
def test_a_worker_that_was_killed_ends_the_crew(kind: str) -> None:
    """One worker killed from outside: all end, exit code 3, the message names pid and signal."""
    with stresser(kind, "--workers" if kind == "cpu" else "--shards", "3") as held:
        held.lease(**({"duty": 0.05} if kind == "cpu" else {"bytes": 8 << 20}), ttl_s=3.0)
        with watch(held.pids()) as watched:
            victim = watched.pids[2]
            os.kill(victim, signal.SIGKILL)
            assert watched.all_dead(), watched.alive()
        assert held.end() == 3
        (error,) = held.said("error")
        assert f"worker {victim} was killed by SIGKILL" in str(error["message"])


def test_a_controller_that_has_gone_before_the_start_is_noticed() -> None:
    """Started with the pid of somebody who is not its parent, it ends at once."""
    command = [sys.executable, "-I", "-S", str(PROGRAM), "cpu", "--leased", "--parent", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.wait(15.0) == 0


def test_a_controller_that_never_gives_a_lease_gets_no_load() -> None:
    """Without any lease there are workers, but they hold nothing."""
    with stresser("memory") as held:
        held.pids()
        assert held.held() is None
        assert held.end() == 0


def test_sigterm_ends_a_leased_stresser_in_good_order() -> None:
    """SIGTERM: exit code 0, the ledger told as 0, nobody left."""
    with stresser("memory") as held:
        held.lease(bytes=8 << 20, ttl_s=3.0)
        with watch(held.pids()) as watched:
            assert until(lambda: held.held() == 8 << 20)
            held.process.send_signal(signal.SIGTERM)
            assert watched.all_dead(), watched.alive()
        assert held.end() == 0
        assert held.held() == 0
