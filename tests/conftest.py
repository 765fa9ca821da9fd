"""Fixtures that several folders use."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

NOBODY = 65534
FIGURES = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --trials."""
    parser.addoption("--trials", type=int, help="how many trials a long hostile test makes")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the figures that tests have told."""
    lines = config.stash.get(FIGURES, [])
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Tells a line that is printed at the end of the run, whether tests pass or fail."""
    return request.config.stash.setdefault(FIGURES, []).append


@pytest.fixture
def trials_wanted(request: pytest.FixtureRequest) -> int | None:
    """What --trials says; None without it."""
    wanted: int | None = request.config.getoption("--trials")
    return wanted


@pytest.fixture
def plain_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in which file modes count: as root, the test runs as nobody meanwhile.

    Root passes every mode, so a test of missing rights would prove nothing.
    """
    if sys.platform == "win32":
        pytest.skip("needs POSIX modes")
    if os.geteuid() != 0:
        yield tmp_path
        return
    # tmp_path lies below directories that only root may enter.
    folder = Path(tempfile.mkdtemp(prefix="optimizer-test-"))
    os.chown(folder, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield folder
    finally:
        os.setresuid(0, 0, 0)
        shutil.rmtree(folder)
