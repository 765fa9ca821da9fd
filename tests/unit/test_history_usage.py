"""What `optimizer history` says to an operator who has asked for what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer.__main__ import main


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("import",), 2, "name a file to import, or a server with --prometheus"),
        (("import", "/none"), 1, "cannot read /none"),
        (("import", "--prometheus", "http://127.0.0.1:1"), 2, "needs --instance HOST"),
        (("import", "x", "--days", "3"), 2, "belong to --prometheus"),
        (("import", "--prometheus", "x", "--instance", "h"), 1, "'x' is no address"),
        (("import", "x", "--step", "5"), 2, "from 10 to 3600"),
        (("export",), 1, "there is no history at"),
        (("export", "--from", "noon"), 2, "'noon' is no date or time"),
        (("export", "--days", "1", "--to", "2026-11-01"), 2, "--days counts back from now"),
        (("export", "--from", "2026-11-02", "--to", "2026-11-01"), 2, "--to is not after"),
        (("compare", "tomorrow"), 2, "'tomorrow' is no date of the calendar"),
        (("compare", "7d", "7d", "7d"), 2, "3 periods are given"),
        (("import", "--instance", "h", "x"), 2, "belong to --prometheus"),
        (("export", "--days", "367"), 2, "up to 366; write for example 7"),
        (("import", "x", "--days", "0"), 2, "'0' is no number of days above 0"),
        (("events", "--days", "nan"), 2, "'nan' is no number of days above 0"),
        (("backup", "--keep-days", "36601"), 2, "up to 36600"),
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
