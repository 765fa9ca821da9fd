"""What befalls an installed service, and what systemd makes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.installed.service import CONFIG, Service
from tests.rig import eventually

pytestmark = pytest.mark.installed
_CLEAN = "Nothing of the daemon is left"
"""What the hook after each stop says when its look finds nothing, or nothing any more."""
_STOP_S = 20.0
"""Twice TimeoutStopSec=5 (daemon, then hook), twice that again for a busy machine."""
_CRASHES = 7
"""More than systemd's usual limit of five starts in ten seconds."""


@pytest.fixture(autouse=True)
def _runs(service: Service) -> None:
    """Each test finds the service holding."""
    if not service.is_active:
        service.control("reset-failed", "optimizer")
        service.start()
    service.wait_until_holding()


@pytest.fixture
def restarted_at_once(service: Service) -> Iterator[None]:
    """Restarts without a delay, so that any limit of starts would be met."""
    place = "/run/systemd/system/optimizer.service.d/quick.conf"
    service.rig.write(place, "[Service]\nRestartSec=100ms\n")
    service.control("daemon-reload")
    yield
    service.rig.run(["rm", place])
    service.control("daemon-reload")


def test_a_killed_controller_is_restarted_and_leaves_nobody(service: Service) -> None:
    """All that it had started is gone, the hook has looked, and the next one holds again."""
    old = {one.pid for one in service.daemon()}
    main, looked = service.main, service.journal().count(_CLEAN)
    service.kill(main)
    service.wait_for_another(main)
    assert not old & {one.pid for one in service.daemon()}
    assert "status=9/KILL" in service.journal()
    assert service.journal().count(_CLEAN) == looked + 1
    service.wait_until_holding()


def test_a_frozen_controller_is_replaced(service: Service) -> None:
    """The watchdog ends one that does not answer any more."""
    main = service.main
    old = {one.pid for one in service.daemon()}
    service.kill(main, "STOP")
    service.wait_for_another(main)
    assert "Watchdog timeout" in service.journal()
    assert not old & {one.pid for one in service.daemon()}
    service.wait_until_holding()


@pytest.mark.usefixtures("restarted_at_once")
def test_a_crash_loop_is_never_given_up(service: Service) -> None:
    """However often and fast it dies, it is started again."""
    for _ in range(_CRASHES):
        main = service.main
        service.kill(main)
        service.wait_for_another(main)
    service.wait_until_holding()


def test_a_stop_is_quick_and_leaves_nothing(
    service: Service, figure: Callable[[str], None]
) -> None:
    """No process in any group, no file below /run; its page goes with it."""
    seconds = service.stop()
    figure(f"systemd: stopped in {seconds:.2f} s")
    assert seconds < _STOP_S
    assert service.daemon() == []
    assert service.rig.run(["ls", "-A", "/run/optimizer"], check=False).stdout == ""
    assert service.show("Result") == "success"
    # The broker of the load group ends by itself when nobody has asked for a while.
    eventually(lambda: not _members(service), what="its groups are empty")
    assert service.processes() == []
    service.start()


def test_a_stop_beside_a_busy_tenant_leaves_nothing_either(
    service: Service, figure: Callable[[str], None]
) -> None:
    """What is killed in the idle group gets CPU time to die, though others want all."""
    loops = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do while :; do :; done & done; wait"
    service.rig.run(["systemd-run", "--quiet", "--unit=tenant", "sh", "-c", loops])
    try:
        seconds = service.stop()
        figure(f"systemd: stopped in {seconds:.2f} s beside twelve busy loops on one CPU")
        eventually(lambda: not _members(service), what="its groups are empty")
        assert service.daemon() == []
    finally:
        service.control("stop", "tenant")
    service.control("reset-failed", "optimizer")
    service.start()


def test_a_changed_configuration_is_taken_over_without_a_restart(service: Service) -> None:
    """The file alone suffices; what is wrong in it is refused and told."""
    main = service.main
    text = service.rig.read(CONFIG)
    try:
        service.rig.write(CONFIG, text.replace("TARGET_CPU=30", "TARGET_CPU=20"))
        eventually(lambda: service.resource("cpu").get("target") == 0.2, what="the new target")
        service.rig.write(CONFIG, text + "NONSENSE=1\n")
        eventually(lambda: service.status().get("config", {}).get("ok") is False)
        assert service.resource("cpu")["target"] == 0.2
    finally:
        service.rig.write(CONFIG, text)
    eventually(lambda: service.resource("cpu").get("target") == 0.3, what="the old target")
    assert service.main == main


def test_a_broken_configuration_is_told_and_tried_once(service: Service) -> None:
    """`systemctl status` names the fault; no loop; mended and started, it holds again."""
    text = service.rig.read(CONFIG)
    try:
        service.rig.write(CONFIG, text + "NONSENSE=1\n")
        assert service.control("restart", "optimizer").returncode != 0
        eventually(lambda: service.show("ActiveState") == "failed", what="failed")
        assert service.show("ExecMainStatus") == "78"
        shown = service.control("status", "--no-pager", "-l", "optimizer").stdout
        assert "NONSENSE" in shown
        assert "78" in shown
        # Longer than RestartSec.
        time.sleep(6.0)
        assert service.show("ActiveState") == "failed"
        assert service.show("NRestarts") == "0"
        assert service.daemon() == []
    finally:
        service.rig.write(CONFIG, text)
    service.start()


def test_the_recovery_tool_stops_all(service: Service) -> None:
    """Beside a running service: exit 0, unit inactive, nobody left, nothing starts until told."""
    tool = ["python3", f"{service.checkout}/recover/recover_system.py"]
    done = service.rig.run([*tool, "--yes"], check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert service.control("is-active", "optimizer").stdout.strip() in {"inactive", "failed"}
    assert service.daemon() == []
    service.control("start", "optimizer")
    eventually(lambda: bool(service.status()), what="a daemon that knows the order")
    assert service.status()["inhibit"] is not None
    assert service.cpu_workers() == []
    service.rig.run([*tool, "--resume"])
    service.wait_until_holding()


def _members(service: Service) -> set[str]:
    """Numbers of all processes in control groups of ours."""
    script = "find /sys/fs/cgroup -path '*optimizer*' -name cgroup.procs | xargs -r cat"
    return set(service.rig.run(["sh", "-c", script]).stdout.split())
