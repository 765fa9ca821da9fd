"""What the sdist and the wheel contain, and that the wheel is what CI tests."""

from __future__ import annotations

import base64
import configparser
import hashlib
import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.paths import CHECKOUT, CODE, ROOT, WHEEL

NAME = "cloud-resource-optimizer"
DATA = {"config": "optimizer.env.example", "systemd": "*", "windows": "*"}
"""Folders that go into share/cloud-resource-optimizer, and what of them."""


def build(out: Path, umask: str = "022") -> tuple[Path, Path]:
    """The sdist and the wheel, built anew."""
    setuptools = importlib.metadata.version("setuptools")
    if int(setuptools.split(".")[0]) < 70:
        pytest.skip(f"pyproject.toml asks for setuptools 70, here is {setuptools}")
    program = f"umask {umask}; exec '{sys.executable}' packaging/dists.py --out '{out}'"
    done = subprocess.run(
        ["sh", "-c", program], cwd=CHECKOUT, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    sdist, wheel = (Path(line) for line in done.stdout.splitlines())
    return sdist, wheel


@pytest.fixture(scope="module")
def dists(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel: those that are tested, else those of the checkout."""
    if sys.platform == "win32":
        pytest.skip("packages are built on POSIX")
    if WHEEL is not None:
        (sdist,) = Path(WHEEL).parent.glob("*.tar.gz")
        return sdist, Path(WHEEL)
    return build(tmp_path_factory.mktemp("dist"))


def version() -> str:
    """As setup.cfg has it."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    return setup["metadata"]["version"]


def test_the_wheel_has_every_module_the_data_files_and_nothing_else(
    dists: tuple[Path, Path],
) -> None:
    """No tests, no cache; units and examples where `optimizer service install` looks."""
    stem = f"{NAME.replace('-', '_')}-{version()}"
    info = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "licenses/LICENSE"}
    expected = {f"{stem}.dist-info/{name}" for name in info}
    for package in ("optimizer", "recover", "stressers"):
        modules = (CHECKOUT / package).rglob("*.py")
        expected |= {str(path.relative_to(CHECKOUT)) for path in modules}
    expected.add("recover/recover.sh")
    for folder, pattern in DATA.items():
        for path in (CHECKOUT / folder).glob(pattern):
            expected.add(f"{stem}.data/data/share/{NAME}/{folder}/{path.name}")
    with zipfile.ZipFile(dists[1]) as wheel:
        assert set(wheel.namelist()) == expected
        modes = {one.filename: one.external_attr >> 16 for one in wheel.infolist()}
    assert modes["recover/recover.sh"] & 0o777 == 0o755


def test_the_sdist_has_all_that_git_has(dists: tuple[Path, Path]) -> None:
    """Whoever has it can build, test and package; MANIFEST.in says which folders go in."""
    if not (CHECKOUT / ".git").exists():
        pytest.skip("needs a git checkout")
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={CHECKOUT}", "ls-files", "-z"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    )
    tracked = {name for name in listed.stdout.split("\0") if (CHECKOUT / name).is_file()}
    with tarfile.open(dists[0]) as archive:
        packed = {one.name.partition("/")[2] for one in archive if one.isfile()}
        folders = {one.name.partition("/")[0] for one in archive.getmembers()}
    assert folders == {f"{NAME.replace('-', '_')}-{version()}"}
    assert tracked - packed == set(), "MANIFEST.in lacks these"
    made = {name for name in packed - tracked if ".egg-info/" not in name}
    assert made <= {"PKG-INFO"} | {name for name in made if (CHECKOUT / name).is_file()}


def test_two_builds_are_the_same_bytes(dists: tuple[Path, Path], tmp_path: Path) -> None:
    """Whatever the umask is: who builds the same commit can compare a checksum."""
    again = build(tmp_path / "again", umask="077")
    for one, other in zip(dists, again, strict=True):
        digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (one, other)}
        assert len(digests) == 1, f"{one.name} differs"


def test_the_metadata_are_of_this_project(dists: tuple[Path, Path]) -> None:
    """The version of setup.cfg, no address that nobody owns, extras for each use."""
    with zipfile.ZipFile(dists[1]) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
        told = Parser().parsestr(wheel.read(name).decode())
    assert (told["Name"], told["Version"]) == (NAME, version())
    assert told["Requires-Python"] == ">=3.11"
    assert told["License-File"] == "LICENSE"
    assert told.get_all("Project-URL") is None
    assert told["Home-page"] is None
    assert {"web", "bench", "dev"} <= set(told.get_all("Provides-Extra") or [])
    assert "# CloudResourceOptimizer" in str(told.get_payload())


def test_the_command_tells_its_version() -> None:
    """`optimizer --version`, by the console script too where that is installed."""
    script = Path(sys.executable).with_name("optimizer")
    commands = [[sys.executable, "-m", "optimizer"]]
    commands += [[str(script)]] if script.exists() else []
    for command in commands:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stdout) == (0, f"optimizer {version()}\n")


def test_what_is_tested_is_the_installed_wheel() -> None:
    """In this process and in those that tests start, each file as the wheel has it."""
    if WHEEL is None:
        pytest.skip("the checkout is tested; OPTIMIZER_TEST_WHEEL=1 ./test.sh tests the wheel")
    site = Path(sysconfig.get_path("purelib")).resolve()
    assert site == CODE
    code = "import optimizer, recover, stressers; print(optimizer, recover, stressers)"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert told.count(f"from '{site}{os.sep}") == 3
    files = {str(one): one for one in importlib.metadata.distribution(NAME).files or []}
    with zipfile.ZipFile(WHEEL) as wheel:
        packed = [name for name in wheel.namelist() if name.split("/")[0] in os.listdir(CODE)]
        modules = [name for name in packed if name.endswith(".py")]
        assert modules
        assert set(modules) <= set(files)
        for name in modules:
            digest = hashlib.sha256(wheel.read(name)).digest()
            known = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            assert hashlib.sha256((CODE / name).read_bytes()).digest() == digest
            recorded = files[name].hash
            assert recorded is not None
            assert recorded.value == known
