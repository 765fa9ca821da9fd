"""Space held on a data disk by an unprivileged service, and the disk's own life."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

import pytest

from tests.installed.booted import booted
from tests.installed.conftest import Installation, holding
from tests.installed.service import BOUNDS, Service
from tests.rig import eventually

pytestmark = pytest.mark.installed
_SIZE_MB = 6144
_MOUNT = """[Unit]
Description=A data disk
[Mount]
What={device}
Where=/data
Type=ext4
[Install]
WantedBy=local-fs.target
"""


@pytest.fixture(scope="module")
def disk(installation: Installation) -> Iterator[tuple[Service, str]]:
    """A service that holds space on /data, and the device of that."""
    with booted(on=installation.upper, bounds=BOUNDS) as rig:
        device = rig.disk("data", size_mb=_SIZE_MB)
        rig.write("/etc/systemd/system/data.mount", _MOUNT.format(device=device))
        rig.run(["systemctl", "daemon-reload"])
        rig.run(["systemctl", "enable", "--now", "data.mount"])
        yield holding(rig, TARGET_DISK="10", GLANCES_ENABLED="false"), device


def _held(service: Service) -> bool:
    found = service.resource("disk")
    return bool(found) and found["held"] > 0 and abs(found["now"] - found["setpoint"]) < 0.01


def _is_let_go(device: str) -> bool:
    """Whether no namespace of anybody has it mounted any more; see open(2) on O_EXCL."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    except OSError as exc:
        if exc.errno == errno.EBUSY:
            return False
        raise
    return True


def test_space_is_held_and_let_go_for_an_unmount(disk: tuple[Service, str]) -> None:
    """After `optimizer release` the disk can be unmounted, and no namespace of ours pins it."""
    service, device = disk
    eventually(lambda: _held(service), deadline_s=60, what="space is held")
    used = service.rig.run(["df", "--output=pcent", "/data"]).stdout.split()[-1]
    assert 9 <= int(used.rstrip("%")) <= 12
    names = service.rig.run(["find", "/data", "-type", "f"]).stdout
    assert names == ""
    assert not _is_let_go(device)
    service.rig.run(["optimizer", "release", "/data"])
    eventually(lambda: service.resource("disk").get("held") == 0.0, what="it is let go")
    done = service.control("stop", "data.mount")
    assert done.returncode == 0, done.stderr
    assert service.show("ActiveState", "data.mount") == "inactive"
    eventually(lambda: _is_let_go(device), what="nobody has it mounted")
    assert service.is_active
    service.control("start", "data.mount")
    service.rig.run(["optimizer", "resume"])
    eventually(lambda: _held(service), deadline_s=60, what="space is held again")


def test_a_power_loss_keeps_the_history_and_nothing_else(disk: tuple[Service, str]) -> None:
    """It starts by itself on the next boot, goes on with its history, and no space is lost."""
    service, _ = disk
    rig = service.rig
    eventually(lambda: _held(service), deadline_s=60, what="space is held")
    eventually(lambda: service.history_rows() >= 5, what="some history")
    rows = service.history_rows()
    rig.power_loss()
    rig.boot()
    service.wait_until_holding()
    assert service.history_rows() >= rows
    eventually(lambda: _held(service), deadline_s=60, what="space is held")
    # As where a filesystem knows no file without a name, and its holder was killed.
    named = "/data/.cloud-resource-optimizer/held-0123456789abcdef"
    rig.run(["install", "-o", "optimizer", "-m", "0600", "/dev/null", named])
    service.stop()
    assert rig.run(["ls", named], check=False).stdout == ""
    used = int(rig.run(["df", "--output=used", "/data"]).stdout.split()[-1])
    assert used < 10_000, f"{used} KiB are used on an empty disk"
    service.start()


def test_it_stops_before_its_disk_is_unmounted(
    disk: tuple[Service, str], figure: Callable[[str], None]
) -> None:
    """At a shutdown; otherwise the disk would be busy."""
    service, device = disk
    rig = service.rig
    eventually(lambda: _held(service), deadline_s=60, what="space is held")
    begun = len(rig.console)
    rig.power_off()
    said = rig.console[begun:]
    stopped, unmounted = said.find("Stopped optimizer.service"), said.find("Unmounted data.mount")
    assert 0 <= stopped < unmounted, said
    assert "Failed unmounting" not in said
    eventually(lambda: _is_let_go(device), what="nobody has it mounted")
    figure("systemd: at shutdown optimizer.service stopped before data.mount was unmounted")
