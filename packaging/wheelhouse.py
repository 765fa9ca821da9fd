"""All wheels that one kind of machine needs, exactly those of requirements.lock.

Source of the platform names: PEP 600; of the markers: PEP 508.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dists import CHECKOUT, build
from packaging.requirements import Requirement

_BUILD_TOOLS = {"setuptools"}
"""Locked for start.sh, which installs the checkout itself; a wheel needs none."""
_GLIBC = (2, 28)
"""The newest that a wheel may ask for: of 2018, in all distributions that are kept up."""
_FLOORS = {"x86_64": 5, "aarch64": 17}
"""The oldest 2.x that the names of wheels may mean. Source: PEP 513, PEP 599."""
_MADE_BEFORE_600 = {5: "1", 12: "2010", 17: "2014"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A kind of machine: Linux with glibc, CPython of one minor version."""

    machine: str
    python: str

    @property
    def glibc(self) -> str:
        """The oldest C library that will do."""
        return ".".join(map(str, _GLIBC))

    @property
    def name(self) -> str:
        """As in the name of a bundle."""
        return f"linux-{self.machine}-py{self.python.replace('.', '')}"

    def environment(self) -> dict[str, str]:
        """What markers are compared with."""
        return {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }

    def platforms(self) -> list[str]:
        """Names of wheels that run there, the newest first."""
        found = []
        for minor in range(_GLIBC[1], _FLOORS[self.machine] - 1, -1):
            found.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in _MADE_BEFORE_600:
                found.append(f"manylinux{_MADE_BEFORE_600[minor]}_{self.machine}")
        return found


def target(platform_name: str | None, python: str | None) -> Target:
    """As asked for, this machine's where not. Raises SystemExit for one that is unknown."""
    system, _, machine = (platform_name or f"linux-{platform.machine()}").partition("-")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    if system != "linux" or machine not in _FLOORS:
        known = " or ".join(f"linux-{one}" for one in _FLOORS)
        asked = platform_name or machine
        raise SystemExit(f"unknown platform '{asked}'\n  remedy: --platform {known}")
    python = python or "{}.{}".format(*sys.version_info)
    if not re.fullmatch(r"3\.(1[1-9]|[2-9]\d)", python):
        raise SystemExit(
            f"Python '{python}' is none that this runs with\n"
            "  remedy: --python-version 3.11, or a newer one of that form"
        )
    return Target(machine=machine, python=python)


def lock(wanted: Target) -> str:
    """The part of requirements.lock that this machine needs, without markers."""
    text = (CHECKOUT / "requirements.lock").read_text("utf-8")
    kept = []
    for block in re.findall(r"^\S.*\n(?:[ \t].*\n)*", text, re.MULTILINE):
        head, _, hashes = block.partition("\\\n")
        if head.startswith("#"):
            continue
        asked = Requirement(head)
        if asked.name in _BUILD_TOOLS:
            continue
        if asked.marker is None or asked.marker.evaluate(wanted.environment()):
            kept.append(f"{asked.name}{asked.specifier} \\\n{hashes}")
    return "".join(kept)


def fill(folder: Path, wanted: Target) -> Path:
    """Put all wheels into folder/wheels, the lock beside them; the project's own wheel.

    Raises SystemExit where a wheel cannot be had.
    """
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    (folder / "requirements.lock").write_text(lock(wanted), encoding="utf-8")
    version = wanted.python.replace(".", "")
    words = ["--implementation", "cp", "--python-version", wanted.python]
    for abi in (f"cp{version}", "abi3", "none"):
        words += ["--abi", abi]
    for name in wanted.platforms():
        words += ["--platform", name]
    _download(wheels, words, folder / "requirements.lock", wanted)
    # Pip itself installs them: a distribution's Python often comes without it.
    tools = (CHECKOUT / "packaging/tools.lock").read_text("utf-8")
    own = re.findall(r"^pip==.*\n(?:[ \t].*\n)*", tools, re.MULTILINE)
    installer = folder / "pip.lock"
    installer.write_text(own[0], encoding="utf-8")
    _download(wheels, [], installer, wanted)
    installer.unlink()
    sdist, wheel = build(wheels)
    sdist.unlink()
    return wheel


def _download(wheels: Path, words: list[str], locked: Path, wanted: Target) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--dest", str(wheels)]
    done = subprocess.run([*command, *words, "-r", str(locked)], check=False)
    if done.returncode != 0:
        raise SystemExit(
            f"cannot have all wheels for {wanted.name}\n"
            "  remedy: see the message above; this step needs a network"
        )
