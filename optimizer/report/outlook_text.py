"""How the judged window stands and what the setpoint is for, in sentences."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any

from optimizer.control.statistic import COVERAGE_ENOUGH
from optimizer.model import Intent

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


def outlook_words(facts: Mapping[str, Any], now_utc_s: float | None) -> str:
    """One line of a resource's facts in the status document; empty where nothing is known yet.

    `p95 of 7 d 24.1 %, met; coverage 41 % (10.2 % to 68.0 %); catching up: 30.0 % ...`.
    """
    judged = facts.get("judged")
    if not isinstance(judged, Mapping):
        return ""
    parts = [_figure(judged)] if judged.get("statistic") and facts.get("target") else []
    if facts.get("target"):
        parts.append(_purpose(judged, facts, now_utc_s))
    full = judged.get("full_in_days")
    if isinstance(full, float):
        parts.append(f"by its trend full in {full:.0f} days")
    return "; ".join(part for part in parts if part)


def _figure(judged: Mapping[str, Any]) -> str:
    days, ratio, coverage = judged["window_days"], judged["ratio"], judged["coverage"] or 0.0
    name = f"{judged['statistic']} of {days:g} d"
    if ratio is None:
        return f"{name} unknown yet"
    met = {True: "met", False: "NOT met", None: "not judged"}[judged["met"]]
    text = f"{name} {_percent(ratio)}, {met}; coverage {100 * coverage:.1f} %"
    if coverage < COVERAGE_ENOUGH:
        bounds = f"{_percent(judged['low'])} to {_percent(judged['high'])}"
        text += f" ({bounds} whatever the unknown minutes were)"
    return text


def _purpose(judged: Mapping[str, Any], facts: Mapping[str, Any], now_utc_s: float | None) -> str:
    try:
        intent = Intent(judged.get("intent"))
    except ValueError:
        return ""
    text = SENTENCES[intent]
    if judged.get("met") is not False:
        return text
    eta_s = judged.get("eta_s")
    if judged.get("limited"):
        return f"{text}; it cannot catch up while this lasts: {facts.get('reason')}"
    if eta_s is None or not math.isfinite(eta_s):
        return f"{text}; it cannot catch up within one window at {_percent(facts['setpoint'])}"
    end = "" if now_utc_s is None else f", caught up by {_day(now_utc_s + eta_s)}"
    return f"{text}: {_percent(facts['setpoint'])} for {_span(eta_s)}{end}"


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.1f} %"


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
