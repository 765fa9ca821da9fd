"""How long each query and form of the reports takes on a history, by default of 30 days of minutes.

A history of --rows rows, --interval seconds apart, is made in a temporary
directory; each line is the median, the fastest and the slowest of --repeat
runs, and the median of the CPU time, which other programs that run meanwhile
lengthen less.

    python -m benchmarks.history_speed [--rows 43200] [--interval 60] [--repeat 9]
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from optimizer.adapters.history_account import (
    columns,
    queries,
    read_account,
    read_last_day,
    values,
)
from optimizer.adapters.history_file import DAY_S, INSERT_ROW, SCHEMA_VERSION, begun, transaction
from optimizer.adapters.history_reading import read_events, read_means, reading
from optimizer.model import PerResource, Resource
from optimizer.orders import Floor, Goal, MemoryMetric, Policy, Statistic, Terms
from optimizer.report.account_json import document, table
from optimizer.report.account_text import text
from optimizer.report.assemble import Subject, assemble, reading_from
from optimizer.report.text_style import Style

GIB = 1 << 30
NOW_S = 1_795_284_633


def main() -> None:
    """Make the history, time everything, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=43_200)
    parser.add_argument("--interval", type=int, default=60, metavar="S")
    parser.add_argument("--repeat", type=int, default=9)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite3"
        make(path, args.rows, args.interval)
        days = args.rows * args.interval / DAY_S
        print(f"{args.rows} rows, {days:.1f} days, {path.stat().st_size / 2**20:.1f} MiB")
        print(f"{'':44}{'median':>9}{'least':>9}{'most':>9}{'CPU':>9}  ms")
        for name, work in jobs(path, days, args.interval):
            show(name, work, args.repeat)


def make(path: Path, rows: int, interval_s: int) -> None:
    """A tenant with a daily rhythm, made up to 25 %; each hundredth row is unknown."""
    chance = random.Random(1)

    def row(number: int) -> tuple[object, ...]:
        utc_s = NOW_S - (rows - 1 - number) * interval_s
        wave = math.sin(utc_s % DAY_S / DAY_S * 2 * math.pi)
        organic = 0.15 + 0.1 * wave + 0.05 * chance.random()
        own = max(0.0, 0.25 - organic)
        cpu = (None, None) if number % 100 == 0 else (organic + own, own)
        rest = (0.3 + 0.02 * chance.random(), 0.05, 0.41, 0.2)
        setpoints, reasons = (0.25,) * 3, ("holding",) * 3
        return (utc_s, interval_s + 0.003, *cpu, 0.01, *rest, *setpoints, *reasons)

    with closing(begun(path)) as db, transaction(db):
        db.executemany(INSERT_ROW, map(row, range(rows)))


def jobs(path: Path, days: float, interval_s: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Names, and what is timed."""
    yield "means of the period (status)", lambda: read_means(path, NOW_S, days)
    yield "last day by minutes (status)", lambda: read_last_day(path, NOW_S)
    yield "events", lambda: read_events(path, 0.0, NOW_S)
    span = (0.0, float(NOW_S))
    names = ("times", *(resource.value for resource in Resource))
    for name, query in zip(names, queries(SCHEMA_VERSION), strict=True):
        yield f"report: {name}", lambda query=query: fetched(path, query, span)
    yield "report: all columns", lambda: whole(path)
    for name in ("mean", "p95"):
        rules = policy(name)
        given = read_account(path, reading_from(rules, days, NOW_S), NOW_S, 0.0)
        subject = Subject(
            host="bench",
            version="0",
            policy=rules,
            interval_s=interval_s,
            cpus=2,
            nominal_memory_gb=24.0,
            size_class="large",
            capacity=PerResource(cpu=2.0, memory=24.0 * GIB, disk=None),
        )

        def account(given=given, subject=subject):  # type: ignore[no-untyped-def]
            return assemble(*given, subject, days=days, to_utc_s=NOW_S)

        made = account()
        yield f"report: statistics, {name}", account
        if name == "mean":
            yield "report: text", lambda made=made: text(made, Style())
            yield "report: CSV", lambda made=made: table(made)
            yield "report: JSON", lambda made=made: document(made)


def policy(name: str) -> Policy:
    """All three resources are judged by that statistic of 30 days."""
    goal = Goal(statistic=Statistic.parse(name), window_days=30)
    floor = Floor(ratio=0.1, least_bytes=GIB)
    base = Policy(
        target=PerResource(cpu=0.25, memory=0.25, disk=0.25),
        ceiling=PerResource(cpu=0.9, memory=0.85, disk=0.8),
        memory_floor=floor,
        disk_floor=floor,
        cpu_rise_per_s=4.0,
        memory_rise_bytes_per_s=GIB,
        disk_rise_bytes_per_s=GIB,
        memory_metric=MemoryMetric.AVAILABLE,
        lazy_memory=False,
        count_steal=False,
        hold_off_s=300.0,
    )
    return replace(base, terms=Terms(goals=PerResource(cpu=goal, memory=goal, disk=goal)))


def fetched(path: Path, query: str, span: tuple[float, float]) -> object:
    """The values of one query, as `columns` takes them."""
    with reading(path) as (db, _):
        return values(db, query, span)


def whole(path: Path) -> object:
    """All four queries in one transaction."""
    with reading(path) as (db, _):
        return columns(db, SCHEMA_VERSION, 0.0, NOW_S)


def show(name: str, work: Callable[[], object], repeat: int) -> None:
    """Time one thing and print its line."""
    work()
    wall_ms, cpu_ms = [], []
    for _ in range(repeat):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        work()
        cpu_ms.append((time.process_time() - cpu_s) * 1e3)
        wall_ms.append((time.perf_counter() - wall_s) * 1e3)
    figures = (statistics.median(wall_ms), min(wall_ms), max(wall_ms), statistics.median(cpu_ms))
    print(f"{name:44}" + "".join(f"{one:9.1f}" for one in figures), flush=True)


if __name__ == "__main__":
    main()
