"""Platform names, memory sizes and the mount table."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from optimizer.adapters.mounts import available_bytes, is_removable, mounts, resolved
from optimizer.adapters.platform import (
    detect,
    memory_sizes,
    online_block_bytes,
    platform_name,
    visible_bytes,
)

OS_RELEASE = Path(__file__).parent / "data/os-release"
EXPECTED = {
    "alinux-3": "alinux",
    "alma-9": "alma",
    "alpine-3.20": "linux_generic",
    "amazon-2023": "amazon",
    "anolis-8": "anolis",
    "centos-7": "centos",
    "debian-12": "debian",
    "fedora-40": "fedora",
    "kylin-v10": "kylin",
    "mint-21": "ubuntu",
    "openeuler-22.03": "openeuler",
    "opensuse-leap-15": "suse",
    "oracle-9": "rhel",
    "rhel-9": "rhel",
    "rocky-9": "rocky",
    "sles-15": "suse",
    "tencentos-2.4": "tencentos",
    "ubuntu-22.04": "ubuntu",
}


@pytest.mark.parametrize("path", sorted(OS_RELEASE.iterdir()), ids=lambda path: path.name)
def test_a_distribution_is_known_by_its_own_file(path: Path) -> None:
    """Each os-release file gives its canonical name; every file has an expected one."""
    assert detect(path.read_text(encoding="utf-8"), "Linux") == EXPECTED[path.name]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ufeffID=ubuntu\n", "ubuntu"),
        ("  ID =  'CentOS'  \r\n", "centos"),
        ('ID="Ubuntu" # a comment\n', "ubuntu"),
        ("#ID=ubuntu\nID=debian\n", "debian"),
        ("ID=new\nID_LIKE='other  rocky centos'\n", "rocky"),
        ('ID="kylin\n', "kylin"),
        ("ID=ubuntu\nID=debian\n", "debian"),
        ("VERSION_ID=ubuntu\nPRETTY_NAME=centos\n", "linux_generic"),
        ("", "linux_generic"),
    ],
)
def test_an_oddly_written_file_is_still_understood(text: str, expected: str) -> None:
    """BOM, spacing, quotes, case, comments, open quotes; the last line of a key counts."""
    assert detect(text, "Linux") == expected


def test_every_system_has_a_name() -> None:
    """Systems without the file have a fixed name, and none is None."""
    assert detect(None, "Linux") == "linux_generic"
    assert detect("ID=ubuntu", "Windows") == "windows"
    assert detect(None, "Darwin") == "macos"
    assert detect(None, "Plan9") == "unknown"


def test_an_override_wins_over_the_machine() -> None:
    """Any word but auto is taken as it is, in lower case; auto reads the machine."""
    assert platform_name("openEuler") == "openeuler"
    assert platform_name("auto") == platform_name("") != "auto"


def sysfs_with_blocks(root: Path, states: list[str]) -> Path:
    """A sysfs tree with memory blocks of 128 MiB (8000000 hexadecimal) in these states."""
    directory = root / "devices/system/memory"
    directory.mkdir(parents=True)
    (directory / "block_size_bytes").write_text("8000000\n", encoding="ascii")
    for index, state in enumerate(states):
        (directory / f"memory{index}").mkdir()
        (directory / f"memory{index}/state").write_text(f"{state}\n", encoding="ascii")
    return root


def test_online_memory_blocks_are_added_up(tmp_path: Path) -> None:
    """Three online blocks of 128 MiB are 384 MiB; an offline one does not count."""
    states = ["online", "online", "offline", "online"]
    assert online_block_bytes(sysfs_with_blocks(tmp_path, states)) == 3 * 128 * 2**20


def test_installed_memory_is_unknown_where_the_kernel_is_silent(tmp_path: Path) -> None:
    """Neither a missing directory nor one without blocks means 0 bytes."""
    assert online_block_bytes(tmp_path / "nothing") is None
    assert online_block_bytes(sysfs_with_blocks(tmp_path, [])) is None


def test_the_memory_of_a_mounted_proc_counts(tmp_path: Path) -> None:
    """HOST_PROC in a container: 16 GiB there; without a figure there our own /proc tells."""
    (tmp_path / "meminfo").write_text("MemTotal:       16777216 kB\nMemFree: 1 kB\n")
    assert visible_bytes(tmp_path) == 16 * 2**30
    assert visible_bytes(tmp_path / "gone") == visible_bytes()


def test_this_machines_memory_is_not_smaller_than_it_shows() -> None:
    """The visible size is psutil's; what is installed is at least that."""
    visible_bytes, installed_bytes = memory_sizes()
    assert visible_bytes == psutil.virtual_memory().total
    assert installed_bytes is None or installed_bytes >= visible_bytes


def sysfs_with_disk(root: Path, removable: str) -> Path:
    """A sysfs tree with the disk sda and its partition sda1, linked as the kernel does."""
    partition = root / "devices/pci/block/sda/sda1"
    partition.mkdir(parents=True)
    (partition.parent / "removable").write_text(f"{removable}\n", encoding="ascii")
    (root / "class/block").mkdir(parents=True)
    (root / "class/block/sda").symlink_to(partition.parent)
    (root / "class/block/sda1").symlink_to(partition)
    return root


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links and sysfs names")
@pytest.mark.parametrize(("flag", "expected"), [("1", True), ("0", False)])
def test_a_partition_is_as_removable_as_its_disk(
    tmp_path: Path, flag: str, *, expected: bool
) -> None:
    """The kernel tells it of the disk only; an unknown device is not removable."""
    sysfs = sysfs_with_disk(tmp_path, flag)
    assert is_removable("/dev/sda", sysfs) is expected
    assert is_removable("/dev/sda1", sysfs) is expected
    assert is_removable("/dev/sdb", sysfs) is False


def test_the_mount_table_of_this_machine_is_read() -> None:
    """The filesystem of this file is listed, as a directory with a type."""
    table = {entry.mount: entry for entry in mounts()}
    mount = Path(__file__).resolve()
    while str(mount) not in table:
        assert mount != mount.parent, "no mount point above this file is listed"
        mount = mount.parent
    assert table[str(mount)].fstype
    assert table[str(mount)].is_directory


@pytest.mark.skipif(sys.platform != "linux", reason="reads the Linux mount table")
def test_mounts_without_a_disk_are_listed_too() -> None:
    """/proc is listed: a path on a filesystem that is refused must be found there."""
    assert "proc" in {entry.fstype for entry in mounts()}


def test_a_filesystem_that_cannot_be_read_has_no_available_bytes(tmp_path: Path) -> None:
    """What cannot be read is left out; what can be is as psutil says."""
    found = available_bytes([str(tmp_path), str(tmp_path / "gone")])
    assert set(found) == {str(tmp_path)}
    assert found[str(tmp_path)] > 0


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_path_is_resolved_before_its_filesystem_is_looked_up(tmp_path: Path) -> None:
    """Links are followed, and a directory that does not exist yet keeps its name."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    path = resolved(tmp_path / "link" / "new")
    assert path.endswith(f"real{os.sep}new")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_nothing_is_asked_of_a_filesystem_that_may_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below its mount point, also when a link leads there, the path stays as it is written."""
    dead = tmp_path / "dead"
    dead.mkdir()
    (dead / "deeper").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to("dead/../dead/./deeper")
    asked: list[str] = []
    real_readlink = os.readlink

    def readlink(path: str) -> str:
        asked.append(path)
        return real_readlink(path)

    monkeypatch.setattr(os, "readlink", readlink)
    for path in (dead / "deeper" / "x", tmp_path / "link" / "x"):
        assert resolved(path, {str(dead)}) == str(dead / "deeper" / "x")
    assert not [path for path in asked if path.startswith(str(dead))]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_the_careful_walk_agrees_with_the_usual_one(tmp_path: Path) -> None:
    """Links, relative and absolute, dots, loops and missing ends: as os.path.realpath() says."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "up").symlink_to("a/../a/b")
    (tmp_path / "a" / "full").symlink_to(tmp_path / "up")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("up/x", "a/full", "a/full/../c", "up/..//./a", "none/../a", "up/none/y"):
        path = tmp_path / name
        assert resolved(path, {"/nowhere"}) == os.path.realpath(path)
    assert resolved(tmp_path / "loop" / "x", {"/nowhere"}).endswith("loop/x")
