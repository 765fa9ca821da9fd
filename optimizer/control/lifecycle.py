"""When a stresser that ended may be started again: event and time to next state."""

from __future__ import annotations

from dataclasses import dataclass, replace

from optimizer.model import ExitCause, Reason, Resource, StresserExit

RESTART_DELAY_S = 1.0
"""At most one start per second and resource."""
BURST_LIMIT = 5
"""So many ends within the burst window trip the resource."""
BURST_WINDOW_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What is remembered of one stresser's ends; times are monotonic seconds."""

    recent_exits_s: tuple[float, ...] = ()
    wait_until_s: float = 0.0
    tripped: bool = False


def ended(life: Life, event: StresserExit, now_s: float, hold_off_s: float) -> Life:
    """The state after an unwanted end.

    A memory stresser that was killed was most likely picked by the OOM
    killer: that is a message to back off for the whole hold-off, not to start
    again.
    """
    recent = tuple(at for at in life.recent_exits_s if now_s - at < BURST_WINDOW_S)
    recent = (*recent, now_s)
    delay_s = RESTART_DELAY_S
    if event.cause is ExitCause.KILLED and event.resource is Resource.MEMORY:
        delay_s = max(delay_s, hold_off_s)
    return Life(
        recent_exits_s=recent,
        wait_until_s=max(life.wait_until_s, now_s + delay_s),
        tripped=life.tripped or len(recent) >= BURST_LIMIT,
    )


def resumed(life: Life) -> Life:
    """The state after an operator's `resume`: the latch is lifted, a wait is not."""
    return replace(life, tripped=False, recent_exits_s=())


def obstacle(life: Life, now_s: float) -> Reason | None:
    """Why the stresser may not run now; None when it may."""
    if life.tripped:
        return Reason.STRESSER_TRIPPED
    return Reason.STRESSER_DOWN if now_s < life.wait_until_s else None
