"""What people read of the judged window."""

from __future__ import annotations

from typing import Any

import pytest

from optimizer.model import Intent
from optimizer.report.outlook_text import SENTENCES, outlook_words, policy_words

NOW_S = 1_795_000_000.0
"""2026-11-18."""


def facts(**judged: Any) -> dict[str, Any]:
    """A resource of the status document."""
    given = {
        "intent": "catching_up",
        "statistic": "mean",
        "window_days": 30.0,
        "ratio": 0.2,
        "low": 0.1,
        "high": 0.6,
        "coverage": 0.5,
        "met": False,
        "eta_s": 12 * 86400.0,
        "limited": False,
        "full_in_days": None,
    }
    return {"target": 0.25, "setpoint": 0.3, "reason": "pressure", "judged": {**given, **judged}}


def test_a_window_that_is_behind_says_until_when() -> None:
    """Statistic, bounds for lack of coverage, setpoint, how long, and the day."""
    assert outlook_words(facts(), NOW_S) == (
        "mean of 30 d 20.0 %, NOT met; coverage 50.0 % (10.0 % to 60.0 % whatever the unknown "
        "minutes were); the window is behind its target: 30.0 % for 12 days, caught up by "
        "2026-11-30"
    )


@pytest.mark.parametrize(
    ("judged", "words"),
    [
        ({"limited": True, "intent": "limited"}, "it cannot catch up while this lasts: pressure"),
        ({"ratio": None, "met": None, "intent": "due"}, "held at the target until something is"),
        ({"eta_s": None}, "it cannot catch up within one window at 30.0 %"),
        ({"met": True, "coverage": 0.96}, "mean of 30 d 20.0 %, met; coverage 96.0 %; the"),
        ({"ratio": None, "met": None}, "mean of 30 d unknown yet"),
        ({"full_in_days": 23.0}, "by its trend full in 23 days"),
        ({"statistic": "p95", "window_days": 7.0}, "p95 of 7 d 20.0 %"),
    ],
)
def test_other_cases_are_told_apart(judged: dict[str, Any], words: str) -> None:
    """What cannot be caught up says so; what is met says nothing of catching up."""
    assert words in outlook_words(facts(**judged), NOW_S)


def test_a_limit_that_is_over_is_not_named_as_the_reason() -> None:
    """For a while after it the load is not raised; the reason shown then is another one."""
    words = outlook_words({**facts(limited=True, intent="limited"), "reason": "holding"}, NOW_S)
    assert words.endswith("it cannot catch up while it may: it did minutes ago")


def test_the_policy_is_said_in_a_line() -> None:
    """What is judged and held of which resources, and whether one suffices."""
    status: dict[str, Any] = {
        "policy": "oracle-always-free",
        "strategy": "economy",
        "combination": "break_any",
        "resources": {
            "cpu": facts(statistic="p95", window_days=7.0),
            "memory": facts(window_days=7.0),
            "disk": {"target": 0.0, "judged": {"statistic": None}},
        },
    }
    line = "oracle-always-free: cpu p95 of 7 d, memory mean of 7 d, one suffices; economy"
    assert policy_words(status) == line
    assert policy_words({"policy": "custom"}) == "custom: nothing judged; -"


def test_nothing_is_said_of_what_is_not_known_or_not_held() -> None:
    """Before the first sample, and with a target of 0."""
    assert outlook_words({"judged": None}, NOW_S) == ""
    assert outlook_words({**facts(), "target": 0.0}, NOW_S) == ""


def test_each_intent_has_a_sentence() -> None:
    """None is forgotten when one is added."""
    assert set(SENTENCES) == set(Intent)
