"""Looks at the history's file, beside a running daemon or without one; never writes."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from optimizer.adapters.history_file import DAY_S, FILE_ERRORS, is_damage, refuse_newer
from optimizer.directories import HISTORY_NAME
from optimizer.errors import HistoryError
from optimizer.examine import processes
from optimizer.examine.subject import Subject
from optimizer.report.doctor import Finding
from optimizer.report.doctor_history import History, history

CHECK_S = 2.0
"""How long a check may take; a file of 30 days of minutes takes 0.05 s."""
_STEPS = 1000
_TIMEOUT_S = 1.0
_ROWS = """
    SELECT COUNT(*), MIN(utc_s), MAX(utc_s) FROM sample WHERE utc_s <= :now
"""
_KNOWN = """
    SELECT TOTAL(MIN(span_s, 86400)) FROM sample WHERE utc_s > :start AND utc_s <= :now
"""
_FUTURE = "SELECT COUNT(*), MAX(utc_s) FROM sample WHERE utc_s > :now + 60"
_GAP = """
    SELECT end_s, length_s FROM (
        SELECT LAG(utc_s) OVER (ORDER BY utc_s) AS end_s,
               utc_s - span_s - LAG(utc_s) OVER (ORDER BY utc_s) AS length_s
        FROM sample WHERE utc_s > :start AND utc_s <= :now)
    ORDER BY length_s DESC LIMIT 1
"""


def examine_history(subject: Subject) -> list[Finding]:
    """Whether it is there, sound, and written."""
    path, pid = subject.directories.state / HISTORY_NAME, subject.pid
    facts = History(
        path=str(path),
        now_utc_s=subject.now_utc_s,
        interval_s=subject.settings.check_interval_seconds,
        days=subject.settings.monitor_period_days,
        runs=subject.holder is not None,
        runs_s=(processes.up_s(pid) if pid is not None else None) or 0.0,
        exists=_exists(path),
        aside=_aside(path),
    )
    if facts.exists is None:
        facts = replace(facts, error="its directory may be looked into by its owner only")
    return history(_read(facts, path) if facts.exists else facts)


def _exists(path: Path) -> bool | None:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return True


def _aside(path: Path) -> tuple[str, ...]:
    try:
        found = sorted(str(one) for one in path.parent.glob(f"{path.name}.damaged-*"))
    except OSError:
        return ()
    return tuple(name for name in found if not name.endswith(("-wal", "-shm", "-journal")))


def _read(facts: History, path: Path) -> History:
    try:
        facts = replace(facts, size_bytes=path.stat().st_size, writable=_writable(path))
        with closing(sqlite3.connect(_uri(path, facts), uri=True, timeout=_TIMEOUT_S)) as db:
            refuse_newer(db, path)
            facts = _checked(facts, db)
            return facts if facts.damage else _counted(facts, db)
    except HistoryError as exc:
        return replace(facts, newer=str(exc))
    except FILE_ERRORS as exc:
        if is_damage(exc):
            return replace(facts, damage=str(exc))
        return replace(facts, error=str(exc))


def _uri(path: Path, facts: History) -> str:
    """Read only; where nobody writes, without even the side files that a reader makes."""
    untouched = not facts.runs and not os.path.exists(f"{path}-wal")
    return f"{path.absolute().as_uri()}?{'immutable=1' if untouched else 'mode=ro'}"


def _writable(path: Path) -> bool:
    """Whether its owner may write it; as another user that is all that can be told."""
    status = path.stat()
    if os.access(path, os.W_OK):
        return True
    foreign = sys.platform != "win32" and status.st_uid != os.geteuid()
    return foreign and bool(status.st_mode & 0o200)


def _checked(facts: History, db: sqlite3.Connection) -> History:
    until_s = time.monotonic() + CHECK_S
    db.set_progress_handler(lambda: time.monotonic() > until_s, _STEPS)
    try:
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return replace(facts, checked=False)
    finally:
        db.set_progress_handler(None, 0)
    return facts if verdict == "ok" else replace(facts, damage=str(verdict))


def _counted(facts: History, db: sqlite3.Connection) -> History:
    now_utc_s = facts.now_utc_s
    rows, first, last = db.execute(_ROWS, {"now": now_utc_s}).fetchone()
    future, future_utc_s = db.execute(_FUTURE, {"now": now_utc_s}).fetchone()
    span = {"start": now_utc_s - facts.days * DAY_S, "now": now_utc_s}
    known_s = db.execute(_KNOWN, span).fetchone()[0]
    gap = db.execute(_GAP, span).fetchone()
    return replace(
        facts,
        rows=rows,
        first_utc_s=first,
        last_utc_s=last,
        known_s=known_s,
        gap=(float(gap[0]), float(gap[1])) if gap and gap[0] is not None else None,
        future=future,
        future_utc_s=future_utc_s,
    )


def last_utc_s(state: Path) -> float | None:
    """The time of the last row, also one of the future; None where it cannot be read."""
    path = state / HISTORY_NAME
    try:
        if not path.exists():
            return None
        mode = "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1"
        uri = f"{path.absolute().as_uri()}?{mode}"
        with closing(sqlite3.connect(uri, uri=True, timeout=_TIMEOUT_S)) as db:
            found = db.execute("SELECT MAX(utc_s) FROM sample").fetchone()[0]
    except FILE_ERRORS:
        return None
    return None if found is None else float(found)
