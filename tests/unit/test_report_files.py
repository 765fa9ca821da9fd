"""What to do when a report cannot be written, by what the system says."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from optimizer import atomic
from optimizer.cli.report_files import clash, put


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "in a directory that you may write to"),
    ],
)
def test_the_remedy_is_for_the_fault(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: int,
    remedy: str,
) -> None:
    """The name, what the system says, and what helps against that."""

    def fails(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic, "replace_file", fails)
    assert put(str(tmp_path / "out.csv"), "x") is False
    said = capsys.readouterr().err
    assert f"cannot write {tmp_path / 'out.csv'}: {os.strerror(code)}; " in said
    assert remedy in said


def test_two_options_never_name_one_file(tmp_path: Path) -> None:
    """By what a path leads to, not by how it is written."""
    name, other = str(tmp_path / "a"), str(tmp_path / "none" / ".." / "a")
    assert "--csv and --html name the same file" in (clash({"--csv": name, "--html": other}) or "")
    assert "only one" in (clash({"--csv": "-", "--html": "-"}) or "")
    assert clash({"--csv": name, "--html": "-", "--json": name + "b"}) is None
