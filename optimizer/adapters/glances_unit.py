"""What the unit of the web page finds in its runtime directory; written by root, read by it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from optimizer.adapters.glances_setup import SAVE_LOGIN, USER, arguments, render_config
from optimizer.atomic import replace_file
from optimizer.errors import OptimizerError

CONFIG_NAME, ENVIRONMENT_NAME = "glances.conf", "environment"
_HASH_S = 30.0


def write(
    directory: Path, *, bind: str, port: int, refresh_s: float, password: str | None, status: Path
) -> None:
    """Configuration, arguments and the hash of the password, for the directory's owner alone.

    The password itself is written nowhere. Raises OSError, ValueError and
    OptimizerError.
    """
    config = directory / CONFIG_NAME
    text = render_config(
        status_text=status, platform=sys.platform, bind=bind, port=port, passwords=directory
    )
    user = USER if password else None
    words = arguments(bind=bind, port=port, refresh_s=refresh_s, config=config, user=user)
    _put(config, text)
    _put(directory / ENVIRONMENT_NAME, f"GLANCES_ARGUMENTS={' '.join(words)}\n")
    if password:
        _save_login(directory, password)


def _put(path: Path, text: str) -> None:
    replace_file(path, text.encode(), durable=False, mode=0o600)
    owner = path.parent.stat()
    if sys.platform != "win32" and os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _save_login(directory: Path, password: str) -> None:
    """Have Glances hash it, as the directory's owner."""
    owner = directory.stat()
    is_root = sys.platform != "win32" and os.geteuid() == 0
    done = subprocess.run(
        [sys.executable, "-P", "-c", SAVE_LOGIN, str(directory), USER],
        input=password.encode(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=_HASH_S,
        check=False,
        cwd=directory,
        env={"XDG_CACHE_HOME": str(directory), "PATH": os.environ.get("PATH", os.defpath)},
        user=owner.st_uid if is_root else None,
        group=owner.st_gid if is_root else None,
        extra_groups=[] if is_root else None,
    )
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise OptimizerError(f"Glances cannot hash GLANCES_PASSWORD: {said}")
