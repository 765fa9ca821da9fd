"""The files of the container image and of the DaemonSet say what the code does."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from optimizer.settings import load
from tests.paths import CHECKOUT

CONTAINER, KUBERNETES = CHECKOUT / "container", CHECKOUT / "kubernetes"
RENDERED = ("base", "overlays/data-disk", "overlays/memory-limit", "overlays/monitored")


def entries(lock: Path) -> dict[str, str]:
    """Each pinned requirement of a lock file with its hashes."""
    found = re.findall(r"^[a-z].*(?:\n    .*)*", lock.read_text(encoding="utf-8"), re.MULTILINE)
    return {entry.split(" \\\n")[0]: entry for entry in found}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-build.lock"])
def test_the_image_has_the_locked_versions(name: str) -> None:
    """Version and hashes are those of the lock of the whole program."""
    whole = entries(CHECKOUT / "requirements.lock")
    part = entries(CONTAINER / name)
    assert part
    assert part == {pin: whole[pin] for pin in part}


def test_the_image_has_what_the_daemon_needs_and_no_web_page() -> None:
    """install_requires of Linux and the extra for metrics; what those need is among them."""
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg", encoding="utf-8")
    lines = setup["options"]["install_requires"] + setup["options.extras_require"]["metrics"]
    wanted = {
        re.split(r"[<>=;]", line)[0].strip()
        for line in lines.split("\n")
        if line.strip() and "win32" not in line
    }
    locked = {re.split("==", pin)[0] for pin in entries(CONTAINER / "requirements.lock")}
    assert locked == wanted


def test_each_file_of_the_image_comes_into_the_build() -> None:
    """What the Dockerfile copies by name is not left out by .dockerignore."""
    kept = (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert kept[1:2] == ["*"]
    dockerfile = (CONTAINER / "Dockerfile").read_text(encoding="utf-8")
    for name in set(re.findall(r"container/[a-z][\w.-]*", dockerfile)) - {"container/Dockerfile"}:
        assert f"!{name}" in kept
        assert (CHECKOUT / name).exists()


def test_the_user_is_a_number_that_is_not_root() -> None:
    """A kubelet with runAsNonRoot refuses a name; it is the same in image and pod."""
    dockerfile = (CONTAINER / "Dockerfile").read_text(encoding="utf-8")
    (user,) = re.findall(r"^USER (\d+):\1$", dockerfile, re.MULTILINE)
    assert int(user) >= 10000
    pod = (KUBERNETES / "base/daemonset.yaml").read_text(encoding="utf-8")
    assert f"runAsUser: {user}" in pod


@pytest.mark.skipif(sys.platform != "linux", reason="a script of the Linux image")
def test_the_health_check_looks_at_the_age_of_the_status(tmp_path: Path) -> None:
    """Exit 0 for a fresh status; 1 for one of 20 seconds ago, for a day ago, and for none."""

    def code() -> int:
        environment = {**os.environ, "RUNTIME_DIRECTORY": str(tmp_path)}
        return subprocess.run(
            [CONTAINER / "healthy"], env=environment, check=False, timeout=10
        ).returncode

    assert code() == 1
    status = tmp_path / "status.json"
    status.touch()
    assert code() == 0
    for age_s in (20, 86_400):
        os.utime(status, (time.time() - age_s,) * 2)
        assert code() == 1


@pytest.mark.parametrize("path", sorted(KUBERNETES.rglob("*.env")), ids=str)
def test_each_configuration_of_the_pods_is_without_faults(path: Path) -> None:
    """No fault, no warning, and shares are of the node, whatever limits the pod has."""
    loaded = load(file=path, environ={}, overrides={})
    assert loaded.warnings == ()
    assert loaded.settings.cpu_scope.value == loaded.settings.memory_scope.value == "host"


def test_without_a_named_disk_none_is_held() -> None:
    """In a pod without a data disk the only disk in sight is the node's own."""
    base = load(file=KUBERNETES / "base/optimizer.env", environ={}, overrides={}).settings
    assert (base.target_disk, base.disk_stress_path) == (0.0, None)
    disk = load(file=KUBERNETES / "overlays/data-disk/optimizer.env", environ={}, overrides={})
    assert f"mountPath: {disk.settings.disk_stress_path}" in (
        KUBERNETES / "overlays/data-disk/disk.yaml"
    ).read_text(encoding="utf-8")


def kustomized(folder: Path) -> str:
    """What kustomize makes of a folder."""
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl")
    words = ["kubectl", "kustomize", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_exporter_is_found_and_of_the_daemons_image_in_any_overlay(tmp_path: Path) -> None:
    """An operator's own registry reaches all containers, and the Service finds the pods."""
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    base = tmp_path / "kubernetes/base/kustomization.yaml"
    text = base.read_text(encoding="utf-8")
    base.write_text(f"{text}    newName: registry.example/ours\n", encoding="utf-8")
    ours = tmp_path / "kubernetes/overlays/ours"
    ours.mkdir()
    (ours / "kustomization.yaml").write_text(
        "resources: [../data-disk]\ncomponents: [../../components/metrics]\n", encoding="utf-8"
    )
    for folder in (tmp_path / "kubernetes/overlays/monitored", ours):
        shown = kustomized(folder)
        images = set(re.findall(r"^ +image: (.*)$", shown, re.MULTILINE))
        assert images == {"registry.example/ours:0.1.0"}
        (service,) = (one for one in shown.split("---\n") if "\nkind: Service\n" in one)
        name = "app.kubernetes.io/name: cloud-resource-optimizer\n"
        assert f"  labels:\n    {name}" in service
        assert f"  selector:\n    {name}" in service
        assert "  namespace: cloud-resource-optimizer\n" in service


@pytest.mark.parametrize("folder", RENDERED)
def test_kustomize_renders_it(folder: str) -> None:
    """One DaemonSet that is selected by its own label; no token, no privileges, no host network."""
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl")
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert done.stderr == ""
    assert text.count("kind: DaemonSet") == 1
    assert "automountServiceAccountToken: false" in text
    assert text.count("readOnlyRootFilesystem: true") == text.count("image: cloud-resource-optim")
    for word in ("privileged: true", "hostPID", "hostNetwork: true", "hostIPC", "SYS_ADMIN"):
        assert word not in text
