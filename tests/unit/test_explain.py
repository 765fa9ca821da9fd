"""`optimizer plan` in sentences."""

from __future__ import annotations

from typing import Any

import pytest

from optimizer.model import Reason
from optimizer.report.explain import Pace, sentences

GIB = float(1 << 30)
PACE = Pace(memory_bytes_per_s=1024 * 2**20 / 60, disk_bytes_per_s=256 * 2**20)


def facts(**changes: Any) -> dict[str, Any]:
    """A resource on an idle host, held by nobody yet."""
    return {
        "now": 0.02,
        "organic": 0.02,
        "own": 0.0,
        "room": 0.9,
        "target": 0.4,
        "ceiling": 0.85,
        "reason": "rising",
        "capacity": 24 * GIB,
        "place": None,
        "note": "",
        "means": [],
    } | changes


def said(name: str, **changes: Any) -> str:
    """The paragraph for one resource."""
    resources = {key: facts() for key in ("cpu", "memory", "disk")}
    resources[name] = facts(**changes)
    lines = sentences({"inhibit": None, "resources": resources}, PACE)
    return lines[("cpu", "memory", "disk").index(name)]


def test_what_is_added_and_how_long_it_takes() -> None:
    """38 % of 24 GiB is 9.12 GiB; at 1024 MB a minute that takes 9.12 minutes."""
    text = said("memory")
    assert "So 9.1 GiB (38.0 %) is added" in text
    assert "there in 9 min" in text


def test_what_is_held_already_needs_no_time() -> None:
    """Own 38 % beside 2 % tenant is the target."""
    assert "held already" in said("memory", now=0.4, own=0.38)


def test_what_is_planned_counts_and_not_the_target() -> None:
    """Catching up: 48 % of 2 CPUs beside 2 %; in economy's rest nothing; at the target as ever."""
    text = said("cpu", capacity=2.0, judged={"setpoint": 0.5})
    assert "the target is 40.0 %, and 50.0 % are planned for now. So 0.96 CPUs (48.0 %)" in text
    text = said("cpu", capacity=2.0, judged={"setpoint": 0.0})
    assert text.endswith("0.0 % are planned for now. Nothing is added.")
    assert "planned" not in said("cpu", capacity=2.0, judged={"setpoint": 0.4})


def test_cpu_is_said_in_cpus() -> None:
    """38 % of 2 CPUs is 0.76 CPUs."""
    assert "0.76 CPUs (38.0 %)" in said("cpu", capacity=2.0)


def test_a_tenant_above_the_target_needs_nothing() -> None:
    """Nothing is added and it is said why."""
    assert "The tenant alone reaches it" in said("cpu", now=0.7, organic=0.7, capacity=2.0)


def test_a_target_that_the_floor_forbids_is_said_with_where_it_ends() -> None:
    """Tenant 2 %, own 0, room 20 %: it ends at 22 % instead of 40 %."""
    text = said("disk", room=0.2)
    assert "40.0 % cannot be reached now: the rest must stay free, so it ends at 22.0 %" in text


def test_a_target_that_the_ceiling_forbids_is_said() -> None:
    """A ceiling of 30 % below a target of 40 %."""
    text = said("cpu", ceiling=0.3, capacity=2.0)
    assert "40.0 % cannot be reached now: the ceiling is 30.0 %, so it ends at 30.0 %" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": 0.0, "reason": "no_target"}, "only watched"),
        ({"reason": "no_data_disk", "note": "This host has no data disk."}, "no data disk"),
        ({"now": None, "capacity": None}, "cannot be read"),
        ({"reason": "stresser_tripped", "note": "exit code 1"}, "optimizer resume"),
        ({"reason": "stresser_down", "note": "exit code 1"}, "waits for its next start"),
        ({"reason": "hold_off"}, "Growth waits"),
    ],
)
def test_why_nothing_happens(changes: dict[str, Any], words: str) -> None:
    """Each obstacle has its sentence."""
    assert words in said("disk", **changes)


def test_an_inhibit_comes_first() -> None:
    """Who paused and how to lift it; the rest is what would be done without."""
    status = {
        "inhibit": {"reason": "patch", "by": "ops"},
        "resources": {key: facts(reason="inhibited") for key in ("cpu", "memory", "disk")},
    }
    lines = sentences(status, PACE)
    assert "patch (by ops)" in lines[0]
    assert "optimizer resume" in lines[0]
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        ({"limit": 9.6, "today": 3.25}, "may use 9.6 core-hours on a UTC day, 3.25 of them are"),
        ({"limit": 9.6, "today": None}, "may use 9.6 core-hours on a UTC day."),
    ],
)
def test_the_ceiling_on_own_hours_is_said_where_there_is_one(
    hours: dict[str, Any], words: str
) -> None:
    """A dry run has counted nothing, and claims nothing; without a ceiling there is no word."""
    status = {"inhibit": None, "resources": {key: facts() for key in ("cpu", "memory", "disk")}}
    assert words in sentences(status | {"own_core_hours": hours}, PACE)[0]
    unlimited = status | {"own_core_hours": {"limit": None, "today": 3.25}}
    assert "core-hours" not in " ".join(sentences(unlimited, PACE))


def test_with_the_hours_used_up_nothing_is_said_to_be_added() -> None:
    """The sentence names the key and when it ends."""
    text = said("cpu", reason="own_hours", capacity=2.0)
    assert "is added." not in text
    assert "CPU_OWN_HOURS_MAX is reached, so nothing is added until 00:00 UTC" in text


def test_steal_is_named_as_the_cause() -> None:
    """Less is added, and which key says so."""
    assert "more than CPU_STEAL_MAX" in said("cpu", reason="steal", capacity=2.0)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_can_be_explained(reason: Reason) -> None:
    """No reason breaks the command."""
    assert said("memory", reason=reason.value)
