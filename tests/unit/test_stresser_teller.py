"""Reports never block and never come in halves; means are named with their cost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from stressers import byhand, kernel
from stressers.teller import Reports

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs pipes that do not block")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe whose reader may be slow."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_full_pipe_drops_reports_and_does_not_block(pipe: tuple[int, int]) -> None:
    """What does not fit is dropped and said to be; every line that arrives is whole."""
    reader, writer = pipe
    reports = Reports(writer)
    sent = 0
    while reports.held(sent):
        sent += 1
    assert not reports.held(sent)
    read = b""
    while read.count(b"\n") < sent:
        read += os.read(reader, 1 << 16)
    assert [json.loads(line)["bytes"] for line in read.splitlines()] == list(range(sent))


def test_a_report_that_was_begun_is_finished_first(pipe: tuple[int, int]) -> None:
    """A report larger than the pipe arrives whole, before any other."""
    reader, writer = pipe
    reports = Reports(writer)
    assert reports.ready(list(range(100_000)), [], [], None)
    assert not reports.held(1)
    read, rounds = b"", 0
    while not read.endswith(b"\n"):
        read += os.read(reader, 1 << 20)
        reports.tick(0.0)
        rounds += 1
        assert rounds < 1000
    assert len(json.loads(read)["pids"]) == 100_000
    assert reports.held(1)


def test_what_the_kernel_has_taken_is_one_line(pipe: tuple[int, int]) -> None:
    """For a controller as a report, for a person in words."""
    reader, writer = pipe
    assert Reports(writer).taken(3 << 20)
    assert json.loads(os.read(reader, 1 << 16)) == {"report": "taken", "bytes": 3 << 20}


def test_a_person_is_told_what_the_kernel_has_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """With the size, and what happens next."""
    assert byhand.Progress("memory", None).taken(3 << 20)
    assert "the kernel has taken 3.0 MiB back" in capsys.readouterr().err


def test_a_reader_that_has_gone_is_no_failure() -> None:
    """Reports to nobody are dropped."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert not Reports(writer).error("nobody hears this")
    finally:
        os.close(writer)


def test_denied_means_are_named_with_their_cost() -> None:
    """One bit for each means; an OSError counts as denied."""

    def fails(_: int) -> bool:
        raise PermissionError

    means = (
        kernel.Mean("a", "cost of a", lambda pid: pid == 7),
        kernel.Mean("b", "cost of b", fails),
        kernel.Mean("c", "cost of c", lambda _: False),
    )
    denied = kernel.take_all(means, 7)
    assert denied == 0b110
    assert kernel.named(means, denied) == (["a"], ["b: cost of b", "c: cost of c"])
