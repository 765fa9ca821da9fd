"""Looks at the daemon without its help: lock, status, process, leftovers, orders."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from optimizer.adapters.cgroups import hierarchy, text_of
from optimizer.adapters.identity import stat_of
from optimizer.adapters.idle_group import NAME as GROUP_NAME
from optimizer.adapters.mountinfo import parse_mounts
from optimizer.adapters.releases import RELEASED_NAME, parse
from optimizer.adapters.roster import ROSTER_NAME
from optimizer.adapters.switch import INHIBIT_NAME, FileSwitch
from optimizer.directories import HISTORY_NAME, LOCK_NAME, STATUS_NAME
from optimizer.examine import log_lines, processes
from optimizer.examine.subject import PACKAGE, ROOT, Subject
from optimizer.report.doctor import Finding
from optimizer.report.doctor_daemon import DaemonFacts, Process, daemon
from optimizer.report.doctor_orders import Orders, orders

HOUR_S = 3600.0
STARTED = "daemon.started"
_MOST_BYTES = 65_536
_BEFORE_S = 60.0
_MOMENT_S = 1.5
"""A stresser outlives its daemon by milliseconds; a lease is up to three seconds."""


def examine_daemon(subject: Subject) -> list[Finding]:
    """Whether it runs, answers, and is alone."""
    pid = subject.pid
    seen = None if pid is None else stat_of(pid)
    up_s = None if pid is None else processes.up_s(pid)
    now_utc_s = subject.now_utc_s
    since_s = min(max(HOUR_S, (up_s or 0.0) + _BEFORE_S), log_lines.DAY_S)
    events = log_lines.recent(subject.directories.log, now_utc_s - since_s)
    starts = [event for event in events if event.get("event") == STARTED]
    lately = [e for e in starts if (log_lines.time_of(e) or 0.0) > now_utc_s - HOUR_S]
    last = log_lines.last(subject.directories.log)
    # With a higher LOG_LEVEL the log does not tell of an end in good order.
    told = last if subject.settings.log_level in {"debug", "info"} else {}
    recovery = ROOT / "recover/recover_system.py"
    runs = _code_of(pid, starts)
    exit_code = told.get("exit_code")
    return daemon(
        DaemonFacts(
            runtime=str(subject.directories.runtime),
            pid=pid if pid is not None else (0 if subject.holder is not None else None),
            unseen=subject.unseen,
            state="" if seen is None else seen.state,
            age_s=subject.age_s if subject.holder is not None else None,
            up_s=up_s,
            is_new=not os.path.exists(subject.directories.state / HISTORY_NAME) and not last,
            lock_left=os.path.exists(subject.directories.runtime / LOCK_NAME),
            last_word=str(told["event"]) if "event" in told else None,
            last_exit=exit_code if isinstance(exit_code, int) else None,
            starts=len(lately),
            processes=_ours(subject.directories.runtime),
            left=_left(subject),
            here=str(PACKAGE),
            runs=runs,
            code_age_s=_code_age_s(),
            recover=str(recovery) if recovery.exists() else "recover_system.py",
        )
    )


def _ours(runtime: Path) -> tuple[Process, ...]:
    """Our processes by mark and roster; one that is lost is looked at twice, a moment apart."""
    found = processes.known(runtime)
    if not any(process.lost for process in found):
        return found
    time.sleep(_MOMENT_S)
    before = {process.pid for process in found}
    return tuple(one for one in processes.known(runtime) if not one.lost or one.pid in before)


def _code_of(pid: int | None, starts: list[dict[str, object]]) -> str | None:
    """The folder of the program that the daemon says that it runs."""
    for event in reversed(starts):
        if pid is not None and event.get("pid") == pid:
            code = event.get("code")
            return code if isinstance(code, str) else None
    return None


def _code_age_s() -> float | None:
    """How long ago the newest of our files was changed."""
    try:
        newest = max(path.stat().st_mtime for path in PACKAGE.rglob("*.py"))
    except (OSError, ValueError):
        return None
    return time.time() - newest


def _left(subject: Subject) -> tuple[str, ...]:
    """What a daemon that was killed has left, when none runs on its directories."""
    left: list[str] = []
    if subject.holder is None and subject.unseen is None:
        runtime = subject.directories.runtime
        paths = (runtime / name for name in (LOCK_NAME, STATUS_NAME, ROSTER_NAME))
        left += [str(path) for path in paths if os.path.exists(path)]
    for group in groups():
        pid = group.name.removeprefix(f"{GROUP_NAME}.")
        if pid.isdecimal() and not os.path.exists(processes.PROC / pid):
            left.append(str(group))
    return tuple(left)


def groups() -> list[Path]:
    """The control groups of all daemons."""
    if sys.platform != "linux":
        return []
    try:
        mounts = parse_mounts(text_of(processes.PROC / "self/mountinfo"))
        found = hierarchy("cpu", mounts, text_of(processes.PROC / "self/cgroup"))
        parents = [] if found is None else list(dict.fromkeys((found.top, found.groups[-1])))
        return [group for parent in parents for group in sorted(parent.glob(f"{GROUP_NAME}.*"))]
    except OSError:
        return []


def examine_orders(subject: Subject) -> list[Finding]:
    """The inhibit file, the releases, and what the daemon says that it obeys."""
    state, now_utc_s = subject.directories.state, subject.now_utc_s
    path = state / INHIBIT_NAME
    order = subject.switch().inhibit(now_utc_s)
    if order is None:
        # Asked at the beginning of time, so that an order that has expired is told as well.
        order = FileSwitch(state).inhibit(float("-inf"))
    told = subject.status.get("inhibit") if subject.holder is not None else None
    shown = None
    if isinstance(told, dict):
        until = told.get("until_utc_s")
        until_utc_s = float(until) if isinstance(until, int | float) else None
        shown = (str(told.get("by")), str(told.get("reason")), until_utc_s)
    # Without the right to look into the directory nobody can tell whether there is a file.
    unseen = os.path.isdir(state) and not os.access(state, os.X_OK)
    if order is None or unseen:
        facts = Orders(
            now_utc_s=now_utc_s,
            path=str(path),
            shown=shown,
            unseen=unseen,
            released=_released(state),
        )
    else:
        facts = Orders(
            now_utc_s=now_utc_s,
            path=str(path),
            by=order.by,
            reason=order.reason,
            until_utc_s=order.until_utc_s,
            since_utc_s=order.since_utc_s,
            odd=order.reason.startswith("the inhibit file "),
            scheduled=order.scheduled,
            released=_released(state),
        )
    return orders(facts)


def _released(state: Path) -> tuple[tuple[str, float], ...]:
    try:
        with open(os.open(state / RELEASED_NAME, os.O_RDONLY), "rb") as file:
            asked = parse(file.read(_MOST_BYTES))
            return tuple((mount, order.until_utc_s) for mount, order in asked.items())
    except (OSError, ValueError, TypeError, OverflowError, RecursionError):
        return ()
