"""Findings about targets that are missed, a host that is full, its platform and its disks; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimizer.model import Reason, Resource
from optimizer.report.doctor import Area, Code, Finding, Severity, fine, with_fine
from optimizer.report.explain import most_allowed
from optimizer.report.percents import percent
from optimizer.report.status_text import SENTENCES

_ROUNDING = 0.0005
_LIMITED: dict[Reason, tuple[Severity, str]] = {
    Reason.THROTTLED: (
        Severity.WARNING,
        "raise the CPU quota of the container, or lower TARGET_CPU",
    ),
    Reason.STEAL: (Severity.WARNING, "see the CPU credits of this VM, or raise CPU_STEAL_MAX"),
    Reason.OWN_HOURS: (Severity.NOTE, "raise CPU_OWN_HOURS_MAX to hold the target all day"),
    Reason.HOLD_OFF: (Severity.NOTE, "it goes on by itself after HOLD_OFF_SECONDS"),
    Reason.PRESSURE: (
        Severity.WARNING,
        "lower TARGET_MEMORY, or find out who needed the memory (`dmesg`, `free -m`)",
    ),
    Reason.REFUSED: (Severity.WARNING, "see quotas with `repquota -a`, or lower TARGET_DISK"),
}
"""Reasons that lower the load beside those that other findings tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """PLATFORM as configured, and what os-release(5) and the kernel say."""

    configured: str
    detected: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disks:
    """Where space is held, and why not elsewhere.

    `reason` is None where it is held. `refused` are mount points of real
    devices with the reason, `unwritable` places where this user cannot write,
    `named` those without unnamed files.
    """

    target: float
    places: tuple[str, ...]
    reason: Reason | None
    note: str
    refused: tuple[tuple[str, str], ...] = ()
    unwritable: tuple[tuple[str, str], ...] = ()
    named: tuple[str, ...] = ()


def targets(status: Mapping[str, Any], platform: Platform) -> list[Finding]:
    """Why a target is not reached, from a status document as the daemon writes it."""
    found, said = _platform(platform), []
    failed = [text for text in status.get("warnings", ()) if text.startswith("cannot read ")]
    for resource in Resource:
        facts = status["resources"][resource.value]
        if not any(text.startswith(f"cannot read {resource.value}:") for text in failed):
            found += _resource(resource, facts)
        if facts["now"] is not None and facts["target"]:
            said.append(
                f"{resource.value} {percent(facts['now'])} (target {percent(facts['target'])})"
            )
    found += [
        _finding(
            Code.SENSOR_FAILED,
            Severity.WARNING,
            f"{text}; nothing is raised on what is not known",
            "look again in some seconds; if it stays so, see the log",
        )
        for text in failed
    ]
    host = (
        f"{status['platform']}, {status['host_class']} host of {status['nominal_memory_gb']:g} GB"
    )
    return with_fine(found, Area.TARGETS, f"{', '.join(said)}; {host}")


def _resource(resource: Resource, facts: Mapping[str, Any]) -> list[Finding]:
    reason, target, name = Reason(facts["reason"]), facts["target"], resource.value
    if reason in {Reason.NO_TARGET, Reason.NO_DISK, Reason.NO_DATA_DISK} or not target:
        return []
    if facts["now"] is None or facts["organic"] is None or facts["capacity"] is None:
        said = f"the {name} utilisation cannot be read: {SENTENCES[Reason.NO_READING]}"
        return [_finding(Code.SENSOR_FAILED, Severity.WARNING, said, "look again in some seconds")]
    found = []
    organic, room = facts["organic"], facts["room"]
    if resource is not Resource.CPU and room is not None and room < 0:
        found.append(
            _finding(
                Code.HOST_NEARLY_FULL,
                Severity.WARNING,
                f"the tenant's {name} is nearly full: {percent(organic)} is in use, "
                f"{percent(-room)} of what must stay free is taken",
                f"free some {name}; nothing is held of it until then",
            )
        )
    elif organic >= target - _ROUNDING:
        said = f"the tenant alone uses {percent(organic)} of the {name}, above {percent(target)}"
        found.append(
            _finding(
                Code.TENANT_ABOVE_TARGET, Severity.NOTE, said, "nothing to do: nothing is added"
            )
        )
    else:
        most, limit = most_allowed(resource, facts)
        if most < target - _ROUNDING:
            found.append(
                _finding(
                    Code.TARGET_OUT_OF_REACH,
                    Severity.WARNING,
                    f"the {name} target of {percent(target)} cannot be reached: {limit}, so it "
                    f"ends at {percent(max(0.0, most))}",
                    f"lower TARGET_{name.upper()}, or see `optimizer plan`",
                )
            )
    if reason in _LIMITED:
        severity, remedy = _LIMITED[reason]
        found.append(_finding(Code.LOAD_LIMITED, severity, f"{name}: {SENTENCES[reason]}", remedy))
    return found


def _platform(facts: Platform) -> list[Finding]:
    configured = facts.configured.strip().lower()
    if configured not in {"", "auto", facts.detected}:
        return [
            _finding(
                Code.PLATFORM_WRONG,
                Severity.WARNING,
                f"PLATFORM={configured}, but this is {facts.detected} ({facts.evidence})",
                "write PLATFORM=auto",
            )
        ]
    if configured in {"", "auto"} and facts.detected in {"linux_generic", "unknown"}:
        return [
            _finding(
                Code.PLATFORM_UNKNOWN,
                Severity.NOTE,
                f"this distribution is not known by name ({facts.evidence}); it is taken for "
                f"{facts.detected}",
                "nothing needs to be done; PLATFORM names another one",
            )
        ]
    return []


def disks(facts: Disks) -> list[Finding]:
    """Where disk space is held, and which filesystems were refused and why."""
    if facts.target <= 0:
        return [fine(Area.DISKS, "only watched: the disk target is 0 %")]
    found: list[Finding] = []
    if facts.reason is not None:
        code = Code.NO_DATA_DISK if facts.reason is Reason.NO_DATA_DISK else Code.NO_DISK
        said, _, remedy = facts.note.rstrip(".").partition("; ")
        found.append(_disk(code, Severity.WARNING, f"no disk space is held: {said}", remedy))
    for place, why in facts.unwritable:
        found.append(
            _disk(
                Code.DISK_NOT_WRITABLE,
                Severity.WARNING,
                f"nothing can be held in {place}: {why}",
                "give the daemon's user a directory there and name it in DISK_STRESS_PATH",
            )
        )
    found += [
        _disk(
            Code.DISK_FILE_HAS_NAME,
            Severity.NOTE,
            f"{place} knows no unnamed files, so what is held there has a name for an instant",
            "",
        )
        for place in facts.named
    ]
    if facts.refused:
        listed = "; ".join(f"{mount}: {why}" for mount, why in facts.refused)
        found.append(_disk(Code.DISK_REFUSED, Severity.NOTE, f"not used: {listed}", ""))
    return with_fine(found, Area.DISKS, facts.note or ", ".join(facts.places))


def _finding(code: Code, severity: Severity, found: str, remedy: str) -> Finding:
    return Finding(area=Area.TARGETS, code=code, severity=severity, found=found, remedy=remedy)


def _disk(code: Code, severity: Severity, found: str, remedy: str) -> Finding:
    return Finding(area=Area.DISKS, code=code, severity=severity, found=found, remedy=remedy)
