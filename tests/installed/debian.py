"""A small Debian tree, made once by debootstrap and kept in a cache folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

SUITE = "bookworm"
PACKAGES = (
    "adduser",
    "ca-certificates",
    "curl",
    "dbus",
    "e2fsprogs",
    "git",
    "iproute2",
    "mount",
    "passwd",
    "procps",
    "python3",
    "python3-apt",
    "python3-venv",
    "sudo",
    "systemd",
    "systemd-sysv",
    "util-linux",
)
_KEY = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:12]
_BUILD_S = 900.0


class NoTreeError(Exception):
    """The tree cannot be made here; the message says why."""


def cache_folder() -> Path:
    """Where trees and running rigs lie: OPTIMIZER_RIG_CACHE, or below the temporary folder."""
    named = os.environ.get("OPTIMIZER_RIG_CACHE")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / "optimizer-rig"
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise NoTreeError(f"{folder} belongs to another user; set OPTIMIZER_RIG_CACHE")
    return folder


def tree() -> Path:
    """The tree, whole: as it was made, or made anew. One process at a time.

    Raises NoTreeError when debootstrap is missing or fails.
    """
    cache = cache_folder()
    found = cache / f"debian-{_KEY}"
    with locked(cache / "debian.lock"):
        if not _is_whole(found):
            _make(found)
    return found


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; waits for it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_whole(tree: Path) -> bool:
    # Whatever cleans temporary folders removes old files one by one.
    try:
        stamp = json.loads(_stamp(tree).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(stamp == {"files": _count(tree)} and _starts(tree))


def _starts(tree: Path) -> bool:
    words = ("chroot", str(tree), "/usr/bin/python3", "-B", "-c", "import ensurepip, venv")
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _stamp(tree: Path) -> Path:
    return tree.with_name(f"{tree.name}.stamp")


def _count(tree: Path) -> int:
    return sum(len(folders) + len(files) for _, folders, files in os.walk(tree))


def _make(tree: Path) -> None:
    if shutil.which("debootstrap") is None:
        raise NoTreeError("needs debootstrap (Debian, Ubuntu: apt-get install debootstrap)")
    _stamp(tree).unlink(missing_ok=True)
    shutil.rmtree(tree, ignore_errors=True)
    words = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE]
    words += [str(tree), *filter(None, [os.environ.get("OPTIMIZER_RIG_MIRROR")])]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=_BUILD_S, errors="replace"
        )
    except subprocess.TimeoutExpired as exc:
        raise NoTreeError(f"debootstrap took longer than {_BUILD_S:.0f} s") from exc
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()[-3:]
        raise NoTreeError(f"debootstrap failed: {' / '.join(said)}")
    _settle(tree)
    _stamp(tree).write_text(json.dumps({"files": _count(tree)}), encoding="utf-8")


def _settle(tree: Path) -> None:
    """Keep its journal, and let nothing run that has to do with a machine of its own."""
    (tree / "var/log/journal").mkdir(exist_ok=True)
    (tree / "etc/fstab").write_text("", encoding="ascii")
    units = tree / "etc/systemd/system"
    for name in (
        "apt-daily-upgrade.timer",
        "apt-daily.timer",
        "console-getty.service",
        "dpkg-db-backup.timer",
        "e2scrub_all.timer",
        "e2scrub_reap.service",
        "fstrim.timer",
        "getty@tty1.service",
        "systemd-sysctl.service",
    ):
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
