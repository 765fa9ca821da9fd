"""However the daemon, the machine or the mount ends: no byte of the disk stays taken."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.holding import GIB, MIB, Holder, holder
from tests.loopdev import KINDS, ONE_KIND, volume
from tests.rig import alive, descendants, eventually

pytestmark = [
    pytest.mark.disks,
    pytest.mark.skipif(sys.platform != "linux", reason="loop devices and /proc"),
]

SIZE_MB = 4096
LEAST_BYTES = GIB
"""Of about 3.5 GiB that can be had 40 % are 1.4; 2 GiB must stay free."""
OWN_BYTES = 2 * MIB
"""What a filesystem takes for itself meanwhile: XFS a chunk of inodes, btrfs some nodes."""


def kill(held: Holder) -> None:
    """SIGKILL to the controller, and wait until its stressers have gone too."""
    stressers = descendants(held.rig.pid)
    os.kill(held.rig.pid, signal.SIGKILL)
    held.rig.process.wait(timeout=5)
    eventually(lambda: not alive(stressers), deadline_s=5.0, what="all stressers dead")


@pytest.mark.parametrize("kind", KINDS)
def test_after_kill_9_no_byte_stays_taken(tmp_path: Path, kind: str) -> None:
    """Next to nothing is written for holding; killed, all is free again and the disk is sound."""
    with volume(kind, tmp_path, size_mb=SIZE_MB) as disk:
        used, written = disk.used_bytes(), disk.written_bytes()
        with holder(tmp_path / "work", disk) as held:
            size = held.holds(LEAST_BYTES)
            assert disk.used_bytes() - used >= size
            # A journal entry for each step, and what ext4 writes once after mkfs.
            assert disk.written_bytes() - written < 16 * MIB
            kill(held)
        eventually(lambda: disk.used_bytes() - used < OWN_BYTES, what="all space back")
        disk.detach()
        disk.check()


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_power_cut_no_byte_stays_taken(tmp_path: Path, kind: str) -> None:
    """The disk keeps what it had at that moment, the file included; mounted again it is gone."""
    with volume(kind, tmp_path, size_mb=SIZE_MB) as disk:
        used = disk.used_bytes()
        with holder(tmp_path / "work", disk) as held:
            size = held.holds(LEAST_BYTES)
            # Synced, for else the disk might never have heard of the file.
            assert disk.used_bytes() - used >= size
            disk.cut_power()
            kill(held)
        disk.detach()
        disk.attach()
        eventually(lambda: disk.used_bytes() - used < OWN_BYTES, what="all space back")
        disk.detach()
        disk.check()


@pytest.mark.parametrize("kind", ONE_KIND)
def test_a_lazy_unmount_gets_the_space_back(tmp_path: Path, kind: str) -> None:
    """The daemon goes on, lets go, and takes nothing of the disk that the path leads to now."""
    with volume(kind, tmp_path, size_mb=SIZE_MB) as disk:
        used = disk.used_bytes()
        with holder(tmp_path / "work", disk) as held:
            held.holds(LEAST_BYTES)
            disk.detach_lazily()
            held.lets_go()
            # Nobody has a file of it open any more, so it has really ended.
            eventually(lambda: disk.device() is None, what="the filesystem is gone")
            held.cycles()
            held.look()
            assert held.held_bytes() == 0
            assert held.rig.stop() == 0
        disk.check()
        disk.attach()
        assert disk.used_bytes() - used < OWN_BYTES
