"""Pause, resume, reload, kill, fill and recover in any order: the daemon's promises hold."""

from __future__ import annotations

import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from optimizer.control import decide, track
from optimizer.model import ExitCause, Reason, Resource
from tests.fakes import GIB
from tests.simulation.life import Life
from tests.simulation.model import GAP_S, ModelHost

DAY_S = 86_400.0
YEARS_S = 10 * 365 * DAY_S
PATHS = st.sampled_from(["/data", "/srv"])
SHARES = st.sampled_from([0.0, 0.1, 0.3, 0.39, 0.6, 1.0])
TARGETS = st.sampled_from([0.0, 0.2, 0.4, 0.8, 1.0])
MOMENTS = st.sampled_from([0.05, 0.3, 0.95, 2.0, 7.0])
SPANS = st.sampled_from([15.0, 61.0, 320.0, 3600.0])
STEPS = st.sampled_from([1.0, -1.0, 3600.0, -3600.0, DAY_S, -DAY_S, YEARS_S, -YEARS_S])
SETTLED_S = 700.0
"""Twice a hold-off of 300 s, and a minute and a half to take all again."""


class Stepped:
    """A life in a thread of its own, which runs only while the other one waits for it."""

    def __init__(self) -> None:
        self.life = Life(ModelHost(lapses=True))
        self._mine, self._its = threading.Semaphore(0), threading.Semaphore(0)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.life.host.at(self.life.host.now_s, self._hand_over)
        self._thread.start()
        self._await()

    def _run(self) -> None:
        try:
            self.life.run()
        except BaseException as failure:  # noqa: BLE001 - shown by the thread that tests
            self._failure = failure
        self._mine.release()

    def _hand_over(self) -> None:
        self._mine.release()
        self._its.acquire()

    def _await(self) -> None:
        assert self._mine.acquire(timeout=60.0), "the daemon hangs"
        if self._failure is not None:
            raise self._failure

    def advance(self, seconds: float) -> None:
        """Let the daemon live for so long."""
        host = self.life.host
        host.at(host.now_s + seconds, self._hand_over)
        self._its.release()
        self._await()

    def end(self) -> None:
        """Stop the daemon and wait for its end."""
        if self._thread.is_alive():
            self.life.end()
            self._its.release()
            self._await()
        self._thread.join(60.0)


class LifeMachine(RuleBasedStateMachine):
    """Whatever befalls it, in any order, with moments or an hour between."""

    def __init__(self) -> None:
        super().__init__()
        self.stepped = Stepped()
        self.life, self.host = self.stepped.life, self.stepped.life.host
        self.wrong_by_s = 0.0

    @initialize(seconds=st.sampled_from([0.2, 120.0]))
    def begin(self, seconds: float) -> None:
        """At the very start, or once all is held."""
        self.stepped.advance(seconds)

    @rule(seconds=MOMENTS)
    def a_moment(self, seconds: float) -> None:
        """Time for a cycle or some."""
        self.stepped.advance(seconds)

    @rule(seconds=SPANS)
    def a_while(self, seconds: float) -> None:
        """Time for all to settle, or for a hold-off to end."""
        self.stepped.advance(seconds)

    @rule(seconds=st.sampled_from([None, 0.5, 5.0, 60.0, 1800.0]))
    def pause(self, seconds: float | None) -> None:
        """An operator pauses."""
        self.life.pause(seconds)

    @rule()
    def resume(self) -> None:
        """An operator resumes."""
        self.life.resume()

    @rule(cpu=TARGETS, memory=TARGETS, disk=TARGETS)
    def reload(self, cpu: float, memory: float, disk: float) -> None:
        """Other targets."""
        self.life.reload(cpu, memory, disk)

    @rule(
        resource=st.sampled_from(Resource),
        cause=st.sampled_from(ExitCause),
        times=st.sampled_from([1, 1, 2, 6]),
    )
    def kill_stresser(self, resource: Resource, cause: ExitCause, times: int) -> None:
        """A stresser ends without being told to, perhaps again and again."""
        for _ in range(times):
            self.life.end_stresser(resource, cause)
            if times > 1:
                self.stepped.advance(1.3)

    @rule(resource=st.sampled_from(Resource), works=st.booleans())
    def start_fails(self, resource: Resource, *, works: bool) -> None:
        """Stressers of a resource cannot be started, or can again."""
        (self.host.unstartable.discard if works else self.host.unstartable.add)(resource)

    @rule(share=SHARES)
    def tenant_computes(self, share: float) -> None:
        """The tenant's CPU."""
        self.host.tenant_cpu, self.host.tenant_since_s = share, self.host.now_s

    @rule(gib=st.sampled_from([2.0, 10.0, 16.0, 22.0, 23.9]))
    def tenant_fills_memory(self, gib: float) -> None:
        """The tenant takes memory, or gives it back."""
        self.host.tenant_memory_bytes = int(gib * GIB)

    @rule(path=PATHS, gib=st.sampled_from([4, 20, 37, 40]))
    def tenant_fills_disk(self, path: str, gib: int) -> None:
        """The tenant writes files, or deletes them."""
        self.host.disks[path].tenant_bytes = gib * GIB

    @rule(gib=st.sampled_from([None, 1, 8]))
    def limit(self, gib: int | None) -> None:
        """Our group has a limit on its memory, or none."""
        self.host.limit_bytes = None if gib is None else gib * GIB

    @rule()
    def stall(self) -> None:
        """Programs wait for memory."""
        self.life.stall()

    @rule()
    def take(self) -> None:
        """The kernel takes pages back."""
        self.life.take()

    @rule(names=st.sets(st.sampled_from(["cpu", "memory", "disk"])))
    def sensors_fail(self, names: set[str]) -> None:
        """Some sensors fail; the others work."""
        self.host.failing.clear()
        self.host.failing.update(names)

    @rule(frozen=st.booleans())
    def counters_freeze(self, *, frozen: bool) -> None:
        """The CPU counters stand still, or go on."""
        if frozen:
            self.host.freeze()
        else:
            self.host.frozen = None

    @rule(path=PATHS, mounted=st.booleans())
    def mount(self, path: str, *, mounted: bool) -> None:
        """A filesystem comes or goes."""
        self.life.mount(path, mounted=mounted)

    @rule(paths=st.frozensets(PATHS))
    def release(self, paths: frozenset[str]) -> None:
        """An operator asks for filesystems."""
        self.life.release(paths)

    @rule(seconds=STEPS)
    def set_clock(self, seconds: float) -> None:
        """Somebody sets the clock; not twice within a cycle, of which nobody could know."""
        self.stepped.advance(1.1)
        self.wrong_by_s += seconds
        self.life.step(seconds)

    @rule()
    def set_clock_right(self) -> None:
        """Somebody sets it right."""
        self.stepped.advance(1.1)
        if self.wrong_by_s:
            self.life.step(-self.wrong_by_s)
        self.wrong_by_s = 0.0

    @rule(seconds=st.sampled_from([1.0, 600.0, 3 * DAY_S]))
    def sleep(self, seconds: float) -> None:
        """The host is suspended."""
        self.life.sleep(seconds)

    @rule(seconds=st.sampled_from([1.0, 2.5, 30.0]))
    def stop_controller(self, seconds: float) -> None:
        """The controller gets no time."""
        self.life.freeze(seconds)

    @rule(times=st.sampled_from([1, 2, 3]))
    def adapter_raises(self, times: int) -> None:
        """A bug: once or twice is survived, the third time in a row ends the daemon."""
        self.host.raising = times

    @rule()
    def kill_daemon(self) -> None:
        """SIGKILL; the service manager starts it again."""
        self.life.kill()

    @rule()
    def recover(self) -> None:
        """What the recovery tool does."""
        self.life.recover()

    @rule(full=st.booleans())
    def disk_for_history(self, *, full: bool) -> None:
        """The history can be written, or not."""
        self.life.tally.full = full

    @invariant()
    def no_promise_is_broken(self) -> None:
        """As the independent record of the host has it."""
        assert self.life.truth.violations == []

    def teardown(self) -> None:
        """Once all is well and an operator has resumed, everything is held again, then nothing."""
        try:
            self._mend()
            self.stepped.advance(SETTLED_S)
            assert self.life.truth.violations == []
            assert {Reason.HOLDING} == set(self.host.reasons)
        finally:
            self.stepped.end()
            track.GAP_S = decide.GAP_S = GAP_S
        assert self.life.truth.violations == []

    def _mend(self) -> None:
        self.host.raising, self.host.frozen, self.host.limit_bytes = 0, None, None
        self.host.failing.clear()
        self.host.unstartable.clear()
        self.tenant_computes(0.1)
        self.tenant_fills_memory(2.0)
        for path in self.host.disks:
            self.tenant_fills_disk(path, 4)
            self.life.mount(path, mounted=True)
        self.life.reload(0.4, 0.4, 0.4)
        self.stepped.advance(30.0)
        self.life.resume()


TestLife = LifeMachine.TestCase
TestLife.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


@pytest.mark.long
class TestLongLife(LifeMachine.TestCase):
    """The same, a thousand lives."""

    settings = settings(max_examples=1000, stateful_step_count=50, deadline=None)
