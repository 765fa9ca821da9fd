"""What a Prometheus server knows of a host from its node_exporter.

Source: node_exporter 1.5; and of query_range, that an answer has at most
11,000 points of each series.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from optimizer.adapters.foreign_row import foreign_row
from optimizer.adapters.history_text import shown
from optimizer.adapters.prometheus import Prometheus, Series
from optimizer.errors import SourceError
from optimizer.orders import MemoryMetric
from optimizer.outcome import HistoryRow

MOST_POINTS = 10_000
"""Of each series an answer; Prometheus refuses more than 11,000."""
CHUNK_S = 86_400
_MEMORY = {
    MemoryMetric.AVAILABLE: ("MemAvailable",),
    MemoryMetric.NOCACHE: ("MemFree", "Buffers", "Cached", "SReclaimable", "Shmem"),
    MemoryMetric.FREE: ("MemFree",),
}
"""What a metric is made of, beside MemTotal."""
_SPECIAL = re.compile(r"([.\\+*?()\[\]{}|^$])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Whose figures are asked for, and how they are to be counted.

    `instance` is the label, with or without its port; a row is made each
    `step_s` seconds; `mounts` are the mount points that count as the disk.
    """

    instance: str
    step_s: int
    metric: MemoryMetric
    count_steal: bool
    mounts: Sequence[str]


def read(
    server: Prometheus,
    asked: Asked,
    from_utc_s: float,
    to_utc_s: float,
    *,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[HistoryRow]:
    """A row for each step of that time in which anything new was scraped, by time.

    It lasts since the one before, so longer where scrapes are rarer than steps.
    The CPU is what its counters have gained meanwhile; a gap or a restart makes
    it unknown. Memory and disk are as at the step.
    """
    step = asked.step_s
    first, last = math.ceil(from_utc_s / step) * step, math.floor(to_utc_s / step) * step
    per_chunk = max(1, min(CHUNK_S // step, MOST_POINTS - 1)) * step
    starts = range(first, last + 1, per_chunk)
    cpu: dict[int, tuple[float, float, float]] = {}
    memory: dict[int, float] = {}
    disk: dict[int, float] = {}
    for done, start in enumerate(starts):
        progress(done, len(starts))
        # A step earlier, for the counters' gain; the ends of chunks are asked for once.
        span = (start - step if not done else start, min(start + per_chunk - step, last), step)
        cpu |= _cpu(server.series(_cpu_query(asked), *span), asked)
        memory |= _memory(server.series(_memory_query(asked), *span), asked)
        if asked.mounts:
            disk |= _disk(server.series(_disk_query(asked), *span), asked)
    if not cpu and not memory:
        known = ", ".join(map(shown, server.instances()[:10])) or "none"
        raise SourceError(
            f"the server has no node_exporter metrics of instance {shown(asked.instance)} in that "
            f"time; the instances that it knows: {known}"
        )
    return list(_rows(range(first, last + 1, step), step, cpu, memory, disk))


def _rows(
    times: Sequence[int],
    step: int,
    cpu: Mapping[int, tuple[float, float, float]],
    memory: Mapping[int, float],
    disk: Mapping[int, float],
) -> Iterator[HistoryRow]:
    before = times[0] - step if times else 0
    for now in times:
        span, busy, steal = step, None, None
        if before in cpu and now in cpu:
            total, idle, stolen = (b - a for a, b in zip(cpu[before], cpu[now], strict=True))
            if total == 0:
                # Nothing has been scraped since: the server repeats what it knew for five minutes.
                continue
            span = now - before
            if total > 0 and stolen >= 0:
                busy, steal = 1 - idle / total, stolen / total
        before = now
        used, filled = memory.get(now), disk.get(now)
        row = foreign_row(now, float(span), cpu=busy, steal=steal, memory=used, disk=filled)
        if row is not None:
            yield row


def _who(asked: Asked) -> str:
    """The matcher of the instance, with whatever port where none is given."""
    port = "" if re.search(r":\d+$", asked.instance) else "(:[0-9]+)?"
    return f"instance=~{_quoted(_literal(asked.instance) + port)}"


def _literal(text: str) -> str:
    """A regular expression of RE2 that matches only this text."""
    return _SPECIAL.sub(r"\\\1", text)


def _quoted(text: str) -> str:
    """A string of PromQL."""
    return json.dumps(text, ensure_ascii=False)


def _cpu_query(asked: Asked) -> str:
    return f"sum by (instance, mode) (node_cpu_seconds_total{{{_who(asked)}}})"


def _memory_query(asked: Asked) -> str:
    names = "|".join(("MemTotal", *_MEMORY[asked.metric]))
    return f'{{__name__=~"node_memory_({names})_bytes",{_who(asked)}}}'


def _disk_query(asked: Asked) -> str:
    names = "node_filesystem_(size|free|avail)_bytes"
    mounts = _quoted("|".join(map(_literal, asked.mounts)))
    return f'{{__name__=~"{names}",mountpoint=~{mounts},{_who(asked)}}}'


def _cpu(found: Sequence[Series], asked: Asked) -> dict[int, tuple[float, float, float]]:
    """All, idle and stolen seconds since the boot, by time."""
    _only_one(found, asked)
    sums: dict[int, list[float]] = {}
    idle = {"idle", "iowait"} | (set() if asked.count_steal else {"steal"})
    for labels, points in found:
        mode = labels.get("mode")
        for second, value in points.items():
            of = sums.setdefault(second, [0.0, 0.0, 0.0])
            of[0] += value
            of[1] += value * (mode in idle)
            of[2] += value * (mode == "steal")
    return {second: (total, rest, steal) for second, (total, rest, steal) in sums.items()}


def _memory(found: Sequence[Series], asked: Asked) -> dict[int, float]:
    _only_one(found, asked)
    by_name = {
        labels.get("__name__", "").removeprefix("node_memory_").removesuffix("_bytes"): points
        for labels, points in found
    }
    names = _MEMORY[asked.metric]
    if not {"MemTotal", *names} <= by_name.keys():
        return {}
    ratios = {}
    for second, total in by_name["MemTotal"].items():
        of = [by_name[name].get(second) for name in names]
        if total > 0 and None not in of:
            left = sum(value or 0.0 for value in of)
            # Shared memory is counted as cached, but is in use.
            left -= 2 * (of[names.index("Shmem")] or 0.0) if "Shmem" in names else 0.0
            ratios[second] = 1 - left / total
    return ratios


def _disk(found: Sequence[Series], asked: Asked) -> dict[int, float]:
    """sum(used) / sum(used + available) over the mount points, where all that exist are known."""
    _only_one(found, asked)
    by_mount: dict[str, dict[str, Mapping[int, float]]] = {}
    for labels, points in found:
        name = labels.get("__name__", "").removeprefix("node_filesystem_").removesuffix("_bytes")
        by_mount.setdefault(labels.get("mountpoint", ""), {})[name] = points
    sums: dict[int, list[float]] = {}
    for of in by_mount.values():
        for second, size in of.get("size", {}).items():
            free, available = (of.get(name, {}).get(second) for name in ("free", "avail"))
            if free is not None and available is not None:
                one = sums.setdefault(second, [0.0, 0.0, 0])
                one[0] += size - free
                one[1] += size - free + available
                one[2] += 1
    return {
        second: used / usable
        for second, (used, usable, count) in sums.items()
        if usable > 0 and count == len(by_mount)
    }


def _only_one(found: Sequence[Series], asked: Asked) -> None:
    seen = sorted({labels.get("instance", "") for labels, _ in found})
    if len(seen) > 1:
        raise SourceError(
            f"{len(seen)} instances match {shown(asked.instance)}: {', '.join(map(shown, seen))}; "
            "name one of them with --instance"
        )
