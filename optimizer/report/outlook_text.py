"""How the judged window stands and what the setpoint is for, in sentences."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from optimizer.control.planner import LIMITS
from optimizer.control.statistic import COVERAGE_ENOUGH
from optimizer.model import Intent
from optimizer.orders import Combination
from optimizer.report.fields import UNKNOWN, clean, mapping, number
from optimizer.report.fields import text as text_of
from optimizer.report.percents import percent

SENTENCES: dict[Intent, str] = {
    Intent.HELD: "held at its target",
    Intent.CATCHING_UP: "the window is behind its target",
    Intent.LIMITED: "no more than the target is asked for while something limits the load",
    Intent.PLACED: "economy: load now, when the forecast sees least to disturb or to pay",
    Intent.DUE: "economy: needed now, whatever the tenant does later",
    Intent.SPARED: "economy: every window is met without load now",
    Intent.WITHDRAWN: "taken back: on other days the tenant needs much more at this time",
    Intent.ELSEWHERE: "not needed: another resource meets the policy, and one suffices",
    Intent.UNJUDGED: "not judged by the policy, held at its target all the same",
}
"""What each intent means."""
_LIMITS = frozenset(reason.value for reason in LIMITS)


def policy_words(status: Mapping[str, Any]) -> str:
    """`oracle-always-free: cpu p95 of 7 d, memory mean of 7 d, one suffices; economy`."""
    found = []
    resources = mapping(status, "resources")
    for name in resources:
        facts = mapping(resources, name)
        judged = mapping(facts, "judged")
        if clean(judged.get("statistic")) and number(facts, "target"):
            found.append(f"{name} {_goal(judged)}")
    goals = ", ".join(found) or "nothing judged"
    if status.get("combination") == Combination.BREAK_ANY.value and len(found) > 1:
        goals += ", one suffices"
    return f"{text_of(status, 'policy')}: {goals}; {text_of(status, 'strategy')}"


def outlook_words(facts: Mapping[str, Any], now_utc_s: float | None) -> str:
    """One line of a resource's facts in the status document; empty where nothing is known yet.

    `p95 of 7 d 24.1 %, met; coverage 41 % (10.2 % to 68.0 %); catching up: 30.0 % ...`.
    """
    judged = mapping(facts, "judged")
    held = bool(number(facts, "target"))
    parts = [_figure(judged)] if held and clean(judged.get("statistic")) else []
    if held:
        parts.append(_purpose(judged, facts, now_utc_s))
    full = number(judged, "full_in_days")
    if full is not None:
        parts.append(f"by its trend full in {full:.0f} days")
    return "; ".join(part for part in parts if part)


def _figure(judged: Mapping[str, Any]) -> str:
    name, ratio = _goal(judged), number(judged, "ratio")
    if ratio is None:
        return f"{name} unknown yet"
    coverage, met = number(judged, "coverage") or 0.0, judged.get("met")
    word = "not judged" if not isinstance(met, bool) else "met" if met else "NOT met"
    text = f"{name} {percent(ratio)}, {word}; coverage {100 * coverage:.1f} %"
    if coverage < COVERAGE_ENOUGH:
        bounds = f"{percent(number(judged, 'low'))} to {percent(number(judged, 'high'))}"
        text += f" ({bounds} whatever the unknown minutes were)"
    return text


def _goal(judged: Mapping[str, Any]) -> str:
    days = number(judged, "window_days")
    return f"{text_of(judged, 'statistic')} of {UNKNOWN if days is None else f'{days:g}'} d"


def _purpose(judged: Mapping[str, Any], facts: Mapping[str, Any], now_utc_s: float | None) -> str:
    intent = next((one for one in Intent if one.value == judged.get("intent")), None)
    if intent is None:
        return ""
    text = SENTENCES[intent]
    if intent in {Intent.DUE, Intent.PLACED} and number(judged, "ratio") is None:
        text = "economy: held at the target until something is known"
    if judged.get("met") is not False:
        return text
    if judged.get("limited"):
        reason = text_of(facts, "reason")
        why = f"this lasts: {reason}" if reason in _LIMITS else "it may: it did minutes ago"
        return f"{text}; it cannot catch up while {why}"
    eta_s, level = number(judged, "eta_s"), percent(number(facts, "setpoint"))
    if eta_s is None:
        return f"{text}; it cannot catch up within one window at {level}"
    end = "" if now_utc_s is None else f", caught up by {_day(now_utc_s + eta_s)}"
    return f"{text}: {level} for {_span(eta_s)}{end}"


def _span(seconds: float) -> str:
    hours = seconds / 3600
    if hours < 2:
        return f"{max(1, round(seconds / 60))} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def _day(utc_s: float) -> str:
    try:
        return datetime.datetime.fromtimestamp(utc_s, datetime.UTC).strftime("%Y-%m-%d")
    except (OverflowError, OSError, ValueError):
        return "a day that no calendar has"
