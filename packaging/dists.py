"""Builds the sdist, and the wheel out of it; the same bytes each time.

    python packaging/dists.py --out dist

Needs setuptools (see pyproject.toml) and Python 3.11. Times in the archives are
SOURCE_DATE_EPOCH where that is set, else those of the last commit, else those
of setup.cfg. What git ignores and what an earlier build left has no way in.
Source of the rules: https://reproducible-builds.org/specs/source-date-epoch/
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
_NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "build", "dist"
)


def version() -> str:
    """The version of the project; setup.cfg is the only place that says it."""
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg", encoding="utf-8")
    return setup["metadata"]["version"]


def epoch_s() -> int:
    """The time that archives are to carry. Raises SystemExit for one that is no number."""
    told = os.environ.get("SOURCE_DATE_EPOCH")
    if told is None:
        asked = ["git", "-C", str(CHECKOUT), "log", "-1", "--format=%ct"]
        with contextlib.suppress(OSError):
            told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    if not told:
        return int((CHECKOUT / "setup.cfg").stat().st_mtime)
    if not told.isdigit():
        raise SystemExit(f"dists.py: SOURCE_DATE_EPOCH={told} is no number of seconds since 1970")
    return int(told)


def build(out: Path) -> tuple[Path, Path]:
    """The sdist and the wheel, in that folder."""
    try:
        from setuptools import build_meta  # noqa: PLC0415  # for its absence a message
    except ImportError as exc:
        raise SystemExit(
            f"dists.py: {sys.executable} has no setuptools: {exc}\n"
            "  remedy: use the Python of a virtual environment in which it is: "
            "pip install --require-hashes -r requirements.lock"
        ) from exc
    out.mkdir(parents=True, exist_ok=True)
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch_s())
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="optimizer-build-") as folder, _quiet():
        source = Path(folder) / "source"
        shutil.copytree(CHECKOUT, source, ignore=_NOT_SOURCE, symlinks=True)
        os.chdir(source)
        made = Path(folder) / build_meta.build_sdist(folder)
        sdist = out / made.name
        _normalise(made, sdist, epoch_s())
        shutil.unpack_archive(sdist, folder)  # Python 3.11.2 of Debian 12 knows no filters
        os.chdir(Path(folder) / sdist.name.removesuffix(".tar.gz"))
        wheel = out / build_meta.build_wheel(str(out))
        os.chdir(out)
    return sdist, wheel


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Setuptools tells each file; that is shown only when it fails."""
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            yield
    except BaseException:
        sys.stderr.write(told.getvalue())
        raise


def _normalise(source: Path, target: Path, time_s: int) -> None:
    """The same archive: sorted, of one time, of nobody, without the modes of a umask."""
    with (
        tarfile.open(source) as archive,
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", mtime=time_s, fileobj=raw) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as made,
    ):
        for member in sorted(archive.getmembers(), key=lambda one: one.name):
            member.mtime, member.uid, member.gid = time_s, 0, 0
            member.uname = member.gname = ""
            member.pax_headers = {}
            runs = member.isdir() or member.mode & 0o100
            member.mode = 0o755 if runs else 0o644
            made.addfile(member, archive.extractfile(member) if member.isfile() else None)


def main() -> int:
    """0, with the path of each file on a line of its own."""
    parser = argparse.ArgumentParser(description="Build the sdist and the wheel, reproducibly.")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "dist", help="default: dist")
    for path in build(parser.parse_args().out.resolve()):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
