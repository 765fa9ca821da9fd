"""The scripts of the Debian package, on a tree of their own and with a systemctl that pretends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import CHECKOUT

NAME = "cloud-resource-optimizer"
UNITS = ("optimizer.service", "optimizer-glances.service")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="dpkg is not on Windows")
_ABSOLUTE = r"(?<!\w)/(?:usr|opt|etc|var|run)/"
SYSTEMCTL = """#!/bin/sh
echo "$@" >>"$SAID"
case "$*" in
"is-enabled optimizer-glances.service") echo masked; exit 1 ;;
"enable --quiet optimizer-glances.service") exit 1 ;;
esac
"""
_PROGRAMS = {"systemctl": SYSTEMCTL, "systemd-sysusers": "#!/bin/sh\n"}


class Tree:
    """A folder that stands for the root of a system."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.said = root / "said"
        programs = root / "programs"
        programs.mkdir()
        for name, text in _PROGRAMS.items():
            (programs / name).write_text(text, encoding="ascii")
            (programs / name).chmod(0o755)
        lib, units = root / f"usr/lib/{NAME}", root / "usr/lib/systemd/system"
        for folder in (lib, units, root / "var/lib"):
            folder.mkdir(parents=True)
        (lib / "units").write_text("".join(f"{unit}\n" for unit in UNITS), encoding="ascii")
        (lib / "venv.sh").touch()
        for unit in UNITS:
            (units / unit).write_text("[Install]\n", encoding="ascii")

    def script(self, name: str, *words: str) -> int:
        """The exit code of one of the scripts; all its absolute paths are in the tree."""
        text = (CHECKOUT / "packaging/debian" / name).read_text(encoding="utf-8")
        text = re.sub(_ABSOLUTE, lambda found: f"{self.root}{found[0]}", text)
        # They remove folders, perhaps as root: no path of the real system may be left.
        assert not re.search(r"(?<!\w)/(?!dev/null|bin/sh)", text.replace(str(self.root), "here"))
        environ = {**os.environ, "SAID": str(self.said)}
        environ["PATH"] = f"{self.root / 'programs'}:{environ['PATH']}"
        command = ["sh", "-c", text, name, *words]
        return subprocess.run(command, env=environ, check=False, timeout=60).returncode


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A system in which the files of the package are, and the page's unit is masked."""
    return Tree(tmp_path)


def test_a_masked_unit_does_not_break_the_package(tree: Tree) -> None:
    """It stays masked; the others are enabled."""
    assert tree.script("postinst", "configure", "") == 0
    said = tree.said.read_text(encoding="ascii").splitlines()
    assert "enable --quiet optimizer.service" in said
    assert "enable --quiet optimizer-glances.service" not in said


def test_a_removal_spares_the_history_of_a_daemonset(tree: Tree) -> None:
    """The pods of this program keep theirs in the folder where the package notes its units."""
    assert tree.script("postinst", "configure", "") == 0
    folder = tree.root / f"var/lib/{NAME}"
    assert (folder / "enabled").exists()
    history = folder / "history.sqlite3"
    history.touch()
    assert tree.script("postrm", "remove") == 0
    assert list(folder.iterdir()) == [history]
    history.unlink()
    assert tree.script("postrm", "remove") == 0
    assert not folder.exists()


def test_a_unit_of_an_administrators_own_is_no_other_installation(tree: Tree) -> None:
    """`systemctl edit --full` puts it where `optimizer service install` would."""
    own = tree.root / "etc/systemd/system/optimizer.service"
    own.parent.mkdir(parents=True)
    own.touch()
    assert tree.script("preinst", "install") == 1
    assert tree.script("preinst", "upgrade", "0.1.0-1") == 0
