"""How the doctor tries the stressers: nothing is held while load is forbidden."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from optimizer.directories import Directories
from optimizer.examine import stressers
from optimizer.examine.daemon import examine_orders
from optimizer.examine.subject import Subject
from optimizer.report.doctor import Code
from optimizer.settings import load
from stressers import lease


def subject(folder: Path, windows: str) -> Subject:
    """A daemon that does not run, with those maintenance windows."""
    return Subject(
        loaded=load(file=None, environ={}, overrides={"MAINTENANCE_WINDOWS": windows}),
        directories=Directories(state=folder, runtime=folder, log=folder, config=folder),
        now_utc_s=time.time(),
    )


ALWAYS = "* * * * * 2h UTC"


@pytest.mark.parametrize("windows", [ALWAYS, ""])
def test_a_maintenance_window_is_an_order(tmp_path: Path, windows: str) -> None:
    """The doctor names it; without it, nothing forbids load."""
    (found,) = examine_orders(subject(tmp_path, windows))
    assert found.code is (Code.INHIBITED if windows else Code.FINE)
    assert ("maintenance window" in found.found) == bool(windows)


@pytest.mark.parametrize("windows", [ALWAYS, ""])
def test_stressers_are_started_by_the_main_thread_and_hold_nothing_in_a_window(
    tmp_path: Path, windows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stresser ends with the thread that started it; its lease is 0 while load is forbidden."""
    threads: list[threading.Thread] = []
    leases: list[float] = []
    real, encode = subprocess.Popen, lease.encode

    def start(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        threads.append(threading.current_thread())
        return real(*args, **kwargs)

    def told(kind: str, amount: float) -> bytes:
        leases.append(amount)
        return encode(kind, amount)

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(lease, "encode", told)
    found = stressers.examine_stressers(subject(tmp_path, windows), lambda: (str(tmp_path),))
    assert found
    assert threads == [threading.main_thread()] * 3
    assert len(leases) == 3
    assert all(amount == 0 for amount in leases) == bool(windows)
