"""A Debian package with all wheels; postinst makes the environment of them, without network.

    packaging/build.sh deb [--revision 1] [--out dist]

Needs dpkg-deb. A wheelhouse and not a ready environment (docs/adr/0016):
the environment is then made by the Python that will run it, in the same way as
by start.sh and by the bundle, and the daemon goes on with the former one until
the new one is whole.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from email.utils import formatdate
from pathlib import Path

from dists import CHECKOUT, epoch_s, version
from wheelhouse import Target, fill, target

NAME = "cloud-resource-optimizer"
_HERE = Path(__file__).resolve().parent
_SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_UNITS = "/usr/lib/systemd/system"


def deb(out: Path, wanted: Target, revision: str) -> Path:
    """The package, in that folder."""
    if shutil.which("dpkg-deb") is None:
        raise SystemExit("deb.py: needs dpkg-deb\n  remedy: Debian, Ubuntu: apt-get install dpkg")
    out.mkdir(parents=True, exist_ok=True)
    full = f"{version()}-{revision}"
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="optimizer-deb-") as scratch:
        root = Path(scratch) / "root"
        _lay_out(root, wanted, full)
        _describe(root, wanted, full)
        _settle(root, epoch_s())
        made = out / f"{NAME}_{full}_{_MACHINES[wanted.machine]}.deb"
        os.environ["SOURCE_DATE_EPOCH"] = str(epoch_s())
        # gzip: dpkg of each distribution reads it, and wheels do not get smaller.
        command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(root), str(made)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return made


def _lay_out(root: Path, wanted: Target, full: str) -> None:
    """What dpkg is to own."""
    lib = root / f"usr/lib/{NAME}"
    lib.parent.mkdir(parents=True)
    fill(lib, wanted)
    shutil.copy(_HERE / "venv.sh", lib)
    (lib / "recover").mkdir()
    for name in ("recover.sh", "recover_system.py"):
        shutil.copy(CHECKOUT / "recover" / name, lib / "recover")
    units = [
        path
        for path in (CHECKOUT / "systemd").glob("optimizer*")
        if path.suffix in {".service", ".slice", ".socket", ".timer"}
    ]
    # The daemon first: the others follow it.
    units.sort(key=lambda path: (path.name != "optimizer.service", path.name))
    _copies(root, _UNITS, units)
    (lib / "units").write_text("".join(f"{unit.name}\n" for unit in units), encoding="ascii")
    users = root / f"usr/lib/sysusers.d/{NAME}.conf"
    users.parent.mkdir(parents=True)
    shutil.copyfile(CHECKOUT / "systemd/optimizer-sysusers.conf", users)
    config = root / "etc/optimizer/optimizer.env"
    config.parent.mkdir(parents=True)
    shutil.copyfile(CHECKOUT / "config/optimizer.env.example", config)
    programs = root / "usr/bin"
    programs.mkdir(parents=True)
    (programs / "optimizer").symlink_to(f"/opt/{NAME}/venv/bin/optimizer")
    # In an emergency the environment may be what is broken.
    shutil.copy(_HERE / "debian/optimizer-recover", programs)
    documents = root / f"usr/share/doc/{NAME}"
    documents.mkdir(parents=True)
    licence = "".join(
        f" {line}\n" if line else " .\n"
        for line in (CHECKOUT / "LICENSE").read_text("utf-8").splitlines()[4:]
    )
    about = (_HERE / "debian/copyright.in").read_text("utf-8")
    (documents / "copyright").write_text(about + licence, encoding="utf-8")
    _zip(documents / "changelog.gz", (CHECKOUT / "CHANGELOG.md").read_bytes())
    entry = (
        f"{NAME} ({full}) stable; urgency=medium\n\n  * See changelog.gz.\n\n"
        f" -- CloudResourceOptimizer maintainers <root@localhost>  {formatdate(epoch_s())}\n"
    )
    _zip(documents / "changelog.Debian.gz", entry.encode())
    overrides = root / f"usr/share/lintian/overrides/{NAME}"
    overrides.parent.mkdir(parents=True)
    shutil.copyfile(_HERE / "debian/lintian-overrides", overrides)


def _describe(root: Path, wanted: Target, full: str) -> None:
    """What dpkg is told."""
    control = root / "DEBIAN"
    control.mkdir()
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    sums = [
        (path.relative_to(root), subprocess.check_output(["md5sum", path], text=True).split()[0])
        for path in files
        if path.relative_to(root).parts[0] != "etc"
    ]
    (control / "md5sums").write_text(
        "".join(f"{digest}  {name}\n" for name, digest in sums), encoding="utf-8"
    )
    (control / "conffiles").write_text("/etc/optimizer/optimizer.env\n", encoding="ascii")
    major, minor = wanted.python.split(".")
    text = (_HERE / "debian/control.in").read_text("utf-8")
    for key, value in {
        "VERSION": full,
        "ARCHITECTURE": _MACHINES[wanted.machine],
        "SIZE_KB": str(sum(-(-path.stat().st_size // 1024) for path in files)),
        "PYTHON": wanted.python,
        "PYTHON_NEXT": f"{major}.{int(minor) + 1}",
        "GLIBC": wanted.glibc,
    }.items():
        text = text.replace(f"@{key}@", value)
    (control / "control").write_text(text, encoding="utf-8")
    for name in _SCRIPTS:
        shutil.copyfile(_HERE / "debian" / name, control / name)
        (control / name).chmod(0o755)


def _copies(root: Path, folder: str, sources: list[Path]) -> None:
    place = root / folder.lstrip("/")
    place.mkdir(parents=True)
    for source in sources:
        shutil.copyfile(source, place / source.name)


def _zip(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content, 9, mtime=0))


def _settle(root: Path, time_s: int) -> None:
    """Modes and times that do not depend on who builds it and when."""
    for path in [*sorted(root.rglob("*"), reverse=True), root]:
        if path.is_symlink():
            continue
        runs = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if runs else 0o644)
        os.utime(path, (time_s, time_s))


def main() -> int:
    """0, with the path of the package."""
    parser = argparse.ArgumentParser(description="Build a Debian package.")
    parser.add_argument("--platform", help="linux-x86_64 or linux-aarch64; default: this machine")
    parser.add_argument("--python-version", help="of the system it is for; default: of this Python")
    parser.add_argument("--revision", default="1", help="of the package; default: 1")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "dist", help="default: dist")
    args = parser.parse_args()
    print(deb(args.out.resolve(), target(args.platform, args.python_version), args.revision))
    return 0


if __name__ == "__main__":
    sys.exit(main())
