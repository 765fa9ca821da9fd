"""What is read of a filesystem: space, inodes, and on btrfs what is pending."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from optimizer.adapters.disk_sensor import DiskSensor, btrfs_allocation, mounted, pending_bytes
from optimizer.adapters.memory_sensor import parse_stalled_s, parse_swapped_out
from optimizer.adapters.mounts import is_thin, mount_point_of
from optimizer.counters import Place

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="btrfs and sysfs are Linux's")


def test_space_and_inodes_are_those_of_statvfs(tmp_path: Path) -> None:
    """Free inodes are those that an unprivileged writer can take, 1 where there is no count."""
    if sys.platform == "win32":
        pytest.skip("no statvfs")
    sensor = DiskSensor()
    sensor.watch([Place(str(tmp_path), str(tmp_path))])
    (disk,) = sensor.read()
    fs = os.statvfs(tmp_path)
    expected = fs.f_favail / fs.f_files if fs.f_files else 1.0
    assert disk.free_inodes_ratio == pytest.approx(expected, abs=0.01)
    assert disk.size_bytes == disk.used_bytes + disk.available_bytes
    assert not sensor.moved


def test_a_path_that_is_gone_is_said_to_have_moved(tmp_path: Path) -> None:
    """As after an unmount, so that the table of mounts is read again at once."""
    sensor = DiskSensor()
    sensor.watch([Place(str(tmp_path / "gone"), str(tmp_path / "gone"))])
    with pytest.raises(OSError, match="gone"):
        sensor.read()
    (tmp_path / "gone").mkdir()
    with pytest.raises(ValueError, match="unmounted"):
        sensor.read()
    assert sensor.moved
    sensor.watch([Place(str(tmp_path / "gone"), str(tmp_path / "gone"))])
    assert not sensor.moved
    assert len(sensor.read()) == 1


@linux_only
def test_btrfs_tells_what_statvfs_does_not_count_yet(tmp_path: Path) -> None:
    """Found by the device's name, for data or mixed groups; other filesystems have none."""
    device = tmp_path / "dev/vdb"
    device.parent.mkdir()
    device.touch()
    proc, sysfs = tmp_path / "proc", tmp_path / "sys"
    (proc / "self").mkdir(parents=True)
    (proc / "self/mountinfo").write_text(
        f"31 20 0:40 / /data rw - btrfs {device} rw\n32 20 0:41 / /x rw - ext4 /dev/vdc rw\n"
    )
    table = mounted(proc)
    assert btrfs_allocation("/data", table, sysfs) is None
    for kind in ("mixed", "data"):
        (sysfs / "fs/btrfs/0b-1c/devices/vdb").mkdir(parents=True, exist_ok=True)
        folder = sysfs / "fs/btrfs/0b-1c/allocation" / kind
        folder.mkdir(parents=True)
        (folder / "bytes_may_use").write_text("100\n")
        (folder / "bytes_reserved").write_text("20\n")
        assert btrfs_allocation("/data", table, sysfs) == folder
    assert pending_bytes(folder) == 120
    assert btrfs_allocation("/x", table, sysfs) is None


@linux_only
def test_a_volume_in_a_thin_pool_is_known_through_its_layers(tmp_path: Path) -> None:
    """A thin volume's slave is the pool; plain partitions and volumes have no such layer."""
    block = tmp_path / "class/block"
    for name, uuid, below in (
        ("dm-0", "LVM-abc-tpool", ()),
        ("dm-1", "LVM-def", ("dm-0",)),
        ("dm-2", "CRYPT-LUKS2-x", ("dm-1",)),
        ("dm-3", "LVM-plain", ("vda1",)),
        ("dm-4", "VDO-1234", ()),
    ):
        (block / name / "dm").mkdir(parents=True)
        (block / name / "dm/uuid").write_text(f"{uuid}\n")
        (block / name / "slaves").mkdir()
        for slave in below:
            (block / slave).mkdir(exist_ok=True)
            (block / name / "slaves" / slave).symlink_to(block / slave)
    found = {name: is_thin(f"/dev/{name}", tmp_path) for name in os.listdir(block)}
    assert found == {
        "dm-0": True,
        "dm-1": True,
        "dm-2": True,
        "dm-3": False,
        "dm-4": True,
        "vda1": False,
    }


@linux_only
def test_the_mount_point_of_a_path_is_the_longest_that_covers_it(tmp_path: Path) -> None:
    """Links are resolved first; every path is on some mount point."""
    link = tmp_path / "link"
    link.symlink_to("/proc/self")
    assert mount_point_of(str(link)) == "/proc"
    assert mount_point_of("/") == "/"


def test_pressure_and_swap_are_parsed() -> None:
    """Microseconds of `some`, pages of pswpout; what is not told is None."""
    text = b"some avg10=1.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 total=7\n"
    assert parse_stalled_s(text) == 2.5
    assert parse_stalled_s(b"full total=7\n") is None
    assert parse_swapped_out(b"pswpin 3\npswpout 12\nswpout_zero 9\n") == 12
    assert parse_swapped_out(b"pswpin 3\n") is None
