"""Backups: what is in them, which of them go, and that a failure leaves nothing behind."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from optimizer.adapters import history_backup
from optimizer.adapters.history_expiry import DAY_S, expire, name_of
from optimizer.adapters.instance_lock import InstanceLock
from optimizer.errors import AlreadyRunningError, BackupError, HistoryError
from tests.backups import (
    NOW_S,
    entry_of,
    make_backup,
    make_history,
    manifest,
    members,
    pack,
    quick_folder,
    times,
)


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory."""
    with quick_folder(tmp_path) as folder:
        yield folder


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A history of 50 rows."""
    path = tmp_path / "history.sqlite3"
    make_history(path, 50)
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where backups go; not there yet."""
    return tmp_path / "backups"


def names(place: Path) -> list[str]:
    """What the directory holds."""
    return sorted(os.listdir(place))


def test_any_tar_reads_a_backup(history: Path, place: Path, tmp_path: Path) -> None:
    """Three members, of which the manifest says size and checksum; only the owner may read it."""
    config = tmp_path / "its.env"
    config.write_text("TARGET_CPU=31\n", encoding="ascii")
    made = make_backup(history, place, config=config)
    found = members(made.file)
    assert list(found) == ["manifest.json", "history.sqlite3", "optimizer.env"]
    told = manifest(made.file)
    for key, name in (("history", "history.sqlite3"), ("config", "optimizer.env")):
        assert told[key]["sha256"] == hashlib.sha256(found[name]).hexdigest()
        assert told[key]["size_bytes"] == len(found[name])
    assert found["optimizer.env"] == b"TARGET_CPU=31\n"
    assert told["contents"] == {
        "schema_version": 2,
        "rows": 50,
        "events": 1,
        "first_utc_s": NOW_S - 10_000,
        "last_utc_s": NOW_S - 10_000 + 49,
    }
    copy = tmp_path / "copy.sqlite3"
    copy.write_bytes(found["history.sqlite3"])
    assert times(copy) == times(history)
    assert names(place) == ["optimizer-a-host-20270115_080000.backup.tar.gz"]
    assert made.size_bytes == made.file.stat().st_size
    if sys.platform != "win32":
        assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_rows_that_are_only_in_the_wal_are_kept_and_the_writer_goes_on(
    history: Path, place: Path
) -> None:
    """A writer that has its file open, in the midst of a transaction too, loses nothing by it."""
    with closing(sqlite3.connect(history, isolation_level=None)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("INSERT INTO sample(utc_s, span_s) VALUES (1, 1)")
        assert os.path.getsize(f"{history}-wal") > 0
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO sample(utc_s, span_s) VALUES (2, 1)")
        made = make_backup(history, place)
        writer.execute("COMMIT")
    assert made.manifest.contents.rows == 51  # 50 and the first; the second was not there yet
    assert len(times(history)) == 52


def test_without_a_configuration_there_are_two_members(history: Path, place: Path) -> None:
    """No file, and /dev/null, are no configuration; one that cannot be read is an error."""
    made = make_backup(history, place)
    assert list(members(made.file)) == ["manifest.json", "history.sqlite3"]
    assert make_backup(history, place, config=Path(os.devnull)).manifest.config is None
    with pytest.raises(BackupError, match=r"cannot read the configuration .*gone.env"):
        make_backup(history, place, config=place / "gone.env")
    assert len(names(place)) == 2


def test_an_eight_day_old_backup_goes_at_seven_days(history: Path, place: Path) -> None:
    """What is older than keep_days goes, once a new one is good; what is as old stays."""
    for days in (8, 7.001, 7, 1):
        make_backup(history, place, now_utc_s=NOW_S - days * DAY_S, keep_days=100)
    made = make_backup(history, place)
    assert made.expired.removed == (
        name_of("a-host", NOW_S - 8 * DAY_S),
        name_of("a-host", NOW_S - 7.001 * DAY_S),
    )
    assert (made.expired.left, made.expired.faults) == (3, ())
    assert len(names(place)) == 3


def test_the_newest_stays_however_old(history: Path, place: Path) -> None:
    """The one just made is never too old, also when the clock was set back by a year."""
    ahead = make_backup(history, place, now_utc_s=NOW_S + 365 * DAY_S)
    made = make_backup(history, place, keep_days=0.001)
    assert made.file.exists()
    assert ahead.file.exists()


def test_only_backups_of_our_own_go(history: Path, place: Path, tmp_path: Path) -> None:
    """Others' files, links, another host's, renamed and foreign ones stay, whatever their age."""
    old_s = NOW_S - 30 * DAY_S
    made = make_backup(history, place, now_utc_s=old_s, keep_days=100)
    outside = tmp_path / made.file.name
    os.rename(made.file, outside)
    kept = {
        "keep-this.tar.gz": outside.read_bytes(),
        f"{made.file.name}.part": outside.read_bytes(),
        "postgres_20260101_020000.sql.gz": b"a",
        name_of("a-host", old_s + 1): b"no backup at all",
        name_of("a-host", old_s + 2): pack(tmp_path / "x", [entry_of("a", b"a")]).read_bytes(),
    }
    for name, content in kept.items():
        (place / name).write_bytes(content)
    (place / name_of("a-host", old_s + 3)).symlink_to(outside)
    (place / name_of("a-host", old_s + 4)).mkdir()
    make_backup(history, place, now_utc_s=old_s, keep_days=100, host="another")
    before = names(place)
    found = expire(place, "a-host", 7, NOW_S)
    assert found.removed == ()
    assert names(place) == before
    assert outside.exists()
    # What has the name of one, and is none, is told.
    assert len(found.faults) == 2
    assert all("it stays" in fault for fault in found.faults)
    (place / made.file.name).write_bytes(outside.read_bytes())
    assert expire(place, "a-host", 7, NOW_S).removed == (made.file.name,)


def test_two_of_one_second_are_two(history: Path, place: Path) -> None:
    """No backup takes the place of another."""
    first, second = make_backup(history, place), make_backup(history, place)
    assert first.file != second.file
    assert second.expired.left == 2


def test_a_backup_under_way_bars_another(history: Path, place: Path) -> None:
    """The second one says so and leaves nothing."""
    place.mkdir()
    lock = InstanceLock(place / history_backup.LOCK_NAME)
    lock.acquire()
    with pytest.raises(AlreadyRunningError, match="another backup to"):
        make_backup(history, place)
    assert names(place) == [history_backup.LOCK_NAME]
    lock.release()
    make_backup(history, place)


def test_what_a_killed_backup_left_goes_with_a_later_one(
    history: Path, place: Path, tmp_path: Path
) -> None:
    """Folders of ours that are an hour old; not a young one, nor where a link leads."""
    place.mkdir()
    left = [place / f".optimizer-backup-{digit * 16}.tmp" for digit in "012"]
    for folder in left[:2]:
        folder.mkdir()
        (folder / "history.sqlite3").write_bytes(b"half")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "file").touch()
    left[2].symlink_to(theirs)
    now_s = time.time()
    os.utime(left[0], (now_s - 4000, now_s - 4000))
    os.utime(theirs, (now_s - 4000, now_s - 4000))
    made = make_backup(history, place, now_utc_s=now_s)
    assert names(place) == [left[1].name, left[2].name, made.file.name]
    assert (theirs / "file").exists()


def test_a_damaged_history_gives_no_backup(history: Path, place: Path) -> None:
    """A page that was overwritten is found before anything gets a backup's name."""
    content = bytearray(history.read_bytes())
    content[4096 + 8 : 4096 + 300] = os.urandom(292)
    history.write_bytes(content)
    with pytest.raises((BackupError, HistoryError), match=r"malformed|damaged"):
        make_backup(history, place)
    assert names(place) == []


@pytest.mark.parametrize("kind", ["missing", "link", "directory", "text", "newer"])
def test_what_is_no_history_is_named(tmp_path: Path, place: Path, kind: str) -> None:
    """The path and a remedy; nothing is written."""
    path = tmp_path / "h.sqlite3"
    if kind == "link":
        make_history(tmp_path / "real", 1)
        path.symlink_to(tmp_path / "real")
    elif kind == "directory":
        path.mkdir()
    elif kind == "text":
        path.write_bytes(b"no database" * 1000)
    elif kind == "newer":
        make_history(path, 1)
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA user_version = 99")
    words = {"missing": "there is no history", "newer": "version 99", "text": "not a database"}
    with pytest.raises(HistoryError, match=words.get(kind, "not a regular file")) as told:
        make_backup(path, place)
    assert str(path) in str(told.value)
    assert not place.exists()


def test_a_place_that_is_no_directory_is_named(history: Path, tmp_path: Path) -> None:
    """A file in the way, and what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(BackupError, match=r"file.*name a directory with --to"):
        make_backup(history, tmp_path / "file")


def test_too_little_room_is_told_before_anything_is_written(
    history: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is needed, what there is, and the remedy."""
    few = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(history_backup.shutil, "disk_usage", lambda _: few)
    with pytest.raises(BackupError, match=r"1\.1 MB are needed in .*0\.0 MB are free: free some"):
        make_backup(history, place)
    assert names(place) == []


def test_an_archive_that_changed_on_the_disk_gets_no_name(
    history: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read again counts, not what was written."""

    def flipped(target: object, *rest: object) -> None:
        real(target, *rest)  # type: ignore[arg-type]
        target.seek(-300, os.SEEK_END)  # type: ignore[attr-defined]
        target.write(b"\xa5\x5a")  # type: ignore[attr-defined]

    real = history_backup.write
    monkeypatch.setattr(history_backup, "write", flipped)
    with pytest.raises(BackupError, match="damaged"):
        make_backup(history, place)
    assert names(place) == []
