"""Whatever happens to a backup's file, it is refused or whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.adapters.history_restore import checked
from optimizer.errors import OptimizerError
from tests.backups import make_backup, make_history, members

SHARES = st.floats(0, 1, exclude_max=True)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good backup."""
    folder = tmp_path_factory.mktemp("good")
    make_history(folder / "history.sqlite3", 20)
    return make_backup(folder / "history.sqlite3", folder).file


@settings(max_examples=100, deadline=None)
@given(cut=st.booleans(), share=SHARES, bits=st.integers(1, 255))
def test_a_backup_that_is_cut_or_changed_is_refused_or_whole(
    good: Path, cut: bool, share: float, bits: int
) -> None:
    """Any cut and any changed byte is found, unless nothing of ours stands in it."""
    content = bytearray(good.read_bytes())
    place = int(share * len(content))
    if cut:
        content = content[:place]
    else:
        content[place] ^= bits
    name = good.with_name("changed")
    name.write_bytes(content)
    refused = ""
    try:
        with name.open("rb") as stream, checked(stream, name, good.parent) as backup:
            kept = (backup.folder / "history.sqlite3").read_bytes()
            assert kept == members(good)["history.sqlite3"]
    except OptimizerError as exc:
        refused = str(exc)
    # Bytes 3 to 9 of gzip hold flags, a time and the system (RFC 1952, 2.3): not what is kept.
    assert str(name) in refused or (not cut and 3 <= place <= 9)
    assert not [entry for entry in os.listdir(good.parent) if entry.endswith(".tmp")]
