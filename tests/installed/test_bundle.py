"""The bundle, installed where there is no network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installed.booted import Booted, booted
from tests.installed.conftest import holding
from tests.installed.packages import build
from tests.installed.service import BOUNDS, Service, files
from tests.rig import eventually

pytestmark = pytest.mark.installed
_ALONE = ["unshare", "-n"]
"""No network at all, not even the loopback."""
_PREFIX = "/srv/optimizer"
_INSTALL_S = 240.0


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Booted, str]]:
    """A rig, and the folder in it in which the bundle was unpacked; nothing is installed."""
    archive = Path(build("bundle", tmp_path_factory.mktemp("bundle"))[0])
    with booted(bounds=BOUNDS) as rig:
        rig.put(archive, f"/srv/{archive.name}")
        rig.run(["tar", "-C", "/srv", "-xzf", f"/srv/{archive.name}"])
        yield rig, f"/srv/{archive.name.removesuffix('.tar.gz')}"


def install(rig: Booted, folder: str, *words: str) -> tuple[int, str]:
    """Run install.sh without network; its code and what it said."""
    argv = [*_ALONE, f"{folder}/install.sh", *words]
    done = rig.run(argv, check=False, timeout=_INSTALL_S)
    return done.returncode, done.stdout + done.stderr


def is_installed(rig: Booted) -> bool:
    """Whether anything is where the program would be."""
    return rig.run(["test", "-e", "/opt/cloud-resource-optimizer"], check=False).returncode == 0


def test_a_broken_file_is_named(unpacked: tuple[Booted, str]) -> None:
    """One byte is enough; nothing is installed."""
    rig, folder = unpacked
    wheel = rig.run(["sh", "-c", f"cd {folder}; ls wheels/structlog-*"]).stdout.strip()
    rig.run(["cp", f"{folder}/{wheel}", "/srv/good"])
    flip = "import sys; f = open(sys.argv[1], 'r+b'); f.seek(5000); b = f.read(1); "
    flip += "f.seek(5000); f.write(bytes([b[0] ^ 1]))"
    rig.run(["python3", "-c", flip, f"{folder}/{wheel}"])
    code, said = install(rig, folder)
    assert code == 1
    assert f"install.sh: {wheel} is broken" in said
    assert "remedy" in said
    rig.run(["rm", f"{folder}/{wheel}"])
    assert f"{wheel} is missing" in install(rig, folder)[1]
    rig.run(["mv", "/srv/good", f"{folder}/{wheel}"])
    assert not is_installed(rig)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("MACHINE", "aarch64", "this bundle is for aarch64, this machine is"),
        ("PYTHON", "3.13", "this bundle needs Python 3.13; found: Python 3.11"),
        ("GLIBC", "9.1", "this bundle needs glibc 9.1 or newer, here is 2.36"),
    ],
)
def test_a_bundle_for_another_machine_is_refused(
    unpacked: tuple[Booted, str], key: str, value: str, said: str
) -> None:
    """Before anything is touched, with what to build instead."""
    rig, folder = unpacked
    rig.run(["rm", "-rf", "/srv/other"])
    rig.run(["cp", "-a", folder, "/srv/other"])
    rig.run(["sed", "-i", f"s/^{key}=.*/{key}={value}/", "/srv/other/MANIFEST"])
    renew = "cd /srv/other; grep -v MANIFEST SHA256SUMS >sums; sha256sum MANIFEST >>sums"
    rig.run(["sh", "-euc", f"{renew}; mv sums SHA256SUMS"])
    code, told = install(rig, "/srv/other")
    assert code == 1
    assert said in told
    assert "remedy" in told
    assert not is_installed(rig)


def test_an_interrupted_installation_is_completed_by_the_next(unpacked: tuple[Booted, str]) -> None:
    """Killed while it unpacks, by a user without rights; nothing half-made is ever in use."""
    rig, folder = unpacked
    rig.run(["install", "-d", "-o", "nobody", "-g", "nogroup", _PREFIX])
    as_user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    words = [f"{folder}/install.sh", "--prefix", _PREFIX, "--no-service"]
    unit = ["systemd-run", "--unit", "first", "-p", "PrivateNetwork=yes", *as_user, *words]
    rig.run(unit)

    def begun() -> bool:
        place = f"{_PREFIX}/venvs/*/lib/python3*/site-packages/psutil"
        return rig.run(["sh", "-c", f"ls -d {place}"], check=False).returncode == 0

    eventually(begun, deadline_s=120, what="half an environment")
    rig.run(["systemctl", "kill", "--signal=KILL", "first"])
    assert rig.run(["test", "-e", f"{_PREFIX}/venv"], check=False).returncode == 1
    done = rig.run([*_ALONE, *as_user, *words], timeout=_INSTALL_S)
    assert "Program       ok" in done.stdout
    again = rig.run([*_ALONE, *as_user, *words], timeout=_INSTALL_S)
    assert "changed" not in again.stdout

    program = f"{_PREFIX}/venv/bin/optimizer"
    options = ["--set", "WORKSPACE_DIR=/srv/optimizer/work", "--set", "GLANCES_ENABLED=false"]
    options += ["--set", "CHECK_INTERVAL_SECONDS=1", "--set", "TARGET_DISK=0"]
    assert rig.run([*as_user, program, "check-config", *options]).returncode == 0
    rig.run(["systemd-run", "--unit", "hold", *as_user, program, "run", *options])

    def holds() -> bool:
        shown = rig.run([*as_user, program, "status", "--json", *options], check=False)
        if shown.returncode != 0:
            return False
        return bool(json.loads(shown.stdout)["resources"]["memory"]["held"] > 0)

    eventually(holds, deadline_s=60, what="memory that is held")
    rig.run(["systemctl", "stop", "hold"])
    rig.run([*as_user, *words, "--uninstall"])
    assert rig.run(["ls", "-A", _PREFIX]).stdout == "work\n"


def test_the_service_is_installed_holds_and_goes(unpacked: tuple[Booted, str]) -> None:
    """As start.sh would install it; a second run changes nothing."""
    rig, folder = unpacked
    before = files(rig)
    assert "can be installed here" in install(rig, folder, "--check")[1]
    assert files(rig) == before
    code, said = install(rig, folder)
    assert code == 0, said
    service = holding(rig)
    main = service.main
    code, said = install(rig, folder)
    assert code == 0, said
    assert "nothing changed" in said
    assert service.main == main
    code, said = install(rig, folder, "--uninstall", "--purge")
    assert code == 0, said
    assert Service(rig).processes() == []
    # Where users are described; empty again, and it is the system's.
    assert files(rig) - before <= {"/etc/sysusers.d"}
    assert before - files(rig) == set()
