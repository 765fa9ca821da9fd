"""What a rig needs of the host, and what is removed there when nobody uses it any more."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.installed import groups

PREFIX = "optimizer-rig-"
"""What the folders of rigs begin with."""
_GOING = "going-"
_TOOLS = ("unshare", "nsenter", "setpriv", "losetup", "mount")


def skip_without() -> None:
    """Skip the test, with a reason, where no rig can be had."""
    if sys.platform != "linux":
        pytest.skip("a rig that boots systemd needs Linux")
    if os.geteuid() != 0:
        pytest.skip("a rig that boots systemd needs root")
    missing = [name for name in _TOOLS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"a rig that boots systemd needs {' '.join(missing)}")
    probe = ["unshare", "--cgroup", "--mount", "--uts", "--ipc", "--pid", "--fork", "true"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no rig that boots systemd: {done.stderr.strip()}")


def sweep(rigs: Path) -> None:
    """Remove what is left of rigs whose test process was killed."""
    for folder in rigs.glob(f"{PREFIX}*"):
        try:
            with (folder / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
                groups.remove([Path(name) for name in record["groups"]])
                remove_folder(folder)
        except (OSError, ValueError):
            continue  # in use, or being made or removed by somebody
    for folder in rigs.glob(f"{_GOING}*"):
        _remove(folder)


def remove_folder(folder: Path) -> None:
    """Let go of a rig's loop devices, and remove its folder."""
    for image in (folder / "disks").glob("*"):
        for line in host("losetup", "-n", "-O", "NAME", "-j", str(image)).split():
            host("losetup", "-d", line)
    # Under another name nobody else begins to remove it; a busy disk takes its time.
    going = folder.rename(folder.with_name(f"{_GOING}{folder.name}"))
    threading.Thread(target=_remove, args=(going,)).start()


def _remove(folder: Path) -> None:
    """Remove a folder, however deep its own lie in one another; somebody else may do so, too."""
    subprocess.run(["rm", "-rf", str(folder)], check=False, capture_output=True)


def host(*words: str) -> str:
    """Run a command of the host: what it printed. Raises CalledProcessError."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout
