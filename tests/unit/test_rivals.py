"""Processes of others that the kernel would kill as readily as our shards."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest

from optimizer.examine.rivals import rivals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="reads procfs")


def process(proc: Path, pid: int, adjustment: int, megabytes: int) -> None:
    """One process with that oom_score_adj and so much resident memory."""
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "oom_score_adj").write_text(f"{adjustment}\n")
    pages = megabytes * 2**20 // mmap.PAGESIZE
    (folder / "statm").write_text(f"{2 * pages} {pages} 0 0 0 0 0\n")


def test_the_largest_of_those_with_the_same_adjustment_is_named(tmp_path: Path) -> None:
    """BestEffort pods of a kubelet: two of them; ours and what is protected do not count."""
    for pid, adjustment, megabytes in (
        (10, 1000, 100),
        (11, 1000, 300),
        (12, 999, 900),
        (13, -997, 900),
        (14, 1000, 900),
    ):
        process(tmp_path, pid, adjustment, megabytes)
    found = rivals(tmp_path, {14}, {})
    assert found is not None
    assert "2 processes" in found.cost
    assert "pid 11 with 300 MB" in found.cost
    assert "memory request" in found.remedy


def test_where_nobody_has_it_nothing_is_said(tmp_path: Path) -> None:
    """An ordinary host; one whose process ends while it is looked at."""
    process(tmp_path, 10, 0, 100)
    (tmp_path / "11").mkdir()
    assert rivals(tmp_path, (), {}) is None


def test_in_a_pod_it_is_said_without_seeing_them(tmp_path: Path) -> None:
    """A pod sees its own processes only."""
    found = rivals(tmp_path, (), {"KUBERNETES_SERVICE_HOST": "10.96.0.1"})
    assert found is not None
    assert "BestEffort" in found.name
