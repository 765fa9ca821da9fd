"""How long 30 days of minutes take to be exported, imported and compared.

Each command is run as an operator runs it, with the start of Python; the least
of three is printed, and the CPU time beside it, for the machine may be busy.

    python -m benchmarks.history_transfer [--rows 43200]
"""

from __future__ import annotations

import argparse
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from optimizer.adapters.history_text import render
from optimizer.outcome import HistoryRow

TRIALS = 3


def month(rows: int) -> list[HistoryRow]:
    """Minutes up to now, of a tenant with a daily rhythm; always the same figures."""
    chance, end_s = random.Random(1), int(time.time())
    made = []
    for number in range(rows):
        utc_s = end_s - (rows - 1 - number) * 60
        organic = 0.2 + 0.1 * math.sin(2 * math.pi * utc_s / 86_400) + chance.gauss(0, 0.01)
        own = max(0.0, 0.25 - organic)
        made.append(
            HistoryRow(
                *(utc_s, 60.0 + chance.random() / 100),
                *(organic + own, own, chance.random() / 100),
                *(0.4 + chance.random() / 100, 0.1, 0.4, chance.random() / 10),
                *(0.25, 0.4, 0.4, "holding", "holding", "floor"),
            )
        )
    return made


def took_s(folder: Path, *words: str) -> tuple[float, float]:
    """Seconds of `optimizer history` with these words, and of the CPU; raises when it fails."""
    command = [sys.executable, "-m", "optimizer", "history", *words]
    start_s, start_cpu_s = time.monotonic(), _children_cpu_s()
    subprocess.run(
        [*command, "--set", f"WORKSPACE_DIR={folder}"], check=True, stdout=subprocess.DEVNULL
    )
    return time.monotonic() - start_s, _children_cpu_s() - start_cpu_s


def _children_cpu_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def said(what: str, times: list[tuple[float, float]]) -> None:
    """Print the least of the trials."""
    wall_s, cpu_s = (min(column) for column in zip(*times, strict=True))
    print(f"{what:<29}{wall_s:6.2f} s  CPU {cpu_s:5.2f} s")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=43_200)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = {kind: folder / f"source.{kind}" for kind in ("csv", "jsonl")}
        for kind, path in sources.items():
            path.write_text(render(month(rows), kind))
        print(f"{rows} rows, {sources['csv'].stat().st_size / 1e6:.1f} MB as CSV")
        for kind, path in sources.items():
            times = [took_s(folder / f"{kind}{n}", "import", str(path)) for n in range(TRIALS)]
            said(f"import {kind}", times)
        for words in (
            ("import", str(sources["csv"])),
            ("export", "--out", str(folder / "x.csv")),
            ("export", "--out", str(folder / "x.csv.gz")),
            ("export", "--out", str(folder / "x.jsonl")),
            ("compare",),
            ("compare", "previous-15d", "15d"),
        ):
            times = [took_s(folder / "csv0", *words) for _ in range(TRIALS)]
            what = "import, all known" if words[0] == "import" else " ".join(words)
            said(what.replace(f"{folder}/", ""), times)


if __name__ == "__main__":
    main()
