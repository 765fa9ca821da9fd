"""One archive with all that an installation without any network needs.

    packaging/build.sh bundle [--platform linux-aarch64] [--python-version 3.12]
                              [--part-mb 20] [--mbit 3] [--out dist]

Unpack it on the other machine and run ./install.sh in it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from archive import pack, sha256, split, transfer_minutes, write_sums
from dists import CHECKOUT, epoch_s, version
from wheelhouse import Target, fill, target

_HERE = Path(__file__).resolve().parent
_SCRIPTS = ("install.sh", "venv.sh")
_RECOVERY = ("recover.sh", "recover_system.py")


def bundle(out: Path, wanted: Target) -> Path:
    """The archive, in that folder."""
    out.mkdir(parents=True, exist_ok=True)
    name = f"cloud-resource-optimizer-{version()}-{wanted.name}"
    with tempfile.TemporaryDirectory(prefix="optimizer-bundle-") as scratch:
        folder = Path(scratch) / name
        fill(folder, wanted)
        for script in _SCRIPTS:
            shutil.copy(_HERE / script, folder)
        (folder / "recover").mkdir()
        for script in _RECOVERY:
            shutil.copy(CHECKOUT / "recover" / script, folder / "recover")
        shutil.copy(CHECKOUT / "LICENSE", folder)
        (folder / "MANIFEST").write_text(
            f"VERSION={version()}\nMACHINE={wanted.machine}\n"
            f"PYTHON={wanted.python}\nGLIBC={wanted.glibc}\n",
            encoding="ascii",
        )
        write_sums(folder)
        made = Path(scratch) / f"{name}.tar.gz"
        pack(folder, made, epoch_s())
        return Path(shutil.move(made, out / made.name))


def parts(archive: Path, part_bytes: int) -> Path:
    """A folder with the archive in parts, their checksums, and join.sh to put them together."""
    folder = archive.with_name(f"{archive.name}.parts")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    split(archive, folder, part_bytes)
    write_sums(folder)
    (folder / "WHOLE").write_text(f"{sha256(archive)}  {archive.name}\n", encoding="utf-8")
    shutil.copy(_HERE / "join.sh", folder)
    return folder


def _positive(word: str) -> float:
    value = float(word)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{word} is not above 0")
    return value


def main() -> int:
    """0, with the path of the archive on the first line."""
    parser = argparse.ArgumentParser(description="Build a bundle that installs without network.")
    parser.add_argument("--platform", help="linux-x86_64 or linux-aarch64; default: this machine")
    parser.add_argument("--python-version", help="as 3.11; default: that of this Python")
    parser.add_argument("--part-mb", type=_positive, help="also in parts of so many MB (10^6)")
    parser.add_argument("--mbit", type=_positive, default=3.0, help="of the line; default: 3")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "dist", help="default: dist")
    args = parser.parse_args()
    made = bundle(args.out.resolve(), target(args.platform, args.python_version))
    size = made.stat().st_size
    print(made)
    print(f"sha256 {sha256(made)}")
    minutes = transfer_minutes(size, args.mbit)
    print(f"{size / 1e6:.1f} MB: {minutes:.1f} min at {args.mbit:g} Mbit/s, without overhead")
    if args.part_mb:
        part_bytes = max(1, round(args.part_mb * 1e6))
        folder = parts(made, part_bytes)
        count = len(list(folder.glob("part.*")))
        each = transfer_minutes(min(part_bytes, size), args.mbit)
        print(f"{count} parts in {folder}, {each:.1f} min each; there: sh join.sh")
    return 0


if __name__ == "__main__":
    sys.exit(main())
