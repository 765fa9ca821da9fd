"""Memory fillers measured once: how exact they hold, what filling costs, how fast they let go."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import arms
import daemon_cost
import fillers
import leased
import levels
import meminfo
from boxes import ROOMY, Box

GIB = 1 << 30
NEAR = 0.98
"""Share of a size that must be seen to have come or gone; the rest is other programs' doing."""
FILL_S = 60.0
BACK_S = 5.0
SETTLE_S = 180.0
"""How long a daemon may take to its target, whose growth is bounded (1 % of memory a second)."""
AFTER_S = 3.0
POPULATE_WRITE = 23
"""MADV_POPULATE_WRITE, from Linux 5.14; see madvise(2)."""
MOVES_S = 5.0
MOVING = """
import time
while True:
    block = b"1" * {size}
    time.sleep({seconds})
    del block
    time.sleep({seconds})
"""
"""A tenant that takes memory and gives it back by turns, at full speed."""
MOVES_RATIO = 0.05


@contextlib.contextmanager
def moving(on: bool) -> Iterator[None]:
    """A tenant that moves by MOVES_RATIO of all memory, if wanted."""
    if not on:
        yield
        return
    size = int(MOVES_RATIO * meminfo.read()["MemTotal"])
    with daemon_cost.tenants(MOVING.format(size=size, seconds=MOVES_S), 1):
        yield


def exact(
    name: str,
    targets: Sequence[float],
    metric: str,
    seconds: float,
    *,
    tenant: bool = False,
    settings: Sequence[str] = (),
) -> dict[str, float]:
    """How far from each target (percent) the host was while that arm held it.

    Ours is the whole daemon. Others are told once how much is missing, because they
    cannot follow. Raises OSError.
    """
    found: dict[str, float] = {}

    def level() -> float:
        return meminfo.percent(meminfo.read(), metric)

    for target in targets:
        with holding(name, target, metric, settings):
            deadline_s, begun_s = (SETTLE_S, arms.SETTLE_S) if name == "ours" else (9.0, AFTER_S)
            settle_s = begun_s + levels.settle(level, target, deadline_s)
            with moving(tenant):
                values = levels.record(level, seconds)
        figures = levels.errors(values, target) | {"settle_s": settle_s}
        found |= levels.named(figures, f"{target:g}")
    return found


@contextlib.contextmanager
def holding(name: str, target: float, metric: str, settings: Sequence[str]) -> Iterator[None]:
    """That arm, on its way to a target. Raises OSError."""
    if name == "ours":
        wanted = (f"TARGET_MEMORY={target:g}", "TARGET_CPU=0", "TARGET_DISK=0")
        rise = "MEMORY_RISE_MB_PER_MINUTE=60000"
        command = arms.daemon(*wanted, f"MEMORY_METRIC={metric}", rise, *settings)
        with arms.Arm(name=name, command=command, target=target).running():
            yield
        return
    with Box() as box, fillers.memory(name, box) as filler:
        now = meminfo.read()
        size = int(target / 100 * now["MemTotal"]) - meminfo.used(now, metric)
        if size <= 0:
            message = f"{target:g} % of {metric} is in use already"
            raise OSError(message)
        filler.begin(size)
        time.sleep(AFTER_S)
        filler.renew()
        yield


def warm(size_bytes: int) -> None:
    """Touches that much memory and frees it, in huge pages where there are any.

    A hypervisor that takes free pages back (free page reporting, two seconds after they
    became free) makes the first touch ten times as dear, which is none of a filler's doing.
    """
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with mmap.mmap(-1, size_bytes, flags=flags) as block:
        for advice in (mmap.MADV_HUGEPAGE, POPULATE_WRITE):
            with contextlib.suppress(OSError):
                block.madvise(advice)


def filled(filler: fillers.Filler, size_bytes: int) -> tuple[float, float]:
    """Begin, and wait until it is held: seconds, and CPU seconds, infinite if it never is.

    Raises OSError.
    """
    private, cpu_s = filler.box.private_bytes(), filler.box.cpu_s()
    first_s = time.monotonic()
    filler.begin(size_bytes)
    goal = private + NEAR * size_bytes
    waited_s = levels.until(lambda: filler.box.private_bytes() >= goal, FILL_S, 0.005)
    used_s = filler.box.cpu_s() - cpu_s
    if math.isinf(waited_s):
        return math.inf, math.inf
    return time.monotonic() - first_s, used_s


def fill(name: str, size_bytes: int) -> dict[str, float]:
    """Wall and CPU time of filling warm memory, for each GiB, and CPU time of holding.

    Raises OSError.
    """
    with Box() as box, fillers.memory(name, box) as filler:
        warm(size_bytes)
        wall_s, used_s = filled(filler, size_bytes)
        cpu_s, at_s = box.cpu_s(), time.monotonic()
        # The last bytes are still coming when nearly all are there.
        time.sleep(AFTER_S)
        holding_s = box.cpu_s() - cpu_s
        found = {
            "wall_ms_per_gib": levels.per_gib(1000 * wall_s, size_bytes),
            "cpu_ms_per_gib": levels.per_gib(1000 * used_s, size_bytes),
            "then_percent_of_a_core": 100 * holding_s / (time.monotonic() - at_s),
        }
        if isinstance(filler, leased.Ours):
            found["start_cpu_ms"] = 1000 * filler.start_cpu_s
    return found


def release(
    name: str, sizes_bytes: Sequence[int], spare_bytes: int, *, busy: bool
) -> dict[str, float]:
    """Milliseconds from the decision until the memory is free, asked and killed.

    By the control group, which no other program disturbs, and (`_by_memfree`) by MemFree,
    which is missing where others took the memory meanwhile. Sizes that would leave less
    than the spare bytes available are left out. Raises OSError.
    """
    found: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        if busy:
            stack.enter_context(daemon_cost.tenants(daemon_cost.BUSY, arms.CPUS))
        for size in sizes_bytes:
            available = meminfo.read()["MemAvailable"]
            if available < size + spare_bytes:
                said = f"{size / GIB:g} GiB left out, only {available / GIB:.1f} GiB available"
                print(f"{name}: {said}", file=sys.stderr)
                continue
            for how in ("asked", "killed"):
                with Box(ROOMY) as box, fillers.memory(name, box) as filler:
                    if math.isinf(filled(filler, size)[0]):
                        print(f"{name}: never held {size / GIB:g} GiB", file=sys.stderr)
                        continue
                    time.sleep(AFTER_S)  # until nothing of it is still being written
                    decide: Callable[[], None] = filler.release if how == "asked" else box.kill
                    times = _back_ms(decide, box, size)
                    found |= {f"{how}_{size / GIB:g}_gib_{key}": times[key] for key in times}
    return found


def _back_ms(decide: Callable[[], None], box: Box, size_bytes: int) -> dict[str, float]:
    file = os.open("/proc/meminfo", os.O_RDONLY)

    def free() -> int:
        return meminfo.parse(os.pread(file, 256, 0).decode().rpartition("\n")[0])["MemFree"]

    try:
        with levels.prompt():
            goal, bound = free() + NEAR * size_bytes, box.usage_bytes() - NEAR * size_bytes
            first_s = time.monotonic()
            decide()
            # The decision itself takes time, too: a signal to each of many processes.
            said_s = time.monotonic() - first_s
            charged_s = said_s + levels.until(lambda: box.usage_bytes() <= bound, BACK_S)
            free_s = levels.until(lambda: free() >= goal, 0.1 if charged_s < BACK_S else 0.0)
            total_s = time.monotonic() - first_s
        found = {"ms": 1000 * charged_s}
        return found if math.isinf(free_s) else found | {"ms_by_memfree": 1000 * total_s}
    finally:
        os.close(file)
