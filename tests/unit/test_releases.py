"""The file in which an operator asks for filesystems."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer.adapters import switch
from optimizer.adapters.releases import RELEASED_NAME, Releases, parse, release, withdraw
from optimizer.errors import SwitchError

NOW_S = 1_700_000_000.0


def test_a_release_counts_until_its_end(tmp_path: Path) -> None:
    """Two mount points with different ends; the later one stays when the first is over."""
    releases = Releases(tmp_path)
    assert releases.now(NOW_S) == frozenset()
    release(tmp_path, ["/a"], until_utc_s=NOW_S + 60, now_utc_s=NOW_S)
    release(tmp_path, ["/b", "/c"], until_utc_s=NOW_S + 600, now_utc_s=NOW_S)
    assert releases.now(NOW_S) == {"/a", "/b", "/c"}
    assert releases.now(NOW_S + 60) == {"/b", "/c"}
    assert releases.now(NOW_S + 600) == frozenset()


def test_resume_withdraws_all(tmp_path: Path) -> None:
    """What was asked for is held again; withdrawing nothing is no fault."""
    release(tmp_path, ["/a"], until_utc_s=NOW_S + 60, now_utc_s=NOW_S)
    releases = Releases(tmp_path)
    assert releases.now(NOW_S)
    switch.resume(tmp_path)
    assert releases.now(NOW_S) == frozenset()
    withdraw(tmp_path)


def test_ended_releases_are_dropped_from_the_file(tmp_path: Path) -> None:
    """The file does not grow."""
    early, late = (lambda: 1000.0), (lambda: 1100.0)
    release(tmp_path, ["/a"], until_utc_s=NOW_S + 60, now_utc_s=NOW_S, steady=early)
    release(tmp_path, ["/b"], until_utc_s=NOW_S + 900, now_utc_s=NOW_S + 100, steady=late)
    known = parse((tmp_path / RELEASED_NAME).read_bytes())
    assert {mount: asked.until_utc_s for mount, asked in known.items()} == {"/b": NOW_S + 900}


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"/a": "x"}', b'{"/a": NaN}', b"[" * 9999])
def test_garbage_neither_raises_nor_lifts_what_was_asked_for(
    tmp_path: Path, content: bytes
) -> None:
    """A file that somebody has broken keeps the orders that were read before."""
    release(tmp_path, ["/a"], until_utc_s=NOW_S + 60, now_utc_s=NOW_S)
    releases = Releases(tmp_path)
    assert releases.now(NOW_S) == {"/a"}
    (tmp_path / RELEASED_NAME).write_bytes(content)
    assert releases.now(NOW_S) == {"/a"}
    assert Releases(tmp_path).now(NOW_S) == frozenset()


def test_a_directory_in_its_place_is_named(tmp_path: Path) -> None:
    """Writing and withdrawing say what is in the way."""
    (tmp_path / RELEASED_NAME).mkdir()
    with pytest.raises(SwitchError, match=RELEASED_NAME):
        release(tmp_path, ["/a"], until_utc_s=NOW_S + 60, now_utc_s=NOW_S)
    with pytest.raises(SwitchError, match=RELEASED_NAME):
        withdraw(tmp_path)
