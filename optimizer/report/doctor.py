"""What `optimizer doctor` says: findings with a name, a severity, evidence and a remedy; pure.

The files doctor_*.py beside this one turn facts into findings, each for some areas.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


class Severity(enum.Enum):
    """How much a finding matters; in falling order."""

    FAULT = "fault"
    """Something promised does not work."""
    WARNING = "warning"
    """It works, but not as it should or not for long."""
    NOTE = "note"
    """Good to know; nothing needs to be done."""
    OK = "ok"
    """Looked at, and as it should be."""


class Area(enum.Enum):
    """What is looked at together, in the order in which it is shown."""

    INSTALL = "install"
    CONFIG = "config"
    DAEMON = "daemon"
    ORDERS = "orders"
    TARGETS = "targets"
    DISKS = "disks"
    STRESSERS = "stressers"
    KERNEL = "kernel"
    HISTORY = "history"
    FILES = "files"
    LOG = "log"
    CLOCK = "clock"
    PAGE = "page"


class Code(enum.Enum):
    """The name of each diagnosis; stable, for scripts rely on it."""

    FINE = "fine"
    NOT_EXAMINED = "not-examined"
    EXAMINATION_FAILED = "examination-failed"
    EXAMINATION_HANGS = "examination-hangs"

    PYTHON_TOO_OLD = "python-too-old"
    OTHER_INTERPRETER = "other-interpreter"
    DEPENDENCY_MISSING = "dependency-missing"
    DEPENDENCY_TOO_OLD = "dependency-too-old"
    DEPENDENCY_BROKEN = "dependency-broken"
    DEPENDENCY_NOT_LOCKED = "dependency-not-locked"

    CONFIG_FAULT = "config-fault"
    CONFIG_WARNING = "config-warning"
    CONFIG_NOT_READ = "config-not-read"
    RELOAD_REFUSED = "reload-refused"
    OTHER_CONFIG = "other-config"

    DAEMON_NOT_RUNNING = "daemon-not-running"
    DAEMON_DIED = "daemon-died"
    DAEMON_STARTING = "daemon-starting"
    DAEMON_HUNG = "daemon-hung"
    DAEMON_STOPPED = "daemon-stopped"
    DAEMON_UNSEEN = "daemon-unseen"
    DAEMON_RESTARTS = "daemon-restarts"
    DAEMON_OTHER_CODE = "daemon-other-code"
    DAEMON_OLD_CODE = "daemon-old-code"
    TWO_DAEMONS = "two-daemons"
    LOAD_WITHOUT_DAEMON = "load-without-daemon"
    LOAD_BY_HAND = "load-by-hand"
    LEFT_BEHIND = "left-behind"

    INHIBITED = "inhibited"
    INHIBIT_ODD = "inhibit-odd"
    INHIBIT_EXPIRED = "inhibit-expired"
    RELEASED = "released"

    TARGET_OUT_OF_REACH = "target-out-of-reach"
    TENANT_ABOVE_TARGET = "tenant-above-target"
    HOST_NEARLY_FULL = "host-nearly-full"
    LOAD_LIMITED = "load-limited"
    SENSOR_FAILED = "sensor-failed"
    PLATFORM_WRONG = "platform-wrong"
    PLATFORM_UNKNOWN = "platform-unknown"

    NO_DATA_DISK = "no-data-disk"
    NO_DISK = "no-disk"
    DISK_REFUSED = "disk-refused"
    DISK_NOT_WRITABLE = "disk-not-writable"
    DISK_FILE_HAS_NAME = "disk-file-has-name"

    STRESSER_CANNOT_START = "stresser-cannot-start"
    STRESSER_LIMITED = "stresser-limited"
    STRESSER_DOWN = "stresser-down"
    STRESSER_TRIPPED = "stresser-tripped"
    STRESSER_STUCK = "stresser-stuck"
    MEANS_MISSING = "means-missing"

    NOT_ROOT = "not-root"
    KERNEL_LACKS = "kernel-lacks"
    CGROUP_DENIED = "cgroup-denied"
    LIMIT_TOO_LOW = "limit-too-low"

    HISTORY_NONE = "history-none"
    HISTORY_DAMAGED = "history-damaged"
    HISTORY_SET_ASIDE = "history-set-aside"
    HISTORY_NEWER = "history-newer"
    HISTORY_UNREADABLE = "history-unreadable"
    HISTORY_NOT_WRITABLE = "history-not-writable"
    HISTORY_NOT_CHECKED = "history-not-checked"
    HISTORY_STALE = "history-stale"
    HISTORY_GAPS = "history-gaps"
    HISTORY_FUTURE = "history-from-the-future"

    DIRECTORY_MISSING = "directory-missing"
    DIRECTORY_NOT_WRITABLE = "directory-not-writable"
    DIRECTORY_READ_ONLY = "directory-read-only"
    DIRECTORY_FULL = "directory-full"
    DIRECTORY_OPEN = "directory-open-to-all"

    LOG_ERRORS = "log-errors"
    LOG_WARNINGS = "log-warnings"
    LOG_UNREADABLE = "log-unreadable"

    CLOCK_STEPPED = "clock-stepped"
    CLOCK_BEHIND = "clock-behind"
    CLOCK_NOT_SYNCHRONISED = "clock-not-synchronised"

    GLANCES_MISSING = "glances-missing"
    GLANCES_UNFIT = "glances-unfit"
    PORT_TAKEN = "port-taken"
    PORT_UNUSABLE = "port-unusable"
    PAGE_FAILED = "page-failed"
    PAGE_SILENT = "page-silent"
    FIREWALL = "firewall"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing found: the evidence in `found`, what to do in `remedy`.

    `command` is a line to paste into a shell, None where there is none.
    """

    area: Area
    code: Code
    severity: Severity
    found: str
    remedy: str = ""
    command: str | None = None


def fine(area: Area, found: str) -> Finding:
    """Nothing is wrong there; `found` says what was looked at."""
    return Finding(area=area, code=Code.FINE, severity=Severity.OK, found=found)


def with_fine(findings: list[Finding], area: Area, found: str) -> list[Finding]:
    """The findings, and what was looked at where they hold neither fault nor warning."""
    return findings if worst(findings) in BAD else [*findings, fine(area, found)]


_ORDER = {severity: place for place, severity in enumerate(Severity)}
_AREAS = {area: place for place, area in enumerate(Area)}
BAD = frozenset({Severity.FAULT, Severity.WARNING})


def worst(findings: Iterable[Finding]) -> Severity:
    """The highest severity among them; OK where there are none."""
    return min((one.severity for one in findings), key=_ORDER.__getitem__, default=Severity.OK)


def exit_code(findings: Iterable[Finding]) -> int:
    """1 when there is a fault or a warning, else 0."""
    return 1 if worst(findings) in BAD else 0


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first, those of equal severity by area."""
    return sorted(findings, key=lambda one: (_ORDER[one.severity], _AREAS[one.area]))


def as_json(finding: Finding) -> dict[str, str | None]:
    """The finding for programs."""
    return {
        "area": finding.area.value,
        "code": finding.code.value,
        "severity": finding.severity.value,
        "found": finding.found,
        "remedy": finding.remedy,
        "command": finding.command,
    }


def from_json(found: Mapping[str, str | None]) -> Finding:
    """What `as_json` was given. Raises KeyError or ValueError for anything else."""
    return Finding(
        area=Area(found["area"]),
        code=Code(found["code"]),
        severity=Severity(found["severity"]),
        found=str(found["found"]),
        remedy=str(found["remedy"]),
        command=found["command"],
    )
