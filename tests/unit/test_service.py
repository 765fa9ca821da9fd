"""`optimizer service`: what an installation changes, how often, and what a removal leaves."""

from __future__ import annotations

import argparse
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from optimizer.__main__ import main
from optimizer.adapters import filler_directories
from optimizer.adapters.placed_files import PlacedFiles, others_may_change
from optimizer.adapters.systemctl import Done
from optimizer.adapters.systemd_service import (
    CONFIG,
    ENABLED,
    LOGS,
    SERVICE,
    STATE,
    UNITS_DIRECTORY,
    Origin,
    SystemdService,
)
from optimizer.cli import service
from optimizer.cli.service import _done
from optimizer.installed import VENV, share
from tests.paths import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is of Linux")
PRESENT = share() if (share() / "systemd").is_dir() else ROOT


class Killed(BaseException):
    """The installer was killed here."""


class Host:
    """A root directory and a systemd of its own, which knows what it has read and what runs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.read: dict[str, bytes] = {}
        self.running: dict[str, tuple[bytes, Path]] = {}
        self.enabled: set[str] = set()
        self.venv = Path("/opt/new")
        self.refused: set[str] = set()
        (root / "run").mkdir(parents=True)

    def placed(self) -> dict[str, bytes]:
        """The units as they are on the disk."""
        folder = self.root / str(UNITS_DIRECTORY)[1:]
        return {one.name: one.read_bytes() for one in folder.glob("optimizer*")}

    def execute(self, command: Sequence[str]) -> Done:
        """As systemctl would answer."""
        words = [w for w in command if not w.startswith("--") or w.startswith("--property")]
        if words[0] != "systemctl":
            return Done(0, "")
        word, units = words[1], words[2:]
        if word in self.refused:
            return Done(1, "refused")
        if word == "show":
            return Done(0, self._shown(words[2].partition("=")[2], words[3]))
        if word == "is-enabled":
            known = "enabled" if units[0] in self.enabled else "disabled"
            return Done(0, known)
        if word == "is-active":
            return Done(0, "active" if units[0] in self.running else "inactive")
        if word == "daemon-reload":
            self.read = self.placed()
        for unit in units:
            if word in {"start", "restart"}:
                assert unit in self.read, f"{unit} was not read by systemd"
                self.running[unit] = (self.read[unit], self.venv)
            elif word == "stop":
                self.running.pop(unit, None)
            elif word in {"enable", "disable"}:
                (self.enabled.add if word == "enable" else self.enabled.discard)(unit)
        return Done(0, "")

    def _shown(self, name: str, unit: str) -> str:
        if name == "NeedDaemonReload":
            return "yes" if self.read.get(unit) != self.placed().get(unit) else "no"
        if name == "ActiveState":
            return "active" if unit in self.running else "inactive"
        return "1" if unit in self.running else "0"

    def program(self, pid: str) -> Path | None:
        """The interpreter of the daemon."""
        return self.running[SERVICE][1] / "bin/python" if pid == "1" else None

    def service(
        self, tell: Callable[[str], None], *, booted: bool = True, execute: object = None
    ) -> tuple[SystemdService, PlacedFiles]:
        """An installer for this host."""
        files = PlacedFiles(self.root, tell)
        service = SystemdService(
            Origin(share=PRESENT, venv=self.venv, literal=VENV),
            files,
            run=execute or self.execute,  # type: ignore[arg-type]
            booted=booted,
            tell=tell,
            program=self.program,
        )
        return service, files

    def install(self, *, booted: bool = True, start: bool = True) -> list[str]:
        """Install; what was told."""
        said: list[str] = []
        service, files = self.service(said.append, booted=booted)
        service.install(start=start)
        return said if files.changed else [*said, "nothing changed"]

    def uninstall(self, *, purge: bool) -> list[str]:
        """Uninstall; what was told."""
        said: list[str] = []
        service, _ = self.service(said.append)
        service.stop()
        service.uninstall(purge=purge)
        return said

    def files(self) -> dict[str, bytes]:
        """All files below the root, with their content or the target of the link."""
        found = (one for one in self.root.rglob("*") if not one.is_dir() or one.is_symlink())
        return {
            str(one.relative_to(self.root)): os.fsencode(one.readlink())
            if one.is_symlink()
            else one.read_bytes()
            for one in found
        }


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host without the program."""
    return Host(tmp_path / "root")


def test_an_installation_is_enabled_and_runs(host: Host) -> None:
    """Units, links, configuration and users' file are there; what is to run runs."""
    said = host.install()
    assert host.enabled == set(ENABLED)
    assert {SERVICE, "optimizer-backup.timer"} <= set(host.running)
    config = host.root / str(CONFIG)[1:]
    assert config.read_bytes() == (PRESENT / "config/optimizer.env.example").read_bytes()
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    assert (host.root / "usr/local/bin/optimizer").readlink() == Path("/opt/new/bin/optimizer")
    assert f"started: {SERVICE}" in said


def test_a_second_run_changes_nothing(host: Host) -> None:
    """Nothing is written, enabled, restarted or told."""
    host.install()
    before, running = host.files(), dict(host.running)
    assert host.install() == ["nothing changed"]
    assert host.files() == before
    assert host.running == running


def test_units_say_the_environment_that_was_installed(host: Host) -> None:
    """The path in the files is that of this environment, everywhere."""
    host.install()
    assert not any(str(VENV).encode() in content for content in host.placed().values())
    assert b"/opt/new/bin/optimizer run --no-page" in host.placed()[SERVICE]


def test_an_upgrade_restarts_the_daemon_and_keeps_the_configuration(host: Host) -> None:
    """Another environment behind the same units is seen at the daemon that runs."""
    host.install()
    config = host.root / str(CONFIG)[1:]
    config.write_bytes(b"TARGET_CPU=30\n")
    old, host.running[SERVICE] = host.running[SERVICE], (host.running[SERVICE][0], Path("/opt/old"))
    assert host.install() == [f"restarted: {SERVICE}"]
    assert host.running[SERVICE] == old
    assert config.read_bytes() == b"TARGET_CPU=30\n"


def test_a_changed_unit_is_read_again_and_the_daemon_restarted(host: Host) -> None:
    """Whichever unit has changed."""
    host.install()
    place = host.root / str(UNITS_DIRECTORY)[1:] / "optimizer-glances.service"
    good = place.read_bytes()
    place.write_bytes(b"[Unit]\n")
    host.read = host.placed()
    said = host.install()
    assert said == [f"changed: {UNITS_DIRECTORY}/{place.name}", f"restarted: {SERVICE}"]
    assert host.read[place.name] == good


def test_without_systemd_placing_must_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who did not mean an image finds nothing changed, and the word for it."""
    monkeypatch.setattr("optimizer.adapters.systemctl.booted", lambda: False)
    assert service._unbooted(argparse.Namespace(no_start=False)) == 1
    assert "service install --no-start" in capsys.readouterr().err
    assert service._unbooted(argparse.Namespace(no_start=True)) == 0


def test_without_systemd_all_is_placed_and_nothing_started(host: Host) -> None:
    """In a chroot or a container; it is said, and a later run on a booted host starts it."""
    said = host.install(booted=False)
    assert not host.running
    assert any("systemd does not run here" in line for line in said)
    assert host.enabled == set(ENABLED)
    host.install()
    assert SERVICE in host.running


def test_no_start_leaves_it_to_the_next_boot(host: Host) -> None:
    """Enabled, not running."""
    host.install(start=False)
    assert host.enabled == set(ENABLED)
    assert not host.running


@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.long)])
def test_an_installer_that_is_killed_is_completed_by_the_next(tmp_path: Path, stride: int) -> None:
    """Killed before each of its commands and after each of its changes, also in an upgrade."""
    clean = Host(tmp_path / "clean")
    clean.install()
    done = 0
    while True:
        hurt = Host(tmp_path / f"hurt{done}")
        left = done
        # An older unit is there and runs; the new one must be what runs in the end.
        old = hurt.root / str(UNITS_DIRECTORY)[1:] / SERVICE
        old.parent.mkdir(parents=True)
        old.write_bytes(b"[Unit]\n")
        hurt.read = hurt.placed()
        hurt.running[SERVICE] = (b"[Unit]\n", hurt.venv)

        def one_less() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        def execute(command: Sequence[str], hurt: Host = hurt) -> Done:
            one_less()
            return hurt.execute(command)

        def tell(_: str) -> None:
            one_less()

        service, _ = hurt.service(tell, execute=execute)
        try:
            service.install(start=True)
        except Killed:
            hurt.install()
            assert hurt.files() == clean.files(), f"killed at step {done}"
            assert hurt.running == clean.running, f"killed at step {done}"
            done += stride
            continue
        break
    assert done > 2 * len(clean.placed())


def test_what_systemd_refuses_is_named_with_the_way_on(host: Host) -> None:
    """The message has systemd's words, and where to read more."""
    host.refused.add("start")
    with pytest.raises(Exception, match=r"refused; see `journalctl -u optimizer"):
        host.install()


def test_a_program_of_another_that_has_our_name_stays(host: Host) -> None:
    """A file in /usr/local/bin that is no link is not replaced, nor removed."""
    place = host.root / "usr/local/bin/optimizer"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"#!/bin/sh\n")
    assert any("is not ours and stays" in line for line in host.install())
    host.uninstall(purge=True)
    assert place.read_bytes() == b"#!/bin/sh\n"


def _used(host: Host) -> None:
    """It has run for a while."""
    for path in (STATE / "history.sqlite3", STATE / "backups/b.tar.gz", LOGS / "optimizer.log"):
        place = host.root / str(path)[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x")


def test_an_uninstall_leaves_nothing_but_the_history(host: Host) -> None:
    """Not even the configuration, for nobody changed it."""
    host.install()
    _used(host)
    host.uninstall(purge=False)
    assert not host.running
    assert not host.enabled
    assert set(host.files()) == {
        "var/lib/optimizer/history.sqlite3",
        "var/lib/optimizer/backups/b.tar.gz",
    }


@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root's file is believed")
def test_a_changed_configuration_outlives_an_uninstall(host: Host) -> None:
    """It is kept beside the history, and is there again after the next installation."""
    host.install()
    config, kept = host.root / str(CONFIG)[1:], host.root / str(STATE / CONFIG.name)[1:]
    config.write_bytes(b"TARGET_CPU=30\n")
    host.uninstall(purge=False)
    assert not config.exists()
    assert kept.read_bytes() == b"TARGET_CPU=30\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    host.install()
    assert config.read_bytes() == b"TARGET_CPU=30\n"
    assert not kept.exists()


@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root's file is believed")
def test_a_kept_configuration_that_is_exchanged_is_not_taken(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of the history is the daemon's user's, who must not have root read for him."""
    secret, kept = host.root / "secret", host.root / str(STATE / CONFIG.name)[1:]
    secret.write_bytes(b"for root alone\n")
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"TARGET_CPU=30\n")
    lstat = Path.lstat

    def exchanged(path: Path) -> os.stat_result:
        found = lstat(path)
        if path == kept and not stat.S_ISLNK(found.st_mode):
            kept.unlink()
            kept.symlink_to(secret)
        return found

    monkeypatch.setattr(Path, "lstat", exchanged)
    host.install()
    assert b"for root alone" not in (host.root / str(CONFIG)[1:]).read_bytes()


def test_a_purge_does_not_empty_what_is_mounted_inside(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a share for backups of many hosts: it is named, and all below it stays."""
    host.install()
    backups = host.root / str(STATE)[1:] / "backups"
    backups.mkdir(parents=True)
    (backups / "of another host").touch()
    mount = SimpleNamespace(mountpoint=str(backups))
    monkeypatch.setattr("psutil.disk_partitions", lambda **_: [mount])
    with pytest.raises(OSError, match="unmount it first"):
        host.uninstall(purge=True)
    assert (backups / "of another host").exists()


def test_directories_that_lie_too_deep_are_told_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The daemon's user can make them, and keep a removal from its end: a line, no traceback."""
    deep = tmp_path / "deep"
    deep.mkdir()
    here = os.open(deep, os.O_RDONLY)
    for _ in range(sys.getrecursionlimit() + 10):
        os.mkdir("x", dir_fd=here)
        below = os.open("x", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    files = PlacedFiles(tmp_path, lambda _: None)
    assert _done(files, lambda: files.remove_tree(Path("/deep"))) == 1
    assert "find /var/lib/optimizer" in capsys.readouterr().err
    subprocess.run(["rm", "-r", deep], check=True)


def test_a_purge_leaves_nothing(host: Host) -> None:
    """No file at all; a second one finds nothing to do."""
    host.install()
    (host.root / str(CONFIG)[1:]).write_bytes(b"TARGET_CPU=30\n")
    _used(host)
    host.uninstall(purge=True)
    assert not host.files()
    assert host.uninstall(purge=True) == []


def test_what_others_may_change_is_found(tmp_path: Path) -> None:
    """The first part of the path that is open to somebody else; a sticky one is not."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "a").chmod(0o777)
    found = others_may_change(inner)
    if os.geteuid() == 0:
        assert found == tmp_path / "a"
        (tmp_path / "a").chmod(0o755)
        assert others_may_change(inner) is None
        os.chown(inner, 1, 1)
    assert others_may_change(inner) == inner


def test_space_is_held_at_the_top_where_that_is_ours(tmp_path: Path) -> None:
    """Our directory is used only where the top cannot be written to."""
    filler_directories.make(str(tmp_path), os.geteuid(), os.getegid())
    assert filler_directories.place_on(str(tmp_path)) == str(tmp_path)


@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="needs root")
def test_a_directory_is_made_for_the_services_user(tmp_path: Path) -> None:
    """Once, closed to others; a stranger's one, a link, or what root has put aside is refused."""
    own = tmp_path / filler_directories.NAME
    assert filler_directories.make(str(tmp_path), 1, 1)
    assert not filler_directories.make(str(tmp_path), 1, 1)
    assert (own.stat().st_uid, stat.S_IMODE(own.stat().st_mode)) == (1, 0o700)
    with pytest.raises(PermissionError, match="remove it"):
        filler_directories.make(str(tmp_path), 2, 2)
    assert not filler_directories.remove(str(tmp_path), frozenset({2}))
    assert filler_directories.remove(str(tmp_path), frozenset({1}))
    own.mkdir(mode=0o755)
    (own / "of root").touch()
    with pytest.raises(PermissionError, match="not empty"):
        filler_directories.make(str(tmp_path), 1, 1)
    assert (own.stat().st_uid, stat.S_IMODE(own.stat().st_mode)) == (0, 0o755)
    (own / "of root").unlink()
    assert filler_directories.make(str(tmp_path), 1, 1)
    own.rmdir()
    own.symlink_to(tmp_path)
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        filler_directories.make(str(tmp_path), 1, 1)
    assert tmp_path.stat().st_uid == 0


def test_what_a_package_has_installed_is_the_packages_to_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else configuration, logs and history would go while its daemon runs on."""

    def touched() -> None:
        raise AssertionError("nothing may be removed")

    (tmp_path / SERVICE).touch()
    monkeypatch.setattr(service, "_PACKAGED_UNITS", tmp_path)
    monkeypatch.setattr(service, "_service", touched)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert main(["service", "uninstall", "--purge"]) == 1
    assert "apt-get remove cloud-resource-optimizer" in capsys.readouterr().err
