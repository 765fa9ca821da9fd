"""Real shards in a memory group: they stay below its limit, and let go of what it takes back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.memcg import MemoryGroup, memory_group
from tests.stresser_harness import DEADLINE_S, stresser, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory control groups")

MIB = 1 << 20
LIMIT, HELD, WANTED = 320 * MIB, 150 * MIB, 260 * MIB

TENANT = """
import sys
sys.stdin.readline()
held = []
for _ in range(int(sys.argv[1])):
    held.append(bytearray(1 << 20))
print("has it all", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def group() -> Iterator[MemoryGroup]:
    """A memory group of 320 MiB; skips where there is none to be had."""
    with memory_group(LIMIT, "stresser-taken") as found:
        yield found


def test_a_tenant_that_needs_memory_gets_it_and_nobody_is_killed(group: MemoryGroup) -> None:
    """The kernel takes MADV_FREE pages; that is reported, and all the rest is given back."""
    with stresser("memory", "--metric", "nocache") as held:
        held.lease(bytes=0, ttl_s=3.0)
        # The crew stays outside: the group's limit is below the floor that must stay free.
        for pid in held.pids()[1:]:
            group.join(pid)
        held.lease(bytes=HELD, ttl_s=3.0)
        assert until(lambda: held.held() == HELD)
        assert until(lambda: group.usage_bytes() >= HELD)
        command = [sys.executable, "-c", TENANT, str(WANTED // MIB)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as tenant:
            group.join(tenant.pid)
            # Their sum is 90 MiB beyond the limit, which no cache in the group could make good.
            output, _ = tenant.communicate("go\n\n", timeout=DEADLINE_S)
            assert output == "has it all\n"
            assert tenant.returncode == 0
        assert until(lambda: bool(held.said("taken")))
        assert until(lambda: held.held() == 0)
        taken = held.said("taken")
        assert len(taken) == 1
        assert isinstance(taken[0]["bytes"], int)
        assert 4 * MIB < taken[0]["bytes"] <= HELD
        assert until(lambda: bool(held.said("limited")))
        assert held.said("limited")[-1] == {"report": "limited", "by": "taken", "bytes": 0}
        assert group.oom_kills() == 0
        # The lease still asks for it, and gets nothing until it has been 0 once.
        assert not until(lambda: held.held() != 0, deadline_s=1.5)
        held.lease(bytes=0, ttl_s=3.0)
        assert not until(lambda: held.held() != 0, deadline_s=0.3)
        held.lease(bytes=HELD, ttl_s=3.0)
        assert until(lambda: held.held() == HELD)
        assert held.end() == 0


@pytest.mark.parametrize("metric", ["available", "nocache"])
def test_the_limit_of_a_group_bounds_what_is_held_in_it(group: MemoryGroup, metric: str) -> None:
    """As in a container: of 1 GiB 512 MiB stay, however much the host has."""
    group.limit(1024 * MIB)
    with stresser("memory", "--metric", metric) as held:
        held.lease(bytes=0, ttl_s=3.0)
        for pid in held.pids():
            group.join(pid)
        held.lease(bytes=900 * MIB, ttl_s=3.0)
        assert until(lambda: bool(held.said("limited")))
        assert held.said("limited")[0]["by"] == "floor"
        assert until(lambda: group.usage_bytes() >= 500 * MIB)
        assert group.usage_bytes() <= 513 * MIB
        group.limit(700 * MIB)
        held.lease(bytes=0, ttl_s=3.0)
        assert until(lambda: held.held() == 0)
        held.lease(bytes=900 * MIB, ttl_s=3.0)
        assert until(lambda: group.usage_bytes() >= 175 * MIB)
        assert group.usage_bytes() <= 190 * MIB
        assert group.oom_kills() == 0
