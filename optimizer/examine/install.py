"""Looks at the interpreter, the libraries that it can import, and the configuration."""

from __future__ import annotations

import configparser
import importlib
import importlib.metadata
import os
import re
import sys
import sysconfig
from pathlib import Path

from optimizer.examine.subject import ROOT, Subject
from optimizer.report.doctor import Finding
from optimizer.report.doctor_install import Config, Dependency, Install, config, install

_MODULES = {
    "cronsim": "cronsim",
    "psutil": "psutil",
    "python-dotenv": "dotenv",
    "structlog": "structlog",
}
"""Names of what is installed and of what is imported."""
_BUILTIN = ("ctypes", "sqlite3")
"""Parts of Python's own library that depend on how it was built."""
_DISTRIBUTION = "cloud-resource-optimizer"
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*>=\s*([0-9][^;,\s]*)")


def examine_install(_: Subject) -> list[Finding]:
    """Import everything that the daemon imports, and compare the versions."""
    floors, locks = _floors(ROOT), _locks(ROOT / "requirements.lock")
    found = [
        Dependency(
            name=name,
            version=_version(name),
            error=_import_error(module),
            oldest=floors.get(name, ""),
            locked=locks.get(name, ""),
        )
        for name, module in _MODULES.items()
        if name in floors or not floors
    ]
    found += [
        Dependency(name=name, version=None, error=error, builtin=True)
        for name in _BUILTIN
        if (error := _import_error(name)) is not None
    ]
    script = ROOT / "start.sh"
    folder = Path(os.environ.get("OPTIMIZER_VENV") or ROOT / ".venv")
    has_venv = script.exists() and (folder / "bin/python").exists()
    return install(
        Install(
            python=sys.version_info[:3],
            executable=sys.executable,
            dependencies=tuple(found),
            venv=str(folder / "bin/python") if has_venv else None,
            # Started without `site`, as here, Python takes the prefix of what the venv is of.
            in_venv=has_venv and Path(sys.executable).parent.parent.resolve() == folder.resolve(),
            stamp=str(folder / ".optimizer-stamp"),
            start_script=str(script) if script.exists() else None,
            managed=sys.prefix == sys.base_prefix and _is_managed(),
        )
    )


def _is_managed() -> bool:
    """Source: PEP 668."""
    return os.path.exists(os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED"))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _import_error(module: str) -> str | None:
    """Why it cannot be imported; a library that breaks in any other way ends this process."""
    try:
        importlib.import_module(module)
    except (ImportError, AttributeError, OSError, SyntaxError, ValueError) as exc:
        return f"{type(exc).__name__}: {exc}"
    return None


def _floors(root: Path) -> dict[str, str]:
    """The lower bounds: from setup.cfg beside the program, else from what was installed."""
    setup = configparser.ConfigParser()
    try:
        setup.read(root / "setup.cfg", encoding="utf-8")
        lines = setup.get("options", "install_requires", fallback="").splitlines()
    except (OSError, configparser.Error):
        lines = []
    if not lines:
        try:
            lines = importlib.metadata.requires(_DISTRIBUTION) or []
        except importlib.metadata.PackageNotFoundError:
            return {}
    matches = (_REQUIREMENT.match(line.strip()) for line in lines if "extra ==" not in line)
    return {match[1]: match[2] for match in matches if match}


def _locks(path: Path) -> dict[str, str]:
    try:
        text = path.read_text("utf-8")
    except OSError:
        return {}
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, re.MULTILINE))


def examine_config(subject: Subject) -> list[Finding]:
    """Every fault and warning, and what the daemon says of its own."""
    loaded = subject.loaded
    said = subject.status.get("config") if subject.holder is not None else None
    in_force = said if isinstance(said, dict) else None
    return config(
        Config(
            file=None if loaded.file is None else str(loaded.file),
            faults=subject.faults,
            warnings=loaded.warnings,
            changed=sum(origin != "default" for origin in loaded.origins.values()),
            unread=subject.unread,
            refused=None if in_force is None else str(in_force.get("message") or "") or None,
            in_force=None if in_force is None else str(in_force.get("file") or ""),
        )
    )
