"""What sar has recorded: the output of `sadf -j` and `sadf -d`, and binary files through sadf(1).

Sources: sadf(1), sar(1) and inisar/json_stats.c of sysstat 12.6.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from optimizer.adapters.history_text import LONGEST_SPAN_S, shown
from optimizer.errors import SourceError

BINARY_MAGIC = (b"\x96\xd5", b"\xd5\x96")
"""The first bytes of a binary sa file, SYSSTAT_MAGIC in either byte order."""
TEXT_HEAD = "# hostname;interval;timestamp"
JSON_HEAD = '{"sysstat"'
TIMEOUT_S = 120.0
ACTIVITIES = (("-u", "-r", "ALL", "-F", "MOUNT"), ("-u", "-r"))
"""What sadf is asked for; the second is for sysstat before 11.5."""
_TEXT_NAMES = {
    "%idle": "idle",
    "%iowait": "iowait",
    "%steal": "steal",
    "kbmemfree": "memfree",
    "kbavail": "avail",
    "kbmemused": "memused",
    "%memused": "memused-percent",
    "kbbuffers": "buffers",
    "kbcached": "cached",
    "kbslab": "slab",
    "MBfsfree": "MBfsfree",
    "MBfsused": "MBfsused",
    "%ufsused": "%ufsused",
}
"""The columns of `sadf -d` by their names in `sadf -j`."""
_TIME_CHARS = len("2026-11-21 18:00:00")


@dataclass(slots=True)
class Moment:
    """What sar tells of one interval; a part is empty where it tells nothing."""

    span_s: float
    cpu: Mapping[str, float] = field(default_factory=dict)
    memory: Mapping[str, float] = field(default_factory=dict)
    disks: dict[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(slots=True)
class Recording:
    """All that was read from some files of one host, by the second in which an interval ended."""

    moments: dict[int, Moment] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    hosts: dict[str, str] = field(default_factory=dict)
    """Each host that was seen, with the source that named it first."""

    def at(self, utc_s: int, span_s: float) -> Moment:
        """The moment of that second."""
        return self.moments.setdefault(utc_s, Moment(span_s))


def read_json(text: str, name: str, into: Recording) -> None:
    """Take in the output of `sadf -j`; raises SourceError when it is none."""
    try:
        hosts = json.loads(text)["sysstat"]["hosts"]
        for host in hosts:
            node = host["nodename"]
            into.hosts.setdefault(node if isinstance(node, str) else shown(node), name)
            for number, entry in enumerate(host["statistics"], 1):
                try:
                    _take(entry, into)
                except (KeyError, TypeError, ValueError) as exc:
                    said = f"no {exc}" if isinstance(exc, KeyError) else str(exc)
                    into.faults.append(f"{name}, statistics entry {number}: {said}")
    except (ValueError, RecursionError) as exc:
        raise SourceError(
            f"{name}: {exc}; is the file cut off? Write it again with `sadf -j FILE -- -u -r ALL`"
        ) from exc
    except (KeyError, TypeError, AttributeError) as exc:
        raise SourceError(
            f"{name}: it has no sysstat.hosts[].statistics ({exc}); write it with "
            "`sadf -j FILE -- -u -r ALL`"
        ) from exc


def _take(entry: Mapping[str, object], into: Recording) -> None:
    if not isinstance(entry, Mapping) or not isinstance(entry["timestamp"], Mapping):
        raise ValueError(f"{shown(entry)} has no timestamp")  # noqa: TRY004 - of the text
    stamp = entry["timestamp"]
    moment = into.at(_utc_of(stamp), _span(stamp["interval"]))
    for one in _items(entry.get("cpu-load")):
        if one.get("cpu") == "all":
            moment.cpu = _numbers(one, ("idle", "iowait", "steal"))
    memory = entry.get("memory")
    if isinstance(memory, Mapping):
        names = ("memfree", "avail", "memused", "memused-percent", "buffers", "cached", "slab")
        moment.memory = _numbers(memory, names)
    for one in _items(entry.get("filesystems")):
        place = one.get("mountpoint") or one.get("filesystem")
        if isinstance(place, str):
            moment.disks[place] = _numbers(one, ("MBfsfree", "MBfsused", "%ufsused"))


def _items(value: object) -> list[Mapping[str, object]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _utc_of(stamp: Mapping[str, object]) -> int:
    if stamp.get("utc") != 1:
        raise ValueError(
            f"the time {shown(stamp.get('time'))} is local time without a zone; run sadf without -T"
        )
    return _utc(f"{stamp['date']} {stamp['time']} UTC")


def _utc(text: str) -> int:
    """Seconds of `2026-11-21 18:00:00 UTC`, or of a number."""
    plain = text.removesuffix(" UTC")
    try:
        if text.isdecimal():
            return int(datetime.fromtimestamp(int(text), tz=UTC).timestamp())
        if plain != text and len(plain) == _TIME_CHARS:
            return int(datetime.fromisoformat(plain).replace(tzinfo=UTC).timestamp())
    except (ValueError, OverflowError, OSError):
        pass
    raise ValueError(f"{shown(text)} is no time with its zone; run sadf without -T")


def _span(value: object) -> float:
    try:
        span_s = float(str(value))
    except ValueError:
        span_s = math.nan
    if not 0 < span_s <= LONGEST_SPAN_S:
        raise ValueError(f"the interval {shown(value)} is no number of seconds up to a day")
    return span_s


def _numbers(of: Mapping[str, object], names: Iterable[str]) -> dict[str, float]:
    """The finite numbers of at least 0 under these names, those that are there."""
    found: dict[str, float] = {}
    for name in names:
        if name not in of:
            continue
        try:
            value = float(str(of[name]))
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} {shown(of[name])} is no number of at least 0")
        found[name] = value
    return found


def read_text(lines: Iterable[str], name: str, into: Recording) -> None:
    """Take in the output of `sadf -d`, several tables below each other too."""
    columns: list[str] = []
    for number, line in enumerate(lines, 1):
        cells = line.rstrip("\r\n").split(";")
        if line.startswith("#"):
            columns = line[1:].strip().split(";")
        elif line.strip() and not _is_remark(cells):
            try:
                _take_text(columns, cells, name, into)
            except ValueError as exc:
                into.faults.append(f"{name}, line {number}: {exc}")


def _is_remark(cells: Sequence[str]) -> bool:
    """A restart, or a comment that somebody has left."""
    return len(cells) > 3 and cells[3].startswith(("LINUX-RESTART", "COM"))


def _take_text(columns: Sequence[str], cells: Sequence[str], name: str, into: Recording) -> None:
    if columns[:3] != ["hostname", "interval", "timestamp"]:
        raise ValueError(f"no header before {shown(';'.join(cells))}; run sadf -d without -h")
    if len(cells) != len(columns):
        raise ValueError(
            f"{len(cells)} columns where the header has {len(columns)}; is the line cut off?"
        )
    named = dict(zip(columns, cells, strict=True))
    into.hosts.setdefault(named["hostname"], name)
    utc_s, span_s = _utc(named["timestamp"]), _span(named["interval"])
    figures = _numbers({_TEXT_NAMES.get(c, ""): v for c, v in named.items()}, _TEXT_NAMES.values())
    if "CPU" in named:
        if named["CPU"] in {"-1", "all"}:
            into.at(utc_s, span_s).cpu = figures
    elif "kbmemfree" in named:
        into.at(utc_s, span_s).memory = figures
    elif place := named.get("MOUNTPOINT") or named.get("FILESYSTEM"):
        into.at(utc_s, span_s).disks[place] = figures


def read_binary(path: Path, into: Recording, program: str = "sadf") -> None:
    """Take in a binary sa file through sadf(1); raises SourceError when that cannot be done."""
    found = shutil.which(program)
    if found is None:
        raise SourceError(
            f"{path} is a binary sysstat file, and sadf is not installed: install sysstat "
            f"(apt install sysstat), or run `sadf -j {path.name} -- -u -r ALL -F MOUNT > FILE` "
            "where it was written and give FILE"
        )
    said = ""
    for activities in ACTIVITIES:
        command = [found, "-j", str(path.absolute()), "--", *activities]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
                env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise SourceError(f"{path}: sadf failed: {exc}") from exc
        if done.returncode == 0:
            read_json(done.stdout.decode(errors="replace"), str(path), into)
            return
        said = said or (done.stderr or done.stdout).decode(errors="replace").strip()[:300]
    raise SourceError(
        f"{path}: sadf ended with {done.returncode}: {said or 'no message'}; a file of another "
        f"version of sysstat may need `sadf -c {path} > NEW`, then give NEW"
    )
