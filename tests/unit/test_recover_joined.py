"""The single file that is copied alone, and the pure parts of the tool."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recover import join
from recover.figures import memory_ratios
from recover.places import Account, Asked, find, values_of
from recover.windows import microseconds
from tests.paths import CODE
from tests.recovering import TOOL, old_python
from tests.test_architecture import PURE_STDLIB, imports_of

RECOVER = CODE / "recover"


def test_the_single_file_is_what_the_others_make() -> None:
    """After a change run `python3 recover/join.py`."""
    assert TOOL.read_text(encoding="utf-8") == join.joined()


def test_a_name_that_two_files_define_is_seen() -> None:
    """In one file the second would silently take the place of the first."""
    source = "A: int = 1\nif A:\n    def b(): pass\nelse:\n    class C: pass\nd, e = 1, 2\n"
    assert join._defined(ast.parse(source).body) == {"A", "b", "C", "d", "e"}


@pytest.mark.parametrize("name", ["model", "prove", "diagnose"])
def test_what_decides_is_pure(name: str) -> None:
    """Facts in, diagnosis out: no clock, no file and no process is within reach."""
    imported = imports_of(RECOVER / f"{name}.py")
    ours = {module for module in imported if module.startswith("recover")}
    assert ours <= {"recover.model", "recover.prove"}
    assert {module.split(".")[0] for module in imported - ours} <= PURE_STDLIB


def test_it_runs_alone_with_an_old_python(tmp_path: Path) -> None:
    """Copied as one file into an empty folder, isolated, with the oldest Python there is."""
    python = old_python()
    if python is None:
        pytest.skip("no Python between 3.7 and ours is installed")
    alone = tmp_path / "recover_system.py"
    alone.write_bytes(TOOL.read_bytes())
    done = subprocess.run(
        [python, "-I", "-B", str(alone), "--only"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "Clean" in done.stdout
    assert os.listdir(tmp_path) == ["recover_system.py"]


def test_a_module_that_was_planted_beside_it_is_not_run(tmp_path: Path) -> None:
    """Copied to /tmp and run by root, it must not load a json.py of somebody else."""
    alone = tmp_path / "recover_system.py"
    alone.write_bytes(TOOL.read_bytes())
    for name in ("json", "re", "recover", "fcntl", "pwd"):
        (tmp_path / f"{name}.py").write_text("import os\nos._exit(77)\n")
    done = subprocess.run(
        [sys.executable, str(alone), "--help"],
        capture_output=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 0


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "recover/recover_system.py"],
        [sys.executable, "-m", "recover.recover_system"],
        ["sh", "recover/recover.sh"],
    ],
)
def test_each_way_to_start_it_says_what_it_is(command: list[str]) -> None:
    """From a checkout as a file, as a module, and by the wrapper."""
    if command[0] == "sh" and sys.platform == "win32":
        pytest.skip("needs a shell")
    done = subprocess.run(
        [*command, "--help"], capture_output=True, text=True, check=False, timeout=60, cwd=CODE
    )
    assert done.returncode == 0
    assert "Takes away all load" in done.stdout


def test_wrong_arguments_end_with_a_code_of_their_own() -> None:
    """111 is never a count: those end at 100."""
    done = subprocess.run(
        [sys.executable, str(TOOL), "--all"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 111
    assert "--all" in done.stderr


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("WORKSPACE_DIR=/data/x", "/data/x"),
        ("  export WORKSPACE_DIR = /data/x  ", "/data/x"),
        ("WORKSPACE_DIR='/data/x y' # here", "/data/x y"),
        ('WORKSPACE_DIR="/data/x#y"', "/data/x#y"),
        ("WORKSPACE_DIR=/data/x # here", "/data/x"),
        ("WORKSPACE_DIR=", ""),
        ("WORKSPACE_DIR= # nothing", ""),
        ("\ufeffWORKSPACE_DIR=/data/x", "/data/x"),
    ],
)
def test_a_directory_is_found_in_a_configuration(line: str, value: str) -> None:
    """As dotenv reads it; lines that are broken or not of interest are passed over."""
    text = f"{line}\nTARGET_CPU=\x00garbage\nno line at all\n=\n#WORKSPACE_DIR=/no\n"
    assert values_of(text) == {"WORKSPACE_DIR": value}


def found(tmp_path: Path, asked: Asked = Asked(), **environ: str) -> list[tuple[str, str]]:  # noqa: B008
    """State and runtime directories that are looked at on Linux, by root called by a user."""
    accounts = (Account("/root", 0, environ), Account("/home/u", 1000, {}))
    places = find(
        asked, environ=environ, platform="linux", accounts=accounts, checkout=str(tmp_path)
    )
    return [(one.state, one.runtime) for one in places.places]


def test_the_usual_places_are_those_of_the_daemon(tmp_path: Path) -> None:
    """The system's, the caller's own, and those of who called sudo; named ones come first."""
    usual = found(tmp_path, XDG_RUNTIME_DIR="/run/user/0")
    assert ("/var/lib/optimizer", "/run/optimizer") in usual
    assert ("/root/.local/state/optimizer", "/run/user/0/optimizer") in usual
    assert ("/home/u/.local/state/optimizer", "/run/user/1000/optimizer") in usual
    assert ("/home/u/.local/state/optimizer", "/home/u/.local/state/optimizer/run") in usual
    named = found(tmp_path, Asked(workspaces=("/w",)), WORKSPACE_DIR="/e")
    assert named[:2] == [("/w/state", "/w/run"), ("/e/state", "/e/run")]
    assert found(tmp_path, Asked(workspaces=("/w",), only=True)) == [("/w/state", "/w/run")]


def test_a_broken_configuration_still_tells_its_directory(tmp_path: Path) -> None:
    """And one that cannot be expanded is said, not guessed."""
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "optimizer.env"
    file.write_bytes(b"TARGET_CPU=\xff\xfe\nWORKSPACE_DIR=${BASE}/w\nDISK_STRESS_PATH=/mnt\n")
    assert ("/b/w/state", "/b/w/run") in found(tmp_path, BASE="/b")
    looked = find(Asked(), environ={}, platform="linux", accounts=(), checkout=str(tmp_path))
    assert looked.disks == ("/mnt",)
    assert "${BASE}/w" in looked.gaps[0]


def test_memory_in_use_by_each_formula() -> None:
    """100 in all: 10 free, 30 caches, 60 available."""
    text = "MemTotal: 100 kB\nMemFree: 10 kB\nBuffers: 5 kB\nCached: 20 kB\nSReclaimable: 5 kB\n"
    assert memory_ratios(text + "MemAvailable: 60 kB\n") == pytest.approx(
        {"available": 0.4, "nocache": 0.6, "free": 0.9}
    )
    assert memory_ratios(text)["available"] is None
    assert set(memory_ratios("").values()) == {None}


def test_a_windows_time_is_read() -> None:
    """A FILETIME counts 100 ns since 1601."""
    at_epoch = 116_444_736_000_000_000
    low, high = (at_epoch + 15) & 0xFFFFFFFF, (at_epoch + 15) >> 32
    assert microseconds(low, high) == 1
