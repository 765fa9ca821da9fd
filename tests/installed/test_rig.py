"""The rig itself: what a test that uses it may rely on."""

from __future__ import annotations

import pytest

from tests.installed.booted import booted

pytestmark = pytest.mark.installed


def test_the_rig_boots_keeps_its_disk_over_a_power_loss_and_leaves_nothing() -> None:
    """Limits are real, a disk can be mounted, files stay over a power loss, all goes in the end."""
    with booted() as rig:
        assert rig.run(["systemctl", "is-system-running"], check=False).stdout == "running\n"
        device = rig.disk("data", size_mb=64)
        rig.run(["mount", device, "/mnt"])
        rig.write("/mnt/kept", "here")
        rig.write("/var/lib/kept", "there")
        rig.run(["sync"])
        rig.power_loss()
        assert "Started" in rig.console
        rig.boot()
        assert rig.read("/var/lib/kept") == "there"
        rig.run(["mount", device, "/mnt"])
        assert rig.read("/mnt/kept") == "here"
        rig.power_off()
        folder = rig.folder
    assert not folder.exists()
