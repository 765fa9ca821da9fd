"""What packaging/ works out: which wheels, what parts, how long; and joining what was sent."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.paths import CHECKOUT

PACKAGING = CHECKOUT / "packaging"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="packages are built on POSIX")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives a program of packaging/ as a module."""
    monkeypatch.syspath_prepend(str(PACKAGING))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def join(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run join.sh beside the parts."""
    return subprocess.run(
        ["sh", str(folder / "join.sh"), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("size_mb", "minutes"),
    # size * 8 bits / 3 Mbit/s / 60
    [(186, 8.3), (340, 15.1), (400, 17.8)],
)
def test_how_long_a_transfer_takes(script: Any, size_mb: int, minutes: float) -> None:
    """At 3 Mbit/s, as small cloud hosts have."""
    assert round(script("archive").transfer_minutes(size_mb * 10**6, 3), 1) == minutes


def test_parts_are_joined_when_all_are_here_and_whole(script: Any, tmp_path: Path) -> None:
    """Run after each transfer: it names what to send again, and joins at last."""
    whole = tmp_path / "x.tar.gz"
    whole.write_bytes(bytes(range(256)) * 10)
    digest = hashlib.sha256(whole.read_bytes()).hexdigest()
    folder = script("bundle").parts(whole, 1000)
    assert [part.stat().st_size for part in sorted(folder.glob("part.*"))] == [1000, 1000, 560]
    whole.unlink()

    second, third = folder / "part.002", folder / "part.003"
    content = third.read_bytes()
    third.write_bytes(content[:100])
    second.rename(tmp_path / "kept")
    done = join(folder)
    assert done.returncode == 1
    assert "part.002 is missing" in done.stderr
    assert "part.003 is broken or not complete" in done.stderr
    assert join(folder, "--missing").stdout == "part.002\npart.003\n"
    assert not whole.exists()

    third.write_bytes(content)
    (tmp_path / "kept").rename(second)
    assert join(folder).returncode == 0
    assert hashlib.sha256(whole.read_bytes()).hexdigest() == digest
    assert join(folder, "--all").returncode == 2


def test_an_archive_is_the_same_bytes_each_time(script: Any, tmp_path: Path) -> None:
    """Whatever the times, the modes and the order of the files are."""
    made = []
    for turn, names in enumerate((("a", "b"), ("b", "a"))):
        folder = tmp_path / str(turn) / "x"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text(name, encoding="ascii")
            (folder / name).chmod(0o600 if turn else 0o664)
        script("archive").write_sums(folder)
        script("archive").pack(folder, tmp_path / f"{turn}.tar.gz", 1_700_000_000)
        made.append((tmp_path / f"{turn}.tar.gz").read_bytes())
    assert made[0] == made[1]
    with tarfile.open(tmp_path / "0.tar.gz") as archive:
        assert archive.getnames() == ["x", "x/SHA256SUMS", "x/a", "x/b"]


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_wheelhouse_has_what_that_machine_needs(script: Any, machine: str, python: str) -> None:
    """Markers are those of the target, not of the machine that builds."""
    wheelhouse = script("wheelhouse")
    target = wheelhouse.target(f"linux-{machine}", python)
    locked = wheelhouse.lock(target).splitlines()
    names = [line.partition("==")[0] for line in locked if not line.startswith(" ")]
    assert len(names) == len(set(names))
    assert {"numpy", "psutil", "structlog", "glances", "cronsim"} <= {n.lower() for n in names}
    assert not {"tzdata", "windows-curses", "setuptools"} & set(names)
    assert f"manylinux2014_{machine}" in target.platforms()
    assert f"manylinux_2_28_{machine}" in target.platforms()


@pytest.mark.parametrize(
    ("platform", "python", "said"),
    [
        ("linux-sparc", "3.11", "unknown platform 'linux-sparc'"),
        ("windows-x86_64", "3.11", "unknown platform 'windows-x86_64'"),
        ("linux-arm64", "3.9", "Python '3.9'"),
        (None, "3", "Python '3'"),
    ],
)
def test_an_unknown_target_is_refused_with_a_remedy(
    script: Any, platform: str | None, python: str, said: str
) -> None:
    """With the value and what there is."""
    with pytest.raises(SystemExit, match="remedy") as refused:
        script("wheelhouse").target(platform, python)
    assert said in str(refused.value)
