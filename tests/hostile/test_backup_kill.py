"""A backup that is killed at any moment leaves no file that only looks like one."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from optimizer.adapters.history_restore import checked
from optimizer.directories import HISTORY_NAME
from tests.backups import make_history
from tests.rig import environment, optimizer


@pytest.mark.long
def test_what_has_the_name_of_a_backup_is_whole(
    tmp_path: Path, figure: Callable[[str], None], trials_wanted: int | None
) -> None:
    """Killed sixty times; what is left goes with a later backup, once it is old."""
    chance, kills, rows = random.Random(4), 0, 50_000
    place = tmp_path / "workspace"
    (place / "state").mkdir(parents=True)
    make_history(place / "state" / HISTORY_NAME, rows)
    words = ("history", "backup", "--set", f"WORKSPACE_DIR={place}")
    begun_s = time.monotonic()
    assert optimizer(*words).returncode == 0
    length_s = time.monotonic() - begun_s
    backups = place / "state" / "backups"
    for _ in range(trials_wanted or 60):
        process = subprocess.Popen(
            [sys.executable, "-m", "optimizer", *words],
            stdout=subprocess.DEVNULL,
            env=environment(),
        )
        time.sleep(chance.uniform(0.2, 1.0) * length_s)
        process.kill()
        kills += process.wait() != 0
    whole = list(backups.glob("*.backup.tar.gz"))
    for archive in whole:
        with archive.open("rb") as stream, checked(stream, archive, tmp_path) as backup:
            assert backup.manifest.contents.rows == rows
    left = list(backups.glob(".optimizer-backup-*.tmp"))
    for folder in left:
        os.utime(folder, (0, 0))
    assert optimizer(*words).returncode == 0
    assert sorted(os.listdir(backups))[:-1] == sorted(path.name for path in whole)
    figure(f"SIGKILL during a backup: {kills} kills, {len(whole)} whole files, {len(left)} left")
    assert left
