"""Histories and backups of them, for the tests of backup and restore."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from optimizer.adapters.history_archive import MANIFEST_NAME
from optimizer.adapters.history_backup import Backup, Order, back_up
from optimizer.adapters.history_events import INSERT
from optimizer.adapters.history_file import COLUMNS, INSERT_ROW, begun, transaction

NOW_S = 1_800_000_000.0


@contextmanager
def quick_folder(otherwise: Path) -> Iterator[Path]:
    """A folder in memory, where an fsync costs nothing; elsewhere than on Linux `otherwise`."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    if not memory.is_dir():
        yield otherwise
        return
    with tempfile.TemporaryDirectory(prefix="optimizer-test-", dir=memory) as folder:
        yield Path(folder)


def make_history(path: Path, rows: int, *, first_utc_s: int = int(NOW_S) - 10_000) -> None:
    """A history of so many seconds and one event, closed."""
    with closing(begun(path)) as db, transaction(db):
        values = (
            [first_utc_s + n, 1.0, n / 1000] + [None] * (len(COLUMNS) - 3) for n in range(rows)
        )
        db.executemany(INSERT_ROW, values)
        db.execute(INSERT, (float(first_utc_s), "daemon.started", *[None] * 5))


def times(path: Path) -> list[int]:
    """The times of all rows in the order in which they were written."""
    with closing(sqlite3.connect(path)) as db:
        return [utc_s for (utc_s,) in db.execute("SELECT utc_s FROM sample ORDER BY written")]


def make_backup(
    history: Path,
    directory: Path,
    *,
    config: Path | None = None,
    now_utc_s: float = NOW_S,
    keep_days: float = 7.0,
    host: str = "a-host",
) -> Backup:
    """A backup of it, as the command makes one."""
    order = Order(
        history=history,
        config=config,
        directory=directory,
        ruled_by=directory,
        host=host,
        program_version="1",
        keep_days=keep_days,
    )
    return back_up(order, now_utc_s=now_utc_s)


def members(archive: Path) -> dict[str, bytes]:
    """What any tar finds in it."""
    found = {}
    with tarfile.open(archive) as opened:
        for entry in opened:
            stream = opened.extractfile(entry)
            assert stream is not None
            found[entry.name] = stream.read()
    return found


def manifest(archive: Path) -> dict[str, Any]:
    """Its manifest."""
    told: dict[str, Any] = json.loads(members(archive)[MANIFEST_NAME])
    return told


def entry_of(name: str, content: bytes, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A member for `pack`."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for key, value in fields.items():
        setattr(entry, key, value)
    return entry, content


def pack(archive: Path, entries: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """Write an archive of these members, whatever they are."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for entry, content in entries:
            tar.addfile(entry, io.BytesIO(content))
    archive.write_bytes(gzip.compress(raw.getvalue()))
    return archive


def usual(archive: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    """The members of a good backup, for `pack`."""
    return [entry_of(name, content) for name, content in members(archive).items()]
