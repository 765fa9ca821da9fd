"""Compiles the C programs of the benchmarks, which measure microseconds."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent / "native"


def build(name: str, directory: Path) -> Path:
    """The compiled program. Raises OSError when there is no compiler or it fails."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        message = "no C compiler: install gcc (Debian: apt-get install gcc libc6-dev)"
        raise OSError(message)
    program = directory / name
    command = [compiler, "-O2", "-o", str(program), str(HERE / f"{name}.c"), "-lm", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        message = f"{name}.c does not compile: {done.stderr.strip()[:500]}"
        raise OSError(message)
    return program
