"""Containers of a test's own by podman, with storage of their own; needs root and Linux."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.installed import debian
from tests.paths import CHECKOUT
from tests.rig import descendants

IMAGE, BASE = "localhost/optimizer:test", "localhost/base:test"
_LIMITS = ("--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:4096")
"""podman's own defaults are above what a user without CAP_SYS_RESOURCE may have."""
_HARDENED = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")
_LEFT_OUT = (
    *("usr/share/doc", "usr/share/locale", "usr/share/man", "usr/share/i18n"),
    *("var/cache/apt", "var/lib/apt/lists", "var/log"),
)
"""Of the base: only its Python is used, and each megabyte takes its time."""
_STORAGE = "size=2g,mode=755"
"""In memory, for a shared disk makes minutes of it; an image and a base need 0.9 GB."""
_BUILD_S = 300.0


class Container:
    """A running container of the image; `folder` is where its folders lie on the host."""

    def __init__(self, podman: Podman, name: str, folder: Path) -> None:
        self.podman, self.name, self.folder = podman, name, folder

    def inspect(self) -> dict[str, Any]:
        """What podman knows of it."""
        (found,) = json.loads(self.podman.run("inspect", self.name).stdout)
        return dict(found)

    @property
    def pid(self) -> int:
        """The daemon's process id on the host; 0 when it does not run."""
        return int(self.inspect()["State"]["Pid"])

    def pids(self) -> set[int]:
        """The daemon and all below it, by their pids on the host."""
        pid = self.pid
        return {pid, *descendants(pid)} if pid else set()

    def execute(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run something in it."""
        return self.podman.run("exec", self.name, *words, check=check)

    def status(self) -> dict[str, Any]:
        """status.json as it is now; empty while there is none."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "run/status.json").read_bytes())
        except FileNotFoundError:
            return {}
        return found

    def resource(self, name: str) -> dict[str, Any]:
        """One resource of the status; empty while there is none."""
        found: dict[str, Any] = self.status().get("resources", {}).get(name, {})
        return found

    def said(self) -> str:
        """What it has printed."""
        done = self.podman.run("logs", self.name, check=False)
        return done.stdout + done.stderr


class Podman:
    """podman on storage of its own in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0

    def run(
        self, *words: str, check: bool = True, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run podman to its end."""
        options = ("--root", str(self.folder / "root"), "--runroot", str(self.folder / "run"))
        done = subprocess.run(
            ["podman", *options, "--runtime=runc", "--cgroup-manager=cgroupfs", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            cwd=CHECKOUT,
        )
        assert not check or done.returncode == 0, f"podman {' '.join(words)}: {done.stderr}"
        return done

    def build(self) -> None:
        """The image of the checkout, on the Debian tree of the rig, from wheels: no network."""
        tree = debian.tree()
        self._import(tree)
        wheels = self.folder / "wheels"
        _download(tree, wheels)
        self.run(
            *("build", "--quiet", "--layers=false", "--isolation=chroot", "--format=docker"),
            *("--build-arg", f"BASE={BASE}"),
            *("--build-arg", "PIP_ARGS=--no-index --find-links=/wheels"),
            *("--volume", f"{wheels}:/wheels:ro"),
            *("--file", "container/Dockerfile", "--tag", IMAGE, "."),
            timeout=_BUILD_S,
        )

    def _import(self, tree: Path) -> None:
        left_out = [f"--exclude=./{name}/*" for name in _LEFT_OUT]
        archive = self.folder / "base.tar"
        words = ["tar", "-C", str(tree), *left_out, "-cf", str(archive), "."]
        subprocess.run(words, check=True, capture_output=True, timeout=_BUILD_S)
        self.run("import", "--quiet", str(archive), BASE, timeout=_BUILD_S)
        archive.unlink()

    def size_bytes(self, image: str) -> int:
        """Of all layers."""
        (found,) = json.loads(self.run("image", "inspect", image).stdout)
        return int(found["Size"])

    @contextlib.contextmanager
    def daemon(
        self, *options: str, command: Sequence[str] = ("run",), **settings: str
    ) -> Iterator[Container]:
        """A container that runs the daemon as a pod would; removed in the end.

        As in a pod the configuration, and folders for state, runtime and logs,
        are mounted, and nothing else can be written to.
        """
        self._count += 1
        name = f"daemon{self._count}"
        folder = self.folder / name
        volumes: list[str] = []
        for own, inside in (
            ("state", "/var/lib/optimizer"),
            ("run", "/run/optimizer"),
            ("logs", "/var/log/optimizer"),
        ):
            (folder / own).mkdir(parents=True)
            os.chown(folder / own, 10001, 10001)
            volumes += ["--volume", f"{folder / own}:{inside}"]
        (folder / "etc").mkdir()
        lines = "".join(f"{key}={value}\n" for key, value in settings.items())
        (folder / "etc/optimizer.env").write_text(lines, encoding="utf-8")
        volumes += ["--volume", f"{folder / 'etc'}:/etc/optimizer:ro"]
        self.run(
            *("run", "--detach", "--name", name, "--network=host", "--read-only-tmpfs=false"),
            *("--no-healthcheck", *_LIMITS, *_HARDENED, *volumes, *options, IMAGE, *command),
        )
        try:
            yield Container(self, name, folder)
        finally:
            self.run("rm", "--force", "--time=0", name, check=False)

    def once(self, *words: str, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command of the image in a container of its own, to its end."""
        return self.run(
            *("run", "--rm", "--network=host", "--no-healthcheck", *_LIMITS, *_HARDENED),
            *(*options, IMAGE, *words),
            check=False,
        )

    def close(self) -> None:
        """Remove containers, images, mounts and files."""
        self.run("rm", "--all", "--force", "--time=0", check=False)
        with open("/proc/self/mountinfo", encoding="utf-8") as table:
            points = [line.split()[4] for line in table]
        for point in reversed(points):
            if Path(point).is_relative_to(self.folder):
                subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _mount(folder: Path) -> None:
    words = ["mount", "-t", "tmpfs", "-o", _STORAGE, "pod", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no filesystem in memory for the storage: {done.stderr.strip()}")


def _download(tree: Path, wheels: Path) -> None:
    """The locked wheels for the Python of the tree, which need not be ours."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    asked = subprocess.run(
        ["chroot", str(tree), "python3", "-c", code], capture_output=True, text=True, check=True
    )
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    words += ["--require-hashes", "--no-deps", "--only-binary=:all:", "--dest", str(wheels)]
    words += ["--python-version", asked.stdout.strip()]
    for lock in ("requirements.lock", "requirements-build.lock"):
        words += ["-r", str(CHECKOUT / "container" / lock)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_BUILD_S)
    if done.returncode != 0:
        pytest.skip(f"the wheels of the image cannot be had: {done.stderr.strip()[-300:]}")


@contextlib.contextmanager
def podman() -> Iterator[Podman]:
    """Podman with the image; the test is skipped where that cannot be."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("containers of its own need root on Linux")
    missing = [name for name in ("podman", "runc") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}: apt-get install podman runc")
    # podman wants a short path for its sockets.
    found = Podman(Path(tempfile.mkdtemp(prefix="pod-", dir="/tmp")))
    try:
        _mount(found.folder)
        try:
            found.build()
        except debian.NoTreeError as exc:
            pytest.skip(f"no base for the image: {exc}")
        yield found
    finally:
        found.close()
