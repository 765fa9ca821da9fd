"""Fixtures that several folders use."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534


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
