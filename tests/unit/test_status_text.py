"""The status as people read it: in Glances and on a terminal."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters import status_file
from optimizer.model import Reason
from optimizer.report.status_text import LINE_CHARS, SENTENCES, WORDS, lines, table

# 2026-03-05 12:00:30 UTC
NOW_S = 1772712030.0


JUDGED: dict[str, object] = {
    "intent": "catching_up",
    "statistic": "p95",
    "window_days": 7.0,
    "ratio": 0.2,
    "low": 0.1,
    "high": 0.6,
    "coverage": 0.5,
    "met": False,
    "eta_s": 86400.0,
    "limited": False,
    "full_in_days": 3.0,
}


def resource(**other: object) -> dict[str, object]:
    """One resource of status.json."""
    return {
        "now": 0.41,
        "organic": 0.01,
        "own": 0.40,
        "setpoint": 0.42,
        "target": 0.4,
        "mean": 0.39,
        "own_mean": 0.3,
        "coverage": 0.02,
        "reason": "holding",
        "held": 0.40,
        "capacity": 2,
        "place": None,
        "note": "",
        "means": ["SCHED_IDLE"],
        "missing": [],
        "pids": [7],
        **other,
    }


def status(**other: Any) -> dict[str, Any]:
    """A status.json as the daemon writes it."""
    return {
        "version": 1,
        "pid": 123,
        "started_utc_s": NOW_S - 30 - 3600,
        "updated_utc_s": NOW_S,
        "platform": "debian",
        "host_class": "large",
        "nominal_memory_gb": 24.0,
        "cpus": 2,
        "inhibit": None,
        "period_days": 30,
        "resources": {"cpu": resource(), "memory": resource(), "disk": resource()},
        "steal": 0.0,
        "history": {"path": "/var/lib/optimizer/history.sqlite3", "rows": 12, "ok": True},
        "glances": {"url": "http://127.0.0.1:61208", "state": "running", "message": ""},
        "config": {"file": None, "ok": True, "message": ""},
        "warnings": [],
        **other,
    }


def test_every_reason_has_its_sentence_and_its_word() -> None:
    """A reason added to the model without words in here is a fault."""
    assert set(SENTENCES) == set(Reason)
    assert set(WORDS) == set(Reason)
    assert len(set(SENTENCES.values())) == len(Reason)


def test_the_lines_show_now_own_target_and_mean_of_each_resource() -> None:
    """Five lines: the three resources, what they do, and when that was."""
    assert lines(status()) == [
        "CPU   41.0% own 40.0 goal 40.0 30d 39.0%",
        "Mem   41.0% own 40.0 goal 40.0 30d 39.0%",
        "Disk  41.0% own 40.0 goal 40.0 30d 39.0%",
        "All holding",
        "2026-03-05 12:00 UTC",
    ]


def test_the_lines_show_a_percentile_where_one_is_judged() -> None:
    """Not the mean, by which nobody judges then; with a target of 0 nothing is judged."""
    judged = {"statistic": "p99.5", "ratio": 0.9}
    of = {"cpu": resource(judged=judged), "memory": resource(judged=judged, target=0.0)}
    shown = lines(status(resources=of | {"disk": resource(judged={"statistic": "mean"})}))
    assert shown[0] == "CPU   41.0% own 40.0 goal 40.0 p99.5 90.0%"
    assert shown[1] == "Mem   41.0% own 40.0 goal 0.0 30d 39.0%"
    assert shown[2] == "Disk  41.0% own 40.0 goal 40.0 30d 39.0%"


def test_the_table_names_the_policy() -> None:
    """Who judges, by what, and the strategy."""
    judged = {"statistic": "p95", "window_days": 7.0}
    of = {"cpu": {"target": 0.2, "judged": judged}}
    told = status(policy="custom", strategy="hold", combination="meet_all", resources=of)
    assert "policy    custom: cpu p95 of 7 d; hold" in table(told)
    assert "aim       high" in table({**told, "aim": "high"})
    assert "aim  " not in table(told)


def test_different_reasons_are_named_one_by_one() -> None:
    """When the resources do different things, each is named; warnings are counted."""
    found = {
        "cpu": resource(reason="tenant_above"),
        "memory": resource(reason="hold_off"),
        "disk": resource(reason="no_data_disk"),
    }
    shown = lines(status(resources=found, warnings=["a", "b"]))
    assert shown[3:] == [
        "CPU tenant, Mem hold-off, Disk no disk",
        "2026-03-05 12:00 UTC, warnings: 2",
    ]


def test_a_pause_takes_the_place_of_the_reasons() -> None:
    """Until when, how long that is, who paused and why; warnings are counted all the same."""
    inhibit = {"reason": "backup", "by": "operator", "until_utc_s": NOW_S + 7200, "since_utc_s": 0}
    assert lines(status(inhibit=inhibit))[3:] == [
        "PAUSED until 03-05 14:00 UTC, in 2 h",
        "03-05 12:00 UTC, by operator: backup",
    ]
    inhibit["until_utc_s"] = None
    assert lines(status(inhibit=inhibit, warnings=["a"]))[3:] == [
        "PAUSED until resumed",
        "03-05 12:00 UTC, warnings: 1, by operator: ba",
    ]


SPAN = {
    "window": "0 14 * * thu 2h Europe/Berlin",
    "start_utc_s": NOW_S + 3570,
    "until_utc_s": NOW_S + 3570 + 7200,
    "local": "Thu 2026-03-05 14:00-16:00 Europe/Berlin",
}


def test_the_next_maintenance_window_is_announced() -> None:
    """In the table with its time on the clocks of its zone; in the lines where there is room."""
    maintenance = {"running": None, "lifted": False, "next": SPAN}
    shown = status(maintenance=maintenance)
    assert lines(shown)[4] == "2026-03-05 12:00 UTC, window in 1 h"
    assert f"window    next: {SPAN['local']}, in 1 h" in table(shown).splitlines()
    many = status(maintenance=maintenance, warnings=["w"] * 1000)
    assert lines(many)[4] == "2026-03-05 12:00 UTC, warnings: 1000"


def test_a_running_maintenance_window_is_shown() -> None:
    """As a pause, with the window as its reason; and whether a resume has lifted it."""
    span = {**SPAN, "start_utc_s": NOW_S - 60, "until_utc_s": NOW_S + 7140}
    inhibit = {
        "reason": SPAN["window"],
        "by": "maintenance window",
        "until_utc_s": NOW_S + 7140,
        "since_utc_s": NOW_S - 60,
        "scheduled": True,
    }
    running = {"running": span, "lifted": False, "next": None}
    shown = status(inhibit=inhibit, maintenance=running)
    assert lines(shown)[3:] == [
        "PAUSED until 03-05 13:59 UTC, in 1 h 59 min",
        "03-05 12:00 UTC, by maintenance: 0 14 * * thu",
    ]
    assert (
        "paused    by maintenance window since 2026-03-05 11:59 UTC, until 2026-03-05 13:59 UTC,"
        f" in 1 h 59 min: {SPAN['window']}"
    ) in table(shown).splitlines()
    assert f"window    now: {SPAN['local']}, ends in 1 h 59 min" in table(shown).splitlines()
    lifted = table(status(maintenance={**running, "lifted": True}))
    assert "lifted by `optimizer resume` until its end in 1 h 59 min" in lifted


@pytest.mark.parametrize("reason", list(Reason))
def test_lines_fit_whatever_the_values(reason: Reason) -> None:
    """The widest values still give five lines that Glances does not wrap."""
    full = dict.fromkeys(["now", "organic", "own", "setpoint", "target", "mean"], 1.0)
    found = {
        "cpu": resource(**full, reason=reason.value),
        "memory": resource(**full, reason=reason.value),
        "disk": resource(**full, reason="measuring"),
    }
    inhibit: dict[str, Any] = {"reason": "x" * 500, "by": "y" * 500, "since_utc_s": NOW_S}
    inhibit["until_utc_s"] = NOW_S + 366 * 86400
    for given in (
        status(resources=found, period_days=366, warnings=["w"] * 1000),
        status(resources=found, period_days=366, inhibit=inhibit),
    ):
        shown = lines(given)
        assert len(shown) == 5
        assert all(len(line) <= LINE_CHARS for line in shown)
        # None of it was cut: the percent sign and the year's zone stand at the end.
        assert shown[0].endswith("366d 100.0%")
        assert shown[3].rstrip().endswith(("in 366 d", "measuring"))


def test_what_an_operator_typed_cannot_become_markup() -> None:
    """Lines hold printable ASCII without the characters of HTML; the table nothing unprintable."""
    evil = "<b>&'\"`\x1b[2J\n\u202e停"
    inhibit = {"reason": evil, "by": evil, "until_utc_s": None, "since_utc_s": None}
    given = status(inhibit=inhibit, warnings=[evil], platform=evil)
    text = "\n".join(lines(given))
    assert not set(text) & set("<>&'\"`")
    assert all(" " <= char <= "~" for char in text.replace("\n", ""))
    shown = table(given)
    assert all(char.isprintable() for char in shown.replace("\n", ""))
    assert "停" in shown
    assert shown.count("\n") == table(given | {"platform": "x", "warnings": ["y"]}).count("\n")


def test_the_table_shows_each_value_with_one_decimal() -> None:
    """One row a resource, in the order of the heading."""
    rows = table(status()).splitlines()
    assert rows[0].split() == (
        [
            "now",
            "organic",
            "own",
            "setpoint",
            "target",
            "mean",
            "30",
            "d",
            "own",
            "mean",
            "coverage",
        ]
    )
    assert rows[1].split() == (
        ["cpu", "41.0%", "1.0%", "40.0%", "42.0%", "40.0%", "39.0%", "30.0%", "2.0%"]
    )
    assert len({len(row) for row in rows[:4]}) == 1


def test_the_table_says_why_in_words() -> None:
    """The sentence of the reason, then where and what else there is to know."""
    found = {
        "cpu": resource(reason="ceiling"),
        "memory": resource(reason="unheard of"),
        "disk": resource(place="/data", note="held by name"),
    }
    rows = table(status(resources=found)).splitlines()
    assert rows[5] == "cpu     a ceiling keeps it below what the setpoint asks for"
    assert rows[6] == "memory  -"
    assert rows[7].endswith(
        "difference between the tenant and the setpoint; at /data; held by name"
    )


def test_the_table_ends_with_the_facts_about_the_daemon() -> None:
    """Pause, means, history, page, configuration and warnings each have their line."""
    inhibit = {"reason": "backup", "by": "me", "until_utc_s": None, "since_utc_s": NOW_S}
    found = {"cpu": resource(missing=["idle cgroup (no v2)"]), "memory": {}, "disk": {}}
    text = table(
        status(
            inhibit=inhibit,
            resources=found,
            warnings=["disk is small"],
            history={"path": "/h", "rows": 3, "ok": False},
            config={"file": "/etc/optimizer.env", "ok": False, "message": "kept the last good one"},
        )
    )
    for expected in (
        "daemon    pid 123 since 2026-03-05 11:00 UTC, status of 2026-03-05 12:00:30 UTC",
        "host      debian, large, 24.0 GB, 2 CPUs, steal 0.0%",
        "paused    by me since 2026-03-05 12:00 UTC, until resumed: backup",
        "means     cpu: SCHED_IDLE",
        "missing   cpu: idle cgroup (no v2)",
        "history   /h, 3 rows, FAILS",
        "glances   running, http://127.0.0.1:61208",
        "config    /etc/optimizer.env: kept the last good one",
        "warning   disk is small",
    ):
        assert expected in text.splitlines()


def _without_each(value: Any) -> list[Any]:
    """The value with each of its entries missing or made senseless, one at a time."""
    found: list[Any] = []
    senseless: tuple[Any, ...] = (None, "x", -1, [], {}, True, 1e300)
    if isinstance(value, dict):
        for key in value:
            rest = {name: kept for name, kept in value.items() if name != key}
            found += [rest, *({**value, key: odd} for odd in senseless)]
            found += [{**value, key: inner} for inner in _without_each(value[key])]
    return found


def test_missing_and_senseless_values_are_shown_as_unknown() -> None:
    """Whatever entry of the status is missing or of another type, both views still work."""
    inhibit = {"reason": "r", "by": "b", "until_utc_s": NOW_S, "since_utc_s": NOW_S}
    maintenance = {"running": SPAN, "lifted": True, "next": SPAN}
    variants = _without_each(status(inhibit=inhibit, maintenance=maintenance))
    variants += _without_each(status(maintenance=maintenance))
    for intent in ("due", "catching_up", "limited"):
        judged = {**JUDGED, "intent": intent, "limited": intent == "limited"}
        cpu = {"cpu": resource(judged=judged)}
        variants += _without_each(status(policy="custom", strategy="hold", resources=cpu))
    assert len(variants) > 500
    for variant in [{}, *variants]:
        before = copy.deepcopy(variant)
        assert len(lines(variant)) == 5
        assert table(variant).endswith("\n")
        assert variant == before
    assert lines({})[0] == "CPU       - own - goal - - -"


def test_the_files_are_written_whole_and_read_back(tmp_path: Path) -> None:
    """Both files appear, readable by everybody; the reader gets the same status."""
    status_path, text_path = tmp_path / "status.json", tmp_path / "status.txt"
    file = status_file.StatusFile(status_path, text_path)
    assert file.write(status(), "one\ntwo\n") is None
    assert status_file.read(status_path) == status()
    assert text_path.read_text() == "one\ntwo\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["status.json", "status.txt"]


def test_an_unchanged_text_is_not_written_again(tmp_path: Path) -> None:
    """The same text leaves the file alone, a new one replaces it."""
    text_path = tmp_path / "status.txt"
    file = status_file.StatusFile(tmp_path / "status.json", text_path)
    file.write(status(), "one")
    text_path.write_text("somebody's")
    file.write(status(), "one")
    assert text_path.read_text() == "somebody's"
    file.write(status(), "two")
    assert text_path.read_text() == "two"


def test_what_cannot_be_written_is_returned_as_a_message(tmp_path: Path) -> None:
    """A missing directory and a value that JSON lacks are told, not raised; then it goes on."""
    missing = tmp_path / "run"
    file = status_file.StatusFile(missing / "status.json", missing / "status.txt")
    message = file.write(status(), "one")
    assert message is not None
    assert str(missing) in message
    missing.mkdir()
    assert file.write(status(steal=float("nan")), "one") is not None
    assert file.write(status(), "one") is None
    assert (missing / "status.txt").read_text() == "one"


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b"\xff\xfe", b"null"])
def test_a_missing_or_broken_status_reads_as_none(tmp_path: Path, content: bytes | None) -> None:
    """Nothing there, half a file and another type are all the same: no status."""
    path = tmp_path / "status.json"
    if content is not None:
        path.write_bytes(content)
    assert status_file.read(path) is None
    path.write_text(json.dumps({"version": 1}))
    assert status_file.read(path) == {"version": 1}


@pytest.mark.parametrize(
    ("today", "shown"), [(3.254, "3.254 of 9.6 core-hours"), (None, "- of 9.6 core-hours")]
)
def test_the_table_shows_own_hours_where_they_are_limited(today: float | None, shown: str) -> None:
    """What is used and what is allowed; a dash where nothing was counted."""
    assert f"{shown} used on this UTC day" in table(
        status(own_core_hours={"today": today, "limit": 9.6})
    )
    assert "core-hours" not in table(status(own_core_hours={"today": today, "limit": None}))
