"""Tenants that take half of a container's memory at once, beside a daemon that holds some of it."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.memcg import MemoryGroup, memory_group
from tests.rig import DaemonRig, daemon, eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups")

MIB = 1 << 20
LIMIT_BYTES = 2048 * MIB
BURST_BYTES = LIMIT_BYTES // 2
BASE_BYTES = 768 * MIB
"""What another tenant has all the time: then a few hundred MiB held are in the way of a burst."""
SHORT_BYTES = 192 * MIB
"""A burst begins when at least so much of it does not fit beside what is held."""
LIFE_S = 1.0

TENANT = """
import mmap, os, sys, time
kind, size, life_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
with open("/proc/self/oom_score_adj", "w") as score:
    score.write("0")
begin_s = time.monotonic()
if kind == "bytearray":
    taken = bytearray(size)
    for place in range(0, size, 4096):
        taken[place] = 1
else:
    taken = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    taken.madvise(mmap.MADV_HUGEPAGE)
    taken.madvise(23)  # MADV_POPULATE_WRITE
os.write(1, b"%.3f" % (time.monotonic() - begin_s))
if life_s:
    time.sleep(life_s)
else:
    sys.stdin.read()
"""


@pytest.fixture
def group() -> Iterator[MemoryGroup]:
    """A memory group of 2 GiB without swap; skips where there can be none."""
    with memory_group(LIMIT_BYTES, "memory-burst") as made:
        yield made


@contextlib.contextmanager
def inside(group: MemoryGroup) -> Iterator[None]:
    """Programs that are started here are in the group from their first page on."""
    home = home_of(os.getpid(), group)
    group.join(os.getpid())
    try:
        yield
    finally:
        (home / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")


def home_of(pid: int, group: MemoryGroup) -> Path:
    """The directory of the group that a process is in now, in the same hierarchy."""
    for line in Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(",") or (not controllers and unified(group)):
            return group.folder.parent / path.lstrip("/")
    raise AssertionError(f"process {pid} is in no memory group")


def unified(group: MemoryGroup) -> bool:
    """Whether it is one of version 2."""
    return (group.folder / "memory.max").exists()


def tenant(group: MemoryGroup, kind: str, size: int, life_s: float) -> subprocess.Popen[bytes]:
    """A program in the group that takes so much at once and lives so long, 0: until told."""
    with inside(group):
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", TENANT, kind, str(size), str(life_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


@contextlib.contextmanager
def resident(group: MemoryGroup) -> Iterator[subprocess.Popen[bytes]]:
    """The tenant that has its memory all the time."""
    with tenant(group, "bytearray", BASE_BYTES, 0) as process:
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], 30)[0]
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def daemon_inside(group: MemoryGroup, folder: Path) -> Iterator[DaemonRig]:
    """A daemon that holds as much of the group as it may."""
    settings = {
        "TARGET_CPU": "0",
        "TARGET_MEMORY": "85",
        "MEMORY_RISE_MB_PER_MINUTE": "60000",
        "HOLD_OFF_SECONDS": "1",
    }
    with contextlib.ExitStack() as running:
        with inside(group):
            rig = running.enter_context(daemon(folder, **settings))
        yield rig


def burst(group: MemoryGroup, kind: str) -> bool:
    """One tenant, when a part of it does not fit beside what is held; whether it lives on."""
    eventually(
        lambda: group.usage_bytes() >= LIMIT_BYTES - BURST_BYTES + SHORT_BYTES,
        deadline_s=90.0,
        what="so much held that a burst does not fit beside it",
    )
    before = group.usage_bytes(), group.oom_kills()
    with tenant(group, kind, BURST_BYTES, LIFE_S) as process:
        took_s, failed = process.communicate(timeout=60)
    assert process.returncode in {0, -9}, failed.decode()
    print(
        f"{kind}: {before[0] // MIB} MiB used before; 1 GiB in {took_s.decode() or '?'} s; "
        f"{group.oom_kills() - before[1]} processes killed"
    )
    return process.returncode == 0


def bursts(group: MemoryGroup, folder: Path, count: int) -> None:
    """So many, of two kinds of pages in turns."""
    with resident(group) as base, daemon_inside(group, folder) as rig:
        lost, in_time, begin_s = 0, 0, time.monotonic()
        for _, kind in zip(range(count), itertools.cycle(("bytearray", "huge")), strict=False):
            kills = group.oom_kills()
            lost += not burst(group, kind)
            in_time += group.oom_kills() == kills
            assert rig.process.poll() is None, rig.said()
            assert base.poll() is None, "the other tenant was killed"
        print(
            f"{lost} of {count} tenants killed; the daemon gave way in time {in_time} times; "
            f"{time.monotonic() - begin_s:.0f} s"
        )
        assert lost == 0
        assert rig.stop() == 0


def test_a_burst_of_half_the_memory_kills_no_tenant(group: MemoryGroup, tmp_path: Path) -> None:
    """One in each kind of pages: it gets its memory and ends by itself; the daemon goes on."""
    bursts(group, tmp_path / "work", 2)


@pytest.mark.long
def test_three_hundred_bursts_kill_no_tenant(group: MemoryGroup, tmp_path: Path) -> None:
    """With none of 300 lost, at most one in 100 may be (95 %)."""
    bursts(group, tmp_path / "work", 300)
