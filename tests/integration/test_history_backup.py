"""Backup and restore as an operator runs them, beside a real daemon and as root for another."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from optimizer.__main__ import main
from optimizer.directories import HISTORY_NAME
from tests.backups import entry_of, make_backup, make_history, manifest, members, pack, times
from tests.conftest import NOBODY
from tests.loopdev import ext4
from tests.rig import daemon, environment, eventually, optimizer

OLD_ROWS, NEW_ROWS = 30, 400


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workspace with a history of OLD_ROWS rows."""
    folder = tmp_path / "workspace"
    (folder / "state").mkdir(parents=True)
    make_history(folder / "state" / HISTORY_NAME, OLD_ROWS, first_utc_s=1_000)
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A backup of NEW_ROWS other rows, with a good configuration."""
    config = tmp_path / "its.env"
    config.write_text("TARGET_CPU=31\n", encoding="ascii")
    make_history(tmp_path / "new.sqlite3", NEW_ROWS, first_utc_s=5_000)
    return make_backup(tmp_path / "new.sqlite3", tmp_path, config=config).file


def rows(place: Path) -> list[int]:
    """The times in its history."""
    return times(place / "state" / HISTORY_NAME)


def on(place: Path) -> tuple[str, str]:
    """The option that chooses a workspace."""
    return "--set", f"WORKSPACE_DIR={place}"


def newest(place: Path) -> int:
    """The number of rows now, beside a daemon."""
    uri = f"{(place / 'state' / HISTORY_NAME).as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as db:
            return int(db.execute("SELECT COUNT(*) FROM sample").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def test_backup_beside_a_daemon_and_restore_without_it(tmp_path: Path) -> None:
    """The daemon goes on recording; a restore is refused while it runs, and tells of itself."""
    folder = tmp_path / "d"
    with daemon(folder) as rig:
        eventually(lambda: newest(folder) >= 2, what="rows")
        done = rig.command("history", "backup", "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        kept = told["contents"]["rows"]
        assert kept >= 2
        assert Path(told["file"]).parent == folder / "state" / "backups"
        eventually(lambda: newest(folder) > kept, what="rows after the backup")
        dry = rig.command("history", "restore", told["file"], "--dry-run")
        assert (dry.returncode, "Nothing was changed" in dry.stdout) == (0, True), dry.stderr
        barred = rig.command("history", "restore", told["file"], "--yes")
        assert barred.returncode == 75
        assert f"pid {rig.pid}" in barred.stderr
        assert "a restore needs it stopped" in barred.stderr
        assert rig.stop() == 0
        assert "history." not in rig.said()
    before = rows(folder)
    done = optimizer("history", "restore", told["file"], "--yes", *on(folder))
    assert done.returncode == 0, done.stderr
    assert rows(folder) == before[:kept]
    (aside,) = (folder / "state").glob(f"{HISTORY_NAME}.before-restore-*")
    assert times(aside) == before
    kinds = [event["kind"] for event in json.loads(events(folder))]
    assert kinds == ["daemon.started", "history.restored"]


def events(folder: Path) -> str:
    """All events, as JSON."""
    return optimizer("history", "events", "--json", *on(folder)).stdout


def test_nobody_there_to_confirm_is_told(place: Path, archive: Path) -> None:
    """Without a terminal and without --yes nothing is looked at: exit 2 and the remedy."""
    done = subprocess.run(
        [sys.executable, "-m", "optimizer", "history", "restore", str(archive), *on(place)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(),
    )
    assert (done.returncode, "add --yes" in done.stderr) == (2, True)
    assert len(rows(place)) == OLD_ROWS


@pytest.mark.parametrize(
    ("answer", "code", "count"), [(b"n\n", 1, OLD_ROWS), (b"y\n", 0, NEW_ROWS)]
)
def test_a_terminal_is_asked(
    place: Path, archive: Path, answer: bytes, code: int, count: int
) -> None:
    """What there is and where it goes is shown first; only yes restores."""
    master, slave = pty.openpty()
    os.write(master, answer)
    with os.fdopen(slave, "rb") as terminal:
        done = subprocess.run(
            [sys.executable, "-m", "optimizer", "history", "restore", str(archive), *on(place)],
            stdin=terminal,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment(),
        )
    os.close(master)
    assert done.returncode == code, done.stderr
    assert f"Its history becomes {place / 'state' / HISTORY_NAME}" in done.stdout
    assert f"{NEW_ROWS} rows" in done.stdout
    assert len(rows(place)) == count


def test_a_configuration_is_restored_only_without_faults(place: Path, archive: Path) -> None:
    """One with faults changes nothing, exit 78; a good one takes the place of the one before."""
    config = place / "config" / "optimizer.env"
    config.parent.mkdir()
    config.write_text("TARGET_CPU=44\n", encoding="ascii")
    told = manifest(archive)
    found = members(archive)
    bad = b"TARGET_CPU=lots\n"
    sums = make_sum(bad)
    told["config"] |= sums
    entries = [
        entry_of("manifest.json", json.dumps(told).encode()),
        entry_of(HISTORY_NAME, found[HISTORY_NAME]),
        entry_of("optimizer.env", bad),
    ]
    faulty = pack(archive.with_name("faulty"), entries)
    words = ("--yes", "--with-config", *on(place))
    done = optimizer("history", "restore", str(faulty), *words)
    assert done.returncode == 78
    assert f"TARGET_CPU=lots (optimizer.env in {faulty} line 1)" in done.stderr
    assert len(rows(place)) == OLD_ROWS
    assert config.read_text(encoding="ascii") == "TARGET_CPU=44\n"
    done = optimizer("history", "restore", str(archive), *words)
    assert done.returncode == 0, done.stderr
    assert config.read_text(encoding="ascii") == "TARGET_CPU=31\n"
    (aside,) = config.parent.glob("optimizer.env.before-restore-*")
    assert aside.read_text(encoding="ascii") == "TARGET_CPU=44\n"
    assert len(rows(place)) == NEW_ROWS


def make_sum(content: bytes) -> dict[str, object]:
    """Size and checksum, for a manifest."""
    return {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_a_backup_that_cannot_be_written_never_completes(place: Path) -> None:
    """Where files may not become as large: exit 1, the cause and a remedy, and nothing is left."""
    history = place / "state" / HISTORY_NAME
    history.unlink()
    make_history(history, 5_000, first_utc_s=1_000)
    done = subprocess.run(
        [sys.executable, "-m", "optimizer", "history", "backup", *on(place)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert done.returncode == 1
    assert "ompleted" not in done.stdout + done.stderr
    assert str(place) in done.stderr
    assert "free space" in done.stderr
    assert os.listdir(place / "state" / "backups") == []


@pytest.mark.long
def test_a_full_disk_and_a_read_only_one_are_told(tmp_path: Path, place: Path) -> None:
    """Before anything is written, with what is needed; and earlier backups there stay."""
    with ext4(tmp_path, size_mb=8) as disk:
        target = disk / "backups"
        words = ("history", "backup", "--to", str(target), *on(place))
        assert optimizer(*words).returncode == 0
        kept = os.listdir(target)
        with (disk / "ballast").open("wb") as ballast:
            while True:
                try:
                    os.write(ballast.fileno(), bytes(4096))
                except OSError:
                    break
        done = optimizer(*words)
        assert done.returncode == 1
        assert f"are needed in {target}" in done.stderr
        assert "--to" in done.stderr
        assert os.listdir(target) == kept
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        done = optimizer(*words)
        assert done.returncode == 1
        assert "Read-only file system" in done.stderr
        assert "name another directory with --to" in done.stderr
        assert "ompleted" not in done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.parametrize("suffixes", [("",), ("", "-wal"), ("", "-wal", "-shm")])
def test_a_history_on_a_read_only_disk_can_be_saved(
    tmp_path: Path, suffixes: tuple[str, ...]
) -> None:
    """After an error in its filesystem, or a power cut, all its rows reach another disk."""
    live = tmp_path / "live.sqlite3"
    make_history(live, OLD_ROWS, first_utc_s=1_000)
    with ext4(tmp_path, size_mb=8) as disk, closing(sqlite3.connect(live)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("INSERT INTO sample(utc_s, span_s) VALUES (7, 1)")
        writer.commit()
        (disk / "state").mkdir()
        for suffix in suffixes:
            shutil.copy(f"{live}{suffix}", f"{disk / 'state' / HISTORY_NAME}{suffix}")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        done = optimizer("history", "backup", "--json", "--to", str(tmp_path / "to"), *on(disk))
        assert done.returncode == 0, done.stderr
        kept = OLD_ROWS + ("-wal" in suffixes)
        assert json.loads(done.stdout)["contents"]["rows"] == kept


@pytest.mark.long
def test_a_backup_that_is_ended_leaves_nothing(place: Path) -> None:
    """SIGTERM in the midst: no file with a backup's name, no folder, no lock."""
    history = place / "state" / HISTORY_NAME
    history.unlink()
    make_history(history, 200_000, first_utc_s=1_000)
    backups = place / "state" / "backups"
    process = subprocess.Popen(
        [sys.executable, "-m", "optimizer", "history", "backup", *on(place)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    try:
        eventually(lambda: list(backups.glob(".optimizer-backup-*.tmp/*")), what="a copy")
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        assert b"ompleted" not in out
        assert os.listdir(backups) == []


@pytest.fixture
def theirs() -> Iterator[Path]:
    """The workspace of an unprivileged daemon; this test is root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = Path(tempfile.mkdtemp(prefix="optimizer-test-"))
    try:
        for name in ("", "state", "run", "config"):
            (folder / name).mkdir(exist_ok=True)
        make_history(folder / "state" / HISTORY_NAME, OLD_ROWS, first_utc_s=1_000)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        yield folder
    finally:
        shutil.rmtree(folder)


def test_root_backs_up_and_restores_for_a_service_user(theirs: Path, archive: Path) -> None:
    """All files are that user's afterwards, so that its daemon can use them."""
    done = optimizer("history", "backup", *on(theirs))
    assert done.returncode == 0, done.stderr
    words = ("--yes", "--with-config", *on(theirs))
    done = optimizer("history", "restore", str(archive), *words)
    assert done.returncode == 0, done.stderr
    assert len(rows(theirs)) == NEW_ROWS
    assert {path.lstat().st_uid for path in (theirs / "state").rglob("*")} == {NOBODY}
    assert list((theirs / "run").iterdir()) == []


def test_root_imports_for_a_service_user(theirs: Path, tmp_path: Path) -> None:
    """The new history is that user's; a link of that user's to a file of root's is refused."""
    source = tmp_path / "x.csv"
    source.write_text(f"utc_s,span_s,cpu\n{int(time.time()) - 60},60,0.5\n", encoding="ascii")
    history = theirs / "state" / HISTORY_NAME
    history.unlink()
    assert main(["history", "import", str(source), *on(theirs)]) == 0
    status = history.stat()
    assert (status.st_uid, status.st_mode & 0o777) == (NOBODY, 0o640)
    assert {path.lstat().st_uid for path in (theirs / "state").rglob("*")} == {NOBODY}
    assert list((theirs / "run").iterdir()) == []
    history.unlink()
    secret = tmp_path / "secret"
    make_history(secret, 5)
    before = secret.read_bytes()
    history.symlink_to(secret)
    assert main(["history", "import", str(source), *on(theirs)]) == 1
    assert secret.read_bytes() == before


def test_links_lead_root_nowhere(theirs: Path, archive: Path, tmp_path: Path) -> None:
    """Backups, history and lock that are links of the service user's: refused, nothing written."""
    roots = tmp_path / "roots"
    roots.mkdir()
    state = theirs / "state"
    (state / "backups").symlink_to(roots)
    os.lchown(state / "backups", NOBODY, NOBODY)
    done = optimizer("history", "backup", *on(theirs))
    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    done = optimizer("history", "backup", "--to", str(state / "backups"), *on(theirs))
    assert done.returncode == 1, done.stdout
    make_history(roots / "secret", 5)
    os.chmod(roots / "secret", 0o600)
    before = (roots / "secret").read_bytes()
    os.rename(state / HISTORY_NAME, state / "hidden")
    (state / HISTORY_NAME).symlink_to(roots / "secret")
    done = optimizer("history", "backup", "--to", str(tmp_path / "to"), *on(theirs))
    assert (done.returncode, "not a regular file" in done.stderr) == (1, True), done.stderr
    done = optimizer("history", "restore", str(archive), "--yes", *on(theirs))
    assert (done.returncode, "not a regular file" in done.stderr) == (1, True), done.stderr
    assert os.listdir(roots) == ["secret"]
    assert (roots / "secret").read_bytes() == before


@pytest.mark.long
def test_a_config_that_the_service_user_may_not_read_does_not_reach_it(
    theirs: Path, tmp_path: Path
) -> None:
    """Root does not copy what only root may read into that user's directory."""
    secret = tmp_path / "secret.env"
    secret.write_text("GLANCES_PASSWORD=hidden\n", encoding="ascii")
    secret.chmod(0o600)
    done = optimizer("history", "backup", "--config", str(secret), *on(theirs))
    assert done.returncode == 1
    assert f"cannot read the configuration {secret}" in done.stderr
    assert os.listdir(theirs / "state" / "backups") == []
    done = optimizer(
        *("history", "backup", "--config", str(secret), "--to", str(tmp_path / "to"), *on(theirs))
    )
    assert done.returncode == 0, done.stderr
