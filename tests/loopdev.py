"""Filesystems of a test's own on loop devices, and what may happen to them; needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

KINDS = ("ext4", "xfs", "btrfs")
ONE_KIND = ("ext4", *(pytest.param(kind, marks=pytest.mark.long) for kind in KINDS[1:]))
"""Parameters of a slow test: always the first of them, the others only when `long` is asked for."""
_CHECKS = {
    "ext4": ("e2fsck", "-f", "-n"),
    "xfs": ("xfs_repair", "-n"),
    "btrfs": ("btrfs", "check", "--readonly"),
}
_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2
"""FS_IOC_SHUTDOWN and its flag that loses the journal in memory.

Source: Linux fs/ext4/ext4.h, fs/xfs/libxfs/xfs_fs.h.
"""
_SECTOR_BYTES = 512
"""The unit of /proc/diskstats, whatever the device. Source: iostats.rst of the kernel."""


class Volume:
    """A filesystem in a sparse image file, mounted through a loop device that goes with it."""

    def __init__(self, kind: str, folder: Path, *, size_mb: int, options: str = "") -> None:
        self.kind = kind
        self.image = folder / f"{kind}.img"
        self.mount = folder / f"mnt-{kind}"
        self.options = ",".join(word for word in ("loop", options) if word)
        self._survivor = folder / f"{kind}.cut"
        self._frozen = False
        self.mount.mkdir()
        with self.image.open("wb") as file:
            file.truncate(size_mb * 2**20)

    def attach(self) -> None:
        """Mount it."""
        _run("mount", "-t", self.kind, "-o", self.options, str(self.image), str(self.mount))

    def detach(self) -> None:
        """Unmount it, and once more a moment later when somebody is just letting go."""
        self._eventually(lambda: self.try_detach() is None, "unmounted")
        self._eventually(lambda: self.device() is None, "let go by its loop device")
        if self._survivor.exists():
            os.replace(self._survivor, self.image)

    def try_detach(self) -> str | None:
        """Unmount it once: None, or why that does not go."""
        return _refused("umount", str(self.mount))

    def detach_lazily(self) -> None:
        """Take it out of the tree of files at once; it ends when its last file is closed."""
        _run("umount", "-l", str(self.mount))

    def remount(self, option: str) -> str | None:
        """Mount it again with `ro` or `rw`: None, or why that does not go."""
        return _refused("mount", "-o", f"remount,{option}", str(self.mount))

    def freeze(self) -> None:
        """Stop every write, as a snapshot does; who writes hangs until thaw()."""
        _run("fsfreeze", "--freeze", str(self.mount))
        self._frozen = True

    def thaw(self) -> None:
        """End freeze(); nothing happens when it is not frozen."""
        if self._frozen:
            _run("fsfreeze", "--unfreeze", str(self.mount))
            self._frozen = False

    def cut_power(self) -> None:
        """Let nothing get to the disk any more; after detach() and attach() it is as rebooted.

        Where the kernel has no FS_IOC_SHUTDOWN for a filesystem (btrfs), what is
        on the disk now is copied, and detach() puts the copy in its place.
        """
        import fcntl  # noqa: PLC0415  # tests that skip on Windows import this file there

        folder = os.open(self.mount, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        except OSError:
            self._copy()
        finally:
            os.close(folder)

    def _copy(self) -> None:
        # A copy during which nothing was written is the disk at one instant.
        for _ in range(50):
            before = self.written_bytes()
            _run("cp", "--sparse=auto", str(self.image), str(self._survivor))
            if self.written_bytes() == before:
                return
        raise AssertionError(f"{self.image} is written all the time")

    def break_it(self) -> None:
        """Have ext4 find an error in itself, after which it is read-only until the next mount."""
        assert self.kind == "ext4"
        _run("mount", "-o", "remount,errors=remount-ro", str(self.mount))
        device = self.device()
        assert device is not None
        trigger = Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error")
        if not trigger.exists():
            pytest.skip("this kernel cannot be told to find an error in an ext4")
        trigger.write_text("test", encoding="ascii")

    def check(self) -> None:
        """Have the detached filesystem checked by its own tool; what that finds fails the test."""
        done = subprocess.run(
            [*_CHECKS[self.kind], str(self.image)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def device(self) -> str | None:
        """Its loop device, None when there is none."""
        found = _run("losetup", "-n", "-O", "NAME", "-j", str(self.image)).split()
        return found[0] if found else None

    def written_bytes(self) -> int:
        """What has been written to its loop device since that was made."""
        name = Path(self.device() or "").name
        for line in Path("/proc/diskstats").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if fields[2] == name:
                return int(fields[9]) * _SECTOR_BYTES
        raise AssertionError(f"no {name or self.image} in /proc/diskstats")

    def sync(self) -> None:
        """Write back what is dirty here, so that btrfs tells what is free as it is."""
        _run("sync", "-f", str(self.mount))

    def used_bytes(self) -> int:
        """What is taken of it, once it is synced."""
        self.sync()
        fs = os.statvfs(self.mount)
        return (fs.f_blocks - fs.f_bfree) * fs.f_frsize

    def end(self) -> None:
        """Leave neither mount nor loop device nor image, whatever the test has left."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.thaw()
        try:
            if os.path.ismount(self.mount):
                self.detach()
            self._eventually(lambda: self.device() is None, "let go by its loop device")
        except AssertionError:
            _refused("umount", "-l", str(self.mount))
            raise
        finally:
            for path in (self.image, self._survivor):
                path.unlink(missing_ok=True)

    def _eventually(self, done: Callable[[], bool], what: str) -> None:
        end_s = time.monotonic() + 5.0
        while not done():
            assert time.monotonic() < end_s, f"{self.kind} on {self.mount} is not {what}"
            time.sleep(0.05)


@contextlib.contextmanager
def volume(
    kind: str,
    folder: Path,
    *,
    size_mb: int,
    options: tuple[str, ...] = (),
    quota: bool = False,
) -> Iterator[Volume]:
    """A mounted filesystem of that size; skips the test where there cannot be one.

    `options` are those of mkfs. `quota` turns the quotas of users on (ext4) or
    those of subvolumes (btrfs).
    """
    make = shutil.which(f"mkfs.{kind}")
    if os.geteuid() != 0:
        pytest.skip("mounting a loop device needs root")
    if make is None:
        pytest.skip(f"needs mkfs.{kind}")
    user_quota = quota and kind == "ext4"
    disk = Volume(kind, folder, size_mb=size_mb, options="usrquota" if user_quota else "")
    words = ["-q"]
    words += ["-F"] if kind == "ext4" else ["-f"]
    words += options
    words += ["-O", "quota", "-E", "quotatype=usrquota"] if user_quota else []
    _run(make, *words, str(disk.image))
    try:
        try:
            disk.attach()
        except subprocess.CalledProcessError as exc:
            pytest.skip(f"cannot mount {kind} with {disk.options}: {exc.stderr.strip()}")
        if quota and kind == "btrfs":
            _run("btrfs", "quota", "enable", str(disk.mount))
        yield disk
    finally:
        disk.end()


@contextlib.contextmanager
def fast_folder(otherwise: Path, *, size_mb: int) -> Iterator[Path]:
    """A folder in memory for an image of that size, so that writes are as fast as can be.

    Where that would leave less than half of the memory to others, `otherwise`.
    """
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    # The image itself, and the pages that are to be written to it.
    needed_bytes = 2 * size_mb * 2**20
    if not memory.is_dir() or psutil.virtual_memory().available < 2 * needed_bytes:
        yield otherwise
        return
    with tempfile.TemporaryDirectory(prefix="optimizer-test-", dir=memory) as folder:
        yield Path(folder)


@contextlib.contextmanager
def ext4(folder: Path, *, size_mb: int, options: tuple[str, ...] = ()) -> Iterator[Path]:
    """A mounted ext4 of that size, made with these options: its mount point."""
    with volume("ext4", folder, size_mb=size_mb, options=options) as disk:
        yield disk.mount


@contextlib.contextmanager
def btrfs(folder: Path, *, size_mb: int) -> Iterator[Path]:
    """The same with a btrfs."""
    with volume("btrfs", folder, size_mb=size_mb) as disk:
        yield disk.mount


def _run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def _refused(*words: str) -> str | None:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stderr.strip() or str(done.returncode))
