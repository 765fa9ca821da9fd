"""From a clean clone to a service that holds, and what is in force then."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.installed.booted import booted
from tests.installed.conftest import Installation
from tests.installed.service import BOUNDS, STATUS, Process, Service
from tests.rig import eventually

pytestmark = pytest.mark.installed
_GENEROUS_S = 400.0


def test_a_clone_holds_soon(installation: Installation, figure: Callable[[str], None]) -> None:
    """From `git clone` to holding the target; the aim is 90 s, which the figures show."""
    for name, seconds in installation.seconds.items():
        figure(f"systemd: {name:<10}{seconds:6.1f} s")
    assert installation.seconds["holding"] < _GENEROUS_S
    assert "changed: /etc/systemd/system/optimizer.service" in installation.first


def test_a_second_install_changes_nothing(installation: Installation) -> None:
    """It says so, and names no change."""
    assert "nothing changed" in installation.second
    assert not re.findall(
        r"^(changed|started|restarted|enabled)", installation.second, re.MULTILINE
    )


def test_it_starts_with_the_system(service: Service) -> None:
    """Enabled: after a boot it runs without anybody's doing; so do its page and its backups."""
    for unit in ("optimizer.service", "optimizer-glances.service", "optimizer-backup.timer"):
        assert service.control("is-enabled", unit).stdout.strip() == "enabled", unit
        assert service.control("is-active", unit).stdout.strip() == "active", unit


def test_it_holds_what_it_says(service: Service, figure: Callable[[str], None]) -> None:
    """The kernel's clocks of all our processes agree with the share that the status tells."""
    service.wait_until_holding()
    members = _cpu_group_members(service)
    begun_s, before_s = time.monotonic(), _cpu_s(members)
    said = []
    while time.monotonic() < begun_s + 10.0:
        said.append(service.resource("cpu").get("own"))
        time.sleep(0.25)
    spent_s, lasted_s = _cpu_s(members) - before_s, time.monotonic() - begun_s
    measured = spent_s / lasted_s / BOUNDS.cpus
    told = sum(filter(None, said)) / len(said)
    target = service.resource("cpu")["target"]
    figure(f"systemd: own CPU {measured:.3f} by the kernel, {told:.3f} said; target {target:.3f}")
    assert measured == pytest.approx(told, abs=0.06)
    assert service.resource("memory")["held"] > 0


def test_its_limits_are_in_force(service: Service) -> None:
    """The kernel, not the unit file, says what the controller may and what it may not."""
    group = "system.slice/optimizer.service"
    read = service.rig.read
    memory = int(read(f"/sys/fs/cgroup/memory/{group}/memory.limit_in_bytes"))
    assert memory == int(service.show("MemoryMax")) < 2**50
    assert read(f"/sys/fs/cgroup/pids/{group}/pids.max").strip() == service.show("TasksMax")
    for one in service.daemon():
        facts = _facts(service, one)
        assert facts["NoNewPrivs"] == "1", one
        assert facts["Seccomp"] == "2", one
        assert {facts[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}, one


def test_who_must_go_first_is_known_to_the_kernel(service: Service) -> None:
    """Stressers go before all others when memory is short; the controller after most."""
    main = service.main
    stressers = [one for one in service.daemon() if one.pid != main]
    pids = service.resource("memory")["pids"]
    assert {_adj(service, one.pid) for one in stressers if one.pid in pids} == {1000}
    assert service.show("OOMScoreAdjust") == "-500"
    if _may_lower_adj(service):
        assert _adj(service, main) == -500


def test_cpu_workers_yield_to_everybody(service: Service) -> None:
    """They are SCHED_IDLE in a group that is idle among the topmost ones; the controller is not."""
    service.wait_until_holding()
    workers = eventually(service.cpu_workers, what="CPU workers")
    for worker in workers:
        policy = service.rig.run(["chrt", "-p", str(worker.pid)]).stdout
        assert "SCHED_IDLE" in policy, worker
        assert _top_is_idle(service, worker.pid), worker
    assert not _top_is_idle(service, service.main)
    assert service.resource("cpu")["missing"] == []


def test_its_users_may_nothing_else(service: Service) -> None:
    """Two system users without a shell; what is secret or private is closed to others."""
    for user in ("optimizer", "optimizer-glances"):
        entry = service.rig.run(["getent", "passwd", user]).stdout.strip().split(":")
        assert int(entry[2]) < 1000
        assert entry[6].endswith("nologin")
    modes = {
        "/etc/optimizer/optimizer.env": "640 root optimizer",
        "/var/lib/optimizer": "750 optimizer optimizer",
        "/var/log/optimizer": "750 optimizer optimizer",
        "/run/optimizer": "755 optimizer optimizer",
    }
    for path, wanted in modes.items():
        assert service.rig.run(["stat", "-c", "%a %U %G", path]).stdout.strip() == wanted, path


def test_anybody_may_ask_for_the_status(service: Service) -> None:
    """`optimizer status` needs no right, and tells the truth to a plain user."""
    done = service.rig.run(["optimizer", "status"], user="nobody", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^cpu\s+\d", done.stdout, re.MULTILINE)
    assert service.rig.run(["cat", STATUS], user="nobody").stdout.startswith("{")


def test_the_page_is_reached_from_this_host_alone(service: Service) -> None:
    """HTTP on the loopback address; another user's process; its death is nobody else's."""
    port = re.search(r"GLANCES_PORT=(\d+)", service.rig.read("/etc/optimizer/optimizer.env"))
    assert port is not None
    url = f"http://127.0.0.1:{port[1]}/"
    eventually(lambda: _answers(url), deadline_s=60, what=f"{url} answers")
    listening = service.rig.run(["ss", "-Hltn", f"sport = :{port[1]}"]).stdout
    assert {line.split()[3] for line in listening.splitlines()} == {f"127.0.0.1:{port[1]}"}
    daemon, page = service.main, int(service.show("MainPID", "optimizer-glances.service"))
    user = service.rig.run(["ps", "-o", "user:32=", "-p", str(page)]).stdout.strip()
    assert user == "optimizer-glances"
    service.kill(page)
    eventually(lambda: not _answers(url), what="the page is gone")
    assert service.main == daemon
    assert service.is_active
    eventually(lambda: _answers(url), deadline_s=60, what=f"{url} answers again")


def test_it_runs_on_version_2_of_control_groups_alone(installation: Installation) -> None:
    """Also where no controller is delegated: restarted after a kill, and a stop leaves nobody."""
    with booted(on=installation.upper, unified=True) as rig:
        service = Service(rig)
        eventually(lambda: bool(service.resource("cpu")), deadline_s=60, what="a status")
        main = service.main
        service.kill(main)
        service.wait_for_another(main)
        eventually(lambda: bool(service.resource("cpu")), deadline_s=60, what="a status")
        service.stop()
        assert service.daemon() == []


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310 - our own page
            return bool(reply.status == 200)
    except OSError:
        return False


def _facts(service: Service, process: Process) -> dict[str, str]:
    text = service.rig.run(["cat", f"/proc/{process.pid}/status"], check=False).stdout
    lines = (line.partition(":") for line in text.splitlines())
    found = {key: value.strip() for key, _, value in lines}
    # One that ended meanwhile has nothing to say.
    return found or {"NoNewPrivs": "1", "Seccomp": "2"} | dict.fromkeys(
        ("CapEff", "CapPrm", "CapBnd", "CapAmb"), "0" * 16
    )


def _adj(service: Service, pid: int) -> int:
    return int(service.rig.read(f"/proc/{pid}/oom_score_adj"))


def _may_lower_adj(service: Service) -> bool:
    """Whether root can lower it at all; not where the host lacks CAP_SYS_RESOURCE."""
    words = ["sh", "-c", "echo -1 >/proc/self/oom_score_adj"]
    return service.rig.run(words, check=False).returncode == 0


def _top_is_idle(service: Service, pid: int) -> bool:
    for line in service.rig.read(f"/proc/{pid}/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if "cpu" in names.split(","):
            top = path.strip("/").split("/")[0]
            done = service.rig.run(["cat", f"/sys/fs/cgroup/cpu/{top}/cpu.idle"], check=False)
            return bool(top) and done.stdout.strip() == "1"
    raise AssertionError(f"{pid} is in no group of the CPU controller")


def _cpu_group_members(service: Service) -> list[Path]:
    """The host's /proc folders of all processes of the daemon's user."""
    user = int(service.rig.run(["id", "-u", "optimizer"]).stdout)
    root = Path(f"/proc/{service.rig.init}/ns/pid").readlink()
    return [
        path
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and _is(path, user) and (path / "ns/pid").readlink() == root
    ]


def _is(path: Path, user: int) -> bool:
    try:
        return path.stat().st_uid == user
    except OSError:
        return False


def _cpu_s(members: list[Path]) -> float:
    """CPU seconds of processes until now, by the clock of each; see clock_getcpuclockid(3)."""
    return sum(time.clock_gettime((~int(path.name) << 3) | 2) for path in members)
