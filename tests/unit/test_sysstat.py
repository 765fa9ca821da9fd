"""What sar recorded, in each form that sadf writes; the samples in tests/data are real output."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters import sysstat, sysstat_rows
from optimizer.adapters.history_sources import read_files
from optimizer.errors import SourceError
from optimizer.orders import MemoryMetric
from optimizer.outcome import HistoryRow

DATA = Path(__file__).resolve().parent.parent / "data" / "sysstat"
FIRST_S = 1_795_284_956
TOTAL_KB = 24_684_084
"""What free(1) told of the host that the samples are from."""
SADC = "/usr/lib/sysstat/sadc"


def rows(
    *names: str,
    metric: MemoryMetric = MemoryMetric.AVAILABLE,
    places: tuple[str, ...] = ("/",),
    count_steal: bool = False,
) -> list[HistoryRow]:
    """The rows of some files of the samples."""
    paths = [str(DATA / name) for name in names]
    found = read_files(paths, metric=metric, count_steal=count_steal, places=places)
    assert found.faults == []
    assert found.sysstat
    (source,) = found.sources
    return list(source)


def test_json_gives_all_three_resources() -> None:
    """The CPU as 1 - idle, memory as 1 - available / total, the disk as df(1) has it."""
    first, second, third = rows("all.json")
    assert (first.utc_s, first.span_s) == (FIRST_S, 2.0)
    assert [second.utc_s, third.utc_s] == [FIRST_S + 2, FIRST_S + 4]
    assert first.cpu == pytest.approx(1.0)
    assert first.memory == pytest.approx(1 - 23_629_148 / TOTAL_KB, abs=1e-9)
    # 25221 MB used; of 258020 MB 30.49 % may still be used, by other than root.
    assert first.disk == pytest.approx(25_221 / (25_221 + 258_020 * 0.3049))
    for row in (first, second, third):
        assert (row.cpu_own, row.memory_own, row.disk_own) == (0.0, 0.0, 0.0)
        assert (row.cpu_setpoint, row.cpu_reason, row.cpu_steal) == (None, None, 0.0)


def test_text_in_several_files_gives_the_same() -> None:
    """CPU and memory in one file, the disk in another with its times as numbers."""
    for one, other in zip(rows("all.json"), rows("cpu_memory.txt", "disks.txt"), strict=True):
        # Without the slab the total follows from a rounded percentage.
        assert other.memory == pytest.approx(one.memory, abs=0.002)
        assert other._replace(memory=one.memory) == one


def test_text_of_each_cpu_and_all_columns_gives_the_same() -> None:
    """Only the row of all CPUs counts, and the device names the disk."""
    assert rows("detailed.txt", places=("/dev/vda1",)) == rows("all.json")


def test_what_a_source_does_not_tell_is_unknown() -> None:
    """No disk, or none of that name: unknown, and not 0."""
    assert {row.disk for row in rows("cpu_memory.txt")} == {None}
    assert {row.disk_own for row in rows("all.json", places=("/data",))} == {None}
    assert {row.cpu for row in rows("disks.txt")} == {None}


@pytest.mark.parametrize(
    ("metric", "kb"),
    [
        (MemoryMetric.AVAILABLE, TOTAL_KB - 23_629_148),
        (MemoryMetric.FREE, TOTAL_KB - 21_574_084),
        (MemoryMetric.NOCACHE, 596_732),
    ],
)
def test_memory_is_counted_by_the_metric(metric: MemoryMetric, kb: int) -> None:
    """The first row of the samples by each formula."""
    assert rows("all.json", metric=metric)[0].memory == pytest.approx(kb / TOTAL_KB)


def made(**parts: Any) -> str:
    """`sadf -j` with one entry."""
    stamp = {"date": "2026-11-01", "time": "00:10:00", "utc": 1, "interval": 600}
    entry = {"timestamp": stamp, **parts}
    host = {"nodename": "web-1", "statistics": [entry]}
    return json.dumps({"sysstat": {"hosts": [host]}})


def taken(text: str) -> sysstat.Recording:
    """What is read of `sadf -j`."""
    recording = sysstat.Recording()
    sysstat.read_json(text, "x.json", recording)
    return recording


def only_row(text: str, **how: Any) -> HistoryRow:
    """The row of such an entry."""
    usual: dict[str, Any] = {
        "metric": MemoryMetric.AVAILABLE,
        "count_steal": False,
        "places": ("/",),
    }
    (row,) = sysstat_rows.rows(taken(text), **(usual | how))
    return row


def test_waiting_for_the_disk_is_idle_and_steal_counts_as_asked() -> None:
    """20 % are neither idle nor waiting; 5 of them were stolen."""
    text = made(**{"cpu-load": [{"cpu": "all", "idle": 70.0, "iowait": 10.0, "steal": 5.0}]})
    assert only_row(text).cpu == pytest.approx(0.15)
    assert only_row(text, count_steal=True).cpu == pytest.approx(0.20)
    assert only_row(text).cpu_steal == pytest.approx(0.05)


def test_memory_of_old_sysstat_counts_the_cache_as_used() -> None:
    """Before 11.5 there was no kbavail, and kbmemused was all that is not free."""
    used = {"memfree": 2000, "memused": 6000, "memused-percent": 75.0}
    text = made(memory={**used, "buffers": 500, "cached": 1500})
    assert only_row(text).memory == pytest.approx(0.5)  # (6000 - 500 - 1500) / 8000
    assert only_row(text, metric=MemoryMetric.FREE).memory == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cut off"),
        ('{"sysstat": {}}', "no sysstat.hosts"),
        ('{"sysstat": {"hosts": [{"nodename": "a"}]}}', "no sysstat.hosts"),
        ('{"sysstat": {"hosts": [3]}}', "no sysstat.hosts"),
        ('{"sysstat": {"hosts": 3}}', "no sysstat.hosts"),
    ],
)
def test_json_that_is_not_of_sadf_is_refused(text: str, words: str) -> None:
    """The message names the file and the command that writes a good one."""
    with pytest.raises(SourceError, match=words):
        taken(text)


@pytest.mark.parametrize(
    ("stamp", "words"),
    [
        ({"utc": 0}, "local time without a zone; run sadf without -T"),
        ({"time": "25:00:00"}, "is no time with its zone"),
        ({"interval": 0}, "the interval 0 is no number of seconds"),
        ({"interval": "x"}, "the interval 'x'"),
    ],
)
def test_a_faulty_entry_is_named(stamp: dict[str, object], words: str) -> None:
    """Which entry of which file, and what is wrong."""
    found = json.loads(made())
    found["sysstat"]["hosts"][0]["statistics"][0]["timestamp"].update(stamp)
    (fault,) = taken(json.dumps(found)).faults
    assert fault.startswith("x.json, statistics entry 1: ")
    assert words in fault


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a;2;2026-11-21 18:15:56;-1;1;2;3", "without -T"),
        ("a;2;1795284956;-1;1;2", "6 columns where the header has 7"),
        ("a;-1;1795284956;-1;1;2;3", "the interval '-1'"),
        ("a;2;1795284956;-1;1;2;x", "idle 'x' is no number"),
        ("a;2;1795284956;-1;1;2;99,5", "idle '99,5' is no number"),
    ],
)
def test_a_faulty_line_is_named(line: str, words: str) -> None:
    """Which line, and what is wrong; a restart is no fault."""
    recording = sysstat.Recording()
    lines = [
        "# hostname;interval;timestamp;CPU;%iowait;%steal;%idle\n",
        "a;-1;2026-11-21 18:00:00 UTC;LINUX-RESTART\t(2 CPU)\n",
        f"{line}\n",
    ]
    sysstat.read_text(lines, "x.txt", recording)
    (fault,) = recording.faults
    assert fault.startswith("x.txt, line 3: ")
    assert words in fault


def test_a_line_without_a_header_is_a_fault() -> None:
    """The columns would else be guessed."""
    recording = sysstat.Recording()
    sysstat.read_text(["a;2;1795284956;-1;1;2;3\n"], "x.txt", recording)
    assert "no header" in recording.faults[0]


def test_files_of_two_hosts_are_refused(tmp_path: Path) -> None:
    """A history is of one host; which file is of which is told."""
    other = tmp_path / "other.json"
    other.write_text((DATA / "all.json").read_text().replace("web-1", "web-2"))
    with pytest.raises(SourceError, match=r"all.json is of host 'web-1' and .*'web-2'"):
        rows("all.json", str(other))


def test_a_binary_file_without_sadf_names_the_remedy(tmp_path: Path) -> None:
    """What to install here, or what to run where the file is from."""
    with pytest.raises(SourceError, match=r"install sysstat .* or run `sadf -j sa21"):
        sysstat.read_binary(tmp_path / "sa21", sysstat.Recording(), program="no-such-sadf")


@pytest.mark.skipif(
    shutil.which("sadf") is None or not os.path.exists(SADC), reason="sysstat is not installed"
)
def test_a_binary_file_is_read_through_the_real_sadf(tmp_path: Path) -> None:
    """Recorded now: the CPU and the memory of this host, one second of it."""
    path = tmp_path / "sa21"
    subprocess.run([SADC, "1", "2", str(path)], check=True, timeout=20)
    found = read_files([str(path)], metric=MemoryMetric.AVAILABLE, count_steal=False, places=())
    (row,) = found.sources[0]
    assert 1 <= row.span_s <= 20
    assert row.cpu is not None
    assert row.memory is not None
    assert 0 < row.memory < 1


@pytest.mark.skipif(shutil.which("sadf") is None, reason="sysstat is not installed")
def test_a_broken_binary_file_says_what_sadf_said(tmp_path: Path) -> None:
    """The first bytes of a binary file, and rubbish behind."""
    path = tmp_path / "sa21"
    path.write_bytes(sysstat.BINARY_MAGIC[0] + b"x" * 400)
    with pytest.raises(SourceError, match="sadf ended with"):
        read_files([str(path)], metric=MemoryMetric.FREE, count_steal=False, places=())
