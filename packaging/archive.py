"""Archives that are the same bytes each time, checksums, parts, and how long they travel."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path) -> None:
    """SHA256SUMS of all files below the folder, in the form that sha256sum(1) reads."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def pack(folder: Path, target: Path, time_s: int) -> None:
    """A .tar.gz of the folder: sorted, of one time, of nobody, without the modes of a umask."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime, member.uid, member.gid = time_s, 0, 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        return member

    with (
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", mtime=time_s, fileobj=raw) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        # add() goes through a folder in the order of the names.
        archive.add(folder, folder.name, filter=plain)


def split(file: Path, folder: Path, part_bytes: int) -> int:
    """Cut a file into part.001, part.002 ... in the folder; how many."""
    count = 0
    with file.open("rb") as source:
        while first := source.read(min(part_bytes, _CHUNK_BYTES)):
            count += 1
            with (folder / f"part.{count:03}").open("wb") as part:
                part.write(first)
                left = part_bytes - len(first)
                while left and (chunk := source.read(min(left, _CHUNK_BYTES))):
                    part.write(chunk)
                    left -= len(chunk)
    return count


def transfer_minutes(size_bytes: int, mbit_per_s: float) -> float:
    """How long a line of so many million bits per second is busy with it, without overhead."""
    return size_bytes * 8 / (mbit_per_s * 1e6) / 60
