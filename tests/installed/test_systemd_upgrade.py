"""From one version to the next, and away again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.installed.booted import booted
from tests.installed.conftest import holding
from tests.installed.service import BOUNDS, CLONE, REPOSITORY, USERS, Service, clone, files
from tests.rig import eventually

pytestmark = pytest.mark.installed
_OLD = "0.0.9"
_VENVS = "/opt/cloud-resource-optimizer/venvs"
_VERSION = "import importlib.metadata as m; print(m.version('cloud-resource-optimizer'), end='')"
_KILLING_RM = """#!/bin/sh
[ "$1" != -rf ] || {
    /bin/rm -rf /opt/cloud-resource-optimizer/venvs/*/lib/python3*/site-packages/optimizer
    kill -9 $PPID
}
exec /bin/rm "$@"
"""


@pytest.fixture(scope="module")
def upgraded() -> Iterator[tuple[Service, set[str]]]:
    """A rig that has gone from an older version to this one, and what files there were before."""
    with booted(bounds=BOUNDS) as rig:
        clone(rig)
        before = files(rig)
        old = Service(rig, "/root/cloud-resource-optimizer-old")
        rig.run(["git", "clone", "--quiet", REPOSITORY, old.checkout])
        lower = ["sed", "-i", f"s/^version = .*/version = {_OLD}/", f"{old.checkout}/setup.cfg"]
        rig.run(lower)
        old.install()
        holding(rig)
        assert _version(old) == _OLD
        rig.run(["git", "clone", "--quiet", REPOSITORY, CLONE])
        yield old, before


def _version(service: Service) -> str:
    """The version of the program that runs."""
    command = service.rig.read(f"/proc/{service.main}/cmdline").split("\0")
    return service.rig.run([command[0], "-c", _VERSION]).stdout


def test_an_upgrade_keeps_the_history(upgraded: tuple[Service, set[str]]) -> None:
    """The new version runs with the old one's history and configuration; its files are gone."""
    old, _ = upgraded
    rig, main = old.rig, old.main
    eventually(lambda: old.history_rows() >= 5, what="some history")
    rows, config = old.history_rows(), rig.read("/etc/optimizer/optimizer.env")
    venv = rig.run(["readlink", "-f", f"{_VENVS}/../venv"]).stdout
    new = Service(rig)
    new.install()
    assert new.main != main
    new.wait_until_holding()
    assert _version(new) != _OLD
    assert new.history_rows() >= rows
    assert rig.read("/etc/optimizer/optimizer.env") == config
    assert rig.run(["readlink", "-f", f"{_VENVS}/../venv"]).stdout != venv
    assert len(rig.run(["ls", _VENVS]).stdout.split()) == 1


def test_an_uninstall_leaves_the_history_alone(upgraded: tuple[Service, set[str]]) -> None:
    """No process, unit, user or file but the history, and what an operator has written."""
    service, before = Service(upgraded[0].rig), upgraded[1]
    service.uninstall()
    assert service.processes() == []
    assert service.control("list-unit-files", "optimizer*", "--no-legend").stdout == ""
    left = files(service.rig) - before
    assert {name for name in left if not name.startswith("/var/lib/optimizer")} == set()
    assert "/var/lib/optimizer/history.sqlite3" in left
    assert before - files(service.rig) == set()
    for user in USERS:
        assert service.rig.run(["getent", "passwd", user], check=False).returncode == 2


def test_a_purge_leaves_nothing(upgraded: tuple[Service, set[str]]) -> None:
    """Installed again it goes on with its history; purged, no file of it is left.

    Also when the removal was killed after it had begun to remove the program.
    """
    service, before = Service(upgraded[0].rig), upgraded[1]
    service.install()
    assert service.history_rows() >= 5
    rig = service.rig
    rig.write("/tmp/killed/rm", _KILLING_RM)  # noqa: S108 - inside the rig
    rig.run(["chmod", "755", "/tmp/killed/rm"])  # noqa: S108
    words = ["sh", "-c", 'PATH=/tmp/killed:$PATH exec "$@"', "-", f"{CLONE}/start.sh"]
    done = rig.run([*words, "--uninstall-service", "--purge"], check=False, timeout=120)
    assert done.returncode in {-9, 137}, done.stdout + done.stderr
    rig.run(["rm", "-r", "/tmp/killed"])  # noqa: S108
    service.uninstall("--purge")
    assert files(service.rig) == before
    assert service.processes() == []
