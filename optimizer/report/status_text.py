"""Renders status.json for people: a few short lines for Glances, a table for a terminal.

Pure. A missing or senseless value is unknown and shown as a dash. Nothing
that comes from outside can be taken for an instruction by a terminal or a web
page.
"""

from __future__ import annotations

from collections.abc import Mapping

from optimizer.model import Reason, Resource
from optimizer.report import orders_text
from optimizer.report.fields import UNKNOWN as _UNKNOWN
from optimizer.report.fields import clean as _clean
from optimizer.report.fields import mapping as _mapping
from optimizer.report.fields import number as _number
from optimizer.report.fields import text as _text
from optimizer.report.fields import texts as _texts
from optimizer.report.fields import time as _time
from optimizer.report.outlook_text import outlook_words, policy_words

LINE_CHARS = 45
"""Longest line for Glances: its page wraps longer ones. Measured with Glances 4.5.8."""
_NO_MARKUP = str.maketrans("<>&\"'`", "??????")

SENTENCES: dict[Reason, str] = {
    Reason.HOLDING: "own load carries the difference between the tenant and the setpoint",
    Reason.RISING: "below the setpoint, rising as fast as the slew-rate limit allows",
    Reason.TENANT_ABOVE: "the tenant alone reaches the setpoint, so nothing is added",
    Reason.CEILING: "a ceiling keeps it below what the setpoint asks for",
    Reason.FLOOR: "what must stay free keeps it below what the setpoint asks for",
    Reason.CPU_LIMITED: "affinity, a cpuset or a quota leaves too little CPU for the setpoint",
    Reason.THROTTLED: "the CPU quota ran out while load ran, so less is added for a while",
    Reason.STEAL: "the hypervisor takes more than CPU_STEAL_MAX, so less is added for a while",
    Reason.OWN_HOURS: "CPU_OWN_HOURS_MAX is reached, so nothing is added until 00:00 UTC",
    Reason.HOLD_OFF: "no growth for a while, after a floor was touched or a stresser was killed",
    Reason.PRESSURE: "memory ran short on this host, so all was given back for a while",
    Reason.REFUSED: "the filesystem gives no more now: a quota, for example",
    Reason.RELEASED: "an operator asked for the filesystem: optimizer resume",
    Reason.INHIBITED: "paused by an operator, a maintenance window or the recovery tool",
    Reason.MEASURING: "only measuring, after the start or after a gap in time",
    Reason.NO_READING: "the sensor failed, so nothing is raised, and after a while all is released",
    Reason.NO_TARGET: "the target is 0, so it is only watched",
    Reason.NO_DATA_DISK: "DATA_DISK_ONLY is on and the host has no data disk",
    Reason.NO_DISK: "no filesystem is eligible to be held",
    Reason.SPARED: "the plan needs no more of it now",
    Reason.TAKING_TURNS: "the host shows pressure, so another resource rises first",
    Reason.STRESSER_DOWN: "the stresser ended and waits for its next start",
    Reason.STRESSER_TRIPPED: "the stresser ended too often and stays off: optimizer resume",
}
"""What each reason means, in words."""

WORDS: dict[Reason, str] = {
    Reason.HOLDING: "holding",
    Reason.RISING: "rising",
    Reason.TENANT_ABOVE: "tenant",
    Reason.CEILING: "ceiling",
    Reason.FLOOR: "floor",
    Reason.CPU_LIMITED: "limited",
    Reason.THROTTLED: "throttled",
    Reason.STEAL: "steal",
    Reason.OWN_HOURS: "own hours",
    Reason.HOLD_OFF: "hold-off",
    Reason.PRESSURE: "pressure",
    Reason.REFUSED: "refused",
    Reason.RELEASED: "released",
    Reason.INHIBITED: "paused",
    Reason.MEASURING: "measuring",
    Reason.NO_READING: "unread",
    Reason.NO_TARGET: "watched",
    Reason.NO_DATA_DISK: "no disk",
    Reason.NO_DISK: "no disk",
    Reason.SPARED: "spared",
    Reason.TAKING_TURNS: "its turn",
    Reason.STRESSER_DOWN: "down",
    Reason.STRESSER_TRIPPED: "tripped",
}
"""The same in at most nine characters, so that three of them fit on one line."""

_SHORT = {Resource.CPU: "CPU", Resource.MEMORY: "Mem", Resource.DISK: "Disk"}


def lines(status: Mapping[str, object]) -> list[str]:
    """At most 5 lines of at most 45 ASCII characters, without < > & or quotes.

    One line a resource: now, own part, target and the mean of the period or the
    percentile that is judged, in percent. Then the reasons or the end of the
    pause, then the minute of the status and the number of warnings, and who
    paused and why or when the next maintenance window comes; the minute shows
    whether the page is fresh.
    """
    days = _number(status, "period_days")
    period = _UNKNOWN if days is None else f"{days:.0f}d"
    shown = [
        f"{_SHORT[resource]:<4} {_percent(of, 'now'):>6} own {_figure(of, 'own')}"
        f" goal {_figure(of, 'target')} {_judged(of) or period + ' ' + _percent(of, 'mean')}"
        for resource, of in _resources(status)
    ]
    warnings = len(_texts(status, "warnings"))
    now = _number(status, "updated_utc_s")
    count = f", warnings: {warnings}" if warnings else ""
    if inhibit := _mapping(status, "inhibit"):
        until, why = orders_text.short(inhibit, now)
        shown += [until, f"{_time(now)[5:]}{count}, by {why}"]
    else:
        last, window = f"{_time(now)}{count}", _next_window(status, now)
        room = len(last) + len(window) <= LINE_CHARS
        shown += [_reasons(status), last + window if room else last]
    return [_plain(line)[:LINE_CHARS] for line in shown]


def table(status: Mapping[str, object]) -> str:
    """The whole status for a terminal, with a line end at its end."""
    days = _number(status, "period_days")
    head = f"mean {days:.0f} d" if days is not None else "mean"
    rows = [
        f"{'':8}{'now':>8}{'organic':>9}{'own':>8}{'setpoint':>10}{'target':>8}"
        f"{head:>11}{'own mean':>10}{'coverage':>10}"
    ]
    rows += [
        f"{resource.value:8}{_percent(of, 'now'):>8}{_percent(of, 'organic'):>9}"
        f"{_percent(of, 'own'):>8}{_percent(of, 'setpoint'):>10}{_percent(of, 'target'):>8}"
        f"{_percent(of, 'mean'):>11}{_percent(of, 'own_mean'):>10}{_percent(of, 'coverage'):>10}"
        for resource, of in _resources(status)
    ]
    rows.append("")
    rows += [f"{resource.value:8}{_why(of)}" for resource, of in _resources(status)]
    rows.append("")
    updated = _number(status, "updated_utc_s")
    told = [(r, outlook_words(of, updated)) for r, of in _resources(status)]
    rows += [f"{resource.value:8}{_clean(words)}" for resource, words in told if words]
    if any(words for _, words in told):
        rows.append("")
    rows += [f"{name:9} {text}" for name, text in _facts(status)]
    return "\n".join(rows) + "\n"


def _facts(status: Mapping[str, object]) -> list[tuple[str, str]]:
    """The lines below the table: name and text."""
    facts = [
        (
            "daemon",
            f"pid {_whole(status, 'pid')} since {_time(_number(status, 'started_utc_s'))},"
            f" status of {_time(_number(status, 'updated_utc_s'), seconds=True)}",
        ),
        (
            "host",
            f"{_text(status, 'platform')}, {_text(status, 'host_class')},"
            f" {_figure_of(_number(status, 'nominal_memory_gb'))} GB,"
            f" {_whole(status, 'cpus')} CPUs, steal {_percent(status, 'steal')}",
        ),
    ]
    if status.get("policy"):
        facts.append(("policy", _clean(policy_words(status))))
    if aim := _clean(status.get("aim")):
        facts.append(("aim", aim))
    of = _mapping(_mapping(status, "resources"), Resource.MEMORY.value)
    if metrics := _mapping(of, "metrics"):
        facts.append(("memory", _formulas(metrics)))
    disk = _mapping(_mapping(status, "resources"), Resource.DISK.value)
    filesystems = disk.get("filesystems")
    if isinstance(filesystems, list):
        facts += [("disk", _filesystem(one)) for one in filesystems if isinstance(one, Mapping)]
    if cpu := _mapping(status, "cpu_scope"):
        facts.append(("cpu", _capacity(cpu)))
    hours = _mapping(status, "own_core_hours")
    if (limit := _number(hours, "limit")) is not None:
        used = _number(hours, "today")
        shown = _UNKNOWN if used is None else f"{used:.4g}"
        facts.append(("own hours", f"{shown} of {limit:.4g} core-hours used on this UTC day"))
    now = _number(status, "updated_utc_s")
    if inhibit := _mapping(status, "inhibit"):
        facts.append(("paused", orders_text.paused(inhibit, now)))
    windows = orders_text.windows(_mapping(status, "maintenance"), now)
    facts += [("window", text) for text in windows]
    for name in ("means", "missing"):
        for resource, of in _resources(status):
            items = _texts(of, name)
            if items:
                facts.append((name, f"{resource.value}: {', '.join(items)}"))
    history, glances = _mapping(status, "history"), _mapping(status, "glances")
    works = {True: ", works", False: ", FAILS"}[history.get("ok") is True]
    rows = f"{_text(history, 'path')}, {_whole(history, 'rows')} rows"
    facts.append(("history", rows + (works if "ok" in history else "")))
    page = [_text(glances, "state"), _clean(glances.get("url")), _clean(glances.get("message"))]
    facts.append(("glances", ", ".join(part for part in page if part)))
    config = _mapping(status, "config")
    if config:
        origin = _clean(config.get("file")) or "defaults, no file"
        message = _clean(config.get("message"))
        facts.append(("config", origin + (f": {message}" if message else "")))
    facts += [("warning", text) for text in _texts(status, "warnings")]
    return facts


def _judged(of: Mapping[str, object]) -> str:
    """`p95 24.1%` where something else than a mean is judged."""
    judged = _mapping(of, "judged")
    statistic = _clean(judged.get("statistic"))
    if statistic in {"", "mean"} or not _number(of, "target"):
        return ""
    return f"{statistic} {_percent(judged, 'ratio')}"


def _next_window(status: Mapping[str, object], now: float | None) -> str:
    """`, window in 5 h` where a maintenance window comes."""
    following = _mapping(_mapping(status, "maintenance"), "next")
    left = orders_text.ahead(_number(following, "start_utc_s"), now)
    return f", window {left}" if left else ""


def _capacity(cpu: Mapping[str, object]) -> str:
    """What the CPU's shares are of: `share of this container: 1.5 CPUs (4 online, ...)`."""
    whose = "this container" if _text(cpu, "scope") == "container" else "the host"
    quota = _number(cpu, "quota")
    parts = [
        f"{_whole(cpu, 'online')} online",
        f"{_whole(cpu, 'usable')} usable",
        "no quota" if quota is None else f"quota {quota:.4g}",
    ]
    capacity, reach = _number(cpu, "capacity"), _number(cpu, "reach")
    if capacity is not None and reach is not None and reach < capacity:
        parts.append(f"load limited to {reach:.4g}")
    share = _UNKNOWN if capacity is None else f"{capacity:.4g}"
    return f"shares are of {whose}: {share} CPUs ({', '.join(parts)})"


def _formulas(metrics: Mapping[str, object]) -> str:
    """The three ways to count memory: `by available 40.0% (own 35.2%), by nocache ...`."""
    return ", ".join(
        f"by {_clean(name)} {_percent(one, 'now')} (own {_figure(one, 'own')})"
        for name, one in metrics.items()
        if isinstance(one, Mapping)
    )


def _filesystem(one: Mapping[str, object]) -> str:
    """`/data 40.0% of 98.0 GB, own 12.1%, holding back: floor; read-only`."""
    size = _number(one, "size_bytes")
    parts = [
        f"{_text(one, 'mount')} {_percent(one, 'now')} of "
        f"{_figure_of(None if size is None else size / 2**30)} GB",
        f"own {_percent(one, 'own')}",
    ]
    if reason := _reason(one):
        parts.append(SENTENCES[reason])
    parts += [fault for fault in [_clean(one.get("fault"))] if fault]
    return ", ".join(parts)


def _why(of: Mapping[str, object]) -> str:
    reason = _reason(of)
    parts = [SENTENCES[reason] if reason else _UNKNOWN]
    parts += [f"at {place}" for place in [_clean(of.get("place"))] if place]
    parts += [note for note in [_clean(of.get("note"))] if note]
    return "; ".join(parts)


def _reasons(status: Mapping[str, object]) -> str:
    """The three reasons in one line, or one word when they agree."""
    found = [(_SHORT[r], WORDS[x] if (x := _reason(of)) else "-") for r, of in _resources(status)]
    if len({word for _, word in found}) == 1:
        return f"All {found[0][1]}"
    return ", ".join(f"{name} {word}" for name, word in found)


def _reason(of: Mapping[str, object]) -> Reason | None:
    try:
        return Reason(of.get("reason"))
    except ValueError:
        return None


def _resources(status: Mapping[str, object]) -> list[tuple[Resource, Mapping[str, object]]]:
    found = _mapping(status, "resources")
    return [(resource, _mapping(found, resource.value)) for resource in Resource]


def _percent(of: Mapping[str, object], key: str) -> str:
    ratio = _number(of, key)
    return _UNKNOWN if ratio is None else f"{ratio * 100:.1f}%"


def _figure(of: Mapping[str, object], key: str) -> str:
    return _percent(of, key).rstrip("%")


def _figure_of(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.1f}"


def _whole(of: Mapping[str, object], key: str) -> str:
    value = _number(of, key)
    return _UNKNOWN if value is None else f"{value:.0f}"


def _plain(line: str) -> str:
    return line.encode("ascii", "replace").decode("ascii").translate(_NO_MARKUP)
