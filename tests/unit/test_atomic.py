"""Files that were about to replace others when their writer was killed."""

from __future__ import annotations

import os
from pathlib import Path

from optimizer import atomic
from optimizer.atomic import sweep

NOW_S = 1_800_000_000.0
RESTS = (".status.json.0123456789abcdef.tmp", ".inhibit.fedcba9876543210.tmp")
OTHERS = ("status.json", ".status.json.tmp", ".x.0123456789ABCDEF.tmp", "a.0123456789abcdef.tmp")


def make(path: Path, age_s: float) -> None:
    """An empty file that was last written so long ago."""
    path.touch()
    os.utime(path, (NOW_S - age_s, NOW_S - age_s))


def test_rests_are_removed_and_nothing_else(tmp_path: Path) -> None:
    """Exactly the names of replace_file(); a link and a directory with such a name stay."""
    for name in (*RESTS, *OTHERS):
        make(tmp_path / name, 100)
    (tmp_path / ".link.00000000deadbeef.tmp").symlink_to(tmp_path / "status.json")
    (tmp_path / ".folder.00000000deadbeef.tmp").mkdir()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *OTHERS,
        ".link.00000000deadbeef.tmp",
        ".folder.00000000deadbeef.tmp",
    }


def test_a_file_that_may_still_be_renamed_stays(tmp_path: Path) -> None:
    """Younger than asked for: its writer may live."""
    make(tmp_path / RESTS[0], 59)
    sweep(tmp_path, before_utc_s=NOW_S - 60)
    assert (tmp_path / RESTS[0]).exists()
    sweep(tmp_path)
    assert not (tmp_path / RESTS[0]).exists()


def test_a_directory_that_is_not_there_is_no_fault(tmp_path: Path) -> None:
    """Nothing to sweep."""
    sweep(tmp_path / "none")


def test_the_name_that_is_written_to_is_known(tmp_path: Path) -> None:
    """What replace_file() would leave when killed is what sweep() looks for."""
    atomic._beside(tmp_path / "status.json").touch()
    sweep(tmp_path)
    assert not any(tmp_path.iterdir())
