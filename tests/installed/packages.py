"""Packages of this checkout, built as packaging/build.sh does, for tests that install them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.paths import CHECKOUT

RIG_PYTHON = "3.11"
"""Of the Debian release that the rig has."""
_NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "build", "dist"
)
_BUILD_S = 400.0


def build(kind: str, out: Path, *words: str, checkout: Path = CHECKOUT) -> list[str]:
    """What packaging/build.sh said, in lines; skips where the wheels cannot be had."""
    environment = {
        **os.environ,
        "OPTIMIZER_BUILD_VENV": str(CHECKOUT / "build" / "venv"),
        "SOURCE_DATE_EPOCH": "1700000000",
    }
    options = ["--python-version", RIG_PYTHON, "--out", str(out), *words]
    done = subprocess.run(
        [str(checkout / "packaging/build.sh"), kind, *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_BUILD_S,
    )
    if "this step needs a network" in done.stderr:
        pytest.skip(f"no {kind} can be built: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def older(folder: Path, version: str) -> Path:
    """A copy of the checkout that says another version, with another example of a configuration."""
    shutil.copytree(CHECKOUT, folder, ignore=_NOT_SOURCE, symlinks=True)
    setup = folder / "setup.cfg"
    lines = setup.read_text("utf-8").splitlines(keepends=True)
    said = [f"version = {version}\n" if one.startswith("version = ") else one for one in lines]
    setup.write_text("".join(said), encoding="utf-8")
    with (folder / "config/optimizer.env.example").open("a", encoding="utf-8") as example:
        example.write("# of an older version\n")
    return folder
