"""What every switch does, and what the one in files makes of what people put there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from optimizer.adapters.switch import (
    CONTENT_LIMIT_BYTES,
    INHIBIT_NAME,
    REASON_LIMIT_CHARS,
    RESUMED_NAME,
    FileSwitch,
    pause,
    resume,
)
from optimizer.errors import SwitchError
from optimizer.orders import Inhibit
from optimizer.ports import Switch
from tests.fakes import FakeSwitch

NOW_S = 1_800_000_000.0
SETTLED_S = NOW_S - 1_000_000_000
"""A time of change long ago, so that the content may be remembered."""


def pause_until(directory: Path, until_utc_s: float | None) -> None:
    """An order as the command line writes it."""
    pause(directory, until_utc_s=until_utc_s, reason="backup", by="ops", now_utc_s=NOW_S)


Kind = tuple[Switch, Callable[[float | None], None], Callable[[], None]]


@pytest.fixture(params=["files", "fake"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    """Each switch with the ways to pause and to resume it."""
    if request.param == "files":
        return (
            FileSwitch(tmp_path),
            lambda until: pause_until(tmp_path, until),
            lambda: resume(tmp_path),
        )
    fake = FakeSwitch()

    def fake_pause(until_utc_s: float | None) -> None:
        fake.order = Inhibit(reason="backup", by="ops", until_utc_s=until_utc_s, since_utc_s=NOW_S)

    def fake_resume() -> None:
        fake.order, fake.resume_pending = None, True
        fake.last_resume_utc_s = time.time()

    return fake, fake_pause, fake_resume


def test_order_is_in_force_until_its_end(kind: Kind) -> None:
    """Nothing at first; then the order as it was given, up to its end and not at its end."""
    switch, pause_it, _ = kind
    assert switch.inhibit(NOW_S) is None
    pause_it(NOW_S + 60)
    order = Inhibit(reason="backup", by="ops", until_utc_s=NOW_S + 60, since_utc_s=NOW_S)
    assert switch.inhibit(NOW_S) == order
    assert switch.inhibit(NOW_S + 59.9) == order
    assert switch.inhibit(NOW_S + 60) is None


def test_order_without_end_is_lifted_by_resume_only(kind: Kind) -> None:
    """Ten years later it is still in force; resuming lifts it and is told exactly once."""
    switch, pause_it, resume_it = kind
    pause_it(None)
    assert switch.inhibit(NOW_S + 3e8) is not None
    assert not switch.resumed()
    resume_it()
    assert switch.inhibit(NOW_S + 3e8) is None
    assert switch.resumed()
    assert not switch.resumed()


def test_resume_is_told_each_time_and_without_a_pause(kind: Kind) -> None:
    """Resuming also clears what the daemon has tripped, so it counts when nothing is paused."""
    switch, _, resume_it = kind
    for _ in range(3):
        resume_it()
        assert switch.resumed()
        assert not switch.resumed()


def test_the_time_of_the_last_resume_is_known(kind: Kind) -> None:
    """None at first; then that of the last one, within what a filesystem's clock is off."""
    switch, _, resume_it = kind
    assert switch.resumed_utc_s() is None
    for _ in range(2):
        before_s = time.time()
        resume_it()
        at_s = switch.resumed_utc_s()
        assert at_s is not None
        assert before_s - 2 <= at_s <= time.time() + 2


def test_the_time_of_a_resume_survives_a_restart(tmp_path: Path) -> None:
    """It is in the file, not in the process."""
    resume(tmp_path)
    os.utime(tmp_path / RESUMED_NAME, (NOW_S, NOW_S))
    assert FileSwitch(tmp_path).resumed_utc_s() == NOW_S


def test_an_order_that_has_expired_is_none(tmp_path: Path) -> None:
    """Its file stays and says nothing more: to remove it might hit an order just given."""
    pause_until(tmp_path, NOW_S)
    switch = FileSwitch(tmp_path)
    assert switch.inhibit(NOW_S + 1) is None
    assert (tmp_path / INHIBIT_NAME).exists()
    assert switch.inhibit(NOW_S - 1) is not None  # the clock was put back
    resume(tmp_path)
    assert not (tmp_path / INHIBIT_NAME).exists()


def test_orders_survive_a_restart_and_old_resumes_do_not(tmp_path: Path) -> None:
    """A new daemon obeys the order that it finds, and takes no notice of an earlier resume."""
    resume(tmp_path)
    pause_until(tmp_path, None)
    switch = FileSwitch(tmp_path)
    assert switch.inhibit(NOW_S) is not None
    assert not switch.resumed()


def test_second_pause_replaces_the_first(tmp_path: Path) -> None:
    """The last order counts, also when it follows at once and looks alike."""
    switch = FileSwitch(tmp_path)
    for minutes in (11, 22, 33):
        pause_until(tmp_path, NOW_S + minutes * 60)
        order = switch.inhibit(NOW_S)
        assert order is not None
        assert order.until_utc_s == NOW_S + minutes * 60


def test_rewriting_in_place_is_noticed(tmp_path: Path) -> None:
    """Two contents of the same length within one tick of the filesystem's clock differ."""
    switch, path = FileSwitch(tmp_path), tmp_path / INHIBIT_NAME
    one_tick_ns = time.time_ns() + 60 * 10**9  # not yet past, however slow this test is
    for reason in ("aaa", "bbb", "ccc"):
        path.write_text(json.dumps({"reason": reason}), encoding="utf-8")
        os.utime(path, ns=(one_tick_ns, one_tick_ns))
        order = switch.inhibit(NOW_S)
        assert order is not None
        assert order.reason == reason


def test_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    """What was parsed is remembered as long as time, size and inode are the same."""
    switch, path = FileSwitch(tmp_path), tmp_path / INHIBIT_NAME
    pause_until(tmp_path, None)
    os.utime(path, (SETTLED_S, SETTLED_S))
    first = switch.inhibit(NOW_S)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"backup", b"BACKUP"))
    os.utime(path, (SETTLED_S, SETTLED_S))
    assert switch.inhibit(NOW_S) is first
    os.utime(path, (SETTLED_S, SETTLED_S + 1))
    changed = switch.inhibit(NOW_S)
    assert changed is not None
    assert changed.reason == "BACKUP"


@pytest.mark.parametrize(
    ("content", "oddity"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"please stop", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"until_utc_s": "tomorrow"}', "time"),
        (b'{"until_utc_s": true}', "time"),
        (b'{"until_utc_s": NaN}', "time"),
        (b'{"until_utc_s": 1' + b"0" * 400 + b"}", "time"),
        (b'{"until_utc_s": 1, "reason": 5}', "not text"),
        (b'{"until_utc_s": 1}' + b" " * CONTENT_LIMIT_BYTES, "larger"),
    ],
)
def test_odd_file_is_an_order_without_end(tmp_path: Path, content: bytes, oddity: str) -> None:
    """What cannot be understood stops the load for good, and the reason says what is odd."""
    (tmp_path / INHIBIT_NAME).write_bytes(content)
    order = FileSwitch(tmp_path).inhibit(NOW_S)
    assert order is not None
    assert order.until_utc_s is None
    assert oddity in order.reason


def test_directory_named_inhibit_is_an_order(tmp_path: Path) -> None:
    """Presence is enough; resume cannot remove it and says what to do."""
    (tmp_path / INHIBIT_NAME).mkdir()
    order = FileSwitch(tmp_path).inhibit(NOW_S)
    assert order is not None
    assert "not a regular file" in order.reason
    with pytest.raises(SwitchError, match=r"by hand|as root"):
        resume(tmp_path)


def test_links_and_pipes_are_orders_and_do_not_block(tmp_path: Path) -> None:
    """A dangling link and a pipe without a writer are present, so there is no load."""
    if sys.platform == "win32":
        pytest.skip("no pipes and no free links on Windows")
    path = tmp_path / INHIBIT_NAME
    switch = FileSwitch(tmp_path)
    path.symlink_to(tmp_path / "nowhere")
    assert switch.inhibit(NOW_S) is not None
    path.unlink()
    assert switch.inhibit(NOW_S) is None
    os.mkfifo(path)
    assert switch.inhibit(NOW_S) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows reports a missing file instead")
def test_error_other_than_missing_is_an_order(tmp_path: Path) -> None:
    """When nobody can tell whether there is an order, there is one."""
    not_a_directory = tmp_path / "file"
    not_a_directory.touch()
    order = FileSwitch(not_a_directory).inhibit(NOW_S)
    assert order is not None
    assert "cannot be read: Not a directory" in order.reason


def test_unreadable_file_is_an_order(plain_folder: Path) -> None:
    """Rights that are missing stop the load; rights that come back are noticed."""
    pause_until(plain_folder, NOW_S + 1)
    switch, path = FileSwitch(plain_folder), plain_folder / INHIBIT_NAME
    path.chmod(0)
    order = switch.inhibit(NOW_S)
    assert order is not None
    assert order.until_utc_s is None
    path.chmod(0o644)
    order = switch.inhibit(NOW_S)
    assert order is not None
    assert order.until_utc_s == NOW_S + 1


@pytest.mark.parametrize("reason", ["line\nbreak\x1b[31m red\x07", "right\u202eto left\ud800"])
def test_reason_cannot_steer_a_terminal(tmp_path: Path, reason: str) -> None:
    """Control characters are gone from the file, and from what a hand-made file gives."""
    pause(tmp_path, until_utc_s=None, reason=reason, by="a\tb", now_utc_s=NOW_S)
    path = tmp_path / INHIBIT_NAME
    assert json.loads(path.read_text("utf-8"))["reason"].isprintable()
    path.write_text(json.dumps({"reason": reason * 100, "by": reason}), encoding="utf-8")
    order = FileSwitch(tmp_path).inhibit(NOW_S)
    assert order is not None
    assert order.reason.isprintable()
    assert order.by.isprintable()
    assert len(order.reason) <= REASON_LIMIT_CHARS


def test_pause_leaves_one_readable_file(tmp_path: Path) -> None:
    """Nothing but the order is left, with the four facts, readable for the daemon's user."""
    umask = os.umask(0o077)
    try:
        pause_until(tmp_path, NOW_S + 1)
    finally:
        os.umask(umask)
    assert os.listdir(tmp_path) == [INHIBIT_NAME]
    order = json.loads((tmp_path / INHIBIT_NAME).read_bytes())
    assert order.pop("given").keys() == {"boot_id", "steady_s", "utc_s", "until_utc_s"}
    assert order == {
        "reason": "backup",
        "by": "ops",
        "until_utc_s": NOW_S + 1,
        "since_utc_s": NOW_S,
    }
    if sys.platform != "win32":
        assert (tmp_path / INHIBIT_NAME).stat().st_mode & 0o777 == 0o644
    resume(tmp_path)
    assert os.listdir(tmp_path) == [RESUMED_NAME]


def test_missing_state_directory_is_named(tmp_path: Path) -> None:
    """Commands on the wrong directory fail with the path and what to do."""
    missing = tmp_path / "missing"
    with pytest.raises(SwitchError, match=r"missing.*no such state directory"):
        pause_until(missing, None)
    with pytest.raises(SwitchError, match=r"missing.*no such state directory"):
        resume(missing)


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs root to mount a small tmpfs"
)
def test_full_disk_still_pauses(tmp_path: Path) -> None:
    """Without space for the content an empty file stops the load, and the error says so."""
    small = tmp_path / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "optimizer-test", str(small)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("mount -t tmpfs is denied here")
    try:
        (small / "filler").write_bytes(bytes(64 * 1024))
        with pytest.raises(SwitchError, match="paused, but without"):
            pause_until(small, NOW_S + 60)
        switch = FileSwitch(small)
        order = switch.inhibit(NOW_S + 120)
        assert order is not None
        resume(small)
        assert switch.inhibit(NOW_S) is None
        assert switch.resumed()
        assert sorted(os.listdir(small)) == ["filler", RESUMED_NAME]
    finally:
        subprocess.run(["umount", str(small)], check=True)
