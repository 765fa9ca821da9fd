"""The Debian package, from its installation to its purge, in a rig and without network."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installed.booted import booted
from tests.installed.conftest import holding
from tests.installed.packages import build, older
from tests.installed.service import BOUNDS, CONFIG, USERS, Service, files
from tests.rig import eventually

pytestmark = pytest.mark.installed
_OLD = "0.0.9"
_NAME = "cloud-resource-optimizer"
_VENVS = f"/opt/{_NAME}/venvs"
_DPKG_S = 240.0
_UNITS = ["list-unit-files", "optimizer*", "--no-legend"]


class Packaged(Service):
    """The program as dpkg has installed it; `before` are the files that there were."""

    def __init__(self, service: Service, before: set[str]) -> None:
        super().__init__(service.rig)
        self.before = before

    def dpkg(self, *words: str) -> str:
        """Run dpkg without any network, the operator's files stay as they are; what it said."""
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        argv = ["unshare", "-n", "dpkg", "--force-confold", *words]
        done = self.rig.run(argv, timeout=_DPKG_S, env=quiet)
        return done.stdout + done.stderr

    @property
    def version(self) -> str:
        """That of the program that runs."""
        command = self.rig.read(f"/proc/{self.main}/cmdline").split("\0")
        return self.rig.run([command[0], "-m", "optimizer", "--version"]).stdout.split()[-1]

    @property
    def state(self) -> str:
        """What dpkg thinks of the package, in its three letters."""
        asked = ["dpkg-query", "-f", "${db:Status-Abbrev}", "-W", _NAME]
        return self.rig.run(asked, check=False).stdout.strip()

    def left(self) -> set[str]:
        """Files that are there now and were not before; dpkg's own lists are its own."""
        found = files(self.rig) - self.before
        return {name for name in found if not name.startswith(("/var/lib/dpkg", "/root/"))}


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The package of an older version, and that of this checkout."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("building a Debian package needs dpkg-deb")
    out = tmp_path_factory.mktemp("debs")
    former = older(out / "checkout", _OLD)
    return {
        "old": Path(build("deb", out, checkout=former)[0]),
        "new": Path(build("deb", out)[0]),
    }


@pytest.fixture(scope="module")
def packaged(debs: dict[str, Path]) -> Iterator[Packaged]:
    """A rig in which the older version was installed and holds."""
    with booted(bounds=BOUNDS) as rig:
        before = files(rig)
        for name, path in debs.items():
            rig.put(path, f"/root/{name}.deb")
        service = Packaged(Service(rig), before)
        said = service.dpkg("-i", "/root/old.deb")
        assert "did not start" not in said
        yield Packaged(holding(rig), before)


def test_the_package_satisfies_lintian(debs: dict[str, Path]) -> None:
    """No error and no warning; what is overridden says why."""
    if shutil.which("lintian") is None:
        pytest.skip("needs lintian")
    words = ["lintian", "--allow-root", "--fail-on", "error,warning", str(debs["new"])]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout


def test_it_is_installed_whole_and_holds(packaged: Packaged) -> None:
    """Enabled and running, the configuration for root and the daemon, all files as packed."""
    assert packaged.state == "ii"
    assert packaged.version == _OLD
    shown = packaged.rig.run(["stat", "-c", "%U:%G %a", CONFIG]).stdout
    assert shown == "root:optimizer 640\n"
    # The configuration of these tests differs from the package's, and nothing else.
    changed = packaged.rig.run(["dpkg", "-V", _NAME], check=False).stdout
    assert [line.split()[-1] for line in changed.splitlines()] == [CONFIG]
    assert packaged.rig.run(["optimizer", "check-config"]).returncode == 0
    assert packaged.rig.run(["optimizer-recover", "--dry-run"], check=False).returncode <= 100
    for unit in ("optimizer.service", "optimizer-backup.timer"):
        assert packaged.control("is-enabled", unit).stdout == "enabled\n"


def test_an_upgrade_keeps_history_and_configuration(packaged: Packaged) -> None:
    """Even where both the operator and the package have changed the configuration."""
    rig, main = packaged.rig, packaged.main
    eventually(lambda: packaged.history_rows() >= 5, deadline_s=120, what="some history")
    rows, config = packaged.history_rows(), rig.read(CONFIG)
    packaged.control("disable", "--now", "optimizer-backup.timer")
    packaged.dpkg("-i", "/root/new.deb")
    assert packaged.main not in {0, main}
    packaged.wait_until_holding()
    assert packaged.version != _OLD
    assert packaged.history_rows() >= rows
    assert rig.read(CONFIG) == config
    assert "# of an older version" not in rig.read(f"{CONFIG}.dpkg-dist")
    assert packaged.control("is-enabled", "optimizer-backup.timer").stdout == "disabled\n"
    assert len(rig.run(["ls", _VENVS]).stdout.split()) == 1


def test_a_broken_configuration_does_not_break_dpkg(packaged: Packaged) -> None:
    """The package is configured, the daemon says what is wrong, and starts when that is mended."""
    packaged.configure(TARGET_CPU="forty")
    said = packaged.dpkg("-i", "/root/new.deb")
    assert "the daemon did not start; optimizer check-config" in said
    assert packaged.state == "ii"
    assert not packaged.is_active
    assert packaged.rig.run(["optimizer", "check-config"], check=False).returncode == 78
    holding(packaged.rig)


def test_a_power_loss_in_an_upgrade_is_made_up_for(packaged: Packaged) -> None:
    """The former version runs until the new one is whole; `dpkg --configure -a` completes it."""
    rig = packaged.rig
    stamp = rig.run(["readlink", f"/opt/{_NAME}/venv"]).stdout.strip()
    rig.run(["systemd-run", "--unit", "downgrade", "dpkg", "--force-all", "-i", "/root/old.deb"])

    def is_half_made() -> bool:
        found = rig.run(["sh", "-c", f"ls -d {_VENVS}/*/lib/python3*/site-packages/psutil"])
        return len(found.stdout.split()) == 2

    eventually(is_half_made, deadline_s=120, what="a second environment")
    rig.power_loss()
    rig.boot()
    assert rig.run(["readlink", f"/opt/{_NAME}/venv"]).stdout.strip() == stamp
    packaged.wait_until_holding()
    packaged.dpkg("--configure", "-a")
    assert packaged.state == "ii"
    packaged.wait_until_holding()
    assert packaged.version == _OLD
    assert len(rig.run(["ls", _VENVS]).stdout.split()) == 1
    packaged.dpkg("-i", "/root/new.deb")
    packaged.wait_until_holding()


def test_a_removal_leaves_the_history_and_the_configuration(packaged: Packaged) -> None:
    """No process, unit or program; the history can be taken up again by an installation."""
    rows = packaged.history_rows()
    packaged.dpkg("--remove", _NAME)
    assert packaged.state == "rc"
    assert packaged.processes() == []
    assert packaged.control(*_UNITS).stdout == ""
    kept = ("/var/lib/optimizer", "/var/log/optimizer", "/etc/optimizer")
    assert {name for name in packaged.left() if not name.startswith(kept)} == set()
    packaged.dpkg("-i", "/root/new.deb")
    packaged.wait_until_holding()
    assert packaged.history_rows() >= rows


def test_a_purge_leaves_nothing(packaged: Packaged) -> None:
    """No file, no user."""
    packaged.dpkg("--purge", _NAME)
    assert packaged.processes() == []
    assert packaged.left() == set()
    assert packaged.before - files(packaged.rig) == set()
    for user in USERS:
        assert packaged.rig.run(["getent", "passwd", user], check=False).returncode == 2
