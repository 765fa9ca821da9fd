"""What a start knows of the CPU time that was used on this UTC day before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizer.adapters.history import SqliteHistory
from optimizer.app import own_hours
from optimizer.derive import derive, look
from optimizer.settings import load
from tests.contract.test_history import make_record
from tests.fakes import FakeLog

DAY_S = 86_400
MIDNIGHT_S = 20_000.0 * DAY_S


@pytest.fixture
def history(tmp_path: Path) -> Iterator[SqliteHistory]:
    """An empty history."""
    made = SqliteHistory(tmp_path / "history.sqlite3", period_days=30, log=FakeLog())
    yield made
    made.close()


@pytest.mark.parametrize("capacity_cpus", [1.5, 64.0])
def test_rows_since_midnight_are_shares_of_the_capacity(
    history: SqliteHistory, capacity_cpus: float
) -> None:
    """Yesterday does not count: 0.3 x 60 s of the capacity, a container's quota included."""
    history.append(make_record(MIDNIGHT_S - 60, cpu=(0.9, 0.9)))
    history.append(make_record(MIDNIGHT_S + 60, cpu=(0.4, 0.3)))
    log = FakeLog()
    found = own_hours(history, MIDNIGHT_S + 90, capacity_cpus, log, limited=True)
    assert (found.day, found.used_s) == (20_000, pytest.approx(18.0 * capacity_cpus))
    assert log.names() == []


def test_a_day_without_rows_has_used_nothing(history: SqliteHistory) -> None:
    """The daemon was off since yesterday: known, so nothing to warn of."""
    history.append(make_record(MIDNIGHT_S - 60, cpu=(0.9, 0.9)))
    log = FakeLog()
    assert own_hours(history, MIDNIGHT_S + 90, 2.0, log, limited=True).used_s == 0.0
    assert log.names() == []


@pytest.mark.parametrize("limited", [True, False])
@pytest.mark.parametrize("closed", [True, False])
def test_an_unknown_day_counts_from_the_start_with_a_warning(
    history: SqliteHistory, *, limited: bool, closed: bool
) -> None:
    """A new history and one that cannot be read; said only where there is a limit."""
    if closed:
        history.close()
    log = FakeLog()
    assert own_hours(history, MIDNIGHT_S, 2.0, log, limited=limited).used_s == 0.0
    assert log.names() == (["own_hours.unknown"] if limited else [])


@pytest.mark.parametrize(("text", "most"), [("", None), ("0", None), ("0.0", None), ("9.6", 9.6)])
def test_zero_and_empty_are_no_limit(text: str, most: float | None) -> None:
    """CPU_OWN_HOURS_MAX=0 must not mean that nothing is ever allowed."""
    environ = {"CPU_OWN_HOURS_MAX": text}
    settings = load(file=None, environ=environ, overrides={}).settings
    assert derive(settings, look(settings)).settled.policy.own_hours_max == most
