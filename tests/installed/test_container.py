"""The image, built and run for real: not root, no capability, read-only, as a pod runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.installed.podman import BASE, IMAGE, Container, Podman, podman
from tests.loopdev import volume
from tests.paths import CHECKOUT
from tests.rig import alive, descendants, eventually

pytestmark = pytest.mark.installed
MB = 2**20
POD = {"CPU_SCOPE": "host", "MEMORY_SCOPE": "host", "CHECK_INTERVAL_SECONDS": "1"}
"""What kubernetes/base/optimizer.env says of scopes."""
WATCHED = POD | {"TARGET_CPU": "0", "TARGET_MEMORY": "0", "TARGET_DISK": "0"}


@pytest.fixture(scope="module")
def engine() -> Iterator[Podman]:
    """podman, and the image built from the checkout; nothing of it is left in the end."""
    with podman() as found:
        yield found
    assert not found.folder.exists()
    assert str(found.folder) not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")


def zombies(pid: int) -> set[int]:
    """Dead children of a process that it has not waited for."""
    return {child for child in descendants(pid) if _state(child) == "Z"}


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2][0]
    except OSError:
        return ""


def running(container: Container) -> Container:
    """The container once its daemon has written a first sample."""
    eventually(
        lambda: container.resource("cpu").get("now") is not None,
        what=f"a sample; it said: {container.said()}",
    )
    return container


def test_the_image_is_small_and_has_the_locked_versions_only(
    engine: Podman, figure: Callable[[str], None]
) -> None:
    """Below 120 MB beside the base, two thirds of it numpy; no pip, no compiler, no setuptools."""
    ours_mb = (engine.size_bytes(IMAGE) - engine.size_bytes(BASE)) / 1e6
    figure(f"image: {engine.size_bytes(IMAGE) / 1e6:.0f} MB, {ours_mb:.0f} MB of it ours")
    assert ours_mb < 120
    (image,) = json.loads(engine.run("image", "inspect", IMAGE).stdout)
    config = image["Config"]
    assert (config["User"], config["StopSignal"]) == ("10001:10001", "SIGTERM")
    assert image["Healthcheck"]["Test"] == ["CMD", "/opt/cloud-resource-optimizer/healthy"]
    assert config["Labels"]["org.opencontainers.image.licenses"] == "MIT"
    code = (
        "import importlib.metadata as m; "
        "print(*(f'{d.name.lower()}=={d.version}' for d in m.distributions()))"
    )
    python = ("--entrypoint", "/opt/cloud-resource-optimizer/venv/bin/python")
    told = engine.once("-c", code, options=python).stdout
    installed = set(told.replace("_", "-").split())
    lock = (CHECKOUT / "container/requirements.lock").read_text(encoding="utf-8")
    locked = set(re.findall(r"^[\w.-]+==[\w.]+", lock, re.MULTILINE))
    own = {one for one in installed if one.startswith("cloud-resource-optimizer==")}
    assert len(own) == 1
    assert installed - own <= locked


def test_a_pod_holds_the_node_and_gives_all_back(
    engine: Podman, figure: Callable[[str], None]
) -> None:
    """CPU and memory of the host, by a user without rights; `stop` ends it within seconds."""
    used = 100 * (1 - psutil.virtual_memory().available / psutil.virtual_memory().total)
    settings = POD | {
        "TARGET_CPU": "90",  # others use much of a machine on which tests run
        "TARGET_MEMORY": f"{used + 10:.1f}",
        "TARGET_DISK": "0",
    }
    with engine.daemon(**settings) as container:
        eventually(lambda: (container.resource("memory").get("own") or 0) > 0.002, deadline_s=60)
        eventually(lambda: (container.resource("cpu").get("own") or 0) > 0.02, deadline_s=60)
        status = container.status()
        assert status["pid"] == 1
        assert status["cpu_scope"]["scope"] == "host"
        assert status["cpu_scope"]["capacity"] == os.cpu_count()
        capacity = status["resources"]["memory"]["capacity"]
        assert capacity == psutil.virtual_memory().total
        rights = Path(f"/proc/{container.pid}/status").read_text(encoding="ascii")
        assert re.search(r"^CapEff:\t0+$", rights, re.MULTILINE)
        assert re.search(r"^Uid:\t10001\t10001\t10001\t10001$", rights, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\t1$", rights, re.MULTILINE)
        assert container.execute("/opt/cloud-resource-optimizer/healthy").returncode == 0
        assert container.execute("optimizer", "status").returncode == 0
        told = json.loads(container.execute("optimizer", "doctor", "--json", check=False).stdout)
        said = {one["code"]: one["found"] for one in told["findings"]}
        assert "mounted read-only" in said["cgroup-denied"]
        # On a machine that is busy beyond its CPUs leases run out, and crews come back later.
        pids = eventually(
            lambda: found if len(found := container.pids()) > 4 else None, deadline_s=60
        )
        begun_s = time.monotonic()
        engine.run("stop", "--time=10", container.name)
        figure(f"container: stopped {time.monotonic() - begun_s:.1f} s after the order")
        assert container.inspect()["State"]["ExitCode"] == 0
        assert not alive(pids)
        assert "daemon.stopped" in container.said()


def test_limits_of_the_pod_bound_what_is_held_and_kill_nobody(engine: Podman) -> None:
    """800 MiB: 512 stay free, so that less than 288 are held; half a CPU: no more than that."""
    settings = POD | {"TARGET_MEMORY": "60", "TARGET_CPU": "90", "TARGET_DISK": "0"}
    settings |= {"MEMORY_RISE_MB_PER_MINUTE": "100000"}
    limits = ("--memory=800m", "--memory-swap=800m", "--cpus=0.5")
    with engine.daemon(*limits, **settings) as container:
        eventually(lambda: container.resource("memory").get("reason") == "floor", deadline_s=60)
        memory, cpu = container.resource("memory"), container.status()["cpu_scope"]
        assert 0 < memory["held"] <= (800 - 512) * MB
        assert memory["capacity"] == psutil.virtual_memory().total
        assert cpu["capacity"] == os.cpu_count()
        assert cpu["reach"] <= 0.5
        # At the floor, and then for as long as nothing grows because it was touched.
        told = container.execute("optimizer", "status").stdout
        assert "what must stay free keeps it below" in told or "a floor was touched" in told
        state = container.inspect()["State"]
        assert (state["Running"], state["OOMKilled"]) == (True, False)


def test_a_killed_container_leaves_nothing(engine: Podman) -> None:
    """SIGKILL for its first process is the end of all of them, at once."""
    settings = POD | {"TARGET_CPU": "90", "TARGET_MEMORY": "40", "TARGET_DISK": "0"}
    with engine.daemon(**settings) as container:
        eventually(lambda: len(container.pids()) > 6, what="both crews with their workers")
        pids = container.pids()
        engine.run("kill", "--signal=KILL", container.name)
        eventually(lambda: not alive(pids), deadline_s=10, what="all have gone")


def test_the_first_process_reaps_the_workers_of_a_killed_crew(engine: Podman) -> None:
    """They die with their crew and are handed to the daemon, which never started them."""
    with engine.daemon(**POD, TARGET_CPU="0", TARGET_MEMORY="40", TARGET_DISK="0") as container:
        daemon = eventually(lambda: container.pid)
        eventually(lambda: len(descendants(daemon)) > 4, what="a crew with its shards")
        (crew,) = (child for child in descendants(daemon) if len(descendants(child)) > 3)
        os.kill(crew, signal.SIGKILL)
        eventually(lambda: zombies(daemon), what="workers that nobody has waited for")
        eventually(lambda: not zombies(daemon), deadline_s=60, what="all are reaped")
        assert container.pid == daemon


def test_the_nodes_figures_may_come_from_a_mounted_proc(engine: Podman) -> None:
    """Four files of the node's /proc, as components/lxcfs mounts them; without them: unknown."""
    names = ("stat", "meminfo", "vmstat", "pressure")
    mounts = [f"--volume=/proc/{name}:/host/proc/{name}:ro" for name in names]
    settings = WATCHED | {"HOST_PROC": "/host/proc"}
    with engine.daemon(*mounts, **settings) as container:
        running(container)
        assert container.status()["warnings"] == []
        assert container.resource("memory")["capacity"] == psutil.virtual_memory().total
    with engine.daemon(**settings) as container:
        eventually(lambda: container.status().get("warnings"), what="a warning")
        assert "/host/proc/stat" in " ".join(container.status()["warnings"])
        assert container.resource("cpu")["now"] is None


def test_space_on_a_mounted_folder_is_that_of_the_nodes_disk(
    engine: Podman, tmp_path: Path
) -> None:
    """A folder of a disk as a hostPath: its whole filesystem counts, and all comes back."""
    with volume("ext4", tmp_path, size_mb=6144) as disk:
        folder = disk.mount / "ours"
        folder.mkdir()
        os.chown(folder, 10001, 10001)
        settings = WATCHED | {"TARGET_DISK": "30", "DISK_STRESS_PATH": "/host/disk"}
        before = psutil.disk_usage(str(disk.mount)).used
        with engine.daemon(f"--volume={folder}:/host/disk", **settings) as container:
            eventually(
                lambda: abs((container.resource("disk").get("now") or 0) - 0.30) < 0.005,
                deadline_s=60,
                what=f"30 %; it said {container.resource('disk')}",
            )
            usage = psutil.disk_usage(str(disk.mount))
            assert usage.used / (usage.used + usage.free) == pytest.approx(0.30, abs=0.01)
            assert list(folder.iterdir()) == []
            engine.run("stop", "--time=10", container.name)
        assert psutil.disk_usage(str(disk.mount)).used - before < 16 * MB


def test_metrics_come_from_a_container_beside_the_daemon(engine: Podman) -> None:
    """It sees the runtime folder, read-only, and none of the daemon's processes."""
    with engine.daemon(**WATCHED) as container:
        running(container)
        shared = (f"--volume={container.folder / 'run'}:/run/optimizer:ro",)
        done = engine.once("metrics", "--once", options=shared)
        assert done.returncode == 0, done.stderr
        assert "optimizer_healthy 1.0" in done.stdout
        assert 'optimizer_target_ratio{resource="cpu"} 0.0' in done.stdout
        engine.run("stop", "--time=10", container.name)
        assert "optimizer_healthy 0.0" in engine.once("metrics", "--once", options=shared).stdout
