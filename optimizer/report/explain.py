"""What the daemon does and why, in sentences; made of the status document's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimizer.model import Reason, Resource
from optimizer.report.outlook_text import outlook_words
from optimizer.report.percents import percent

_GIB = float(1 << 30)
_NAMES = {Resource.CPU: "CPU", Resource.MEMORY: "Memory", Resource.DISK: "Disk"}
_ROUNDING = 0.0005


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast memory and disk may rise, for the estimate of when the target is reached."""

    memory_bytes_per_s: float
    disk_bytes_per_s: float


_NOWHERE = frozenset({Reason.NO_DATA_DISK, Reason.NO_DISK})
"""There is nothing to hold."""


def sentences(status: Mapping[str, Any], pace: Pace) -> list[str]:
    """One paragraph for each resource: what is, what is wanted, what follows, and why."""
    inhibit = status.get("inhibit")
    lines = []
    if inhibit:
        lines.append(
            f"Nothing is loaded: {inhibit['reason']} (by {inhibit['by']}). "
            "`optimizer resume` lifts this; below is what would be done without it."
        )
    for resource in Resource:
        facts = status["resources"][resource.value]
        lines.append(f"{_NAMES[resource]}: {_paragraph(resource, facts, pace)}")
        words = outlook_words(facts, status.get("updated_utc_s"))
        if words and Reason(facts["reason"]) not in _NOWHERE:
            lines[-1] += f" {words[0].upper()}{words[1:]}."
        if resource is Resource.CPU:
            lines[-1] += _budget(status.get("own_core_hours") or {})
    return lines


def _paragraph(resource: Resource, facts: Mapping[str, Any], pace: Pace) -> str:
    reason, target = Reason(facts["reason"]), facts["target"]
    if reason is Reason.NO_TARGET:
        return "the target is 0, so it is only watched."
    if reason in _NOWHERE:
        return f"nothing is done. {facts['note']}"
    if facts["now"] is None or facts["capacity"] is None:
        return "its utilisation cannot be read now, so nothing is added."
    organic, capacity = facts["organic"], facts["capacity"]
    said = [
        f"the tenant uses {percent(organic)} of {_amount(resource, 1.0, capacity)}, "
        f"the target is {percent(target)}."
    ]
    wanted = (facts.get("judged") or {}).get("setpoint")
    if wanted is not None and abs(wanted - target) > _ROUNDING:
        said[0] = f"{said[0][:-1]}, and {percent(wanted)} are planned for now."
        target = wanted
    if organic >= target - _ROUNDING:
        enough = "The tenant alone reaches it, so nothing is added."
        said.append("Nothing is added." if target <= 0 else enough)
        return " ".join(said)
    if reason in {Reason.STRESSER_TRIPPED, Reason.STRESSER_DOWN, Reason.OWN_HOURS}:
        return f"{said[0]} {_obstacle(reason, str(facts['note']))}"
    reachable, limit = most_allowed(resource, facts)
    add = max(0.0, min(target, reachable) - organic)
    said.append(f"So {_amount(resource, add, capacity)} ({percent(add)}) is added{_how(facts)}.")
    if reachable < target - _ROUNDING:
        said.append(
            f"{percent(target)} cannot be reached now: {limit}, so it ends at {percent(reachable)}."
        )
    said.append(_when(resource, facts, add, pace))
    said.append(_obstacle(reason, str(facts["note"])))
    return " ".join(part for part in said if part)


def _budget(hours: Mapping[str, Any]) -> str:
    """The ceiling on own core-hours, nothing where there is none."""
    limit, used = hours.get("limit"), hours.get("today")
    if limit is None:
        return ""
    spent = "" if used is None else f", {used:.4g} of them are used"
    return f" Own load may use {limit:.4g} core-hours on a UTC day{spent}."


def most_allowed(resource: Resource, facts: Mapping[str, Any]) -> tuple[float, str]:
    """The highest total that is allowed, and what does not allow more."""
    ceiling = float(facts["ceiling"])
    bounds = [(ceiling, f"the ceiling is {percent(ceiling)}")]
    if resource is Resource.CPU:
        reach = facts.get("reach")
        if reach is not None:
            most = min(1.0, facts["organic"] + reach)
            bounds.append((most, "affinity, a cpuset or a quota leaves no more"))
    else:
        floor = max(0.0, facts["organic"] + facts["own"] + facts["room"])
        bounds.append((floor, "the rest must stay free"))
    return min(bounds)


def _how(facts: Mapping[str, Any]) -> str:
    means = ", ".join(facts["means"])
    place = f" on {facts['place']}" if facts["place"] else ""
    return f"{place} by {means}" if means else place


def _when(resource: Resource, facts: Mapping[str, Any], add: float, pace: Pace) -> str:
    if resource is Resource.CPU:
        return ""
    missing = (add - facts["own"]) * facts["capacity"]
    if missing <= _ROUNDING * facts["capacity"]:
        return "It is held already."
    rate = pace.memory_bytes_per_s if resource is Resource.MEMORY else pace.disk_bytes_per_s
    return f"At the allowed rise it is there in {_duration(missing / rate)}."


def _obstacle(reason: Reason, note: str) -> str:
    texts = {
        Reason.THROTTLED: (
            "The CPU quota ran out while load ran, so less is added for a while: programs "
            "stand still until the next period when a quota is used up."
        ),
        Reason.STEAL: (
            "The hypervisor takes more than CPU_STEAL_MAX, so less is added for a while: a noisy "
            "neighbour or a lack of burst credits is no reason to burn more."
        ),
        Reason.OWN_HOURS: "CPU_OWN_HOURS_MAX is reached, so nothing is added until 00:00 UTC.",
        Reason.HOLD_OFF: "Growth waits: what must stay free was touched a short while ago.",
        Reason.STRESSER_DOWN: f"Its stresser has ended and waits for its next start: {note}.",
        Reason.STRESSER_TRIPPED: (
            f"Its stresser has ended too often and stays off: {note}. "
            "Mend the cause, then run `optimizer resume`."
        ),
    }
    return texts.get(reason, "")


def _amount(resource: Resource, ratio: float, capacity: float) -> str:
    if resource is Resource.CPU:
        return f"{ratio * capacity:.2f} CPUs" if ratio < 1 else f"{capacity:.4g} CPUs"
    return f"{ratio * capacity / _GIB:.1f} GiB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
