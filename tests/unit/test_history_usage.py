"""What `optimizer history` says to an operator who has asked for what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer.__main__ import main


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("import",), 1, "name a file to import, or a server with --prometheus"),
        (("import", "/none"), 1, "cannot read /none"),
        (("import", "--prometheus", "http://127.0.0.1:1"), 1, "needs --instance HOST"),
        (("import", "x", "--days", "3"), 1, "belong to --prometheus"),
        (("import", "--prometheus", "x", "--instance", "h"), 1, "'x' is no address"),
        (("import", "x", "--step", "5"), 2, "from 10 to 3600"),
        (("export",), 1, "there is no history at"),
        (("export", "--from", "noon"), 2, "'noon' is no date or time"),
        (("export", "--days", "1", "--to", "2026-11-01"), 1, "--days counts back from now"),
        (("export", "--from", "2026-11-02", "--to", "2026-11-01"), 1, "--to is not after"),
        (("compare", "tomorrow"), 1, "'tomorrow' is no date of the calendar"),
        (("compare", "7d", "7d", "7d"), 1, "3 periods are given"),
        (("compare",), 1, "there is no history at"),
    ],
)
def test_what_is_asked_wrongly_is_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    """On the standard error, with what to write instead, and without a traceback."""
    try:
        ended = main(["history", *words, "--set", f"WORKSPACE_DIR={tmp_path}"])
    except SystemExit as exc:
        ended = int(str(exc.code))
    out, err = capsys.readouterr()
    assert (ended, out) == (code, "")
    assert said in err


def test_a_history_that_was_just_made_is_none_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reader may come between the file and its tables, or find what a kill there has left."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "history.sqlite3").touch()
    for command in ("export", "compare"):
        assert main(["history", command, "--set", f"WORKSPACE_DIR={tmp_path}"]) == 1
        assert "there is no history at" in capsys.readouterr().err
