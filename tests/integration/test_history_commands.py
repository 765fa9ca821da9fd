"""`optimizer history export`, `import` and `compare` as an operator runs them."""

from __future__ import annotations

import gzip
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from optimizer.__main__ import main
from optimizer.adapters.history_reading import read_rows
from optimizer.adapters.history_text import render
from optimizer.errors import HistoryError
from optimizer.outcome import HistoryRow
from tests.histories import record, written
from tests.rig import daemon, environment, eventually, optimizer

HEAD = ",".join(HistoryRow._fields)


def made(count: int, *, until_s: float | None = None) -> list[HistoryRow]:
    """So many minutes up to now, of a tenant at 20 % and 5 % of ours."""
    end_s = int(time.time() if until_s is None else until_s)
    return [
        HistoryRow(end_s - 60 * back, 60.0, cpu=0.25, cpu_own=0.05, cpu_reason="holding")
        for back in range(count - 1, -1, -1)
    ]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`optimizer history ...` on the files of a folder."""
    return optimizer("history", *words, "--set", f"WORKSPACE_DIR={folder}")


def rows_of(folder: Path) -> list[HistoryRow]:
    """All rows of a folder's history; none where there is no file."""
    path = folder / "state" / "history.sqlite3"
    return read_rows(path, 0, 1e12) if path.exists() else []


def count_of(words: str, said: str) -> int:
    """The figure of a line that begins with these words."""
    (line,) = (line for line in said.splitlines() if line.strip().startswith(words))
    return int(line.replace(words, "").split()[0])


def test_what_was_exported_is_imported_elsewhere(tmp_path: Path) -> None:
    """A compressed file, told of with its counts and an event; exported again it is the same."""
    source = tmp_path / "x.csv"
    source.write_text(render(made(200), "csv"))
    done = run(tmp_path / "a", "import", str(source))
    assert (done.returncode, done.stderr) == (0, "")
    assert [count_of(w, done.stdout) for w in ("read", "stored", "faulty")] == [200, 200, 0]
    packed = tmp_path / "y.csv.gz"
    done = run(tmp_path / "a", "export", "--out", str(packed))
    assert (done.returncode, done.stdout) == (0, f"200 rows in {packed}.\n")
    assert gzip.decompress(packed.read_bytes()).decode() == source.read_text()
    done = run(tmp_path / "b", "import", str(packed), str(source))
    assert [count_of(w, done.stdout) for w in ("stored", "left out: known")] == [200, 200]
    assert run(tmp_path / "b", "export").stdout == source.read_text()
    assert "history imported, 200 rows" in run(tmp_path / "b", "events").stdout
    simulated = optimizer("simulate", "--trace", str(packed), "--days", "0.1", "--cpus", "2")
    assert (simulated.returncode, simulated.stderr) == (0, "")


def test_a_daemon_is_the_only_writer(tmp_path: Path) -> None:
    """Beside it export and a dry run work, and import exits with 75 and what to do."""
    folder, source = tmp_path / "w", tmp_path / "x.jsonl"
    source.write_text(render(made(50, until_s=time.time() - 3600), "jsonl"))
    with daemon(folder, TARGET_CPU="0") as rig:
        eventually(lambda: _has_rows(folder), what="the first row")
        done = run(folder, "import", str(source))
        assert done.returncode == 75
        assert f"a daemon runs (pid {rig.pid})" in done.stderr
        assert "stop it, import, and start it again" in done.stderr
        done = run(folder, "import", str(source), "--dry-run")
        assert (done.returncode, count_of("would be stored", done.stdout)) == (0, 50)
        lines = run(folder, "export").stdout.splitlines()
        assert lines[0] == HEAD
        assert len(lines) > 1
        assert rig.stop() == 0
    own = rows_of(folder)
    assert run(folder, "import", str(source)).returncode == 0
    assert rows_of(folder)[50:] == own
    with daemon(folder, TARGET_CPU="0") as rig:
        eventually(lambda: len(rows_of(folder)) > 50 + len(own), what="a row after the import")
        assert rig.stop() == 0


def test_a_fault_stores_nothing_unless_it_is_to_be_skipped(tmp_path: Path) -> None:
    """File, line and value of the first faults are named; then the good rows are taken."""
    good, late = made(3), made(1, until_s=time.time() + 86_400)
    lines = render([*good, *late], "csv").splitlines()
    lines[1:1] = [f"{number},60,7{',' * 12}" for number in range(10)]
    source = tmp_path / "x.csv"
    source.write_text("\n".join(lines))
    done = run(tmp_path, "import", str(source))
    assert (done.returncode, done.stdout, rows_of(tmp_path)) == (1, "", [])
    assert f"{source}, line 2: cpu '7' must be a ratio" in done.stderr
    assert "... and 6 more faults" in done.stderr
    assert "--skip-faulty" in done.stderr
    done = run(tmp_path, "import", str(source), "--skip-faulty")
    assert done.returncode == 0
    assert [count_of(w, done.stdout) for w in ("read", "stored", "faulty")] == [14, 3, 11]
    assert rows_of(tmp_path) == good


def test_export_replaces_only_a_file_and_as_a_whole(tmp_path: Path) -> None:
    """Neither a directory nor a device; a period without rows is a header and a word."""
    run(tmp_path, "import", _written(tmp_path / "x", made(5)))
    for target in (str(tmp_path), "/dev/null"):
        done = run(tmp_path, "export", "--out", target)
        assert done.returncode == 1
        assert "is no regular file" in done.stderr
    done = run(tmp_path, "export", "--from", "2020-01-01", "--to", "2020-01-02")
    assert (done.returncode, done.stdout) == (0, HEAD + "\n")
    assert "no rows of that time" in done.stderr
    done = run(tmp_path, "export", "--out", str(tmp_path / "none" / "x"))
    assert (done.returncode, "what was there is unchanged" in done.stderr) == (1, True)


def test_days_end_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows of a clock that was wrong, from the future, are none of the last day."""
    (tmp_path / "state").mkdir()
    now_s = int(time.time())
    times = [now_s - 2 * 86_400, now_s - 3600, now_s + 86_400]
    records = [record(second, cpu=(0.3, 0.2)) for second in times]
    written(tmp_path / "state" / "history.sqlite3", records)
    assert main(["history", "export", "--days", "1", "--set", f"WORKSPACE_DIR={tmp_path}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["utc_s", str(now_s - 3600)]


def test_own_load_that_has_no_column_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It counts as 0, and the operator reads so; the row is known to every report."""
    source = tmp_path / "x.csv"
    now_s = int(time.time())
    source.write_text(f"utc_s,span_s,cpu,memory\n{now_s - 60},60,0.5,0.4\n")
    on = ("--set", f"WORKSPACE_DIR={tmp_path}")
    assert main(["history", "import", str(source), *on]) == 0
    said = capsys.readouterr().out
    assert f"{source} has no column cpu_own and none memory_own: own load counts as 0" in said
    (row,) = rows_of(tmp_path)
    assert (row.cpu_own, row.memory_own, row.disk_own) == (0.0, 0.0, None)


def test_periods_are_compared(tmp_path: Path) -> None:
    """The last week against the one before, on the terminal and for programs."""
    weeks = made(4 * 7 * 24 * 60 // 2)
    run(tmp_path, "import", _written(tmp_path / "x", weeks))
    done = run(tmp_path, "compare")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("20.0 %") == 6  # mean, p95 and peak of the tenant, in both
    found = json.loads(run(tmp_path, "compare", "previous-7d", "7d", "--json").stdout)
    assert found["resources"]["cpu"]["change"] == "within noise"
    assert found["resources"]["cpu"]["b"]["own_ratio"] == pytest.approx(0.05)


def _written(path: Path, rows: list[HistoryRow]) -> str:
    path.write_text(render(rows, "csv"))
    return str(path)


def _has_rows(folder: Path) -> bool:
    with suppress(HistoryError):
        return bool(rows_of(folder))
    return False


KEPT = "MONITOR_PERIOD_DAYS=40"


def storing(home: Path, source: Path) -> subprocess.Popen[bytes]:
    """An import that has just taken the lock, so that it begins to store."""
    words = ("import", str(source), "--set", f"WORKSPACE_DIR={home}", "--set", KEPT)
    process = subprocess.Popen(
        [sys.executable, "-m", "optimizer", "history", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    lock = home / "run" / "lock"
    eventually(lambda: lock.exists() or process.poll() is not None, what="the lock")
    return process


def killed_imports(folder: Path, trials: int) -> tuple[int, int]:
    """Kill an import at a random time, so often; how often nothing and all was stored."""
    count, chance = 43_200, random.Random(6)
    source, earlier = folder / "source", folder / "earlier"
    _written(source, made(count))
    _written(earlier, made(1, until_s=time.time() - 31 * 86_400 + 3600))
    whole = storing(folder / "whole", source)
    start_s = time.monotonic()
    assert whole.wait(timeout=60) == 0
    usual_s = time.monotonic() - start_s
    outcomes = {0: 0, count: 0}
    for trial in range(trials):
        home = folder / str(trial)
        assert run(home, "import", str(earlier), "--set", KEPT).returncode == 0
        process = storing(home, source)
        time.sleep(chance.uniform(0.0, 1.2 * usual_s))
        process.send_signal(chance.choice([signal.SIGKILL, signal.SIGINT]))
        process.wait(timeout=20)
        outcomes[len(rows_of(home)) - 1] += 1
        again = run(home, "import", str(source), "--set", KEPT)
        assert again.returncode == 0, again.stderr
        assert len(rows_of(home)) == count + 1
    return outcomes[0], outcomes[count]


def test_a_killed_import_stores_nothing_or_all(tmp_path: Path) -> None:
    """SIGKILL or Ctrl-C at any time; the next import completes it, whatever is left."""
    assert sum(killed_imports(tmp_path, 1)) == 1


@pytest.mark.long
def test_many_killed_imports_store_nothing_or_all(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    """The same, often."""
    nothing, everything = killed_imports(tmp_path, 30)
    figure(f"killed imports: {nothing} had stored nothing, {everything} all")
    assert nothing + everything == 30
