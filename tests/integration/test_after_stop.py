"""`recover_system.py --after-stop`, as a service manager runs it when a daemon has stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import CODE
from tests.rig import daemon, eventually


@pytest.mark.skipif(sys.platform == "win32", reason="for service managers of POSIX systems")
def test_it_forbids_nothing_and_touches_only_what_is_named(tmp_path: Path) -> None:
    """A daemon that crashed is started again, so there must be no order not to load."""
    state, runtime = tmp_path / "state", tmp_path / "run"
    for folder in (state, runtime):
        folder.mkdir(mode=0o755)
    (state / "history.sqlite3").write_bytes(b"")
    named = ["--state", str(state), "--runtime", str(runtime)]
    done = subprocess.run(
        [sys.executable, str(CODE / "recover/recover_system.py"), "--after-stop", *named],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Nothing of the daemon is left.\n"
    assert [one.name for one in state.iterdir()] == ["history.sqlite3"]
    assert runtime.is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="for service managers of POSIX systems")
def test_a_daemon_that_found_another_one_has_nothing_to_look_for(tmp_path: Path) -> None:
    """The other one lives in the same directories, and goes on."""
    with daemon(tmp_path / "other", TARGET_CPU="0") as other:
        eventually(other.status_path.exists, what="a daemon that runs")
        named = ["--state", str(other.folder / "state"), "--runtime", str(other.folder / "run")]
        done = subprocess.run(
            [sys.executable, str(CODE / "recover/recover_system.py"), "--after-stop", *named],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=os.environ | {"EXIT_STATUS": "75"},
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "Another daemon runs, so this one held nothing.\n"
        assert other.process.poll() is None
