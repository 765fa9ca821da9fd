"""`optimizer report --html`: from a history on disk to a page."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from optimizer.__main__ import main
from optimizer.adapters.history import SqliteHistory
from optimizer.model import Decision, PerResource, Reason, Resource, Sample, Utilisation
from optimizer.outcome import Event, EventKind, Record
from tests.fakes import FakeLog

HOUR_S = 3600.0


def row(utc_s: float) -> Record:
    """An hour with 10 % of organic and 32 % of own load; the disk is not known."""
    used = Utilisation(total_ratio=0.42, own_ratio=0.32, capacity=2.0, room_ratio=0.5)

    def decision(resource: Resource) -> Decision:
        return Decision(
            resource=resource,
            target_ratio=0.4,
            setpoint_ratio=0.4,
            wanted_ratio=0.3,
            demand_ratio=0.3,
            lease=0.3,
            reason=Reason.HOLDING,
        )

    return Record(
        sample=Sample(
            utc_s=utc_s,
            span_s=HOUR_S,
            usage=PerResource(cpu=used, memory=used, disk=None),
            steal_ratio=None,
        ),
        plan=PerResource(
            cpu=decision(Resource.CPU),
            memory=decision(Resource.MEMORY),
            disk=decision(Resource.DISK),
        ),
    )


@pytest.mark.parametrize(
    ("language", "heading"),
    [
        ("en", "CPU: mean of 30 days 42.0 % ≥ 40 %, met"),
        ("zh", "CPU：30 天均值 42.0 % ≥ 40 %，达标"),
    ],
)
def test_the_history_becomes_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str, heading: str
) -> None:
    """Ten days of hours with two days missing: verdicts, gaps, and the pause with its reason."""
    monkeypatch.setenv("WORKSPACE_DIR", str(tmp_path / "work"))
    monkeypatch.setenv("TARGET_CPU", "40")
    state = tmp_path / "work" / "state"
    state.mkdir(parents=True)
    history = SqliteHistory(state / "history.sqlite3", period_days=30, log=FakeLog())
    now = time.time()
    # Written together: a commit each would take seconds.
    history._backlog.extend(row(now - h * HOUR_S) for h in range(240, 0, -1) if not 96 < h <= 144)
    history.note(Event(utc_s=now - 30 * HOUR_S, kind=EventKind.PAUSED, reason="a <b>release</b>"))
    history.note(Event(utc_s=now - 29 * HOUR_S, kind=EventKind.RESUMED))
    history.close()
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
