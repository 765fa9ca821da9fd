"""Swap of a run's own, as a file or as zram, gone afterwards; needs root.

Swap belongs to the whole host: while it is on, others may be swapped out too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

FILE = "file"
ZRAM = "zram"
KINDS = (FILE, ZRAM)
_CONTROL = Path("/sys/class/zram-control")
_OFF_TIMES = 5
Usage = Callable[[], dict[str, int]]
"""What the swap itself takes, in bytes; empty where it does not tell."""


@contextlib.contextmanager
def swap(kind: str, folder: str | None, size_bytes: int) -> Iterator[Usage]:
    """A swap of that size, in use. Raises OSError where it cannot be had."""
    make = _file(folder, size_bytes) if kind == FILE else _zram(size_bytes)
    with make as (device, usage):
        _run("mkswap", device)
        # Before any other swap of the host, so that it is this one that is measured.
        _run("swapon", "--priority", "32000", device)
        try:
            yield usage
        finally:
            _off(device)


@contextlib.contextmanager
def _file(folder: str | None, size_bytes: int) -> Iterator[tuple[str, Usage]]:
    path = Path(folder or "/var/tmp") / f"bench-swap-{os.getpid()}"  # noqa: S108  # opened exclusively
    with path.open("xb") as file:
        try:
            os.fchmod(file.fileno(), 0o600)
            os.posix_fallocate(file.fileno(), 0, size_bytes)
            yield str(path), dict
        finally:
            path.unlink()


@contextlib.contextmanager
def _zram(size_bytes: int) -> Iterator[tuple[str, Usage]]:
    if not _CONTROL.exists() and shutil.which("modprobe"):
        subprocess.run(["modprobe", "zram"], check=False, capture_output=True)
    # Reading this makes a new device, so that nobody else's is taken.
    number = (_CONTROL / "hot_add").read_text(encoding="ascii").strip()
    block = Path(f"/sys/block/zram{number}")
    try:
        (block / "disksize").write_text(str(size_bytes), encoding="ascii")
        yield f"/dev/zram{number}", lambda: parse_mm_stat((block / "mm_stat").read_text("ascii"))
    finally:
        with contextlib.suppress(OSError):
            (block / "reset").write_text("1", encoding="ascii")
        try:
            (_CONTROL / "hot_remove").write_text(number, encoding="ascii")
        except OSError as exc:
            print(f"left behind: zram{number}: {exc}", file=sys.stderr)


def parse_mm_stat(text: str) -> dict[str, int]:
    """Bytes that were stored, and memory that they take.

    Source: Documentation/admin-guide/blockdev/zram.rst, orig_data_size and mem_used_total.
    """
    words = text.split()
    return {"stored": int(words[0]), "memory": int(words[2])}


def _off(device: str) -> None:
    for _ in range(_OFF_TIMES):
        done = subprocess.run(["swapoff", device], check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return
    print(f"left behind: swap on {device}: {done.stderr.strip()}", file=sys.stderr)


def _run(*words: str) -> None:
    try:
        subprocess.run(words, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as exc:
        message = f"{' '.join(words)}: {exc.stderr.strip()[:300]}"
        raise OSError(message) from exc
