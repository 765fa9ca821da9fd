"""Several data disks: all are held on, and what happens to one is nothing to the others."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizer.derive import disk_scope
from optimizer.settings import Settings
from tests.holding import GIB, MIB, held_bytes
from tests.loopdev import Volume, volume
from tests.rig import DaemonRig, daemon, eventually

pytestmark = [
    pytest.mark.disks,
    pytest.mark.skipif(sys.platform != "linux", reason="loop devices and /proc"),
]

TARGET_RATIO = 0.40


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[tuple[Volume, Volume]]:
    """Two data disks of 4 and 5 GiB; skips where the host has others, which are not ours."""
    folders = tmp_path / "small", tmp_path / "large"
    for folder in folders:
        folder.mkdir()
    with (
        volume("ext4", folders[0], size_mb=4096) as small,
        volume("ext4", folders[1], size_mb=5120) as large,
    ):
        found = {place.mount for place in disk_scope(Settings(), None).places}
        if found != {str(small.mount), str(large.mount)}:
            pytest.skip(f"this host has other data disks: {sorted(found)}")
        yield small, large


@pytest.fixture
def rig(disks: tuple[Volume, Volume], tmp_path: Path) -> Iterator[DaemonRig]:
    """A daemon that holds 40 % of both together, and nothing else."""
    assert disks
    settings = {
        "TARGET_CPU": "0",
        "TARGET_DISK": "40",
        "DISK_RISE_MB_PER_SECOND": "4096",
        "HOLD_OFF_SECONDS": "1",
    }
    with daemon(tmp_path / "work", **settings) as made:
        yield made


def held_on(rig: DaemonRig, disk: Volume) -> int:
    """What the daemon has of a disk, seen from outside."""
    return held_bytes(rig.pid, os.stat(disk.mount).st_dev)


def wanted_bytes(*disks: Volume) -> int:
    """40 % of what these have together, as df counts."""
    sizes = [os.statvfs(disk.mount) for disk in disks]
    return int(
        TARGET_RATIO * sum((fs.f_blocks - fs.f_bfree + fs.f_bavail) * fs.f_frsize for fs in sizes)
    )


def test_all_are_held_on_and_the_sum_is_the_target(
    rig: DaemonRig, disks: tuple[Volume, Volume]
) -> None:
    """3.6 GiB of 9; neither alone may give so much, for 2 GiB stay free on each."""
    small, large = disks
    eventually(
        lambda: abs(held_on(rig, small) + held_on(rig, large) - wanted_bytes(*disks)) < 64 * MIB,
        what=f"40 % of both: {rig.resource('disk')}",
    )
    assert held_on(rig, small) > 256 * MIB
    assert held_on(rig, large) > 256 * MIB
    told = {one["mount"]: one["own_bytes"] for one in rig.resource("disk")["filesystems"]}
    assert set(told) == {str(small.mount), str(large.mount)}
    assert rig.stop() == 0


def test_one_that_is_unmounted_leaves_the_other_held(
    rig: DaemonRig, disks: tuple[Volume, Volume]
) -> None:
    """Taken away with `umount -l`: it is let go, and the other one is held at its own 40 %."""
    small, large = disks
    eventually(lambda: held_on(rig, small) > 256 * MIB, what=f"held: {rig.resource('disk')}")
    device = os.stat(small.mount).st_dev
    small.detach_lazily()
    eventually(lambda: held_bytes(rig.pid, device) == 0, what="the one that has gone is let go")
    eventually(
        lambda: abs(held_on(rig, large) - wanted_bytes(large)) < 64 * MIB,
        what=f"40 % of the other: {rig.resource('disk')}",
    )
    assert rig.stop() == 0


def test_one_that_a_tenant_fills_is_given_back_and_the_other_takes_over(
    rig: DaemonRig, disks: tuple[Volume, Volume]
) -> None:
    """A tenant takes all that is free on the small disk but 1 GiB: nothing is held there."""
    small, large = disks
    eventually(lambda: held_on(rig, small) > 256 * MIB, what=f"held: {rig.resource('disk')}")
    fs = os.statvfs(small.mount)
    with (small.mount / "tenant").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, fs.f_bavail * fs.f_frsize - GIB)
    eventually(lambda: held_on(rig, small) == 0, what="the full one is given back")
    eventually(lambda: held_on(rig, large) > 256 * MIB, what=f"held: {rig.resource('disk')}")
    assert rig.stop() == 0
