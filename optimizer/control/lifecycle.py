"""When a stresser that ended may be started again: event and time to next state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from optimizer.model import ExitCause, Reason, Resource, StresserExit

RESTART_DELAY_S = 1.0
"""At most one start per second and resource."""
BURST_LIMIT = 5
"""So many ends within the burst window trip the resource."""
BURST_WINDOW_S = 10.0
"""So many faults of its own, each so soon after the one before, trip it too.

For on a busy host one start and one look take longer than a fifth of this.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What is remembered of one stresser's ends; times are monotonic seconds."""

    recent_exits_s: tuple[float, ...] = ()
    recent_faults_s: tuple[float, ...] = ()
    wait_until_s: float = 0.0
    tripped: bool = False


def ended(life: Life, event: StresserExit, now_s: float, hold_off_s: float) -> Life:
    """The state after an unwanted end.

    A memory stresser that was killed was most likely picked by the OOM
    killer: that is a message to back off for the whole hold-off, not to start
    again. What expires or is killed now and then, on a host that is swamped,
    is no fault; what ends by itself soon after each start is.
    """
    exits = (*life.recent_exits_s, now_s)[-BURST_LIMIT:]
    faults = life.recent_faults_s
    if event.cause is ExitCause.FAILED:
        faults = (*faults, now_s)[-BURST_LIMIT:]
    burst = len(exits) == BURST_LIMIT and now_s - exits[0] < BURST_WINDOW_S
    faulty = len(faults) == BURST_LIMIT and all(
        later - earlier < BURST_WINDOW_S for earlier, later in pairwise(faults)
    )
    delay_s = RESTART_DELAY_S
    if event.cause is ExitCause.KILLED and event.resource is Resource.MEMORY:
        delay_s = max(delay_s, hold_off_s)
    return Life(
        recent_exits_s=exits,
        recent_faults_s=faults,
        wait_until_s=max(life.wait_until_s, now_s + delay_s),
        tripped=life.tripped or burst or faulty,
    )


def resumed(life: Life) -> Life:
    """The state after an operator's `resume`: the latch is lifted, a wait is not."""
    return replace(life, tripped=False, recent_exits_s=(), recent_faults_s=())


def rested(life: Life, now_s: float) -> Life:
    """The state after the stresser was ended because of an error of ours: not at once again."""
    return replace(life, wait_until_s=max(life.wait_until_s, now_s + RESTART_DELAY_S))


def obstacle(life: Life, now_s: float) -> Reason | None:
    """Why the stresser may not run now; None when it may."""
    if life.tripped:
        return Reason.STRESSER_TRIPPED
    return Reason.STRESSER_DOWN if now_s < life.wait_until_s else None
