"""What economy costs against hold and against the best that full knowledge could do.

For each trace in tests/data (repeated from its start), or with --seed for nine
made-up tenants whose measures are drawn by that number, each policy and both
strategies: 60 days of the planner alone over an ideal governor, at five minutes.

    python -m benchmarks.economy [--days 60] [--seed N] [--only NAME] [--cases mean] [--catch-up 10]

Core-hours are those of one CPU. `met` is the share of the windows after the
first full one that are met. `optimum` is a linear programme (HiGHS) that knows
the whole tenant and has the same cap. `ratio` is economy against it as it need
not meet any window before the first full one; `same` against one that must meet
the beginnings of the first window too, from a day on, as the planner does for
whoever looks before the window is full. Neither has a margin, and both know that
nothing is judged after the last day. `step ms` are the median and the longest
time of the planner's step. Ratios are left out where the optimum is below one
core-hour: the least own load is then next to nothing.

Takes some minutes (a minute or less for each tenant); needs scipy and numpy.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
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
) -> tuple[list[float], list[float]]:
    """The totals under an ideal governor, and the seconds of each step of the planner."""
    most = min(0.9, target + terms.catch_up_ratio)
    lane = Lane(goal, terms, target, most, STEP_S)
    level, spent_s, totals = target, [], []
    for step, organic in enumerate(tenant):
        total = max(organic, level)
        totals.append(total)
        start_s = time.thread_time()
        lane.take((START + step + 1) * STEP_S, STEP_S, total, organic)
        lane.refresh()
        lane.foresee()
        holds = terms.strategy is Strategy.HOLD
        level = (hold(lane) if holds else economy(lane)).ratio
        spent_s.append(time.thread_time() - start_s)
    return totals, spent_s


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
    """Print a line for each tenant and policy, and the spread of the ratios."""
    parser = argparse.ArgumentParser(description="Cost of economy against hold and the optimum.")
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--seed", type=int, help="made-up tenants instead of the traces")
    parser.add_argument("--only", action="append", help="tenants with this in their name")
    parser.add_argument("--cases", help="mean or p95 only")
    parser.add_argument("--catch-up", type=float, default=10.0, help="CATCH_UP_MAX_POINTS")
    args = parser.parse_args()
    if importlib.util.find_spec("scipy") is None:
        parser.error("the optimum needs scipy: install it beside numpy, as in pip install scipy")
    print(f"{'tenant':12}{'policy':>14}{'hold':>8}{'met':>9}{'economy':>9}{'met':>9}", end="")
    print(f"{'optimum':>9}{'ratio':>7}{'same':>7}{'step ms':>13}")
    ratios: dict[str, list[float]] = {}
    for name, tenant in tenants(args.days, args.seed):
        if args.only and not any(word in name for word in args.only):
            continue
        for text, days, target in CASES:
            if args.cases and args.cases != text:
                continue
            goal = Goal(statistic=Statistic.parse(text), window_days=days)
            print(f"{name[:11]:12}{f'{text} {days:g}d {100 * target:g}%':>14}", end="", flush=True)
            spent_s: list[float] = []
            for strategy in Strategy:
                terms = Terms(strategy=strategy, catch_up_ratio=args.catch_up / 100)
                totals, steps_s = live(tenant, goal, target, terms)
                spent_s += steps_s
                cost = (sum(totals) - sum(tenant)) * STEP_S / 3600
                wide = 8 if strategy is Strategy.HOLD else 9
                print(f"{cost:{wide}.1f}{met(totals, goal, target):9.2%}", end="", flush=True)
            catch_up = args.catch_up / 100
            best = optimum(tenant, goal, target, catch_up) * STEP_S / 3600
            same = optimum(tenant, goal, target, catch_up, growing=True) * STEP_S / 3600
            print(f"{best:9.1f}", end="")
            for kind, one in (("ratio", best), ("same", same)):
                if one >= 1.0:
                    ratios.setdefault(f"{text} {kind}", []).append(cost / one)
                print(f"{cost / one:7.2f}" if one >= 1.0 else f"{'-':>7}", end="")
            spent_s.sort()
            print(f"{1000 * spent_s[len(spent_s) // 2]:7.2f}{1000 * spent_s[-1]:6.1f}", flush=True)
    for kind, found in ratios.items():
        found.sort()
        print(f"{kind}: median {found[len(found) // 2]:.2f}, highest {found[-1]:.2f}")


if __name__ == "__main__":
    main()
