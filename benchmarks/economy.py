"""What economy costs against hold and against the best that full knowledge could do.

For each tenant (the traces in tests/data, and made-up ones with level shifts,
weekly rhythm, spikes, trends, random walks, and a tenant that dies), policy and
strategy: 60 days of the planner alone over an ideal governor, at five minutes.
`met` is the share of the windows after the first full one that are met. The
optimum is a linear programme (HiGHS) that knows the whole tenant, has the same
cap, and need not meet any window before the first full one.

    python -m benchmarks.economy [--days 60] [--only NAME] [--catch-up 10]

Needs scipy and numpy.
"""

from __future__ import annotations

import argparse
import csv
import math
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from optimizer.control.lane import Lane
from optimizer.control.strategy import economy, hold
from optimizer.orders import Goal, Kind, Statistic, Strategy, Terms

DATA = Path(__file__).resolve().parent.parent / "tests" / "data"
STEP_S = 300
DAY = 86_400 // STEP_S
START = 5_616_000
"""A midnight, in steps since the epoch."""
AGGREGATE = {Kind.MEAN: 6, Kind.PERCENTILE: 3, Kind.PEAK: 3}
"""Steps that are one to the linear programme: half an hour, and what a level is raised for."""
CASES = (("mean", 30.0, 0.25), ("mean", 30.0, 0.40), ("p95", 7.0, 0.20), ("p95", 7.0, 0.40))


KINDS = ("flat", "dead", "weekly", "daily", "shift", "spikes", "trend", "walk", "busy")


def tenants(days: int, seed: int | None) -> Iterator[tuple[str, list[float]]]:
    """Name and ratio of each step: those of the traces, or with a seed one of each kind."""
    if seed is not None:
        for name in KINDS:
            yield f"{name} {seed}", made_up(name, days, seed)
        return
    for path in sorted(DATA.glob("*.csv")):
        with path.open(encoding="utf-8") as file:
            values = [float(row["value"]) / 100 for row in csv.DictReader(file)]
        yield path.stem.split("_")[-1], (values * (days * DAY // len(values) + 1))[: days * DAY]


def made_up(kind: str, days: int, seed: int) -> list[float]:
    """A tenant of a kind, its measures drawn by chance; the same for the same seed."""
    chance = random.Random(f"{kind} {seed}")
    draw = chance.uniform
    base, rise, noise = draw(0.02, 0.15), draw(0.1, 0.5), draw(0.005, 0.05)
    begins, lasts = draw(0, 18), draw(2, 12)
    lives, rare = draw(0.3, 0.8) * days, draw(0.002, 0.1)
    levels = [draw(0.02, 0.45) for _ in range(days)]
    held = chance.randint(3, 14)
    level, spike, values = draw(0.05, 0.4), 0.0, []
    for step in range(days * DAY):
        day, hour = step // DAY, step % DAY * STEP_S / 3600
        inside = 0 <= hour - begins <= lasts
        wave = math.sin((hour - begins) / lasts * math.pi) if inside else 0.0
        value = base
        if kind == "dead":
            value = rise + 0.3 * rise * wave if day < lives else 0.0
        elif kind == "weekly":
            value = base + rise * wave * (day % 7 < 5)
        elif kind == "daily":
            value = base + rise * inside
        elif kind == "shift":
            value = levels[day // held]
        elif kind == "spikes":
            if step % 6 == 0:
                spike = draw(0.3, 0.9) if chance.random() < rare else 0.0
            value = base + spike
        elif kind == "trend":
            value = base + rise * day / days + 0.2 * rise * wave
        elif kind == "walk":
            level = min(0.8, max(0.0, level + chance.gauss(0, noise / 4)))
            value = level
        elif kind == "busy":
            value = 0.3 + rise * (0.5 + 0.5 * wave)
        values.append(min(1.0, max(0.0, value + noise * chance.gauss(0, 0.5))))
    return values


def live(
    tenant: Sequence[float], goal: Goal, target: float, terms: Terms
) -> tuple[list[float], float]:
    """The totals under an ideal governor, and the longest step of the planner in seconds."""
    most = min(0.9, target + terms.catch_up_ratio)
    lane = Lane(goal, terms, target, most, STEP_S)
    level, longest_s, totals = target, 0.0, []
    for step, organic in enumerate(tenant):
        total = max(organic, level)
        totals.append(total)
        start_s = time.thread_time()
        lane.take((START + step + 1) * STEP_S, STEP_S, total, organic)
        lane.refresh()
        lane.foresee()
        holds = terms.strategy is Strategy.HOLD
        level = (hold(lane) if holds else economy(lane, place=True)).ratio
        longest_s = max(longest_s, time.thread_time() - start_s)
    return totals, longest_s


def met(totals: Sequence[float], goal: Goal, target: float) -> float:
    """Share of the windows, from the first full one on, whose statistic reaches the target."""
    import numpy as np  # noqa: PLC0415

    window = round(goal.window_days * DAY)
    values = np.array(totals)
    need = target * window
    if goal.statistic.kind is not Kind.MEAN:
        values = (values >= target - 1e-6).astype(float)
        percent = goal.statistic.percent if goal.statistic.kind is Kind.PERCENTILE else 100.0
        need = window - math.floor(percent / 100 * (window - 1))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return float((sums[window:] - sums[:-window] >= need - 1e-6).mean())


def optimum(
    tenant: Sequence[float], goal: Goal, target: float, catch_up: float, *, growing: bool = False
) -> float:
    """Least own load, in capacities times steps, that meets every full window.

    `growing`: also each beginning of the first one that is a day long or more.
    """
    import numpy as np  # noqa: PLC0415
    from scipy import sparse  # noqa: PLC0415
    from scipy.optimize import linprog  # noqa: PLC0415

    size = AGGREGATE[goal.statistic.kind]
    organic = np.array(tenant).reshape(-1, size).mean(1)
    count, window = len(organic), round(goal.window_days * DAY / size)
    is_mean = goal.statistic.kind is Kind.MEAN
    # x: own load of each step, or the part of it in which the level is raised; then running sums.
    cost = np.ones(count) if is_mean else np.maximum(0.0, target - organic)
    highest = np.maximum(0.0, target + catch_up - organic) if is_mean else np.ones(count)
    need = target * window if is_mean else (1 - goal.statistic.percent / 100) * window
    sums = sparse.diags_array([1.0, -1.0], offsets=[1, 0], shape=(count, count + 1))
    spans = sparse.diags_array(
        [1.0, -1.0], offsets=[0, window], shape=(count - window + 1, count + 1)
    )
    ends = np.full(count - window + 1, -need)
    if growing:
        young = np.arange(DAY // size, window)
        heads = sparse.coo_array(
            (np.full(len(young), -1.0), (np.arange(len(young)), young)),
            shape=(len(young), count + 1),
        )
        spans = sparse.vstack([heads, spans])
        ends = np.concatenate([-need / window * young, ends])
    nothing = sparse.csr_array((len(ends), count))
    solved = linprog(
        np.concatenate([cost, np.zeros(count + 1)]),
        A_eq=sparse.hstack([-sparse.eye_array(count), sums], format="csr"),
        b_eq=organic if is_mean else np.zeros(count),
        A_ub=sparse.hstack([nothing, spans], format="csr"),
        b_ub=ends,
        bounds=[(0.0, one) for one in highest] + [(0.0, 0.0)] + [(None, None)] * count,
        method="highs",
    )
    return math.nan if solved.fun is None else float(solved.fun) * size


def main() -> None:
    """Print a line for each tenant and policy; core-hours are of one CPU."""
    parser = argparse.ArgumentParser(description="Cost of economy against hold and the optimum.")
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--only", action="append")
    parser.add_argument("--cases", help="mean or p95 only")
    parser.add_argument("--catch-up", type=float, default=10.0, help="CATCH_UP_MAX_POINTS")
    args = parser.parse_args()
    print(f"{'tenant':14}{'policy':>16}{'hold':>9}{'met':>8}{'economy':>9}{'met':>8}", end="")
    print(f"{'optimum':>9}{'ratio':>7}{'step ms':>9}")
    for name, tenant in tenants(args.days):
        if args.only and not any(word in name for word in args.only):
            continue
        for text, days, target in CASES:
            if args.cases and args.cases != text:
                continue
            goal = Goal(statistic=Statistic.parse(text), window_days=days)
            costs, shares, longest_s = [], [], 0.0
            for strategy in Strategy:
                terms = Terms(strategy=strategy, catch_up_ratio=args.catch_up / 100)
                totals, worst_s = live(tenant, goal, target, terms)
                longest_s = max(longest_s, worst_s)
                costs.append((sum(totals) - sum(tenant)) * STEP_S / 3600)
                shares.append(met(totals, goal, target))
            best = optimum(tenant, goal, target, args.catch_up / 100) * STEP_S / 3600
            ratio = f"{costs[1] / best:7.2f}" if best > 1.0 else "      -"
            print(
                f"{name[:13]:14}{text + f' {days:g}d {100 * target:g}%':>16}{costs[0]:9.1f}"
                f"{shares[0]:8.2%}{costs[1]:9.1f}{shares[1]:8.2%}{best:9.1f}{ratio}"
                f"{1000 * longest_s:9.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
