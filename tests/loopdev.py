"""A small filesystem of a test's own, on a loop device; needs root."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def ext4(folder: Path, *, size_mb: int, options: tuple[str, ...] = ()) -> Iterator[Path]:
    """A mounted ext4 of that size on a sparse file; unmounted in the end."""
    with _mounted(folder, size_mb, "mkfs.ext4", "-q", "-F", *options) as mount:
        yield mount


@contextlib.contextmanager
def btrfs(folder: Path, *, size_mb: int) -> Iterator[Path]:
    """The same with a btrfs."""
    with _mounted(folder, size_mb, "mkfs.btrfs", "-q") as mount:
        yield mount


@contextlib.contextmanager
def _mounted(folder: Path, size_mb: int, *mkfs: str) -> Iterator[Path]:
    image, mount = folder / "disk.img", folder / "mnt"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(size_mb * 2**20)
    _run(*mkfs, str(image))
    _run("mount", "-o", "loop", str(image), str(mount))
    try:
        yield mount
    finally:
        _unmount(mount)
        image.unlink()


def _unmount(mount: Path) -> None:
    """Unmount, and once more a moment later when somebody is just letting go."""
    for _ in range(50):
        if subprocess.run(["umount", str(mount)], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    _run("umount", str(mount))


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
