"""What must hold whatever happens, watched from the model host's side and not by the daemon's log.

The numbers I1 to I8 are those of the reliability report; I0 is the tenant's CPU,
I9 what an exception leaves, I10 how far the planner may go. A violation is
kept, not raised: the daemon survives an exception.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from optimizer.model import Plan
from optimizer.orders import Policy
from optimizer.outcome import Record

SECOND_S = 1.0
"""The promise: orders and shortages are obeyed within a second."""
ROUND_S = 0.101
"""One cycle more, for what comes in just after a reading."""
BURST_STARTS, BURST_S = 5, 10.0
MEMORY, CPU = "memory", "cpu"
MISSING_S = 3.0
"""So long a lease may be kept without a reading."""
GROWN = 1e-6
"""More than rounding, in the unit of a lease."""


@dataclass
class Invariants:
    """Keeps the truth of the model host and compares with it what the daemon does.

    `now` gives the host's monotonic time, `steady` the same with sleep.
    """

    now: Callable[[], float]
    steady: Callable[[], float]
    violations: list[str] = field(default_factory=list)
    checks: dict[str, int] = field(default_factory=dict)
    forbidden_since_s: float | None = None
    forbidden_until_steady_s: float = float("inf")
    hold_off: dict[str, tuple[float, float]] = field(default_factory=dict)
    none_until: dict[str, tuple[float, float]] = field(default_factory=dict)
    short_since_s: dict[str, float] = field(default_factory=dict)
    starts: dict[str, deque[float]] = field(default_factory=dict)
    blind_since_s: dict[str, float] = field(default_factory=dict)
    exits: dict[str, deque[float]] = field(default_factory=dict)
    latched: set[str] = field(default_factory=set)
    asked: dict[str, float] = field(default_factory=dict)
    unmounted: dict[str, float] = field(default_factory=dict)
    broken_s: float = float("-inf")
    alive: dict[str, int] = field(default_factory=dict)
    started: int = 0
    ended: int = 0
    sampled_until_s: float = float("-inf")
    samples: int = 0
    sampled_s: float = 0.0

    def _check(self, name: str, holds: bool, said: Callable[[], str]) -> None:
        self.checks[name] = self.checks.get(name, 0) + 1
        if not holds and len(self.violations) < 20:
            self.violations.append(f"{name} at {self.now():.2f} s: {said()}")

    # What happens to the host.
    def inhibited(self, for_s: float = float("inf")) -> None:
        """An operator or the recovery tool forbids load, from now on and for so long."""
        if not self._forbidden():
            self.forbidden_since_s = self.now()
        self.forbidden_until_steady_s = self.steady() + for_s

    def allowed(self) -> None:
        """The order is lifted."""
        self.forbidden_since_s = None

    def resumed(self, paths: frozenset[str]) -> None:
        """An operator lifts the order and all latches, and the rest of these filesystems."""
        self.allowed()
        self.unlatched()
        for path in paths:
            self.hold_off.pop(path, None)

    def pressed(self, resource: str, hold_off_s: float, *, none: bool) -> None:
        """A sign of shortage at this moment: no growth for that long, or nothing held at all."""
        before = self.hold_off.get(resource, (0.0, 0.0))
        since_s = min(before[0], self.now()) if before[1] >= self.now() else self.now()
        self.hold_off[resource] = (since_s, max(before[1], self.now() + hold_off_s))
        if none:
            self.none_until[resource] = (self.now(), self.now() + hold_off_s)

    def asked_for(self, path: str, *, wanted: bool) -> None:
        """Somebody needs that filesystem for himself; or that is over."""
        if wanted:
            self.asked.setdefault(path, self.now())
        else:
            self.asked.pop(path, None)

    def mounted(self, path: str, *, mounted: bool) -> None:
        """The daemon reads that a filesystem is there, or is gone."""
        if mounted:
            self.unmounted.pop(path, None)
        else:
            self.unmounted.setdefault(path, self.now())

    def broken(self) -> None:
        """Time is not what it was: a step, a sleep, a stop, which ends now."""
        self.broken_s = self.now()

    def known(self, resource: str, *, known: bool) -> None:
        """Whether the daemon's last reading of a resource told anything."""
        if known:
            self.blind_since_s.pop(resource, None)
        else:
            self.blind_since_s.setdefault(resource, self.now())

    def exited(self, resource: str) -> None:
        """The daemon is told of an unwanted end; five in ten seconds are too many."""
        recent = self.exits.setdefault(resource, deque())
        while recent and self.now() - recent[0] >= BURST_S:
            recent.popleft()
        recent.append(self.now())
        if len(recent) >= BURST_STARTS:
            self.latched.add(resource)

    def unlatched(self) -> None:
        """An operator has resumed."""
        self.latched.clear()
        self.exits.clear()

    def restarted(self) -> None:
        """A new daemon knows of no hold-off."""
        self.unlatched()
        self.blind_since_s.clear()
        self.asked = dict.fromkeys(self.asked, self.now())
        self.unmounted.clear()
        self.hold_off.clear()
        self.none_until.clear()
        self.short_since_s.clear()
        if self._forbidden():
            self.forbidden_since_s = self.now()

    def cut_short(self, left_s: float) -> None:
        """A new daemon sees that an order ends sooner, for the clock was set meanwhile."""
        self.forbidden_until_steady_s = min(
            self.forbidden_until_steady_s, self.steady() + max(0.0, left_s)
        )

    def short(self, resource: str, room_bytes: float, held_bytes: float, *, seen: bool) -> None:
        """How much is free above the floor now, and whether the daemon can see that.

        I3: within a second nothing is held, or the floor is free again.
        """
        if room_bytes >= 0 or held_bytes <= 0 or not seen:
            self.short_since_s.pop(resource, None)
            return
        since_s = self.short_since_s.setdefault(resource, self.now())
        self._check(
            "I3",
            self.now() - since_s <= SECOND_S + ROUND_S,
            lambda: f"{resource}: {held_bytes:.0f} held, {room_bytes:.0f} of room, since {since_s}",
        )

    # What the daemon does.
    def leased(self, resource: str, before: float, after: float, *, most: float) -> None:
        """A lease was renewed: I1, I2 (`most` that the last reading allows), I4, I7."""
        now_s = self.now()
        held = max(before, after)  # until now, and from now on
        if self._forbidden():
            since_s = self.forbidden_since_s or 0.0
            self._check(
                "I1",
                held <= 0 or now_s - since_s <= SECOND_S + ROUND_S,
                lambda: f"{resource} had {held} though inhibited since {since_s:.2f}",
            )
        asked_s = min(self.asked.get(resource, now_s), self.unmounted.get(resource, now_s))
        self._check(
            "I1",
            held <= 0 or now_s - asked_s <= SECOND_S + ROUND_S,
            lambda: f"{resource} had {held} though asked for since {asked_s:.2f}",
        )
        grows = after > before + GROWN
        if grows:
            self._check(
                "I2", after <= most + 1e-6 * max(1.0, most), lambda: f"{resource} {after} of {most}"
            )
        since_s, until_s = self.hold_off.get(resource, (0.0, 0.0))
        if since_s + SECOND_S + ROUND_S < now_s < until_s:
            self._check(
                "I4",
                not grows,
                lambda: f"{resource} grows from {before} to {after} till {until_s:.2f}",
            )
        since_s, until_s = self.none_until.get(resource, (0.0, 0.0))
        if since_s + SECOND_S + ROUND_S < now_s < until_s:
            self._check("I4", held <= 0, lambda: f"{resource} had {held} in a hold-off")
        blind_s = self.blind_since_s.get(resource)
        if blind_s is not None:
            self._check(
                "I7",
                not grows and (after <= 0 or now_s - blind_s <= MISSING_S + SECOND_S + ROUND_S),
                lambda: f"{resource} from {before} to {after} without a reading since {blind_s}",
            )

    def began(self, resource: str) -> None:
        """A stresser was started: I1, I5, I8."""
        now_s = self.now()
        self.started += 1
        self.alive[resource] = self.alive.get(resource, 0) + 1
        self._check("I5", self.alive[resource] == 1, lambda: f"{resource} was started twice")
        self._check("I8", resource not in self.latched, lambda: f"{resource} was latched")
        recent = self.starts.setdefault(resource, deque())
        while recent and now_s - recent[0] >= BURST_S:
            recent.popleft()
        self._check(
            "I8",
            not recent or now_s - recent[-1] >= SECOND_S - ROUND_S,
            lambda: f"{resource} was started {now_s - recent[-1]:.2f} s after the last time",
        )
        recent.append(now_s)
        self._check("I8", len(recent) <= BURST_STARTS, lambda: f"{resource}: {list(recent)}")

    def gone(self, resource: str) -> None:
        """A stresser has ended, for whatever reason."""
        self.ended += 1
        self.alive[resource] -= 1

    def left_behind(self) -> None:
        """I5: the daemon has ended, so nothing of it runs any more."""
        for resource, count in self.alive.items():
            self._check("I5", count == 0, lambda name=resource: f"{name} runs on")  # type: ignore[misc]

    def tenant_above(self, since_s: float | None, duty: float) -> None:
        """The tenant alone has been above the setpoint since then: soon nothing is added."""
        if since_s is not None:
            self._check(
                "I0",
                duty <= 0 or self.now() - since_s <= 2 * SECOND_S,
                lambda: f"duty {duty} beside a tenant above the setpoint since {since_s:.2f}",
            )

    def planned(self, plan: Plan, policy: Policy) -> None:
        """I10: hold is never below its target nor above it by more than what may be caught up.

        A ceiling bounds both; what an order forbids is 0.
        """
        for decision in plan:
            ceiling = policy.ceiling.of(decision.resource)
            target, setpoint = policy.target.of(decision.resource), decision.setpoint_ratio
            least = 0.0 if self.forbidden_since_s is not None else min(target, ceiling)
            most = min(ceiling, target + policy.terms.catch_up_ratio) if target > 0 else 0.0
            self._check(
                "I10",
                least - GROWN <= setpoint <= most + GROWN,
                lambda: f"a setpoint is not within its bounds: {plan}",
            )

    def let_go(self, held: float) -> None:
        """I9: after an exception in a cycle nothing is held."""
        self._check("I9", held <= 0, lambda: f"{held} is held after an exception")

    def sampled(self, record: Record, at_s: float) -> None:
        """I6: a sample begins where the one before has ended, or later, and tells the truth."""
        span_s = record.sample.span_s
        self._check(
            "I6",
            span_s > 0 and at_s - span_s >= self.sampled_until_s - GROWN,
            lambda: f"span {span_s:.2f} s, the last one ended at {self.sampled_until_s:.2f}",
        )
        self._check(
            "I6",
            at_s - span_s >= self.broken_s - GROWN,
            lambda: f"span {span_s:.2f} s holds a gap at {self.broken_s:.2f}",
        )
        self.sampled_until_s = at_s
        self.samples += 1
        self.sampled_s += span_s

    def _forbidden(self) -> bool:
        if self.forbidden_since_s is None:
            return False
        # At the end itself both is right.
        return self.steady() < self.forbidden_until_steady_s - ROUND_S
