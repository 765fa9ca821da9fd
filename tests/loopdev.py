"""A small filesystem of a test's own, on a loop device; needs root."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def ext4(folder: Path, *, size_mb: int) -> Iterator[Path]:
    """A mounted ext4 of that size on a sparse file; unmounted in the end."""
    image, mount = folder / "disk.img", folder / "mnt"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(size_mb * 2**20)
    _run("mkfs.ext4", "-q", "-F", str(image))
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
