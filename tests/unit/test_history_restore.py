"""Restores: only a whole backup is taken, and the history before is never lost."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import sqlite3
import stat
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters import history_kept, history_restore
from optimizer.adapters.config_restore import put_config
from optimizer.adapters.history_file import _MIGRATIONS
from optimizer.adapters.history_kept import KEPT
from optimizer.adapters.history_reading import read_events
from optimizer.adapters.history_restore import checked, put_in_place, sweep
from optimizer.errors import BackupError, OptimizerError
from optimizer.outcome import EventKind
from tests.backups import (
    NOW_S,
    entry_of,
    make_backup,
    make_history,
    manifest,
    pack,
    quick_folder,
    times,
    usual,
)

OLD_ROWS, NEW_ROWS = 30, 50


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory."""
    with quick_folder(tmp_path) as folder:
        yield folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a backup of NEW_ROWS rows, and a history of OLD_ROWS others."""
    folder = tmp_path_factory.mktemp("models")
    make_history(folder / "new.sqlite3", NEW_ROWS)
    make_history(folder / "old.sqlite3", OLD_ROWS, first_utc_s=1_000)
    config = folder / "source.env"
    config.write_text("TARGET_CPU=31\n", encoding="ascii")
    made = make_backup(folder / "new.sqlite3", folder / "backups", config=config)
    os.rename(made.file, folder / "backup")
    return folder


@pytest.fixture
def archive(models: Path, tmp_path: Path) -> Path:
    """A backup of NEW_ROWS rows and a configuration."""
    return Path(shutil.copy(models / "backup", tmp_path))


@pytest.fixture
def history(models: Path, tmp_path: Path) -> Path:
    """The present history, of OLD_ROWS other rows, alone in its directory."""
    (tmp_path / "state").mkdir()
    return Path(shutil.copy(models / "old.sqlite3", tmp_path / "state" / "history.sqlite3"))


def restored(archive: Path, history: Path, now_utc_s: float = NOW_S) -> Path | None:
    """Check and restore."""
    with archive.open("rb") as stream, checked(stream, archive, history.parent) as backup:
        return put_in_place(backup, history, now_utc_s=now_utc_s)


def refusal(archive: Path, history: Path) -> str:
    """Why it is not restored; the history is as it was, and nothing else is there."""
    before = history.read_bytes()
    with pytest.raises(OptimizerError) as told:
        restored(archive, history)
    assert history.read_bytes() == before
    assert os.listdir(history.parent) == [history.name]
    return str(told.value)


def test_the_backup_becomes_the_history_and_the_one_before_is_kept(
    archive: Path, history: Path
) -> None:
    """All rows, the mode of the one before, one file, and an event that says so."""
    os.chmod(history, 0o604)
    aside = restored(archive, history)
    assert aside is not None
    assert times(history) == [int(NOW_S) - 10_000 + n for n in range(NEW_ROWS)]
    assert times(aside) == [1_000 + n for n in range(OLD_ROWS)]
    assert sorted(os.listdir(history.parent)) == [history.name, aside.name]
    if sys.platform != "win32":
        assert stat.S_IMODE(history.stat().st_mode) == 0o604
        assert stat.S_IMODE(aside.stat().st_mode) == 0o604
    event = read_events(history, 0, 2 * NOW_S)[-1]
    assert event.kind is EventKind.RESTORED
    assert "a-host" in event.detail
    assert aside.name in event.detail


def test_without_a_history_one_is_made(archive: Path, history: Path) -> None:
    """On a new host there is none to keep."""
    history.unlink()
    assert restored(archive, history) is None
    assert len(times(history)) == NEW_ROWS
    assert os.listdir(history.parent) == [history.name]
    if sys.platform != "win32":
        assert stat.S_IMODE(history.stat().st_mode) == 0o640


def test_rows_that_are_only_in_the_wal_are_kept_too(
    archive: Path, history: Path, tmp_path: Path
) -> None:
    """A daemon that was killed leaves rows in the WAL; they are in the one that is kept."""
    writer = sqlite3.connect(history, isolation_level=None)
    writer.execute("PRAGMA wal_autocheckpoint = 0")
    writer.execute("INSERT INTO sample(utc_s, span_s) VALUES (7, 1)")
    state = tmp_path / "killed"
    state.mkdir()
    for suffix in ("", "-wal"):
        (state / f"history.sqlite3{suffix}").write_bytes(Path(f"{history}{suffix}").read_bytes())
    writer.close()
    aside = restored(archive, state / "history.sqlite3")
    assert aside is not None
    assert times(aside)[-1] == 7
    assert len(times(state / "history.sqlite3")) == NEW_ROWS
    assert sorted(os.listdir(state)) == ["history.sqlite3", aside.name]


def test_a_program_that_has_the_history_open_bars_a_restore(
    archive: Path, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would go on in the old file with the new one's WAL; the message says what to end."""
    monkeypatch.setattr(history_kept, "BUSY_S", 0.3)
    with closing(sqlite3.connect(history)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM sample").fetchone()
        with pytest.raises(BackupError, match=r"cannot be kept: .*end the other program"):
            restored(archive, history)
    assert len(times(history)) == OLD_ROWS
    assert restored(archive, history)


def test_a_damaged_history_is_kept_with_all_its_files(archive: Path, history: Path) -> None:
    """So that `.recover` can still be tried; nothing of it is read into the new one."""
    history.write_bytes(b"no database" * 1000)
    Path(f"{history}-wal").write_bytes(b"its WAL")
    aside = restored(archive, history)
    assert aside is not None
    assert aside.read_bytes() == b"no database" * 1000
    assert Path(f"{aside}-wal").read_bytes() == b"its WAL"
    assert len(times(history)) == NEW_ROWS
    assert not Path(f"{history}-wal").exists()


def test_what_fails_at_the_end_puts_the_one_before_back(
    archive: Path, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that gives back something else than was written costs no history."""
    real = history_restore.history_snapshot.contents

    def wrong(database: Path, name: str) -> object:
        if database == history:
            raise BackupError(f"{name} is damaged")
        return real(database, name)

    monkeypatch.setattr(history_restore.history_snapshot, "contents", wrong)
    with pytest.raises(BackupError, match="is damaged"):
        restored(archive, history)
    assert len(times(history)) == OLD_ROWS
    assert os.listdir(history.parent) == [history.name]


def test_the_oldest_of_many_that_were_kept_go(archive: Path, history: Path) -> None:
    """KEPT of them stay: the last ones; another file with a like name stays as well."""
    other = history.with_name(f"{history.name}.before-restore-mine")
    other.touch()
    kept = [restored(archive, history, NOW_S + number) for number in range(KEPT + 2)]
    assert [path.exists() for path in kept if path] == [False, False, *[True] * KEPT]
    assert other.exists()


def test_a_history_of_the_first_version_is_brought_up(archive: Path, history: Path) -> None:
    """An older schema is migrated; one from the future is refused with both versions."""
    old = archive.with_name("old.sqlite3")
    with closing(sqlite3.connect(old)) as db:
        for statement in _MIGRATIONS[0]:
            db.execute(statement)
        db.execute("INSERT INTO sample(utc_s, span_s) VALUES (5, 60)")
        db.execute("PRAGMA user_version = 1")
        db.commit()
    made = make_backup(old, archive.parent / "backups")
    assert (made.manifest.contents.schema_version, made.manifest.contents.events) == (1, 0)
    assert restored(made.file, history)
    assert times(history) == [5]
    assert read_events(history, 0, 2 * NOW_S)[-1].kind is EventKind.RESTORED


def test_a_link_is_not_replaced(archive: Path, history: Path, tmp_path: Path) -> None:
    """Where the history lies elsewhere, the message says how to restore there."""
    real = tmp_path / "real.sqlite3"
    os.rename(history, real)
    history.symlink_to(real)
    with pytest.raises(BackupError, match="set WORKSPACE_DIR"):
        restored(archive, history)
    assert len(times(real)) == OLD_ROWS


def test_what_a_killed_restore_left_is_swept(history: Path, tmp_path: Path) -> None:
    """Its folder; not a link with such a name, nor what that leads to."""
    left = history.parent / f".optimizer-restore-{'a' * 16}.tmp"
    left.mkdir()
    (left / "history.sqlite3").touch()
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    link = history.parent / f".optimizer-restore-{'b' * 16}.tmp"
    link.symlink_to(theirs)
    sweep(history.parent)
    assert sorted(os.listdir(history.parent)) == [link.name, history.name]
    assert theirs.exists()


def database(change: str) -> bytes:
    """A history that was altered by a statement."""
    with closing(sqlite3.connect(":memory:")) as db:
        for step in _MIGRATIONS:
            for statement in step:
                db.execute(statement)
        db.execute("PRAGMA user_version = 2")
        db.execute(change)
        db.commit()
        return db.serialize()


def with_history(archive: Path, content: bytes, **contents: int) -> list[Any]:
    """The members of the backup with another history, of which the manifest tells no lie."""
    told = manifest(archive)
    digest = hashlib.sha256(content).hexdigest()
    told["history"] |= {"size_bytes": len(content), "sha256": digest}
    told["contents"] |= {
        "rows": 0,
        "events": 0,
        "first_utc_s": None,
        "last_utc_s": None,
        **contents,
    }
    told["config"] = None
    return [
        entry_of("manifest.json", json.dumps(told).encode()),
        entry_of("history.sqlite3", content),
    ]


def with_manifest(archive: Path, change: Callable[[dict[str, Any]], object]) -> list[Any]:
    """The members of the backup with another manifest."""
    told = manifest(archive)
    change(told)
    return [entry_of("manifest.json", json.dumps(told).encode()), *usual(archive)[1:]]


def swapped(archive: Path, number: int, entry: Any) -> list[Any]:
    """The members with one of them replaced."""
    found = usual(archive)
    found[number] = entry
    return found


HOSTILE: dict[str, tuple[Callable[[Path], list[Any]], str]] = {
    "no manifest": (lambda a: usual(a)[1:], "begins with 'history.sqlite3'"),
    "nothing": (lambda _: [], "begins with nothing"),
    "manifest only": (lambda a: usual(a)[:1], "nothing where history.sqlite3 should be"),
    "no configuration": (lambda a: usual(a)[:2], "nothing where optimizer.env should be"),
    "two histories": (lambda a: [*usual(a), usual(a)[1]], "beside what belongs to it"),
    "a fourth member": (lambda a: [*usual(a), entry_of("x", b"x")], "'x' does not belong"),
    "traversal": (
        lambda a: swapped(a, 1, entry_of("../history.sqlite3", b"x")),
        "'../history.sqlite3' does not belong",
    ),
    "absolute": (
        lambda a: swapped(a, 1, entry_of("/etc/passwd", b"x")),
        "'/etc/passwd' does not belong",
    ),
    "link": (
        lambda a: swapped(
            a, 1, entry_of("history.sqlite3", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        ),
        "no regular file",
    ),
    "hard link": (
        lambda a: swapped(
            a, 1, entry_of("history.sqlite3", b"", type=tarfile.LNKTYPE, linkname="manifest.json")
        ),
        "no regular file",
    ),
    "device": (
        lambda a: swapped(a, 2, entry_of("optimizer.env", b"", type=tarfile.CHRTYPE)),
        "no regular file",
    ),
    "sparse": (
        lambda a: swapped(a, 1, entry_of("history.sqlite3", b"", type=tarfile.GNUTYPE_SPARSE)),
        "no regular file",
    ),
    "long name": (
        lambda a: [entry_of("././@LongLink", b"x" * 600, type=tarfile.GNUTYPE_LONGNAME), *usual(a)],
        "no regular file",
    ),
    "another history": (
        lambda a: swapped(a, 1, entry_of("history.sqlite3", b"x" * 16384)),
        "history.sqlite3 ",
    ),
    "newer format": (
        lambda a: with_manifest(a, lambda m: m.update(format_version=9)),
        "format version 9, this program knows up to 1",
    ),
    "another format": (lambda a: with_manifest(a, lambda m: m.update(format="x")), "format 'x'"),
    "no checksum": (lambda a: with_manifest(a, lambda m: m["history"].pop("sha256")), "sha256"),
    "wrong checksum": (
        lambda a: with_manifest(a, lambda m: m["history"].update(sha256="0" * 64)),
        "checksum of history.sqlite3",
    ),
    "wrong count": (
        lambda a: with_manifest(a, lambda m: m["contents"].update(rows=51)),
        "holds 50 rows and 1 events of version 2, and says 51 rows",
    ),
    "no number": (
        lambda a: with_manifest(a, lambda m: m["contents"].update(rows="x")),
        "no count: x",
    ),
    "endless time": (
        lambda a: with_manifest(a, lambda m: m.update(created_utc_s=1e300)),
        "no time",
    ),
    "manifest is a list": (
        lambda a: [entry_of("manifest.json", b"[]"), *usual(a)[1:]],
        "manifest.json has a fault",
    ),
    "deep manifest": (
        lambda a: [entry_of("manifest.json", b"[" * 60_000), *usual(a)[1:]],
        "manifest.json has a fault",
    ),
    "large manifest": (
        lambda a: [entry_of("manifest.json", b" " * 70_000), *usual(a)[1:]],
        "manifest.json has 70000 bytes",
    ),
    "newer schema": (
        lambda a: with_history(a, database("PRAGMA user_version = 9"), schema_version=9),
        "schema version 9, this program knows up to 2",
    ),
    "a trigger": (
        lambda a: with_history(
            a,
            database("CREATE TRIGGER t AFTER INSERT ON sample BEGIN DELETE FROM sample; END"),
            schema_version=2,
        ),
        "has a trigger 't'",
    ),
    "no table": (lambda a: with_history(a, database("DROP TABLE sample")), "no such table"),
    "no database": (lambda a: with_history(a, b"x" * 9000), "not a database"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused(archive: Path, history: Path, kind: str) -> None:
    """With a reason, and before anything of it gets anywhere."""
    make, words = HOSTILE[kind]
    told = refusal(pack(archive.with_name("hostile"), make(archive)), history)
    assert words in told
    assert "hostile" in told


def test_a_bomb_fills_nothing(archive: Path, history: Path) -> None:
    """Sizes are known before a member is read: one that only unpacks is not unpacked."""
    for size, words in ((1 << 50, "a backup takes up to"), (4 << 30, "bytes, not")):
        entry = tarfile.TarInfo("history.sqlite3")
        entry.size = size
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            tar.addfile(usual(archive)[0][0], io.BytesIO(usual(archive)[0][1]))
        head = raw.getvalue()[: raw.tell() // 512 * 512].rstrip(b"\0")
        head += bytes(-len(head) % 512)
        block = entry.tobuf(tarfile.GNU_FORMAT)
        bomb = archive.with_name("bomb")
        bomb.write_bytes(gzip.compress(head + block + bytes(1 << 24)))
        assert words in refusal(bomb, history)
    full = archive.with_name("full")
    full.write_bytes(gzip.compress(gzip.decompress(archive.read_bytes()) + bytes(1 << 24)))
    assert "something follows its last member" in refusal(full, history)


def test_other_files_are_no_backups(archive: Path, history: Path) -> None:
    """An empty file, a text, a gzip of something, and a backup cut anywhere."""
    other = archive.with_name("other")
    whole = archive.read_bytes()
    for content in (b"", b"text", gzip.compress(b"text"), whole[:-1], whole[:-9], whole + b"x"):
        other.write_bytes(content)
        assert "other" in refusal(other, history)


def test_a_configuration_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    """With its mode, and the one before beside it; where there was none only we may read it."""
    config = tmp_path / "conf" / "optimizer.env"
    assert put_config(b"A=1\n", config, now_utc_s=NOW_S) is None
    mode = config.stat().st_mode
    assert sys.platform == "win32" or stat.S_IMODE(mode) == 0o600
    os.chmod(config, 0o640)
    aside = put_config(b"A=2\n", config, now_utc_s=NOW_S)
    assert aside is not None
    assert (aside.read_bytes(), config.read_bytes()) == (b"A=1\n", b"A=2\n")
    if sys.platform != "win32":
        assert [stat.S_IMODE(path.stat().st_mode) for path in (aside, config)] == [0o640] * 2


def test_a_configuration_that_is_a_link_stays(tmp_path: Path) -> None:
    """Whoever manages it elsewhere is told."""
    config = tmp_path / "optimizer.env"
    config.symlink_to(tmp_path / "managed.env")
    with pytest.raises(BackupError, match="name that file with --config"):
        put_config(b"A=1\n", config, now_utc_s=NOW_S)
    assert config.is_symlink()
