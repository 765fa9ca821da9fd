"""How a level was held and when it was reached: pure arithmetic, and the clocks around it.

Levels and targets in percent, errors in points, times in seconds unless a name
says otherwise. What never happened took infinitely long.
"""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

RATE_HZ = 10.0
WITHIN_POINTS = 0.2
"""A level that is this near to the target for STAYS_S has settled (issue 4)."""
STAYS_S = 3.0
LOOK_S = 0.0005
"""Between two looks for an instant: well below the milliseconds that are told apart."""


def errors(values: Sequence[float], target: float) -> dict[str, float]:
    """Mean, signed; mean absolute; and worst absolute error against the target, in points.

    Empty without a value.
    """
    if not values:
        return {}
    apart = [abs(value - target) for value in values]
    return {
        "mean_error": statistics.fmean(values) - target,
        "mae": statistics.fmean(apart),
        "worst": max(apart),
    }


def settled_s(samples: Sequence[tuple[float, float]], target: float) -> float | None:
    """When a level came to stay, of samples (second, level) in their order.

    It is the first second of an unbroken stay within WITHIN_POINTS that lasts STAYS_S
    and reaches the last sample; None while there is none.
    """
    since_s = None
    for at_s, value in reversed(samples):
        if abs(value - target) > WITHIN_POINTS:
            break
        since_s = at_s
    if since_s is None or samples[-1][0] - since_s < STAYS_S:
        return None
    return since_s


def per_gib(amount: float, size_bytes: float) -> float:
    """An amount for each GiB of a size."""
    return amount * (1 << 30) / size_bytes


def named(values: dict[str, float], suffix: str) -> dict[str, float]:
    """The same values, their names ending in what was measured."""
    return {f"{name}_{suffix}": value for name, value in values.items()}


def record(read: Callable[[], float], seconds: float, rate_hz: float = RATE_HZ) -> list[float]:
    """Levels on a beat without drift, the first one now."""
    first_s = time.monotonic()
    values = []
    for number in range(math.floor(seconds * rate_hz) + 1):
        time.sleep(max(0.0, first_s + number / rate_hz - time.monotonic()))
        values.append(read())
    return values


def settle(read: Callable[[], float], target: float, deadline_s: float) -> float:
    """Waits for a level to settle; seconds from now until it had. Infinite after the deadline."""
    first_s = time.monotonic()
    samples: list[tuple[float, float]] = []
    while time.monotonic() - first_s < deadline_s:
        samples.append((time.monotonic() - first_s, read()))
        found = settled_s(samples, target)
        if found is not None:
            return found
        time.sleep(1 / RATE_HZ)
    return math.inf


def until(condition: Callable[[], bool], deadline_s: float, pause_s: float = LOOK_S) -> float:
    """Seconds from now until a condition holds; infinite after the deadline."""
    first_s = time.monotonic()
    while True:
        if condition():
            return time.monotonic() - first_s
        if time.monotonic() - first_s > deadline_s:
            return math.inf
        time.sleep(pause_s)


@contextlib.contextmanager
def prompt() -> Iterator[None]:
    """Runs this process at once when it wants to, so that it sees an instant beside busy loops.

    Without the right to that it stays as it is, and may see it a few ms late.
    """
    try:
        # What is started meanwhile must not be as prompt.
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(1))
    except OSError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
