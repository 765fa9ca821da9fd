"""A disk that is frozen, full, read-only, at its quota or without inodes: named, and no more."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import optimizer
from tests.holding import GIB, MIB, Holder, holder
from tests.loopdev import Volume, volume
from tests.rig import PROGRAM, alive, descendants, eventually

pytestmark = [
    pytest.mark.disks,
    pytest.mark.skipif(sys.platform != "linux", reason="loop devices and /proc"),
]

SIZE_MB = 4096
LEAST_BYTES = GIB
"""Of about 3.5 GiB that can be had 40 % are 1.4; 2 GiB must stay free."""
OWNER = 1000
"""Anybody but root, whom no quota concerns."""

SOON = ("-m", "tests.hostile.altered_daemon", '{"retry_s": 2}')
SHORT_CYCLES, LONG_CYCLES = 2, 5
RETRIES = (
    pytest.param(SOON, SHORT_CYCLES, id="2 s"),
    pytest.param(PROGRAM, LONG_CYCLES, id="10 s", marks=pytest.mark.long),
)
"""What Python runs, by when it tries a disk again that has failed, and the cycles to see."""

MEMORY = {"TARGET_MEMORY": "80", "MEMORY_RISE_MB_PER_MINUTE": "600"}
"""Grows by 10 MB a second for minutes, so that one sees whether memory is served."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Volume]:
    """An ext4 of 4 GiB."""
    with volume("ext4", tmp_path, size_mb=SIZE_MB) as made:
        yield made


def serves_memory(held: Holder) -> None:
    """Wait until more memory is held than now."""
    first = held.rig.resource("memory").get("own") or 0
    eventually(
        lambda: (held.rig.resource("memory").get("own") or 0) > first, what="memory is served"
    )


@pytest.mark.parametrize(("program", "cycles"), RETRIES)
def test_a_filesystem_that_is_frozen_stops_only_the_disk(
    tmp_path: Path, disk: Volume, program: tuple[str, ...], cycles: int
) -> None:
    """Frozen before it could hold: the loop goes on, memory is served; thawed, the disk is too."""
    disk.freeze()
    with holder(tmp_path / "work", disk, program=program, **MEMORY) as held:
        held.names("frozen", "does not answer")
        serves_memory(held)
        held.cycles(cycles)
        disk.thaw()
        held.holds(LEAST_BYTES)
        assert held.rig.stop() == 0


@pytest.mark.parametrize(
    "cycles", [SHORT_CYCLES, pytest.param(LONG_CYCLES, marks=pytest.mark.long)]
)
def test_a_freeze_while_space_is_held_stops_only_the_disk(
    tmp_path: Path, disk: Volume, cycles: int
) -> None:
    """What is held can be given back only after the thaw; nothing waits for it until then."""
    with holder(tmp_path / "work", disk, **MEMORY) as held:
        held.holds(LEAST_BYTES)
        disk.freeze()
        assert held.rig.command("pause").returncode == 0
        eventually(
            lambda: held.rig.resource("disk")["reason"] == "inhibited", what="the pause is seen"
        )
        assert held.rig.command("resume").returncode == 0
        serves_memory(held)
        held.cycles(cycles)
        disk.thaw()
        held.holds(LEAST_BYTES)
        assert held.rig.stop() == 0


def test_the_daemon_ends_beside_a_frozen_filesystem(tmp_path: Path, disk: Volume) -> None:
    """SIGTERM: it ends in good time, and all is free after the thaw."""
    used = disk.used_bytes()
    with holder(tmp_path / "work", disk) as held:
        held.holds(LEAST_BYTES)
        stressers = descendants(held.rig.pid)
        disk.freeze()
        assert held.rig.stop() == 0
        disk.thaw()
        eventually(lambda: not alive(stressers), what="the stresser has gone")
    assert disk.used_bytes() - used < MIB


def fill(folder: Path) -> Path:
    """Take every block that root can have, without writing; the file that has them."""
    taken = folder / "full"
    with taken.open("wb") as file:
        size, step = 0, 64 * MIB
        while step >= 4096:
            try:
                os.posix_fallocate(file.fileno(), size, step)
                size += step
            except OSError as exc:
                if exc.errno != errno.ENOSPC:
                    raise
                step //= 2
    return taken


def test_a_full_filesystem_is_named_and_held_once_there_is_room(
    tmp_path: Path, disk: Volume
) -> None:
    """Not a block is free: nothing is held and the loop goes on."""
    taken = fill(disk.mount)
    with holder(tmp_path / "work", disk) as held:
        held.names("full")
        held.cycles()
        assert held.held_bytes() == 0
        taken.unlink()
        held.holds(LEAST_BYTES)
        assert held.rig.stop() == 0


def test_a_read_only_filesystem_is_named_and_held_once_it_can_be(
    tmp_path: Path, disk: Volume
) -> None:
    """Read-only by hand: the loop goes on; a reload looks at the mounts again."""
    assert disk.remount("ro") is None
    with holder(tmp_path / "work", disk) as held:
        held.names("read-only")
        held.cycles()
        assert disk.remount("rw") is None
        held.rig.process.send_signal(signal.SIGHUP)
        held.holds(LEAST_BYTES)
        assert held.rig.stop() == 0


def test_a_filesystem_that_breaks_is_named_and_let_go(tmp_path: Path, disk: Volume) -> None:
    """ext4 finds an error in itself and becomes read-only while space is held of it."""
    with holder(tmp_path / "work", disk, **MEMORY) as held:
        held.holds(LEAST_BYTES)
        disk.break_it()
        # Whoever looks at what it can write only when it has to grow would not see it before.
        tell = held.rig.command("pause")
        assert tell.returncode == 0
        held.lets_go()
        assert held.rig.command("resume").returncode == 0
        held.names("read-only")
        serves_memory(held)
        held.cycles()
        assert held.rig.stop() == 0


def take_inodes(folder: Path) -> None:
    """Make empty files until there are no more."""
    for number in range(1 << 20):
        (folder / str(number)).touch()


def test_a_filesystem_without_inodes_is_named_and_held_once_there_are_some(tmp_path: Path) -> None:
    """A tenant has taken the last inode: nothing is held, though there is room."""
    with volume("ext4", tmp_path, size_mb=SIZE_MB, options=("-N", "1024")) as disk:
        tenant = disk.mount / "tenant"
        tenant.mkdir()
        with pytest.raises(OSError, match="No space left"):
            take_inodes(tenant)
        with holder(tmp_path / "work", disk) as held:
            held.names("inode")
            held.cycles()
            assert held.held_bytes() == 0
            for file in tenant.iterdir():
                file.unlink()
            held.holds(LEAST_BYTES)
            assert held.rig.stop() == 0


@contextlib.contextmanager
def started_as(uid: int) -> Iterator[None]:
    """Whatever is started here belongs to that user."""
    os.setresuid(uid, uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def set_quota(disk: Volume, size_mb: int) -> None:
    """Let the user have so much; skips where the kernel has no quotas."""
    words = ("setquota", "-u", str(OWNER), "0", f"{size_mb}M", "0", "0", str(disk.mount))
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs setquota")
    if done.returncode:
        pytest.skip(f"no quotas of users on ext4 here: {done.stderr.strip()}")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder to which the way is open to all, and which is the user's."""
    with tempfile.TemporaryDirectory(prefix="optimizer-test-") as name:
        os.chown(name, OWNER, OWNER)
        yield Path(name)


def test_a_quota_of_the_user_is_a_limit(open_folder: Path) -> None:
    """ext4, and a daemon of a user that may have 256 MiB: named; no more held; more when raised."""
    with volume("ext4", open_folder, size_mb=SIZE_MB, quota=True) as disk:
        set_quota(disk, 256)
        os.chown(disk.mount, OWNER, OWNER)
        with contextlib.ExitStack() as running:
            with started_as(OWNER):
                for needed in (sys.executable, optimizer.__file__):
                    if not os.access(needed, os.R_OK, effective_ids=True):
                        pytest.skip(f"another user cannot read {needed}")
                held = running.enter_context(holder(open_folder / "work", disk))
            held.names("quota")
            held.cycles(5)
            assert held.held_bytes() <= 256 * MIB
            set_quota(disk, 2048)
            held.holds(LEAST_BYTES)
            assert held.rig.stop() == 0


@pytest.mark.parametrize(("program", "cycles"), RETRIES)
def test_a_quota_of_a_subvolume_is_a_limit(
    tmp_path: Path, program: tuple[str, ...], cycles: int
) -> None:
    """btrfs, and a subvolume that may have 256 MiB: named; no more held; more when it is raised."""
    with volume("btrfs", tmp_path, size_mb=SIZE_MB, quota=True) as disk:
        place = disk.mount / "limited"
        subprocess.run(["btrfs", "subvolume", "create", place], check=True, capture_output=True)
        limit = ["btrfs", "qgroup", "limit"]
        subprocess.run([*limit, "256M", place], check=True)
        options = {"DISK_STRESS_PATH": str(place)}
        with holder(tmp_path / "work", disk, program=program, **options) as held:
            held.look(place)
            held.names("quota")
            held.cycles(cycles)
            assert held.held_bytes() <= 256 * MIB
            subprocess.run([*limit, "none", place], check=True)
            held.holds(LEAST_BYTES)
            assert held.rig.stop() == 0
