"""The configuration keys: name, default, unit, allowed range, and how they limit one another."""

from __future__ import annotations

import enum
import ipaddress
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from optimizer import schedule
from optimizer.counters import CapacityScope
from optimizer.orders import AskedEach, Combination, Gaps, MemoryMetric, Strategy

T = TypeVar("T")

LEGACY_KEYS = (
    "SCRIPT_DIR",
    "LOW_UTIL_DISK_SIZE",
    "LOW_UTIL_DURATION",
    "MED_UTIL_DISK_SIZE",
    "MED_UTIL_DURATION",
    "HIGH_UTIL_DISK_SIZE",
    "HIGH_UTIL_DURATION",
)
"""Keys of older versions: accepted with any value, and without effect."""


def as_text(value: object) -> str:
    """A value as it is written in the configuration file; None is written as nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, frozenset):
        return ",".join(sorted(value))
    if isinstance(value, tuple):
        return "; ".join(map(str, value))
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def is_loopback(address: str) -> bool:
    """True where only this host can reach the address; "localhost" or an IP address."""
    return address == "localhost" or ipaddress.ip_address(address).is_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Generic[T]):
    """What a key accepts.

    `expected` is the allowed range with its unit, to follow the words "must
    be". `parse` turns a text that is not empty into the value, and raises
    ValueError where it is not allowed; with `explains` its message says why.
    `overridden` is the rule that holds
    instead while CEILING_OVERRIDE is on. A secret value is never shown.
    """

    expected: str
    parse: Callable[[str], T]
    overridden: Rule[T] | None = None
    secret: bool = False
    explains: bool = False


def _number(noun: str, least: float, most: float, *, above: bool = False) -> Rule[float]:
    def parse(text: str) -> float:
        # float() alone would also take exponents, digit groups, infinity and NaN.
        if not re.fullmatch(r"[+-]?(\d+(\.\d+)?|\.\d+)", text, re.ASCII):
            raise ValueError(text)
        value = float(text)
        if not least <= value <= most or (above and value <= least):
            raise ValueError(text)
        return value

    span = f"above {as_text(least)} and up to" if above else f"from {as_text(least)} to"
    return Rule(expected=f"{noun} {span} {as_text(most)}", parse=parse)


def _whole(unit: str, least: int, most: int) -> Rule[int]:
    number = _number("", least, most)

    def parse(text: str) -> int:
        if "." in text:
            raise ValueError(text)
        return round(number.parse(text))

    return Rule(expected=f"a whole number{unit} from {least} to {most}", parse=parse)


def _target(most: float) -> Rule[float]:
    overridden = _number("a percentage", 0, 99)
    return Rule(
        expected=f"a percentage from 0 to {as_text(most)}",
        parse=_number("", 0, most).parse,
        overridden=overridden,
    )


def _ceiling(most: float) -> Rule[float]:
    overridden = _number("a percentage", 1, 99)
    return Rule(
        expected=f"a percentage from 1 to {as_text(most)} (up to 99 with CEILING_OVERRIDE=true)",
        parse=_number("", 1, most).parse,
        overridden=overridden,
    )


def _choice(words: Mapping[str, T]) -> Rule[T]:
    def parse(text: str) -> T:
        try:
            return words[text.lower()]
        except KeyError as exc:
            raise ValueError(text) from exc

    return Rule(expected=f"one of {', '.join(words)}", parse=parse)


def _one_of(*words: str) -> Rule[str]:
    return _choice({word: word for word in words})


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as exc:  # no such user, or a user without a home
        raise ValueError(text) from exc


def _absolute_path(text: str) -> Path:
    path = _path(text)
    if not path.is_absolute():
        raise ValueError(text)
    return path


def _address(text: str) -> str:
    is_loopback(text)  # raises ValueError where it is no address
    return text


def _words(text: str) -> frozenset[str]:
    words = [word.strip().casefold() for word in text.split(",")]
    if not all(re.fullmatch(r"[a-z0-9._-]{1,32}", word) for word in words):
        raise ValueError(text)
    return frozenset(words)


_GB = _number("a number of GB", 0, 1048576, above=True)
_SWITCH = _choice(
    dict.fromkeys(("true", "yes", "on", "1"), True)
    | dict.fromkeys(("false", "no", "off", "0"), False)
)
_PLATFORM = _one_of(
    *("auto", "windows", "macos", "linux_generic", "centos", "rhel", "rocky", "alma", "ubuntu"),
    *("debian", "kylin", "openeuler", "anolis", "alinux", "tencentos", "fedora", "suse", "amazon"),
)
_ABSOLUTE = Rule(expected="an absolute path", parse=_absolute_path)
_WORKSPACE = Rule(expected="a path", parse=lambda text: Path(os.path.abspath(_path(text))))
_ADDRESS = Rule(expected="an IP address or localhost", parse=_address)
_WORDS = Rule(
    expected="filesystem types, removable or thin, with commas between them", parse=_words
)
_WINDOWS = Rule(
    expected="windows of minute hour day month weekday duration zone, with ; between them",
    parse=schedule.parse,
    explains=True,
)
_STATISTIC = Rule(
    expected=(
        "mean, peak, or a percentile such as p95 or p99.5, and days from 1d to 366d if they "
        "differ, for all or by resource; none: not judged"
    ),
    parse=AskedEach.parse,
)
_SECRET = Rule(expected="one line of text", parse=str, secret=True)


def _key(default: T, rule: Rule[T]) -> T:
    return field(default=default, metadata={"rule": rule, "example": as_text(default)})


def _optional(rule: Rule[T], example: str) -> T | None:
    metadata = {"rule": rule, "example": example}
    return field(default=None, repr=not rule.secret, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One field for each key, which is the field's name in upper case.

    Values are in the units of the file: percent (not ratios), GB (GiB), MB
    (MiB), days, seconds. None means that the key is empty; what then holds is
    said in config/optimizer.env.example, the reference of all keys.
    """

    small_memory_max: float = _key(8.0, _GB)
    large_memory_min: float = _key(16.0, _GB)
    target_utilization_small: float = _key(25.0, _target(90))
    target_utilization_large: float = _key(40.0, _target(90))
    medium_target: float | None = _optional(_target(90), "32.5")
    target_cpu: float | None = _optional(_target(90), "40")
    target_memory: float | None = _optional(_target(85), "40")
    target_disk: float | None = _optional(_target(80), "40")
    cpu_ceiling: float = _key(90.0, _ceiling(90))
    memory_ceiling: float = _key(85.0, _ceiling(85))
    disk_ceiling: float = _key(80.0, _ceiling(80))
    ceiling_override: bool = _key(False, _SWITCH)
    monitor_period_days: int = _key(30, _whole(" of days", 1, 366))
    policy: str = _key(
        "regulated-cloud", _one_of("regulated-cloud", "oracle-always-free", "custom")
    )
    statistic: AskedEach | None = _optional(_STATISTIC, "cpu p95 7d, memory mean, disk none")
    combination: Combination | None = _optional(
        _choice({one.value: one for one in Combination}), "break_any"
    )
    strategy: Strategy = _key(Strategy.HOLD, _choice({one.value: one for one in Strategy}))
    catch_up_max_points: float = _key(10.0, _number("a number of percentage points", 0, 90))
    economy_margin_points: float = _key(0.3, _number("a number of percentage points", 0.05, 10))
    gap_policy: Gaps = _key(Gaps.UNKNOWN, _choice({one.value: one for one in Gaps}))
    withdraw_minutes: float = _key(5.0, _number("a number of minutes", 0, 60))
    check_interval_seconds: float = _key(60.0, _number("a number of seconds", 1, 3600))
    memory_metric: MemoryMetric = _key(
        MemoryMetric.AVAILABLE, _choice({metric.value: metric for metric in MemoryMetric})
    )
    cpu_scope: CapacityScope = _key(
        CapacityScope.AUTO, _choice({scope.value: scope for scope in CapacityScope})
    )
    cpu_count_steal: bool = _key(False, _SWITCH)
    cpu_steal_max: float = _key(5.0, _number("a percentage", 0, 100))
    cpu_own_hours_max: float | None = _optional(_number("a number of core-hours", 0, 1e6), "4.8")
    memory_scope: CapacityScope = _key(
        CapacityScope.AUTO, _choice({scope.value: scope for scope in CapacityScope})
    )
    host_proc: Path | None = _optional(_ABSOLUTE, "/host/proc")
    memory_shard_max: float = _key(4.0, _number("a number of GB", 0.0625, 64))
    memory_rise_mb_per_minute: float = _key(
        1024.0, _number("a number of MB per minute", 1, 1048576)
    )
    disk_rise_mb_per_second: float = _key(256.0, _number("a number of MB per second", 1, 1048576))
    hold_off_seconds: float = _key(300.0, _number("a number of seconds", 0, 86400))
    maintenance_windows: tuple[schedule.Window, ...] | None = _optional(_WINDOWS, schedule.EXAMPLE)
    data_disk_only: bool = _key(True, _SWITCH)
    disk_stress_path: Path | None = _optional(_ABSOLUTE, "/data")
    disk_allow: frozenset[str] | None = _optional(_WORDS, "removable,thin")
    platform: str = _key("auto", _PLATFORM)
    workspace_dir: Path | None = _optional(_WORKSPACE, "/opt/optimizer")
    log_dir: Path | None = _optional(_ABSOLUTE, "/var/log/optimizer")
    config_dir: Path | None = _optional(_ABSOLUTE, "/etc/optimizer")
    glances_enabled: bool = _key(True, _SWITCH)
    glances_bind: str = _key("127.0.0.1", _ADDRESS)
    glances_port: int = _key(61208, _whole("", 1, 65535))
    glances_password: str | None = _optional(_SECRET, "...")
    glances_refresh_interval: int = _key(2, _whole(" of seconds", 1, 60))
    log_level: str = _key("info", _one_of("debug", "info", "warning", "error"))
    log_max_mb: int = _key(10, _whole(" of MB", 1, 1024))
    log_total_mb: int = _key(100, _whole(" of MB", 1, 1048576))
    log_keep_days: int = _key(30, _whole(" of days", 1, 3660))


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key: the rule for its values, its default, and a value to show in a remedy."""

    name: str
    rule: Rule[Any]
    default: object
    example: str


KEYS: Mapping[str, Key] = MappingProxyType(
    {
        one.name.upper(): Key(
            name=one.name.upper(),
            rule=one.metadata["rule"],
            default=one.default,
            example=one.metadata["example"],
        )
        for one in fields(Settings)
    }
)
"""Every key that has an effect, in the order of the fields."""


def contradictions(
    settings: Settings, faulty: set[str], said: Callable[[str], str]
) -> Iterator[str]:
    """Faults that lie between keys; pairs with a key in `faulty` are left out.

    `said(key)` gives the key with its value and where that comes from.
    """
    s = settings
    sizes = {"SMALL_MEMORY_MAX", "LARGE_MEMORY_MIN"}
    if s.small_memory_max >= s.large_memory_min and not faulty & sizes:
        yield (
            f"{said('SMALL_MEMORY_MAX')}: must be below {said('LARGE_MEMORY_MIN')}; "
            "write for example SMALL_MEMORY_MAX=8 and LARGE_MEMORY_MIN=16"
        )
    yield from _targets_above_ceilings(s, faulty, said)
    for name in ("STATISTIC", "COMBINATION"):
        given = getattr(s, name.lower()) is not None
        if given and s.policy != "custom" and not faulty & {name, "POLICY"}:
            yield (
                f"{said(name)}: has no effect with {said('POLICY')}, which says that itself; "
                f"leave it empty, or write POLICY=custom"
            )
    if s.log_total_mb < s.log_max_mb and not faulty & {"LOG_TOTAL_MB", "LOG_MAX_MB"}:
        yield (
            f"{said('LOG_TOTAL_MB')}: must not be below {said('LOG_MAX_MB')}, the size of one "
            f"file; write for example LOG_TOTAL_MB={10 * s.log_max_mb}"
        )
    exposed = "GLANCES_BIND" not in faulty and not is_loopback(s.glances_bind)
    if exposed and s.glances_password is None and "GLANCES_PASSWORD" not in faulty:
        yield (
            f"{said('GLANCES_BIND')}: other hosts can reach this address, so GLANCES_PASSWORD "
            "must not be empty; set it, or write GLANCES_BIND=127.0.0.1"
        )


def _targets_above_ceilings(
    settings: Settings, faulty: set[str], said: Callable[[str], str]
) -> Iterator[str]:
    for resource in ("CPU", "MEMORY", "DISK"):
        own, ceiling = f"TARGET_{resource}", f"{resource}_CEILING"
        limit: float = getattr(settings, ceiling.lower())
        if faulty & {own, ceiling}:
            continue
        overridden = getattr(settings, own.lower()) is not None
        shared = ("TARGET_UTILIZATION_SMALL", "MEDIUM_TARGET", "TARGET_UTILIZATION_LARGE")
        for name in (own,) if overridden else shared:
            target: float | None = getattr(settings, name.lower())
            if name in faulty or target is None or target <= limit:
                continue
            because = "" if overridden else f", for {own} is empty"
            instead = f"raise {ceiling}" if overridden else f"set {own}"
            yield (
                f"{said(name)}: must not be above {said(ceiling)}{because}; "
                f"write for example {name}={as_text(limit)}, or {instead}"
            )
