"""`optimizer report --html`: from a history on disk to a page."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from optimizer.__main__ import main
from optimizer.outcome import Event, EventKind
from tests.histories import record, written

HOUR_S = 3600.0


@pytest.mark.parametrize(
    ("language", "heading"),
    [
        ("en", "CPU: mean of 30 days 42.0 % ≥ 40 %, met so far"),
        ("zh", "CPU：30 天均值 42.0 % ≥ 40 %，目前达标"),
    ],
)
def test_the_history_becomes_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str, heading: str
) -> None:
    """Ten days of hours with two days missing: verdicts, gaps, and the pause with its reason."""
    monkeypatch.setenv("WORKSPACE_DIR", str(tmp_path / "work"))
    monkeypatch.setenv("TARGET_CPU", "40")
    now = time.time()
    written(
        tmp_path / "work" / "state" / "history.sqlite3",
        [
            record(now - ago * HOUR_S, HOUR_S, cpu=(0.42, 0.32))
            for ago in range(240, 0, -1)
            if not 96 < ago <= 144
        ],
        [
            Event(utc_s=now - 30 * HOUR_S, kind=EventKind.PAUSED, reason="a <b>release</b>"),
            Event(utc_s=now - 29 * HOUR_S, kind=EventKind.RESUMED),
        ],
    )
    file = tmp_path / "report.html"
    assert main(["report", "--days", "10", "--html", str(file), "--lang", language]) == 0
    text = file.read_text(encoding="utf-8").replace("\u00a0", " ")
    assert f"<h2>{heading}</h2>" in text
    assert "a &lt;b&gt;release&lt;/b&gt;" in text
    assert 'class="pause"' in text
    # Two of the ten days; the stretches at their ends may be known in part.
    gap = re.search(r'<rect class="gap" x="([\d.]+)%" width="([\d.]+)%" height="200"/>', text)
    assert gap is not None
    assert float(gap[1]) == pytest.approx(40, abs=1)
    assert float(gap[2]) == pytest.approx(20, abs=1)
