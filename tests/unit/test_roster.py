"""The roster names who belongs to a daemon, and never troubles it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from optimizer.adapters.identity import Identity, boot_id, identify
from optimizer.adapters.roster import Listed, Roster
from tests.fakes import FakeLog

ONE = Listed(Identity(pid=11, start=12, pidfs=13), "stresser", "cpu")
PAGE = Listed(Identity(pid=21, start=22), "page", None)


def test_it_names_the_controller_and_all_parts(tmp_path: Path) -> None:
    """Each entry has role, kind and identity; each part replaces only its own."""
    path = tmp_path / "roster.json"
    roster = Roster(path, FakeLog())
    assert json.loads(path.read_bytes())["processes"] == []
    roster.show("stressers", [ONE])
    roster.show("page", [PAGE])
    found, me = json.loads(path.read_bytes()), identify(os.getpid())
    assert me is not None
    assert found["boot_id"] == boot_id()
    assert found["controller"] == {"pid": me.pid, "start": me.start, "pidfs": me.pidfs}
    assert found["processes"] == [
        {"pid": 11, "start": 12, "pidfs": 13, "role": "stresser", "kind": "cpu"},
        {"pid": 21, "start": 22, "pidfs": None, "role": "page", "kind": None},
    ]
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600


def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    """A cycle in which nobody came or went costs no write."""
    path = tmp_path / "roster.json"
    roster = Roster(path, FakeLog())
    roster.show("stressers", [ONE])
    before = path.stat().st_ino
    roster.show("stressers", [ONE])
    assert path.stat().st_ino == before
    roster.show("stressers", [])
    assert path.stat().st_ino != before


def test_it_goes_at_the_end_unless_somebody_is_left(tmp_path: Path) -> None:
    """A stresser that outlives the daemon must stay findable."""
    path = tmp_path / "roster.json"
    roster = Roster(path, FakeLog())
    roster.show("stressers", [ONE])
    roster.close()
    assert path.exists()
    roster.show("stressers", [])
    roster.close()
    assert not path.exists()


def test_a_directory_that_is_gone_is_named_once(tmp_path: Path) -> None:
    """A full or lost runtime directory costs the roster, not the load, and is one warning."""
    log = FakeLog()
    roster = Roster(tmp_path / "gone" / "roster.json", log)
    roster.show("stressers", [ONE])
    roster.show("stressers", [])
    assert [event for _, event, _ in log.events] == ["roster.failed"]


@pytest.mark.skipif(sys.platform != "linux", reason="marks are Linux's")
def test_a_roster_of_marks_agrees_with_the_process(tmp_path: Path) -> None:
    """The controller that the roster names is the process that wrote it."""
    path = tmp_path / "roster.json"
    Roster(path, FakeLog())
    named = json.loads(path.read_bytes())["controller"]
    assert identify(named["pid"]) == Identity(**named)
