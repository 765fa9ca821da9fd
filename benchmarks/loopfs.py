"""A filesystem of a run's own on a loop device over a sparse file, gone afterwards; needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAKE = {
    # Without these two, ext4 goes on writing its tables for minutes after the mount.
    "ext4": ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
SECTOR_BYTES = 512
"""Unit of /proc/diskstats, whatever the device says; see Documentation/admin-guide/iostats.rst."""
_TRIES = 100
_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A mounted filesystem and its device."""

    mount: Path
    device: str

    def written_bytes(self) -> int:
        """What was written to the device so far, everything that is dirty included."""
        subprocess.run(["sync", "-f", str(self.mount)], check=True)
        return sectors_written(
            Path("/proc/diskstats").read_text(encoding="ascii"), Path(self.device).name
        ) * (SECTOR_BYTES)

    def used_bytes(self) -> int:
        """What the filesystem counts as used."""
        fs = os.statvfs(self.mount)
        return (fs.f_blocks - fs.f_bfree) * fs.f_frsize

    def available_bytes(self) -> int:
        """What an unprivileged writer can take."""
        fs = os.statvfs(self.mount)
        return fs.f_bavail * fs.f_frsize

    def percent(self) -> float:
        """Used / (used + available), as df counts; 0 to 100."""
        return percent(os.statvfs(self.mount))


def percent(fs: os.statvfs_result) -> float:
    """Used / (used + available) of one filesystem, 0 to 100."""
    used = fs.f_blocks - fs.f_bfree
    return 100 * used / (used + fs.f_bavail)


def sectors_written(text: str, device: str) -> int:
    """The sectors that a device has written, of /proc/diskstats. Raises OSError without it."""
    for line in text.splitlines():
        words = line.split()
        if words[2] == device:
            return int(words[9])
    message = f"no {device} in /proc/diskstats"
    raise OSError(message)


def fault(kind: str) -> str | None:
    """Why no such filesystem can be made here; None if it can."""
    if os.geteuid() != 0:
        return "needs root"
    for tool in (MAKE[kind][0], "losetup", "mount", "umount"):
        if shutil.which(tool) is None:
            return f"{tool} is not on the PATH"
    return None


@contextlib.contextmanager
def mounted(kind: str, folder: str | None, size_bytes: int) -> Iterator[Place]:
    """A new filesystem of that kind, writable for everybody. Raises OSError."""
    with contextlib.ExitStack() as stack:
        # Not /tmp, which may be memory.
        directory = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="bench-loop-", dir=folder or "/var/tmp")  # noqa: S108
        )
        image, mount = Path(directory) / "image", Path(directory) / "mount"
        # A tenant who is nobody may pass, and not read the image.
        Path(directory).chmod(0o711)
        with image.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.truncate(size_bytes)
        mount.mkdir()
        _run(*MAKE[kind], str(image))
        # Direct, so that what is written is not in the page cache twice.
        device = _run("losetup", "--find", "--show", "--direct-io=on", str(image)).strip()
        stack.callback(_patiently, "losetup", "-d", device)
        _run("mount", "-t", kind, device, str(mount))
        stack.callback(_unmount, mount)
        mount.chmod(0o777)
        yield Place(mount=mount, device=device)


def _unmount(mount: Path) -> None:
    """Unmounts; where somebody does not let go, as soon as he does, and says who."""
    if not _patiently("umount", str(mount)):
        print(f"{mount} is in use by {', '.join(_users(mount))}", file=sys.stderr)
        _patiently("umount", "--lazy", str(mount))


def _users(mount: Path) -> list[str]:
    """The programs with a file open there, another daemon that holds disk space for instance."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(link.readlink()).startswith(f"{mount}/"):
                words = (link.parents[1] / "cmdline").read_bytes().split(b"\0")
                found.add(f"{link.parts[2]} ({b' '.join(words).decode(errors='replace').strip()})")
    return sorted(found)


def _patiently(*words: str) -> bool:
    """Again while somebody is just letting go; says so if that does not help."""
    for _ in range(_TRIES):
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return True
        time.sleep(_PAUSE_S)
    print(f"{' '.join(words)}: {done.stderr.strip()}", file=sys.stderr)
    return False


def _run(*words: str) -> str:
    try:
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout
    except subprocess.CalledProcessError as exc:
        message = f"{' '.join(words)}: {exc.stderr.strip()[:300]}"
        raise OSError(message) from exc
