"""The mark of identity: whoever has one of its own is ours, and nobody can change it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizer.adapters import mark
from optimizer.adapters.identity import boot_id, identify
from stressers import mark as stresser_mark
from tests.rig import descendants
from tests.stresser_harness import stresser

fcntl = pytest.importorskip("fcntl", reason="seals are set by fcntl(2)")
pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="no memfd_create(2) in this Python: Linux has it"
)
PLACES = {"state": "/a", "runtime": "/b", "log": "/c"}


@pytest.fixture
def own() -> Iterator[int]:
    """The mark of a controller, set on this process."""
    descriptor = mark.set_mark(PLACES)
    assert descriptor is not None
    yield descriptor
    os.close(descriptor)


def test_a_controllers_mark_tells_who_and_where(own: int) -> None:
    """One JSON object: pid, start and boot of the process, and its directories."""
    who = identify(os.getpid())
    assert who is not None
    expected = {"role": "controller", "pid": who.pid, "start": who.start, "boot_id": boot_id()}
    assert mark.read_mark(os.getpid()) == {**expected, **PLACES}
    assert os.readlink(f"/proc/self/fd/{own}") == "/memfd:CloudResourceOptimizer (deleted)"
    assert not os.get_inheritable(own)


def test_nobody_can_change_a_mark(own: int) -> None:
    """Sealed: no writing, no shrinking, no growing, no taking the seals off."""
    with pytest.raises(PermissionError):
        os.pwrite(own, b"x", 0)
    for size in (0, 1 << 16):
        with pytest.raises(PermissionError):
            os.ftruncate(own, size)


def test_a_mark_that_was_inherited_is_not_ones_own(own: int) -> None:
    """A program that got the descriptor holds the mark of another process: it has none."""
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(command, pass_fds=(own,)) as other:
        assert mark.read_mark(other.pid) is None
        other.kill()


def test_a_file_of_the_same_name_and_text_is_no_mark(own: int, tmp_path: Path) -> None:
    """A name proves nothing: the link text of a file on a disk is another one."""
    text = os.pread(own, 4096, 0)
    os.close(own)
    try:
        fake = tmp_path / "memfd:CloudResourceOptimizer (deleted)"
        fake.write_bytes(text)
        with fake.open("rb"):
            assert mark.read_mark(os.getpid()) is None
    finally:
        assert mark.set_mark(PLACES) == own


def test_a_mark_that_somebody_could_still_change_is_none(own: int) -> None:
    """The right text in a memfd of our name, but without all seals: anybody may have written it."""
    text = os.pread(own, 4096, 0)
    os.close(own)
    partly = 0x1 | 0x2 | 0x4  # no writing is missing
    for seals in (0, partly):
        descriptor = os.memfd_create(mark.NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.write(descriptor, text)
        fcntl.fcntl(descriptor, mark._ADD_SEALS, seals)
        try:
            assert mark.read_mark(os.getpid()) is None
        finally:
            os.close(descriptor)
    assert mark.set_mark(PLACES) == own
    assert mark.read_mark(os.getpid()) is not None


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff{", b"[" * 9000, b'{"pid": "x"}'])
def test_garbage_in_a_memfd_of_our_name_is_no_mark(content: bytes) -> None:
    """Whatever somebody writes there: no exception, no mark."""
    descriptor = mark._sealed(content)
    try:
        assert mark.read_mark(os.getpid()) is None
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [("cpu", ("--workers", "2")), ("memory", ("--shards", "2")), ("disk", ("--path", "."))],
)
def test_a_crew_and_each_worker_have_marks_of_their_own(
    kind: str, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """Role, kind, controller, and exactly one mark for each process."""
    if kind == "disk":
        arguments = ("--path", str(tmp_path))
    with stresser(kind, *arguments) as held:
        pids = held.pids()
        assert "mark of identity" in str(held.said("ready")[-1]["means"])
        for pid in pids:
            found, who = mark.read_mark(pid), identify(pid)
            assert found is not None
            assert who is not None
            assert found == {
                "role": "stresser" if pid == pids[0] else "worker",
                "pid": pid,
                "start": who.start,
                "boot_id": boot_id(),
                "kind": kind,
                "controller": os.getpid(),
            }
            links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
            assert sum("memfd" in link for link in links) == 1


def test_by_hand_there_is_no_controller() -> None:
    """A stresser that a person started is ours all the same."""
    command = [sys.executable, "-m", "stressers", "cpu", "--duty", "0.01", "--workers", "1"]
    with subprocess.Popen([*command, "--duration", "30"], stderr=subprocess.DEVNULL) as process:
        until_s = time.monotonic() + 15
        found: list[dict[str, object] | None] = []
        while len(found) < 2 or None in found:
            assert time.monotonic() < until_s, found
            pids = [process.pid, *descendants(process.pid)]
            found = [mark.read_mark(pid) for pid in pids]
        process.terminate()
    marks = [one for one in found if one is not None]
    assert [(one["role"], one["controller"]) for one in marks] == [
        ("stresser", None),
        ("worker", None),
    ]


def test_where_it_is_denied_a_stresser_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox without memfds: no mark, no exception."""

    def denied(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "memfd_create", denied)
    assert stresser_mark.open_mark() == -1
    assert not stresser_mark.write_mark(-1, os.getpid(), "stresser", "cpu", 1, "boot")
    assert mark.set_mark(PLACES) is None


def test_a_mark_of_nobody_is_not_written() -> None:
    """A worker that has ended at once: its crew goes on, and nothing claims to be it."""
    descriptor = stresser_mark.open_mark()
    try:
        assert not stresser_mark.write_mark(descriptor, 1 << 22, "worker", "cpu", 1, "boot")
        assert os.pread(descriptor, 1, 0) == b""
    finally:
        os.close(descriptor)


def test_the_text_is_json_whatever_it_names(own: int) -> None:
    """Directories may have any name."""
    os.close(own)
    odd = mark.set_mark({"state": 'a"\n\\b'})
    assert odd == own
    found = json.loads(os.pread(odd, 4096, 0))
    assert found["state"] == 'a"\n\\b'
